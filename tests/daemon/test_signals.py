"""Signals that end a server."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import signal, sys, threading
from sampan.daemon.signals import Ending

def interrupt(frame, event, argument):
    signal.raise_signal(signal.SIGTERM)
    return interrupt

signal.signal(signal.SIGALRM, lambda *_: signal.raise_signal(signal.SIGTERM))
ending = Ending()
{when}
ending.wait()
"""


@pytest.mark.parametrize(
    "when",
    [
        pytest.param("signal.raise_signal(signal.SIGINT)", id="before it is waited for"),
        pytest.param("signal.setitimer(signal.ITIMER_REAL, 0.1)", id="while it is waited for"),
        pytest.param("sys.settrace(interrupt)", id="at each line of what waits"),
        pytest.param(
            "threading.Timer(0.1, signal.raise_signal, [signal.SIGTERM]).start()", id="by another thread"
        ),
    ],
)
def test_a_signal_is_heard(when: str) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM.format(when=when)], check=True, timeout=30)
