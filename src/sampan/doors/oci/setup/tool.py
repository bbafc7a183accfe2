"""What install knows of a container tool, and how its programs are found and asked."""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, SampanError, TimedOut, Unavailable, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from sampan.doors.oci.setup.files import Root
    from sampan.doors.oci.setup.records import Options

    class Format(Protocol):
        """A file format that one entry can be edited in: `jsonedit` and `tomledit`."""

        def parse(self, text: str, what: str) -> dict[str, Any]: ...
        def add(self, text: str, keys: list[str], value: Any, what: str) -> str: ...
        def remove(self, text: str, keys: list[str], what: str) -> str: ...


FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
TIMEOUT = 60.0


class Tool:
    """One container tool; each has a module with its class.

    Attributes:
        name: as the user says it. program: what is on the host where the tool is installed.
        format: the module that edits its files.
        beside: whether a staged file must lie in the configuration's folder to be read in the same way.
        header: keys that a file may have and still say nothing.
    """

    name: str
    program: str
    format: Format
    beside = False
    header: frozenset[str] = frozenset()

    def path(self, options: Options) -> str:
        """Its configuration file, inside the root."""
        raise AssertionError(f"{self.name} has no path")  # pragma: no cover - each tool has one

    def prepared(self, text: str, what: str, options: Options) -> str:
        """`text` with what a file must begin with; a tool that needs nothing leaves it."""
        return text

    def cleaned(self, text: str, what: str) -> str:
        """`text`, from which our entry is gone already, without what else `prepared` put there."""
        return text

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        """The keys of the table of runtimes in this document.

        Raises:
            Invalid: a version of the file that is not known.
        """
        raise AssertionError(f"{self.name} has no runtimes")  # pragma: no cover - each tool has them

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        """What stands for our runtime in that table."""
        raise AssertionError(f"{self.name} has no entry")  # pragma: no cover - each tool has one

    def runtime_path(self, entry: Any) -> str:
        """The program that an entry names, or ""."""
        return ""

    def default_runtime(self, document: dict[str, Any]) -> str:
        """The runtime that this file makes the default, or ""."""
        return ""

    def check(self, staged: str, options: Options, *, present: bool) -> str:
        """Ask the tool about a staged file; a note on how, if that is less than it could be.

        Args:
            present: whether our runtime must be known to the tool then.

        Raises:
            Invalid: the tool does not accept it; the message is the tool's.
            NotFound: the tool's program is not on this host.
        """
        return ""

    def afterwards(self, options: Options) -> list[str]:
        """What the user does next."""
        return []

    def reload(self, root: Root, options: Options) -> str:
        """Make a running daemon read its configuration; what was done, in words.

        Raises:
            SampanError: it could not be told, or did not come back.
        """
        return ""


def find_program(name: str) -> str:
    """The path of a program on this host, or ""; daemons are found though PATH has no sbin."""
    import shutil

    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *FOLDERS])) or ""


def ask(program: str, *words: str, env: dict[str, str] | None = None) -> tuple[int, str, str]:
    """Run a tool's program: its exit code, standard output and standard error.

    Raises:
        NotFound: it is not on this host. TimedOut: it did not end within a minute.
    """
    from subprocess import DEVNULL, TimeoutExpired, run

    from sampan.core.errors import NotFound

    path = find_program(program)
    if not path:
        raise NotFound(f"{program} is not on this host")
    try:
        done = run(
            [path, *words],
            stdin=DEVNULL,
            capture_output=True,
            timeout=TIMEOUT,
            check=False,
            env={**os.environ, **(env or {})},
        )
    except TimeoutExpired as error:
        raise TimedOut(f"{program} did not answer within {TIMEOUT:.0f} s") from error
    except OSError as error:
        raise from_os_error(error, f"run {path}") from error
    return done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")


def refused(tool: str, output: str) -> Invalid:
    """The error for a configuration that the tool does not accept, with the last thing it said."""
    said = [line.strip() for line in output.splitlines() if line.strip()]
    return Invalid(
        f"{tool} does not accept the changed configuration: {said[-1] if said else 'it gave no reason'}"
    )


def version_of(program: str) -> tuple[int, ...]:
    """The version that `PROGRAM --version` prints, as numbers; () if there is none."""
    import re

    try:
        _, out, _ = ask(program, "--version")
    except SampanError:
        return ()
    found = re.search(r"(?<![\w.])v?(\d+)\.(\d+)", out)
    return tuple(map(int, found.groups())) if found else ()


def systemctl(verb: str, unit: str, options: Options) -> str:
    """`systemctl reload|restart UNIT`, and that it runs then.

    Raises:
        SampanError: there is no systemd, the root is not this host's, or the unit did not come back.
    """
    if options.root != "/" or not os.path.isdir("/run/systemd/system"):
        raise Unavailable(f"{unit} cannot be told: there is no systemd here", fix=f"{verb} {unit} yourself")
    for words in ((verb, unit), ("is-active", "--quiet", unit)):
        code, _, err = ask("systemctl", *words)
        if code:
            raise Unavailable(
                f"{unit} did not come back: {err.strip() or 'it is not active'}", fix=f"journalctl -u {unit}"
            )
    return f"{unit} was told ({verb})"


RUNTIME_CLASS = """for Kubernetes: kubectl apply -f - <<EOF
apiVersion: node.k8s.io/v1
kind: RuntimeClass
metadata: {{name: {name}}}
handler: {name}
EOF
then `runtimeClassName: {name}` in the pod"""
