"""From grants to the engine's WASI configuration: nothing that is not granted is there."""

from __future__ import annotations

import os
from ctypes import c_char_p

from sampan.core.errors import Invalid, Precondition, from_os_error
from sampan.engine.binding import C

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.engine.grants import Grants, Preopen


def configure(grants: Grants, *, network: bool) -> int:
    """A `wasi_config_t` for these grants; a store takes it over.

    Args:
        network: whether components may use the process's network and resolve names.

    Raises:
        Invalid: an argument or variable cannot be passed on (a NUL byte, no UTF-8, no `=`).
        NotFound, Denied, Precondition: a folder cannot be opened.
    """
    config: int = C.wasi_config_new()
    try:
        args = [_bytes(arg, "argument") for arg in grants.args]
        C.wasi_config_set_argv(config, len(args), (c_char_p * len(args))(*args))
        env = _environment(grants.env)
        names = (c_char_p * len(env))(*env.keys())
        C.wasi_config_set_env(config, len(env), names, (c_char_p * len(env))(*env.values()))
        C.wasi_config_inherit_stdin(config)
        C.wasi_config_inherit_stdout(config)
        C.wasi_config_inherit_stderr(config)
        for preopen in grants.preopens:
            _preopen(config, preopen)
        if network:
            C.wasi_config_inherit_network(config)
            C.wasi_config_allow_ip_name_lookup(config, True)
    except BaseException:
        C.wasi_config_delete(config)
        raise
    return config


def _environment(entries: list[str]) -> dict[bytes, bytes]:
    env: dict[bytes, bytes] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or not name:
            raise Invalid(f"the environment entry {entry!r} is not NAME=value")
        key = _bytes(name, "environment variable")
        env.pop(key, None)
        env[key] = _bytes(value, f"value of the environment variable {name}")
    return env


def _preopen(config: int, preopen: Preopen) -> None:
    host, guest = _bytes(preopen.host, "folder"), _bytes(preopen.guest, "folder")
    if C.wasi_config_preopen_dir(config, host, guest, not preopen.read_only):
        return
    try:
        os.close(os.open(host, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    except OSError as error:
        raise from_os_error(error, f"open {preopen.host} for the workload") from error
    raise Precondition(f"the folder {preopen.host} cannot be given to the workload")


def _bytes(text: str, what: str) -> bytes:
    try:
        data = text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"the {what} {text!r} is not UTF-8, which WASI demands") from error
    if b"\0" in data:
        raise Invalid(f"the {what} {text!r} has a NUL byte in it")
    return data
