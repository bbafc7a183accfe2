"""`containerd-shim-sampan-v1`: what containerd asks of the program itself: start, delete, what it is, its version.

The words are Go's, with one dash: `-namespace NS -address SOCKET -publish-binary PATH -id ID [-bundle PATH] start`.
What `start` prints is the address of the server, or of containerd's newer kind, a document with it; nothing else may be
on standard output or error. Every failure is one sentence on standard error, and exit code 1.
"""

from __future__ import annotations

import os
import sys

import sampan
from sampan.container.starting import wake_zygote
from sampan.core.errors import Internal, SampanError, from_os_error
from sampan.core.roots import Roots, default_roots
from sampan.doors.shim.pod import Wish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import NoReturn

VALUES = ("namespace", "address", "publish-binary", "id", "bundle", "socket")
SWITCHES = ("debug", "v", "version", "info", "h", "help")
CONFIG = "config.json"
NEWER = "MAX_SHIM_VERSION"
"""An environment variable that containerd has set since it takes documents from `start`."""
COLD = "SAMPAN_SHIM_COLD"
"""An environment variable: there was no zygote for the launcher, or not for this caller."""
USAGE = "it is started by containerd, with -namespace, -address and -id, and: start or delete"


class UsageError(SampanError):
    kind = "INVALID"


def main(argv: list[str]) -> int:
    """Runs one command line in a process of its own, with the program's own name in front; the exit code."""
    code, serve = run(argv, is_warm=False)
    if serve is not None and os.fork() == 0:
        try:
            serve()
        finally:
            os._exit(1)
    return code


def run(argv: list[str], *, is_warm: bool) -> tuple[int, Callable[[], NoReturn] | None]:
    """Runs one command line; the exit code, and what makes a process the server that it began. Never raises.

    Args:
        is_warm: whether this process was forked by a zygote.
    """
    serve = None
    try:
        flags, operands = parse(argv[1:])
        if flags.keys() & {"v", "version"}:
            _print(f"{os.path.basename(argv[0])} {sampan.__version__}\n".encode())
        elif "info" in flags:
            from sampan.doors.shim.info import runtime_info

            _print(runtime_info(runtime_of(argv[0])).encode())
        elif operands == ["start"]:
            wish = _wish(argv[0], flags, os.environ)
            if not is_warm:
                _come_back_warm(argv, wish)
            address, serve = _start(wish)
            _print(address)
        elif operands == ["delete"]:
            from sampan.doors.shim.deletion import delete

            _print(delete(_wish(argv[0], flags, os.environ)).encode())
        else:
            raise UsageError(USAGE)
    except BaseException as error:  # the outermost edge: containerd gets one sentence
        return _report(error), None
    return 0, serve


def _come_back_warm(argv: list[str], wish: Wish) -> None:
    """Starts the launcher again, once, now that there is a zygote: what it forks shares the engine and our code."""
    if COLD in os.environ or not os.access(argv[0], os.X_OK) or not os.path.exists(f"{wish.bundle}/{CONFIG}"):
        return
    try:
        wake_zygote(Roots(wish.data, wish.run))
        os.execve(argv[0], argv, os.environ | {COLD: "1"})
    except (SampanError, OSError):  # then the server has an interpreter of its own
        return


def _start(wish: Wish) -> tuple[bytes, Callable[[], NoReturn] | None]:
    from sampan.doors.shim.server import address_for

    address, serve = address_for(wish)
    if NEWER in os.environ:
        address = f'{{"version":3,"address":"{address}","protocol":"ttrpc"}}'
    return address.encode(), serve


def parse(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """The flags by their names, and the operands, as Go reads them.

    Raises:
        UsageError: a flag that is not known, or has no value.
    """
    flags: dict[str, str] = {}
    left = list(words)
    while left and left[0].startswith("-") and left[0] not in ("-", "--"):
        name, equals, value = left.pop(0).lstrip("-").partition("=")
        if name in VALUES:
            if not equals and not left:
                raise UsageError(f"the flag -{name} needs a value")
            flags[name] = value if equals else left.pop(0)
        elif name in SWITCHES:
            flags[name] = value
        else:
            raise UsageError(f"there is no flag -{name[:40]}", fix=USAGE)
    return flags, left


def _wish(program: str, flags: dict[str, str], env: Mapping[str, str]) -> Wish:
    missing = [name for name in ("namespace", "address", "id") if not flags.get(name)]
    if missing:
        raise UsageError(f"the flag -{missing[0]} is missing", fix=USAGE)
    roots = default_roots(os.geteuid(), env)
    return Wish(
        runtime=runtime_of(program),
        namespace=flags["namespace"],
        address=flags["address"],
        id=flags["id"],
        bundle=os.path.abspath(flags.get("bundle") or "."),
        data=roots.data,
        run=roots.run,
        events=env.get("TTRPC_ADDRESS", ""),
        debug="debug" in flags,
    )


def runtime_of(program: str) -> str:
    """The runtime that a program of this name is: `wasmedge` of `/bin/containerd-shim-wasmedge-v1`."""
    name = os.path.basename(program)
    if name.startswith("containerd-shim-") and name.count("-") >= 3:
        return name.removeprefix("containerd-shim-").rpartition("-")[0]
    return "sampan"


def _print(data: bytes) -> None:
    while data:
        data = data[os.write(1, data) :]


def _report(error: BaseException) -> int:
    if isinstance(error, OSError):
        error = from_os_error(error, "go on")
    if not isinstance(error, SampanError):
        error = Internal(f"a fault of the shim: {type(error).__name__}: {error}")
    try:
        print(f"containerd-shim-sampan: {error}", file=sys.stderr, flush=True)
    except OSError:  # nobody is there to be told
        pass
    return 1
