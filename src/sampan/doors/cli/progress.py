"""How far a pull or a push is: bars on a terminal, plain lines anywhere else, always on standard error.

`rich` draws the bars; it is imported on a terminal only. NO_COLOR and TERM=dumb are kept by it.
"""

from __future__ import annotations

import sys

from sampan.core.errors import printable
from sampan.core.ports import NoProgress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from rich.progress import Progress, TaskID

    from sampan.core import ports


class Shown:
    """A `Progress` for the length of a `with` block."""

    def __init__(self, progress: ports.Progress) -> None:
        self._progress = progress

    def __enter__(self) -> ports.Progress:
        if isinstance(self._progress, Bars):
            self._progress.begin()
        return self._progress

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(self._progress, Bars):
            self._progress.end()


def shown(env: Mapping[str, str], *, quiet: bool = False) -> Shown:
    """Progress on standard error, as fits what standard error is."""
    if quiet or sys.stderr is None:
        return Shown(NoProgress())
    if sys.stderr.isatty() and env.get("TERM") != "dumb":
        return Shown(Bars())
    return Shown(Lines())


class Lines:
    """One line when a piece of work begins and one when it ends."""

    def __init__(self) -> None:
        self._labels: dict[str, str] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        """Says that it begins."""
        self._labels[key] = label

    def advance(self, key: str, done: int) -> None:
        """Nothing: lines are for logs."""

    def finish(self, key: str, text: str) -> None:
        """Says how it ended."""
        line = printable(f"{self._labels.pop(key, key)}: {text}")
        print(f"{line}\n", end="", file=sys.stderr, flush=True)  # one write: other threads print too


class Bars:
    """A bar for each piece of work."""

    def __init__(self) -> None:
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def begin(self) -> None:
        """Starts to draw."""
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[text]}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Console(stderr=True, highlight=False),
        )
        self._progress.start()

    def end(self) -> None:
        """Draws for the last time."""
        if self._progress is not None:
            self._progress.stop()

    def start(self, key: str, label: str, total: int | None) -> None:
        """Adds a bar."""
        assert self._progress is not None
        self._tasks[key] = self._progress.add_task(printable(label), total=total, text="")

    def advance(self, key: str, done: int) -> None:
        """Moves its bar."""
        if self._progress is not None and key in self._tasks:
            self._progress.update(self._tasks[key], completed=done)

    def finish(self, key: str, text: str) -> None:
        """Fills its bar and says how it ended."""
        if self._progress is None or key not in self._tasks:
            return
        number = self._tasks[key]
        total = next(task.total for task in self._progress.tasks if task.id == number)
        self._progress.update(number, text=printable(text), completed=total or 1, total=total or 1)
