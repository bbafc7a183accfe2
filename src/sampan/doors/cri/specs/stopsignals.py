"""The signals of the API's enumeration, and how images, specs and people spell them."""

from __future__ import annotations

from sampan.core.signals import FIRST_REAL_TIME, LAST, number_of
from sampan.doors.cri.api import runtime_pb2 as api

_ALIASES = {"CLD": "CHLD", "IOT": "ABRT", "POLL": "IO"}


def spelled(signal: api.Signal) -> str:
    """A signal as `core.signals` reads it; empty for the runtime's choice."""
    return str(_NUMBERS[signal]) if signal in _NUMBERS else ""


def signal_of(text: str) -> api.Signal:
    """The API's value for `SIGTERM`, `TERM`, `15` or `RTMIN+3`.

    Raises:
        Invalid: there is no such signal.
    """
    number = number_of(text)
    for value, known in _NUMBERS.items():
        if known == number:
            return value
    return api.SIGNAL_SIGTERM


def _number(name: str) -> int:
    name = name.removeprefix("SIGNAL_SIG")
    if name.startswith("RTMIN"):
        return FIRST_REAL_TIME + int(name.removeprefix("RTMIN").removeprefix("PLUS") or 0)
    if name.startswith("RTMAX"):
        return LAST - int(name.removeprefix("RTMAX").removeprefix("MINUS") or 0)
    return number_of(_ALIASES.get(name, name))


_USUAL_FIRST = sorted(api.Signal.keys(), key=lambda name: name.removeprefix("SIGNAL_SIG") in _ALIASES)
_NUMBERS: dict[api.Signal, int] = {
    getattr(api, name): _number(name) for name in _USUAL_FIRST if name != "SIGNAL_RUNTIME_DEFAULT"
}
