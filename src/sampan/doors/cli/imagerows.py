"""Images as tables and documents: Docker's fields, from a manifest of any format."""

from __future__ import annotations

import time

from sampan.core.errors import SampanError
from sampan.core.reference import parse_reference
from sampan.core.units import parse_rfc3339, show_age, show_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from sampan.image.images import Image

NONE = "<none>"


def split_name(name: str) -> tuple[str, str]:
    """Repository and tag as tables show them; `<none>` for what is not there."""
    try:
        reference = parse_reference(name)
    except SampanError:  # other tools write any text as a name
        return name or NONE, NONE
    return reference.familiar_name, reference.tag or NONE


def created(image: Image) -> int:
    """When it was made, in nanoseconds since 1970; 0 where it does not say."""
    try:
        return parse_rfc3339(image.config.created) if image.config.created else 0
    except SampanError:
        return 0


def since(nanoseconds: int) -> str:
    """`3 days ago`; `N/A` for a time that is not known, as Docker shows it."""
    return f"{show_age(time.time() - nanoseconds / 10**9)} ago" if nanoseconds > 0 else "N/A"


def local_time(nanoseconds: int) -> str:
    """`2026-11-21 03:45:00 +0000 UTC`, as Docker's CreatedAt."""
    if nanoseconds <= 0:
        return "N/A"
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", time.localtime(nanoseconds // 10**9))


def row(image: Image, *, full_id: bool, containers: int) -> dict[str, Any]:
    """A line of `sampan images`."""
    repository, tag = split_name(image.name)
    when = created(image)
    size = show_size(image.size)
    return {
        "Containers": containers,
        "CreatedAt": local_time(when),
        "CreatedSince": since(when),
        "Digest": image.descriptor.digest,
        "Format": image.format,
        "ID": image.id if full_id else image.id.partition(":")[2][:12],
        "Platform": str(image.platform),
        "Repository": repository,
        "Size": size,
        "Tag": tag,
        "VirtualSize": size,
    }


def document(image: Image, names: list[str]) -> dict[str, Any]:
    """What `sampan image inspect` prints: Docker's fields, then Sampan's."""
    config, container = image.config, image.container_config
    tags = [f"{repository}:{tag}" for repository, tag in map(split_name, names) if tag != NONE]
    repositories = dict.fromkeys(split_name(name)[0] for name in names)
    return {
        "Id": image.id,
        "RepoTags": tags,
        "RepoDigests": [f"{repository}@{image.descriptor.digest}" for repository in repositories],
        "Parent": "",
        "Comment": config.history[-1].comment if config.history else "",
        "Created": config.created,
        "Author": config.author,
        "Config": {
            "User": container.user,
            "ExposedPorts": container.exposed_ports,
            "Env": container.env,
            "Entrypoint": container.entrypoint,
            "Cmd": container.cmd,
            "Volumes": container.volumes,
            "WorkingDir": container.working_dir,
            "Labels": container.labels,
            "StopSignal": container.stop_signal,
        },
        "Architecture": config.architecture,
        "Variant": config.variant,
        "Os": config.os,
        "Size": image.size,
        "RootFS": {"Type": "layers", "Layers": config.rootfs.diff_ids if config.rootfs else []},
        "Format": image.format,
        "Command": image.entrypoint,
        "Annotations": image.manifest.annotations,
        "Descriptor": image.descriptor.to_json(),
        "Layers": [layer.to_json() for layer in image.manifest.layers],
    }
