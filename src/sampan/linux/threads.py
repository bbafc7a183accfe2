"""Work in a thread of its own, which ends with it: for what changes namespaces, as those belong to single threads.

setns(2), unshare(2). Nobody has to go back to where the thread was before, so nobody can fail to.
"""

from __future__ import annotations

import _thread
import gc

from sampan.core.errors import Exhausted
from sampan.linux import syscalls

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

_one_at_a_time = _thread.allocate_lock()


def apart(work: Callable[[], T]) -> T:
    """What `work` gives; the caller waits for it.

    Raises:
        Exhausted: no thread can be had. Whatever `work` raises.
    """
    given: list[T] = []
    failures: list[BaseException] = []
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        try:
            given.append(work())
        except BaseException as error:
            failures.append(error)
        finally:
            done.release()

    syscalls.load()
    with _one_at_a_time:
        collecting = gc.isenabled()
        gc.disable()  # a finalizer of somebody else's could start a thread, which would stay there for ever
        try:
            _thread.start_new_thread(run, ())
            done.acquire()
        except RuntimeError as error:
            raise Exhausted("no thread can be had: a limit on threads or memory is reached") from error
        finally:
            if collecting:
                gc.enable()
    if failures:
        raise failures[0]
    return given[0]
