"""What is tidied up behind work that was cancelled: in tasks of its own, which a second cancellation does not reach."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

_tasks: set[asyncio.Task[None]] = set()


def afterwards(work: Coroutine[Any, Any, None]) -> None:
    """Has the running loop do something that nobody waits for."""
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


async def cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancels tasks and waits until they have ended, however they do."""
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
