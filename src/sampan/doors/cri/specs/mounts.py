"""What a container sees at which place: the caller's mounts, the pod's own files, and what a Linux program counts on.

A Wasm guest never sees proc, sysfs or devices (`container/rootfs` makes nothing at or below /proc, /sys and /dev for
it); a Linux container has them as containerd gives them. config.md, "Mounts"
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.container.hostfiles import HOSTS
from sampan.container.linuxdefaults import MOUNTS
from sampan.core.errors import Invalid, NotFound, SampanError, Unimplemented, from_os_error
from sampan.core.spec.checks import MOST_MOUNTS, check_path, check_text
from sampan.core.spec.runtime import Mount
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import has_host_network
from sampan.image.images import find_image
from sampan.image.snapshots import Snapshots
from sampan.image.store import ContentStore
from sampan.linux import durable, mountinfo, mountoptions
from sampan.linux.files import read_file
from sampan.linux.paths import open_in_root

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sampan.core.roots import Roots

HIDDEN = ("proc", "sys")
POD_FILES = {"/etc/resolv.conf": "resolv.conf", "/etc/hostname": "hostname", "/etc/hosts": "hosts"}
PROPAGATIONS = {
    api.PROPAGATION_PRIVATE: "rprivate",
    api.PROPAGATION_HOST_TO_CONTAINER: "rslave",
    api.PROPAGATION_BIDIRECTIONAL: "rshared",
}
SHARED = {
    api.PROPAGATION_HOST_TO_CONTAINER: {"shared", "master"},
    api.PROPAGATION_BIDIRECTIONAL: {"shared"},
}
"""How the mount of a source has to propagate itself, one of these."""
WORDS = mountoptions.WORDS - {*mountoptions.PROPAGATION, "bind", "rbind", "remount", "tmpcopyup"}
"""What `mount_options` may say: what a bind can be, but not how it is made."""
MOST_DNS = 4096
MOST_RESOLVER = 1 << 20


def check_resolver(dns: api.DNSConfig) -> None:
    """Refuses values that would be more than a word of their line in resolv.conf.

    Raises:
        Invalid: names the field.
    """
    for field in ("servers", "searches", "options"):
        for number, value in enumerate(getattr(dns, field)):
            where = f"dns_config.{field}[{number}]"
            check_text(value, where)
            if not value or value.split() != [value] or not value.isprintable() or len(value) > MOST_DNS:
                raise Invalid(f"{where} {value[:60]!r} is not one word")


def write_pod_files(folder: str, config: api.PodSandboxConfig) -> None:
    """Writes a pod's `resolv.conf`, `hostname` and `hosts` into its folder, those that are not there.

    Raises:
        Invalid: as `check_resolver`. SampanError: one cannot be written.
    """
    if not os.path.exists(f"{folder}/resolv.conf"):
        write_resolver(folder, config.dns_config)
    name = config.hostname or os.uname().nodename
    if not os.path.exists(f"{folder}/hostname"):
        durable.write_file(f"{folder}/hostname", f"{name}\n".encode(), 0o644, lasting=False)
    if not os.path.exists(f"{folder}/hosts"):
        ours = f"{HOSTS}127.0.0.1\t{name}\n".encode()
        data = _hosts_own("/etc/hosts") if has_host_network(config) else ours
        durable.write_file(f"{folder}/hosts", data, 0o644, lasting=False)


def write_resolver(folder: str, dns: api.DNSConfig) -> None:
    """Writes a pod's `resolv.conf` into its folder; the host's where no configuration is given.

    Raises:
        Invalid: as `check_resolver`. SampanError: it cannot be written.
    """
    check_resolver(dns)
    lines = [
        *([f"search {' '.join(dns.searches)}"] if dns.searches else []),
        *(f"nameserver {server}" for server in dns.servers),
        *([f"options {' '.join(dns.options)}"] if dns.options else []),
    ]
    data = "".join(f"{line}\n" for line in lines).encode() if lines else _hosts_own("/etc/resolv.conf")
    durable.write_file(f"{folder}/resolv.conf", data, 0o644, lasting=False)


def _hosts_own(path: str) -> bytes:
    try:
        return read_file(path, MOST_RESOLVER)
    except OSError:  # a host without it: a file of nothing
        return b""


def check_wishes(wishes: Iterable[api.Mount], *, linux: bool) -> None:
    """Refuses mounts that contradict themselves, or lie where none may be.

    Raises:
        Invalid, Unimplemented: names the field.
    """
    for number, wish in enumerate(wishes):
        where = f"mounts[{number}]"
        if number >= MOST_MOUNTS // 2:
            raise Invalid(f"mounts has more than {MOST_MOUNTS // 2} entries")
        _check_place(wish.container_path, f"{where}.container_path", linux=linux)
        _check_source(wish, where)
        if wish.propagation not in PROPAGATIONS:
            raise Invalid(f"{where}.propagation {wish.propagation} is not known")
        if wish.recursive_read_only and not (wish.readonly and wish.propagation == api.PROPAGATION_PRIVATE):
            raise Invalid(f"{where}.recursive_read_only needs readonly, and private propagation")
        if wish.uidMappings or wish.gidMappings:
            raise Unimplemented(f"{where}: a mapping of its ids is not to be had")
        for option in wish.mount_options:
            if option not in WORDS:
                raise Invalid(f"{where}.mount_options {option[:40]!r} is not an option of a bind mount")


def _check_place(path: str, where: str, *, linux: bool) -> None:
    check_path(path, where)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise Invalid(f"{where} {path[:60]!r} is the root, or leads out of it")
    if parts[0] in (HIDDEN[:1] if linux else HIDDEN):
        raise Invalid(f"{where} {path[:60]!r} is at or below /{parts[0]}, where nothing can be mounted")


def _check_source(wish: api.Mount, where: str) -> None:
    if wish.HasField("image") and wish.image.image:
        if wish.host_path:
            raise Invalid(f"{where} has both image and host_path", fix="leave one of them out")
        check_text(wish.image_sub_path, f"{where}.image_sub_path")
    else:
        check_path(wish.host_path, f"{where}.host_path")
        if wish.image_sub_path:
            raise Invalid(f"{where}.image_sub_path is set without an image")


def wished_mounts(wishes: Iterable[api.Mount], roots: Roots) -> list[Mount]:
    """The caller's mounts, checked before; a folder of the host that is not there is made.

    Images are unpacked: hold `Snapshots.hold()` until the container is on record.

    Raises:
        SampanError: a source cannot be had, or its mount is not shared as the propagation needs it.
    """
    return [_wished(wish, f"mounts[{number}]", roots) for number, wish in enumerate(wishes)]


def _wished(wish: api.Mount, where: str, roots: Roots) -> Mount:
    read_only = wish.readonly
    if wish.HasField("image") and wish.image.image:
        source = image_folder(wish.image.image, wish.image_sub_path, roots)
        read_only = True
    else:
        source = _source(wish.host_path, where)
        _check_shared(source, wish.propagation, where)
    kind = ("rro" if wish.recursive_read_only else "ro") if read_only else "rw"
    options = ["rbind", PROPAGATIONS[wish.propagation], kind, *wish.mount_options]
    return Mount(wish.container_path, "bind", source, options)


def _source(path: str, where: str) -> str:
    """The real place of a path of the host, so that nobody can move it by a link later."""
    real = os.path.realpath(path)
    try:
        if not os.path.lexists(real):
            os.makedirs(real, 0o755, exist_ok=True)
        os.stat(real)
    except OSError as error:
        reason = from_os_error(error, f"make the folder {real}").message
        raise Invalid(f"{where}.host_path is not there, and {reason}") from error
    return real


def _check_shared(source: str, propagation: api.MountPropagation, where: str) -> None:
    wanted = SHARED.get(propagation)
    if wanted and not wanted & mountinfo.peers(source):
        raise Invalid(
            f"{where}.host_path {source[:80]!r} is in a mount that is not shared, so nothing can propagate",
            fix="make it shared on the host: mount --make-rshared",
        )


def image_folder(image: str, sub_path: str, roots: Roots) -> str:
    """An image's files, or a folder or file of them, as a path of the host.

    Raises:
        NotFound: no such image, or nothing there in it. SampanError: it cannot be unpacked.
    """
    store = ContentStore(roots.images)
    found = find_image(store, image)
    folder = Snapshots(f"{roots.images}/snapshots").prepare(store, found)
    if not sub_path:
        return folder
    root = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = open_in_root(root, sub_path, os.O_PATH)
    except SampanError as error:
        raise NotFound(f"the image {image[:80]} has no {sub_path[:80]!r}") from error
    finally:
        os.close(root)
    try:
        return os.readlink(f"/proc/self/fd/{place}")
    finally:
        os.close(place)


def propagation_of(wishes: Iterable[api.Mount]) -> str:
    """The `rootfsPropagation` that mounts need: a private root lets nothing through."""
    asked = {wish.propagation for wish in wishes}
    if api.PROPAGATION_BIDIRECTIONAL in asked:
        return "rshared"
    return "rslave" if api.PROPAGATION_HOST_TO_CONTAINER in asked else ""


def pod_mounts(folder: str, *, read_only: bool) -> list[Mount]:
    """The pod's own /etc/resolv.conf, /etc/hostname and /etc/hosts, as far as they are there."""
    options = ["rbind", "rprivate", "ro" if read_only else "rw"]
    files = {place: f"{folder}/{name}" for place, name in POD_FILES.items()}
    return [Mount(place, "bind", file, options) for place, file in files.items() if os.path.isfile(file)]


def linux_mounts(shm: str, *, privileged: bool) -> list[Mount]:
    """proc, sysfs, /dev and the like, as every Linux container has them.

    Args:
        shm: what is at /dev/shm: a folder of the host.
    """
    return [_linux_mount(mount, shm, privileged=privileged) for mount in MOUNTS]


def _linux_mount(mount: Mount, shm: str, *, privileged: bool) -> Mount:
    if mount.destination == "/dev/shm":  # noqa: S108 - a place in the container
        return Mount(mount.destination, "bind", shm, ["rbind", "rw", "nosuid", "nodev", "noexec"])
    if privileged and mount.type in ("sysfs", "cgroup"):
        return mount.replace(options=["rw" if word == "ro" else word for word in mount.options])
    return mount


def arranged(defaults: list[Mount], wished: list[Mount]) -> list[Mount]:
    """All of them: a wish takes the place of a default, and what lies higher is mounted first."""
    taken = {os.path.normpath(mount.destination) for mount in wished}
    kept = [mount for mount in defaults if mount.destination not in taken]
    return sorted([*kept, *wished], key=lambda mount: os.path.normpath(mount.destination).count("/"))
