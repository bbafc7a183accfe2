"""The flags that `stop` and `restart` share: which signal, and how long to wait before the container is killed."""

from __future__ import annotations

from sampan.container import ending
from sampan.core.commandline import Option, setting
from sampan.core.errors import NotFound
from sampan.core.signals import number_of
from sampan.core.units import parse_duration

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.commandline import Arguments
    from sampan.core.roots import Roots

FOR_GOOD = "-1"
OPTIONS = [
    setting("signal", "SIGNAL", "The signal to send (default: the container's own, SIGTERM)", "s"),
    setting(
        "timeout", "SECONDS", "How long to wait before it is killed, -1 for good (default: its own, 10)", "t"
    ),
    Option("time", "The same as --timeout", value="SECONDS", same_as="timeout"),
]


class Stop:
    """How a command line wants containers to be stopped.

    Raises:
        Invalid: no such signal, or no length of time.
    """

    def __init__(self, args: Arguments) -> None:
        self._signal = number_of(args.value("signal")) if args.given("signal") else 0
        text = args.value("timeout")
        self._waits_for_good = text == FOR_GOOD
        self._timeout = parse_duration(text, "timeout") if text and not self._waits_for_good else None

    def stop(self, entry: Entry, roots: Roots) -> None:
        """Stops a container; one that does not run, or goes away meanwhile, is stopped already."""
        container = entry.container
        timeout = container.stop_timeout if self._timeout is None else self._timeout
        number = self._signal or number_of(container.stop_signal)
        try:
            ending.stop(entry, roots, number, None if self._waits_for_good else timeout)
        except NotFound:  # started with --rm: it goes when it ends
            return
