"""The namespaces of a pod, which no process holds: made once, and kept by bind mounts until somebody lets go of them.

A server with threads must not fork, and need not: net, ipc and uts namespaces belong to single threads (setns(2)). So
they are made by a short thread, which takes 1 ms where an interpreter of its own takes 20. What the thread made is
mounted on files, as `ip netns` does it, and stays when the server is gone. The mounts are passed on to other mount
namespaces: the programs of CNI plugins that run in containers must find the network namespace by its path.
"""

from __future__ import annotations

import os

from sampan.container import podshm
from sampan.core.errors import NotFound, Precondition, from_os_error
from sampan.linux import mounts, namespaces
from sampan.linux.namespaces import NEWIPC, NEWNET, NEWUTS
from sampan.linux.sysctls import apply, check
from sampan.linux.threads import apart

FLAGS = {"net": NEWNET, "ipc": NEWIPC, "uts": NEWUTS}
_OCI_NAMES = {"net": "network"}
_nsfs_device = 0


def make(folder: str, kinds: list[str], sysctls: dict[str, str], hostname: str) -> dict[str, str]:
    """Makes namespaces and holds them: paths by kind, `folder/KIND` each.

    The loopback interface of a network namespace is up. What a failed call made is gone again.

    Args:
        folder: is made where it is missing. kinds: of `net`, `ipc`, `uts`. sysctls: values by name, with dots.
        hostname: for the `uts` namespace; empty for the host's.

    Raises:
        Invalid: a sysctl that belongs to none of these namespaces, a malformed hostname.
        Precondition: an earlier call left something: `release` comes first. SampanError: Denied, Exhausted, ...
    """
    check(sysctls, {_OCI_NAMES.get(kind, kind) for kind in kinds})
    paths = {kind: f"{folder}/{kind}" for kind in kinds}
    for path in paths.values():
        if os.path.lexists(path):
            raise Precondition(f"{path} is there already: the pod has namespaces", fix="release them")
    made: dict[str, int] = {}
    try:
        os.makedirs(folder, mode=0o711, exist_ok=True)
        for path in paths.values():
            os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o444))
        made = _make(kinds, sysctls, hostname)
        for kind, fd in made.items():
            mounts.bind(fd, paths[kind])
    except BaseException as error:
        release(folder)
        if isinstance(error, OSError):
            raise from_os_error(error, "hold a pod's namespaces") from error
        raise
    finally:
        for fd in made.values():
            os.close(fd)
    return paths


def _make(kinds: list[str], sysctls: dict[str, str], hostname: str) -> dict[str, int]:
    """Descriptors of new namespaces by kind."""
    made: dict[str, int] = {}

    def work() -> None:
        _enter_new(kinds, sysctls, hostname)
        for kind in kinds:
            made[kind] = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)

    try:
        apart(work)
    except BaseException as error:
        for fd in made.values():
            os.close(fd)
        if isinstance(error, OSError):
            raise from_os_error(error, "make a pod's namespaces") from error
        raise
    return made


def _enter_new(kinds: list[str], sysctls: dict[str, str], hostname: str) -> None:
    flags = 0
    for kind in kinds:
        flags |= FLAGS[kind]
    namespaces.unshare(flags)
    if "net" in kinds:
        namespaces.raise_loopback()
    if hostname and "uts" in kinds:
        namespaces.set_hostname(hostname)
    apply(sysctls)


def is_held(path: str) -> bool:
    """Whether a namespace is mounted on the file `path`; asked without a descriptor, of which there may be no more."""
    try:
        return os.stat(path).st_dev == _nsfs()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise from_os_error(error, f"look at {path}") from error


def _nsfs() -> int:
    """The device of all namespaces' files, looked up once."""
    global _nsfs_device
    _nsfs_device = _nsfs_device or os.stat("/proc/self/ns/net").st_dev
    return _nsfs_device


def release(folder: str) -> None:
    """Lets go of a pod's namespaces and shared memory, and removes their files; `folder`, too, if nothing is in it.

    They end with the last process in them. It is no error where there are none, or only some.

    Raises:
        SampanError: they cannot be unmounted or removed.
    """
    podshm.release(folder)
    for kind in FLAGS:
        path = f"{folder}/{kind}"
        while is_held(path):
            try:
                mounts.unmount(path, detach=True)
            except (NotFound, Precondition):  # somebody else did at this moment
                continue
        try:
            os.unlink(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise from_os_error(error, "remove the files that hold a pod's namespaces") from error
    try:
        os.rmdir(folder)
    except OSError:  # other files are in it, or it is not there
        return
