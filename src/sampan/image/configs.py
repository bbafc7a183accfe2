"""Image configurations: what a stranger wrote there, checked before anything uses it (image-spec config.md).

What has a sensible meaning gets it (a missing `WorkingDir`, a variable without `=`); what could only be a
mistake or an attack is refused. Paths stay inside the image's root; nothing here touches a file.
"""

from __future__ import annotations

from posixpath import normpath

from sampan.core import strictjson
from sampan.core.errors import Invalid
from sampan.core.spec.image import ContainerConfig, ImageConfig, RootFS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RESERVED = ("containerd.io/", "io.cri-containerd", "io.kubernetes.", "sampan.")
_HOST_PATHS = ("/proc", "/sys", "/dev")


def parse_config(raw: bytes, what: str = "the image") -> ImageConfig:
    """The configuration that `raw` holds, its paths made safe; `config` and `rootfs` are always there.

    Raises:
        Invalid: not a configuration, or a value in it that could only do harm.
        Exhausted: more than 4 MiB.
    """
    config = ImageConfig.from_json(
        strictjson.loads(raw, what=f"the config of {what}"), f"the config of {what}"
    )
    container = config.config or ContainerConfig()
    container.env = [_checked_variable(v, what) for v in container.env if "=" in v]
    if container.user.count(":") > 1 or "\0" in container.user:
        raise Invalid(
            f"{what} has the user {container.user[:40]!r}", fix="a user is NAME, UID, or either with :GROUP"
        )
    container.working_dir = safe_path(container.working_dir, f"the working directory of {what}")
    container.volumes = {safe_path(v, f"a volume of {what}"): {} for v in container.volumes}
    for argument in container.entrypoint + container.cmd:
        if "\0" in argument:
            raise Invalid(f"the command of {what} has a NUL character in it")
    config.config = container
    config.rootfs = config.rootfs or RootFS()
    return config


def _checked_variable(variable: str, what: str) -> str:
    if variable.startswith("=") or "\0" in variable:
        raise Invalid(f"{what} has the environment variable {variable[:40]!r}, which has no name")
    return variable


def safe_path(path: str, what: str) -> str:
    """`path` as an absolute path that does not leave the root; empty stays empty.

    Raises:
        Invalid: it has a NUL or lies below /proc, /sys or /dev.
    """
    if not path:
        return ""
    clean = "/" + normpath("/" + path).lstrip("/")
    if "\0" in path or any(clean == p or clean.startswith(p + "/") for p in _HOST_PATHS):
        raise Invalid(f"{what} is {path[:80]!r}", fix="it cannot lie in /proc, /sys or /dev")
    return clean


def split_labels(labels: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    """The labels a container may have, and the names of those that only runtimes may set."""
    reserved = sorted(name for name in labels if name.startswith(RESERVED))
    return {k: v for k, v in labels.items() if k not in reserved}, reserved


def config_json(config: ImageConfig) -> dict[str, Any]:
    """`config` as JSON with what readers insist on: os, architecture, and `rootfs` with its type."""
    out = config.to_json()
    rootfs = config.rootfs or RootFS()
    out["architecture"], out["os"] = config.architecture, config.os
    out["rootfs"] = {"type": rootfs.type, "diff_ids": rootfs.diff_ids, **rootfs.unknown}
    return out
