"""Several pieces of work at once, on threads that never outlast the first failure or an interrupt for long."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Check = Callable[[], None]


class Stopped(Exception):
    """Raised inside work that is no longer wanted; never seen outside."""


def in_parallel(jobs: Sequence[Callable[[Check], None]], most: int) -> None:
    """Do all the jobs, at most `most` at a time.

    Args:
        jobs: each is given a function to call now and then, which raises when the others have failed.

    Raises:
        Exception: what the first failing job raised; the others have ended then. An interrupt does not wait.
    """
    import threading

    waiting = list(reversed(jobs))
    failures: list[Exception] = []
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped

    def run() -> None:
        try:
            while waiting and not stop.is_set():
                try:
                    job = waiting.pop()
                except IndexError:
                    return
                job(check)
        except Stopped:
            pass
        except Exception as error:
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(most, len(jobs)))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        stop.set()
    if failures:
        raise failures[0]
