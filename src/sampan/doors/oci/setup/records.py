"""What install and uninstall are asked, what they answer, and what they remember between the two."""

from __future__ import annotations

from sampan.core.record import Record


class Options(Record):
    """How to install.

    Attributes:
        runtime_path: the absolute path of `sampan-oci` inside `root`; "" for the one that is running.
        name: what the tools call the runtime; a RuntimeClass uses it as its handler.
        root: the root filesystem that is set up; another one than "/" for an image that is being built.
        dry_run: change nothing, only show the difference.
        reload: tell the running daemon; without it, nothing is restarted.
    """

    runtime_path: str = ""
    name: str = "sampan"
    root: str = "/"
    dry_run: bool = False
    reload: bool = False


class Report(Record):
    """What was done for one tool.

    Attributes:
        outcome: "installed", "unchanged", "removed", "not installed", "would change" or "failed".
        path: the configuration file, as seen inside the root.
        messages: what the user should know or do now; for "failed", why.
        diff: a unified diff, of a dry run.
    """

    tool: str
    outcome: str
    path: str = ""
    messages: list[str] = []
    diff: str = ""


class Memory(Record):
    """What undo needs to know about one configuration file; kept in our own data folder as JSON.

    Attributes:
        before: the digest of the file as it was, or "" where there was none.
        after: the digest of the file as we left it.
        made: folders that we made for it, the innermost first.
    """

    tool: str
    name: str
    path: str
    before: str
    after: str
    made: list[str] = []
