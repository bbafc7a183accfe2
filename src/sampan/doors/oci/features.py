"""What this runtime can do, for those who ask before they use it: the version, and the OCI features document.

features.md of the runtime specification: what is built in, whatever the host has. The annotations are how crun says
that it runs Wasm, and our own engine.
"""

from __future__ import annotations

from sampan import __version__
from sampan.core.spec.runtime import OCI_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

OLDEST_VERSION = "1.0.0"
HOOKS = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
UNSAFE_ANNOTATIONS = ["module.wasm.image/variant", "run.oci."]
"""Keys and beginnings of keys that change what runs."""
ENGINE = "wasmtime"


def version_text() -> str:
    """The version as runc prints it: Docker, podman and containerd read the lines."""
    return f"sampan-oci version {__version__}\nspec: {OCI_VERSION}"


def document() -> dict[str, Any]:
    """The features document."""
    from sampan.linux import mountoptions, namespaces, privileges, profiles

    return {
        "ociVersionMin": OLDEST_VERSION,
        "ociVersionMax": OCI_VERSION,
        "hooks": HOOKS,
        "mountOptions": sorted(mountoptions.WORDS),
        "linux": {
            "namespaces": sorted(namespaces.NAMES),
            "capabilities": [f"CAP_{name}" for name in privileges.CAPABILITIES],
            "cgroup": {"v1": True, "v2": True, "systemd": True, "systemdUser": True, "rdma": True},
            "seccomp": {
                "enabled": True,
                "actions": sorted(profiles.ACTIONS),
                "operators": sorted(profiles.OPERATORS),
                "archs": sorted(f"SCMP_ARCH_{name}" for name in profiles.ARCHITECTURES),
                "knownFlags": sorted(profiles.FLAGS),
                "supportedFlags": sorted(profiles.FLAGS),
            },
            "apparmor": {"enabled": True},
            "selinux": {"enabled": True},
            "intelRdt": {"enabled": False},
            "mountExtensions": {"idmap": {"enabled": False}},
        },
        "annotations": {
            "org.sampan.engine": _engine(),
            "org.sampan.version": __version__,
            "org.sampan.wasm": "true",
            "run.oci.crun.wasm": "true",
        },
        "potentiallyUnsafeConfigAnnotations": UNSAFE_ANNOTATIONS,
    }


def _engine() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{ENGINE} {version(ENGINE)}"
    except PackageNotFoundError:  # a library put there without its wheel
        return ENGINE
