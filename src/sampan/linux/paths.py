"""Paths that strangers wrote, resolved inside a root that they cannot leave.

Every access to a file of a container's root file system goes through here, by descriptor; joining a root and
a path as text is what the path CVEs of the field have in common. openat2(2) resolves in the kernel; where it
is not to be had (old kernels, a filter around us) the same rules are walked by hand, one `O_PATH|O_NOFOLLOW`
open for each name. A `..` at the top and an absolute link stay in the root; the links of /proc to open files
are not followed.
"""

from __future__ import annotations

import os
from errno import (
    EAGAIN,
    EINVAL,
    EISDIR,
    ELOOP,
    ENAMETOOLONG,
    ENODEV,
    ENOENT,
    ENOSYS,
    ENOTDIR,
    ENXIO,
    EPERM,
)
from stat import S_ISDIR, S_ISREG

from sampan.core.errors import Denied, Invalid, NotFound, SampanError, from_os_error
from sampan.linux import syscalls

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_IN_ROOT = 0x10
MAX_LINKS = 40
MAX_TRIES = 64
_NEW = os.O_CREAT | os.O_EXCL
_STEP = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


def open_in_root(root_fd: int, path: str, flags: int, mode: int = 0) -> int:
    """Open `path` as if the folder `root_fd` were `/`.

    Args:
        path: absolute or relative, the same; may have `..` and cross links.
        flags: as for open(2); O_CLOEXEC is added. O_NOFOLLOW refuses a link at the end.
        mode: for O_CREAT.

    Raises:
        NotFound: a part is missing (exit code 127).
        Invalid: loops of links, a name too long, a NUL; a folder opened for writing (126).
        Denied: no permission (126).
    """
    try:
        return _open(root_fd, path, flags | os.O_CLOEXEC, mode)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from error


