"""Docker: `runtimes.NAME.path` in /etc/docker/daemon.json, read again by dockerd on SIGHUP."""

from __future__ import annotations

from signal import SIGHUP

from sampan.core.errors import Unavailable
from sampan.doors.oci.setup import jsonedit
from sampan.doors.oci.setup.tool import Tool, ask, refused

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.doors.oci.setup.files import Root
    from sampan.doors.oci.setup.records import Options

PIDS = ("/run/docker.pid", "/var/run/docker.pid")


class Docker(Tool):
    name = "docker"
    program = "dockerd"
    format = jsonedit

    def path(self, options: Options) -> str:
        return "/etc/docker/daemon.json"

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        return ["runtimes"]

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        return {"path": options.runtime_path}

    def runtime_path(self, entry: Any) -> str:
        return str(entry.get("path", "")) if isinstance(entry, dict) else ""

    def default_runtime(self, document: dict[str, Any]) -> str:
        return str(document.get("default-runtime", ""))

    def check(self, staged: str, options: Options, *, present: bool) -> str:
        _, out, err = ask("dockerd", "--help")
        if "--validate" not in out + err:
            return "parsed, not validated: this dockerd has no --validate (23.0 and later do)"
        code, out, err = ask("dockerd", "--validate", "--config-file", staged)
        if code:
            raise refused("dockerd", out + err)
        return ""

    def afterwards(self, options: Options) -> list[str]:
        return [
            f"dockerd must read it: kill -HUP $(cat {PIDS[0]}), then docker run --runtime {options.name} IMAGE"
        ]

    def reload(self, root: Root, options: Options) -> str:
        from sampan.linux.processes import send_signal, start_time

        for path in PIDS:
            content = root.read(path)
            text = content.data.strip() if content is not None else b""
            if text.isdigit():
                pid = int(text)
                start = start_time(pid)
                try:
                    with open(f"/proc/{pid}/comm") as file:
                        name = file.read().strip()
                except OSError:  # ended meanwhile
                    continue
                if name == "dockerd":
                    send_signal(pid, start, SIGHUP)
                    return f"dockerd (process {pid}) was told (SIGHUP)"
        raise Unavailable("dockerd cannot be told: it does not run", fix="start it; it reads the file then")
