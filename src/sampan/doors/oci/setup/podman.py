"""Podman: `NAME = [PATH]` below `engine.runtimes`, in a drop-in of containers.conf that is ours alone.

Drop-ins are read by podman 3 and later. A plain user's podman reads the ones in the user's own folder.
"""

from __future__ import annotations

import os

from sampan.doors.oci.setup import tomledit
from sampan.doors.oci.setup.entries import lookup
from sampan.doors.oci.setup.tool import Tool, ask, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.doors.oci.setup.records import Options


class Podman(Tool):
    name = "podman"
    program = "podman"
    format = tomledit

    def path(self, options: Options) -> str:
        folder = "/etc"
        if options.root == "/" and os.geteuid() != 0:
            folder = os.environ.get("XDG_CONFIG_HOME") or f"{os.environ.get('HOME', '')}/.config"
        return f"{folder}/containers/containers.conf.d/{options.name}.conf"

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        return ["engine", "runtimes"]

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        return [options.runtime_path]

    def runtime_path(self, entry: Any) -> str:
        return str(entry[0]) if isinstance(entry, list) and entry else ""

    def default_runtime(self, document: dict[str, Any]) -> str:
        return str(lookup(document, ["engine", "runtime"]) or "")

    def check(self, staged: str, options: Options, *, present: bool) -> str:
        """Podman only warns of a file that it cannot read: what it says about the file counts, not its exit code."""
        import tempfile

        # podman wants a short runroot, wherever TMPDIR is
        known = ["--runtime", options.name] if present and options.root == "/" else []
        with tempfile.TemporaryDirectory(prefix="sampan-", dir="/tmp") as folder:
            code, out, err = ask(
                "podman",
                *("--root", f"{folder}/root", "--runroot", f"{folder}/run", "--tmpdir", f"{folder}/t"),
                *("--storage-driver", "vfs", *known, "info", "--format", "{{.Host.OCIRuntime.Path}}"),
                env={"CONTAINERS_CONF": staged},
            )
        if code or staged in err or (known and out.strip() != options.runtime_path):
            raise refused("podman", err or out)
        return "" if known or not present else "podman read the file; the runtime itself is in another root"

    def afterwards(self, options: Options) -> list[str]:
        return [f"ready: podman --runtime {options.name} run IMAGE"]

    def reload(self, root: object, options: Options) -> str:
        return "podman has no daemon to tell"
