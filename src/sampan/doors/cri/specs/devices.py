"""Devices of the host for Linux containers; a Wasm guest has no system call that would use one.

config-linux.md, "Devices" and "Allowed Device list"
"""

from __future__ import annotations

import os
from stat import S_ISBLK, S_ISCHR, S_ISDIR
from typing import TYPE_CHECKING

from sampan.core.errors import Invalid, Unimplemented, from_os_error
from sampan.core.spec.checks import check_path
from sampan.core.spec.runtime import Device, DeviceRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sampan.doors.cri.api import runtime_pb2 as api

NOTHING = DeviceRule(False, access="rwm")
EVERYTHING = DeviceRule(True, access="rwm")
NOT_HANDED_ON = ("pts", "shm", "fd", "mqueue", "console", ".lxc", ".udev")
MOST_DEVICES = 4096


def check_devices(config: api.ContainerConfig, *, linux: bool) -> None:
    """Refuses devices that cannot be had.

    Raises:
        Invalid: names the field. Unimplemented: for a Wasm workload, or from the container device interface.
    """
    if config.CDI_devices:
        raise Unimplemented("CDI_devices cannot be had in a pod of WebAssembly")
    if config.devices and not linux:
        raise Unimplemented(
            "devices cannot be had: a Wasm workload has no system call that would use one",
            fix="leave the devices out",
        )
    if len(config.devices) > MOST_DEVICES:
        raise Invalid(f"devices has more than {MOST_DEVICES} entries")
    for number, wish in enumerate(config.devices):
        check_path(wish.container_path, f"devices[{number}].container_path")
        check_path(wish.host_path, f"devices[{number}].host_path")
        if not wish.permissions or set(wish.permissions) - set("rwm"):
            raise Invalid(
                f"devices[{number}].permissions {wish.permissions[:20]!r} is not of the letters r, w, m"
            )


def devices_of(wishes: Iterable[api.Device], *, privileged: bool) -> tuple[list[Device], list[DeviceRule]]:
    """The device files of a Linux container and the rules for them; all of the host's for a privileged one.

    Raises:
        Invalid: one is not there, or is no device.
    """
    if privileged:
        return list(_below("/dev", "/dev")), [EVERYTHING]
    devices, rules = [], [NOTHING]
    for number, wish in enumerate(wishes):
        for device in _wished(wish, f"devices[{number}].host_path"):
            devices.append(device)
            rules.append(DeviceRule(True, device.type, device.major, device.minor, wish.permissions))
    return devices, rules


def _wished(wish: api.Device, where: str) -> list[Device]:
    """The device of a wish; all that are in it where it is a folder."""
    path = os.path.realpath(wish.host_path)
    try:
        is_folder = S_ISDIR(os.stat(path).st_mode)
    except OSError as error:
        raise Invalid(f"{where}: {from_os_error(error, f'look at {path}').message}") from error
    found = list(_below(path, wish.container_path)) if is_folder else _one(path, wish.container_path)
    if not found:
        raise Invalid(f"{where} {path[:80]!r} is not a device")
    return found


def _below(folder: str, place: str) -> Iterator[Device]:
    for above, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in NOT_HANDED_ON]
        for name in names:
            if name not in NOT_HANDED_ON:
                path = f"{above}/{name}"
                yield from _one(path, place + path.removeprefix(folder))


def _one(path: str, place: str) -> list[Device]:
    """The device file at a path, as what it is at its place in the container; none where it is another kind of file."""
    try:
        found = os.lstat(path)
    except OSError:  # it went away
        return []
    if not (S_ISCHR(found.st_mode) or S_ISBLK(found.st_mode)):
        return []
    kind = "c" if S_ISCHR(found.st_mode) else "b"
    device = Device(
        place,
        kind,
        os.major(found.st_rdev),
        os.minor(found.st_rdev),
        found.st_mode & 0o7777,
        found.st_uid,
        found.st_gid,
    )
    return [device]
