"""System calls that Python has no function for, made by ctypes with `errno` turned into `OSError`.

One mechanism for every Python: `os.setns` and `os.unshare` exist from 3.12 only. ctypes (5 ms) is loaded by
the first call; a process that is about to lose its file system calls `load()` before, and needs no import
after. It refuses nothing and checks nothing: what an argument may be is the business of the modules beside
it.
"""

from __future__ import annotations

import os

from sampan.linux.numbers import ARCHITECTURE, NUMBERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_quick: Callable[..., int] | None = None
_slow: Callable[..., int] | None = None
_get_errno: Callable[[], int]


def load() -> None:
    """Make `call` ready, so that it imports and opens nothing from here on."""
    global _quick, _slow, _get_errno
    if _quick is None:
        import ctypes

        _get_errno = ctypes.get_errno
        # PyDLL keeps the interpreter lock: cheaper, and no other thread runs in between.
        _slow = _syscall_of(ctypes.CDLL(None, use_errno=True))
        _quick = _syscall_of(ctypes.PyDLL(None, use_errno=True))


def _syscall_of(library: Any) -> Callable[..., int]:
    import ctypes

    function: Any = library.syscall
    function.restype = ctypes.c_long
    function.argtypes = [ctypes.c_long] + [ctypes.c_void_p] * 6
    return function  # type: ignore[no-any-return]


def call(name: str, *args: Any, slow: bool = False) -> int:
    """The result of one system call.

    Args:
        name: as in the manual's section 2.
        args: up to six integers, `None` (a null pointer), `bytes` (a NUL is added) or ctypes pointers.
        slow: it may block for long, so let other threads run meanwhile.

    Raises:
        OSError: the call failed; ENOSYS also where this architecture has no such call.
    """
    load()
    function = _slow if slow else _quick
    assert function is not None
    result = function(NUMBERS[name][ARCHITECTURE], *args, *(0,) * (6 - len(args)))
    if result == -1:
        number = _get_errno()
        raise OSError(number, os.strerror(number))
    return result
