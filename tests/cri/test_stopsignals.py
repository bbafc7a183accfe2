"""The API's signals."""

from __future__ import annotations

import signal

import pytest

from sampan.core.errors import Invalid
from sampan.core.signals import number_of
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.specs.stopsignals import signal_of, spelled


@pytest.mark.parametrize("name", [name for name in api.Signal.keys() if name != "SIGNAL_RUNTIME_DEFAULT"])  # noqa: SIM118
def test_each_value_is_the_signal_of_its_name(name: str) -> None:
    value = api.Signal.Value(name)
    short = name.removeprefix("SIGNAL_")
    base, _, offset = short.replace("PLUS", " ").replace("MINUS", " -").partition(" ")
    wanted = getattr(signal, base) + int(offset or 0)
    assert number_of(spelled(value)) == wanted
    assert number_of(spelled(signal_of(spelled(value)))) == wanted


def test_the_usual_names_are_told() -> None:
    told = {signal_of(text) for text in ("SIGABRT", "6", "IO", "chld")}
    assert told == {api.SIGNAL_SIGABRT, api.SIGNAL_SIGIO, api.SIGNAL_SIGCHLD}


def test_the_runtimes_choice_is_spelled_by_nothing() -> None:
    assert spelled(api.SIGNAL_RUNTIME_DEFAULT) == ""
    with pytest.raises(Invalid):
        signal_of("SIGNOTHING")
