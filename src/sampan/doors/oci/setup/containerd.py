"""containerd: a runtime of its CRI plugin in /etc/containerd/config.toml, for `io.containerd.runc.v2` with our binary.

The plugin's name depends on the version of the file: 1 (no version line), 2 (containerd 1.3 and later) or 3 (2.0 and
later). Only the annotations that choose how a Wasm image is run are passed on: of the others that crun knows, some
name files of the host.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.doors.oci.setup import tomledit
from sampan.doors.oci.setup.entries import lookup
from sampan.doors.oci.setup.tool import RUNTIME_CLASS, Tool, ask, refused, systemctl, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.doors.oci.setup.records import Options

PLUGINS = {1: "cri", 2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}
ANNOTATIONS = ["module.wasm.image/*", "run.oci.handler"]


class Containerd(Tool):
    name = "containerd"
    program = "containerd"
    format = tomledit
    beside = True  # `imports` may be relative to the file
    header = frozenset({"version"})

    def path(self, options: Options) -> str:
        return "/etc/containerd/config.toml"

    def prepared(self, text: str, what: str, options: Options) -> str:
        """A file without any setting gets the version that the installed containerd writes itself."""
        if tomledit.parse(text, what):
            return text
        version = 3 if version_of("containerd") >= (2,) else 2  # 2 is read by all
        return f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}version = {version}\n"

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        version = document.get("version", 1)
        if type(version) is not int or version not in PLUGINS:
            raise Invalid(f"{what} has version {version!r}, and only 1, 2 and 3 are known")
        return ["plugins", PLUGINS[version], "containerd", "runtimes"]

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        """With runc's cgroup driver: the kubelet speaks one of them to all runtimes of a node."""
        systemd = lookup(document, [*self.runtimes(document, "it"), "runc", "options", "SystemdCgroup"])
        return {
            "runtime_type": "io.containerd.runc.v2",
            "pod_annotations": ANNOTATIONS,
            "container_annotations": ANNOTATIONS,
            "options": {
                "BinaryName": options.runtime_path,
                **({"SystemdCgroup": True} if systemd is True else {}),
            },
        }

    def runtime_path(self, entry: Any) -> str:
        return str(lookup(entry, ["options", "BinaryName"]) or "") if isinstance(entry, dict) else ""

    def default_runtime(self, document: dict[str, Any]) -> str:
        keys = [*self.runtimes(document, "it")[:-1], "default_runtime_name"]
        return str(lookup(document, keys) or "")

    def check(self, staged: str, options: Options, *, present: bool) -> str:
        """`config dump` has all imports in it: a file imported there may replace what stands in this one."""
        code, out, err = ask("containerd", "--config", staged, "config", "dump")
        if code:
            raise refused("containerd", err or out)
        merged = tomledit.parse(out, "containerd's answer")
        known = [
            lookup(merged, ["plugins", p, "containerd", "runtimes", options.name]) for p in PLUGINS.values()
        ]
        if present and not any(self.runtime_path(entry) == options.runtime_path for entry in known):
            raise Invalid(
                "containerd reads the changed configuration and does not see the runtime in it",
                fix="look at its imports, which replace whole plugins, and at its version",
            )
        disabled = {PLUGINS[1], PLUGINS[2], PLUGINS[3]} & set(merged.get("disabled_plugins", []))
        return (
            f"the plugin {min(disabled)} is disabled in it: Kubernetes will not see the runtime"
            if disabled
            else ""
        )

    def afterwards(self, options: Options) -> list[str]:
        return [
            "containerd must be restarted: systemctl restart containerd",
            RUNTIME_CLASS.format(name=options.name),
        ]

    def reload(self, root: object, options: Options) -> str:
        return systemctl("restart", "containerd", options)
