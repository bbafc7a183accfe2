"""Kernel parameters of a container: only those that one of its own namespaces holds. config-linux.md, "Sysctl".

Every other parameter is the host's, and is refused whoever asks. The rules are runc's.
"""

from __future__ import annotations

from errno import EINVAL, ERANGE

from sampan.core.errors import Invalid, NotFound, SampanError, from_os_error
from sampan.linux import procfs

MAX_VALUE = 4096
IPC = """
kernel.msgmax kernel.msgmnb kernel.msgmni kernel.sem kernel.shmall kernel.shmmax kernel.shmmni kernel.shm_rmid_forced
""".split()  # noqa: SIM905 - a table to read


def check(values: dict[str, str], made: set[str]) -> None:
    """Refuse what would change the host.

    Args:
        values: by name, with dots: `net.ipv4.ip_forward`.
        made: OCI's names of the namespaces that the container does not share with the host.

    Raises:
        Invalid: the parameter is in no namespace, or in one that is the host's; a malformed name or value.
    """
    for name, value in values.items():
        shown = repr(name[:100])
        parts = name.split(".")
        if not all(parts) or "/" in name or not name.isascii() or not name.isprintable():
            raise Invalid(f"the sysctl {shown} is malformed", fix="write it with dots: net.ipv4.ip_forward")
        if "\0" in value or len(value.encode(errors="replace")) > MAX_VALUE:
            raise Invalid(f"the value of the sysctl {shown} has a NUL or more than {MAX_VALUE} bytes")
        if name == "kernel.hostname":
            raise Invalid(f"the sysctl {shown} conflicts with the OCI field hostname", fix="set hostname")
        namespace = _namespace_of(name, parts)
        if not namespace:
            raise Invalid(f"the sysctl {shown} is not in a separate kernel namespace")
        if namespace not in made:
            raise Invalid(
                f"the sysctl {shown} is not allowed in the host's {namespace} namespace",
                fix=f"add a namespace of type {namespace}",
            )


def _namespace_of(name: str, parts: list[str]) -> str:
    if name in IPC or parts[:2] == ["fs", "mqueue"]:
        return "ipc"
    if parts[0] == "net":
        return "network"
    return "uts" if name == "kernel.domainname" else ""


def apply(values: dict[str, str]) -> None:
    """Set the parameters in the namespaces that this process is in; `check` them before.

    Raises:
        NotFound: the kernel does not have one. Invalid: it refuses a value. Denied: no right to.
    """
    for name, value in values.items():
        try:
            procfs.write("sys/" + name.replace(".", "/"), value)
        except OSError as error:
            raise _refusal(error, name, value) from error


def _refusal(error: OSError, name: str, value: str) -> SampanError:
    if isinstance(error, FileNotFoundError):
        return NotFound(f"this kernel has no sysctl {name!r} in the container's namespaces")
    if error.errno in (EINVAL, ERANGE):
        return Invalid(f"the kernel refuses the value {value[:40]!r} for the sysctl {name!r}")
    return from_os_error(error, f"set the sysctl {name!r} to {value[:40]!r}")
