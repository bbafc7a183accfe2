"""A bundle's `config.json`: read, and refused for everything that can be told before anything is made. bundle.md

The document is the caller's, and may be anything: only a regular file of a bounded size is read, never through a
link, and never waited for. It changes nothing and makes nothing.
"""

from __future__ import annotations

import os
from errno import ELOOP, ENOTDIR
from stat import S_ISREG

from sampan.core import strictjson
from sampan.core.errors import Exhausted, Invalid, NotFound, from_os_error
from sampan.core.spec.checks import check_common
from sampan.core.spec.linuxchecks import check_linux
from sampan.core.spec.runtime import Spec
from sampan.linux.files import read_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Namespace

CONFIG = "config.json"
MAX_CONFIG = 4 << 20
_FILES = {"mount": "mnt", "network": "net"}  # of /proc/PID/ns, where they are not called as OCI does


def read_bundle(folder: str) -> Spec:
    """The spec of the bundle in `folder`; what it says is not yet checked.

    Raises:
        NotFound: there is no such folder, or no config.json in it.
        Invalid: it is not a regular file, not JSON, or not a spec. Exhausted: more than 4 MiB.
    """
    return Spec.from_json(_document(folder), CONFIG)


def read_annotation(folder: str, name: str) -> str:
    """One annotation of the bundle in `folder`, "" where it is not there; what else its spec says is not looked at.

    Raises:
        As `read_bundle`, but for what is not a spec.
    """
    document = _document(folder)
    annotations = document.get("annotations") if isinstance(document, dict) else None
    value = annotations.get(name) if isinstance(annotations, dict) else None
    return value if isinstance(value, str) else ""


def _document(folder: str) -> object:
    try:
        fd = _open(folder)
    except ValueError as error:
        raise Invalid(f"the bundle's path {folder[:60]!r} has a NUL byte in it") from error
    what = f"{CONFIG} of the bundle {folder}"
    try:
        if not S_ISREG(os.fstat(fd).st_mode):
            raise Invalid(f"{what} is not a regular file")
        data = read_all(fd, MAX_CONFIG)
    except OSError as error:
        raise from_os_error(error, f"read {what}") from error
    finally:
        os.close(fd)
    if len(data) > MAX_CONFIG:
        raise Exhausted(f"{what} has more than {MAX_CONFIG} bytes")
    return strictjson.loads(data, what=what, limit=MAX_CONFIG)


def _open(folder: str) -> int:
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        inside = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise NotFound(f"there is no bundle {folder}", fix="name its folder by --bundle") from error
    except OSError as error:
        if error.errno == ENOTDIR:
            raise Invalid(f"the bundle {folder} is not a folder") from error
        raise from_os_error(error, f"open the bundle {folder}") from error
    try:
        return os.open(CONFIG, flags, dir_fd=inside)
    except FileNotFoundError as error:
        raise NotFound(f"JSON specification file {CONFIG} not found in the bundle {folder}") from error
    except OSError as error:
        if error.errno == ELOOP:
            raise Invalid(f"{CONFIG} of the bundle {folder} is a symbolic link") from error
        raise from_os_error(error, f"open {CONFIG} of the bundle {folder}") from error
    finally:
        os.close(inside)


def check_spec(spec: Spec) -> None:
    """Refuse a spec that cannot be followed; nothing has been made yet.

    Raises:
        Invalid: a value is missing, malformed or out of range; the error names the field.
        Exhausted: there is too much of something. Unimplemented: this host cannot do what is asked for.
    """
    check_common(spec)
    check_linux(spec)
    if spec.process is not None and (spec.process.apparmor_profile or spec.process.selinux_label):
        from sampan.linux import labels

        labels.check(spec.process)
    if spec.linux is not None:
        if spec.linux.sysctl:
            from sampan.linux import sysctls

            sysctls.check(spec.linux.sysctl, _own_namespaces(spec.linux.namespaces))
        if spec.linux.seccomp is not None:
            from sampan.linux import profiles

            profiles.check_profile(spec.linux.seccomp)


def _own_namespaces(namespaces: list[Namespace]) -> set[str]:
    """The types of those that are not this process's own: one that is joined by a path may be the host's."""
    own = set()
    for namespace in namespaces:
        try:
            here = f"/proc/self/ns/{_FILES.get(namespace.type, namespace.type)}"
            if not namespace.path or not os.path.samefile(namespace.path, here):
                own.add(namespace.type)
        except OSError:  # there is no such file: joining it says so
            own.add(namespace.type)
    return own
