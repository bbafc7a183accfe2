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
RUNTIME_TYPE = "io.containerd.runc.v2"
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
        """A version for a file without any setting, and runc for one without runtimes.

        containerd 1.x forgets its default runtimes where a file names any, and its CRI plugin does not start then.
        """
        if not tomledit.parse(text, what):
            version = 3 if version_of("containerd") >= (2,) else 2  # 2 is read by all
            text = f"{text}{'' if text.endswith(chr(10)) or not text else chr(10)}version = {version}\n"
        document = tomledit.parse(text, what)
        keys = self.runtimes(document, what)
        if document.get("version", 1) < 3 and not lookup(document, keys, what):
            text = tomledit.add(text, [*keys, "runc"], {"runtime_type": RUNTIME_TYPE}, what)
        return text

    def cleaned(self, text: str, what: str) -> str:
        """Without the runc of `prepared`, if that is all that is left."""
        keys = self.runtimes(tomledit.parse(text, what), what)
        is_ours = lookup(tomledit.parse(text, what), keys, what) == {"runc": {"runtime_type": RUNTIME_TYPE}}
        return tomledit.remove(text, [*keys, "runc"], what) if is_ours and tomledit.REMARK in text else text

    def runtimes(self, document: dict[str, Any], what: str) -> list[str]:
        version = document.get("version", 1)
        if type(version) is not int or version not in PLUGINS:
            raise Invalid(f"{what} has version {version!r}, and only 1, 2 and 3 are known")
        return ["plugins", PLUGINS[version], "containerd", "runtimes"]

    def entry(self, document: dict[str, Any], options: Options) -> Any:
        """With runc's cgroup driver: the kubelet speaks one of them to all runtimes of a node."""
        systemd = lookup(document, [*self.runtimes(document, "it"), "runc", "options", "SystemdCgroup"])
        return {
            "runtime_type": RUNTIME_TYPE,
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
        if disabled := set(PLUGINS.values()) & set(merged.get("disabled_plugins", [])):
            return f"the plugin {min(disabled)} is disabled in it: Kubernetes will not see the runtime"
        for plugin in PLUGINS.values():
            cri = lookup(merged, ["plugins", plugin, "containerd"]) or {}
            default = cri.get("default_runtime_name")
            if cri.get("runtimes") and default and default not in cri["runtimes"]:
                raise Invalid(
                    f"containerd's default_runtime_name {default!r} is not among its runtimes",
                    fix="add it, or change it",
                )
        known = [
            lookup(merged, ["plugins", p, "containerd", "runtimes", options.name]) for p in PLUGINS.values()
        ]
        if present and not any(self.runtime_path(entry) == options.runtime_path for entry in known):
            raise Invalid(
                "containerd reads the changed configuration and does not see the runtime in it",
                fix="look at its imports, which replace whole plugins, and at its version",
            )
        return ""

    def afterwards(self, options: Options) -> list[str]:
        return [
            "containerd must be restarted: systemctl restart containerd",
            RUNTIME_CLASS.format(name=options.name),
        ]

    def reload(self, root: object, options: Options) -> str:
        return systemctl("restart", "containerd", options)
