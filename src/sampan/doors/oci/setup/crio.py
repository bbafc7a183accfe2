"""CRI-O: `crio.runtime.runtimes.NAME` in a drop-in of crio.conf that is ours alone, read again by crio on SIGHUP."""

from __future__ import annotations

from sampan.doors.oci.setup import tomledit
from sampan.doors.oci.setup.entries import lookup
from sampan.doors.oci.setup.tool import RUNTIME_CLASS, Tool, ask, refused, systemctl, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.doors.oci.setup.records import Options

KNOWS_WASM_ANNOTATIONS = (1, 31)
ANNOTATIONS = ["module.wasm.image/variant"]


class Crio(Tool):
    name = "crio"
    program = "crio"
    format = tomledit

    def path(self, options: Options) -> str:
        return f"/etc/crio/crio.conf.d/50-{options.name}.conf"

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        return ["crio", "runtime", "runtimes"]

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        """An annotation that crio does not know in this list keeps it from starting; older ones pass all without it."""
        entry = {
            "runtime_path": options.runtime_path,
            "runtime_type": "oci",
            "runtime_root": f"/run/{options.name}-oci",
        }
        allowed = {"allowed_annotations": ANNOTATIONS} if version_of("crio") >= KNOWS_WASM_ANNOTATIONS else {}
        return {**entry, **allowed}

    def runtime_path(self, entry: Any) -> str:
        return str(entry.get("runtime_path", "")) if isinstance(entry, dict) else ""

    def default_runtime(self, document: dict[str, Any]) -> str:
        return str(lookup(document, ["crio", "runtime", "default_runtime"]) or "")

    def check(self, staged: str, options: Options, *, present: bool) -> str:
        import tempfile

        with tempfile.TemporaryDirectory(prefix="sampan-setup-") as empty:
            code, out, err = ask("crio", "--config", staged, "--config-dir", empty, "config")
        runtimes = [] if code else self.runtimes({}, "")
        if code or (
            present and options.name not in (lookup(tomledit.parse(out, "crio's answer"), runtimes) or {})
        ):
            raise refused("crio", err or "the runtime is not in the configuration that it printed")
        return ""

    def afterwards(self, options: Options) -> list[str]:
        return ["crio must read it: systemctl reload crio", RUNTIME_CLASS.format(name=options.name)]

    def reload(self, root: object, options: Options) -> str:
        return systemctl("reload", "crio", options)
