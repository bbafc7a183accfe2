"""The runtime's options of a Create: runc's, which containerd's users know, or CRI's TOML. Others are passed over."""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.record import Record
from sampan.doors.shim.messages import RuncOptions, RuntimeOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.shim.messages import Any

RUNC, CRI = "containerd.runc.v1.Options", "runtimeoptions.v1.Options"


class Options(Record):
    """`binary_name` is a path of the runtime for Linux containers, "" for the usual one."""

    systemd_cgroup: bool = False
    binary_name: str = ""


def read_options(given: Any | None) -> Options:
    """What of the options means something here.

    Raises:
        Invalid: they are not what their type says.
    """
    kind = given.type_url.rpartition("/")[2] if given is not None else ""
    if given is None or kind not in (RUNC, CRI):
        return Options()
    if kind == RUNC:
        options = RuncOptions.decode(given.value)
        path = options.binary_name if options.binary_name.startswith("/") else ""
        return Options(options.systemd_cgroup, path)
    return _from_toml(RuntimeOptions.decode(given.value).config_body)


def _from_toml(body: bytes) -> Options:
    if not body:
        return Options()
    import tomllib

    try:
        document = tomllib.loads(body.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the runtime's options are not TOML: {error}") from error
    systemd, binary = document.get("SystemdCgroup", False), document.get("BinaryName", "")
    if not isinstance(systemd, bool) or not isinstance(binary, str):
        raise Invalid("the runtime's options SystemdCgroup and BinaryName are true or false, and a path")
    return Options(systemd, binary if binary.startswith("/") else "")