def open_regular_in_root(root_fd: int, path: str) -> int:
    """Open a regular file for reading; a FIFO, a device or a folder is refused, and never waited for.

    Raises:
        NotFound: as `open_in_root` (exit code 127).
        Invalid, Denied: it is no regular file, or may not be read (126).
    """
    try:
        seen = _open(root_fd, path, os.O_PATH | os.O_CLOEXEC, 0)
        try:
            found = os.fstat(seen)
        finally:
            os.close(seen)
        if not S_ISREG(found.st_mode):  # before the real open: opening a device can already do something
            kind = "a folder" if S_ISDIR(found.st_mode) else "not a regular file"
            raise Invalid(f"{path!r} is {kind}", exit_code=126)
        fd = _open(root_fd, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from error
    if not S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise Invalid(f"{path!r} changed while it was opened", exit_code=126)
    return fd


def make_dirs_in_root(root_fd: int, path: str, mode: int = 0o755) -> int:
    """Open the folder `path` in the root, making what is missing; the descriptor is `O_PATH`.

    Raises:
        Invalid: a part is there and no folder.
        SampanError: as `open_in_root`.
    """
    walked = ""
    fd = -1
    try:
        try:
            return _open(root_fd, path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, 0)
        except FileNotFoundError:
            fd = _open(root_fd, ".", _STEP | os.O_DIRECTORY, 0)
        for name in path.split("/"):
            if name in ("", "."):
                continue
            walked = f"{walked}/{name}"
            above, fd = fd, -1
            try:
                fd = _open_or_make_dir(root_fd, walked, above, name, mode)
            finally:
                os.close(above)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from error
    return fd


def make_file_in_root(root_fd: int, path: str, mode: int = 0o644) -> int:
    """Open the file `path` in the root, made empty if missing, with the folders above it; `O_PATH`, any kind.

    Raises:
        Invalid: a link that leads nowhere.
        SampanError: as `make_dirs_in_root`.
    """
    try:
        for _ in range(MAX_TRIES):
            try:
                return _open(root_fd, path, os.O_PATH | os.O_CLOEXEC, 0)
            except FileNotFoundError:
                _create_if_free(root_fd, path, mode)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from error
    raise Invalid(f"{path[:200]!r} is a link that leads nowhere", exit_code=126)


def _create_if_free(root_fd: int, path: str, mode: int) -> None:
    above, _, name = path.rpartition("/")
    if name in ("", ".", ".."):
        raise OSError(EISDIR, os.strerror(EISDIR))
    folder = make_dirs_in_root(root_fd, above)
    try:
        os.close(os.open(name, os.O_WRONLY | _NEW | os.O_CLOEXEC, mode, dir_fd=folder))
    except FileExistsError:
        return  # taken meanwhile, or by a dangling link: the caller looks again
    finally:
        os.close(folder)


def _open_or_make_dir(root_fd: int, path: str, above: int, name: str, mode: int) -> int:
    flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
    try:
        return _open(root_fd, path, flags, 0)
    except FileNotFoundError:
        _mkdir_if_free(above, name, mode)  # taken meanwhile, or by a dangling link: the next line tells
        return _open(root_fd, path, flags, 0)


def _mkdir_if_free(above: int, name: str, mode: int) -> None:
    try:
        os.mkdir(name, mode, dir_fd=above)
    except FileExistsError:
        return


def _open(root_fd: int, path: str, flags: int, mode: int) -> int:
    if "\0" in path:
        raise ValueError("NUL")
    try:
        return _openat2(root_fd, path, flags, mode)
    except OSError as error:
        if error.errno not in (ENOSYS, EPERM):
            raise
    return _walk(root_fd, path, flags, mode)


def _openat2(root_fd: int, path: str, flags: int, mode: int) -> int:
    creates = flags & (os.O_CREAT | os.O_TMPFILE & ~os.O_DIRECTORY)
    how = b"".join(
        value.to_bytes(8, "little")
        for value in (flags, mode if creates else 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    )
    raw = os.fsencode(path) or b"."
    for _ in range(MAX_TRIES):
        try:
            return syscalls.call("openat2", root_fd, raw, how, len(how))
        except OSError as error:
            if error.errno != EAGAIN:  # something was renamed while a `..` was resolved
                raise
    raise OSError(EAGAIN, os.strerror(EAGAIN))


def _walk(root_fd: int, path: str, flags: int, mode: int) -> int:
    """`openat2` by hand: `trail` holds the folders from the root down, and `..` goes back along it."""
    if len(os.fsencode(path)) >= 4096:
        raise OSError(ENAMETOOLONG, os.strerror(ENAMETOOLONG))
    trail = [os.open(".", _STEP | os.O_DIRECTORY, dir_fd=root_fd)]
    names = path.split("/")[::-1]
    links = 0
    try:
        while names:
            name = names.pop()
            last = not any(names)  # only empty names follow: `a/` is `a`, and must be a folder
            if name in ("", ".", ".."):
                if name == ".." and len(trail) > 1:
                    os.close(trail.pop())
                continue
            wants_folder = last and bool(names)
            keeps_link = last and not names and (flags & os.O_NOFOLLOW or flags & _NEW == _NEW)
            target = None if keeps_link else _link(trail[-1], name)
            if target is not None:
                links += 1
                if links > MAX_LINKS:
                    raise OSError(ELOOP, os.strerror(ELOOP))
                if target.startswith("/"):
                    while len(trail) > 1:
                        os.close(trail.pop())
                names += target.split("/")[::-1]
            elif last:
                extra = os.O_DIRECTORY if wants_folder else 0
                return os.open(name, flags | extra | os.O_NOFOLLOW, mode, dir_fd=trail[-1])
            else:
                trail.append(os.open(name, _STEP | os.O_DIRECTORY, dir_fd=trail[-1]))
        return os.open(".", flags & ~os.O_NOFOLLOW, mode, dir_fd=trail[-1])
    finally:
        for fd in trail:
            os.close(fd)


def _link(folder: int, name: str) -> str | None:
    """The target of a link; None for anything else, there or not."""
    try:
        return os.readlink(name, dir_fd=folder)
    except OSError as error:
        if error.errno not in (EINVAL, ENOENT):
            raise
    return None


def _refusal(error: OSError | ValueError, path: str) -> SampanError:
    shown = path[:200]
    if isinstance(error, ValueError):
        return Invalid(f"{shown!r} is not a file name", exit_code=126)
    if error.errno in (ENOENT, ENOTDIR):
        return NotFound(f"{shown!r} is not there ({error.strerror})", exit_code=127)
    if error.errno in (ELOOP, ENAMETOOLONG, EISDIR, EINVAL, ENXIO, ENODEV, EAGAIN):
        return Invalid(f"{shown!r} cannot be opened: {error.strerror}", exit_code=126)
    mapped = from_os_error(error, f"open {shown!r}")
    return Denied(mapped.message, exit_code=126) if isinstance(mapped, Denied) else mapped
