"""The signals that end a container: caught, and heard of through a descriptor."""

from __future__ import annotations

import _signal
import os

ENDING_SIGNALS = (
    _signal.SIGHUP,
    _signal.SIGINT,
    _signal.SIGQUIT,
    _signal.SIGABRT,
    _signal.SIGUSR1,
    _signal.SIGUSR2,
    _signal.SIGALRM,
    _signal.SIGTERM,
    _signal.SIGSTKFLT,
    _signal.SIGXCPU,
    _signal.SIGVTALRM,
    _signal.SIGPROF,
    _signal.SIGIO,
    _signal.SIGPWR,
    *range(_signal.SIGRTMIN, _signal.SIGRTMAX + 1),
)
"""All that end a process by default and are no fault of its own: the first process of a pid namespace would not even
notice those that it does not catch."""


class Signals:
    """Catches the signals that end a container, from before the workload can start."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        _signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        for number in ENDING_SIGNALS:
            _signal.signal(number, lambda *_: None)
        _signal.signal(_signal.SIGPIPE, _signal.SIG_IGN)
        _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, [])

    def caught(self) -> int:
        """The first signal that came, or 0."""
        try:
            numbers = os.read(self.fd, 64)
        except BlockingIOError:
            return 0
        return next((n for n in numbers if n in ENDING_SIGNALS), 0)
