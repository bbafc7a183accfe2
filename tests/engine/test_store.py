"""What the engine's words mean."""

from __future__ import annotations

import pytest

from sampan.engine.store import Runs, cause


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("unknown import: `a::b` has not been defined", "unknown import: `a::b` has not been defined"),
        (
            "error while executing at wasm backtrace:\n    0: 0x24 - m!f\n\nCaused by:\n    wasm trap: boom\n",
            "wasm trap: boom",
        ),
        (
            "error while executing:\n\nCaused by:\n    0: memory fault\n    1: wasm trap: out of bounds\n",
            "memory fault: wasm trap: out of bounds",
        ),
        ("failed\n\nCaused by:\n    at once (at offset 0x0)\n", "failed: at once (at offset 0x0)"),
        ("", ""),
    ],
)
def test_the_cause_is_one_line(text: str, reason: str) -> None:
    assert cause(text) == reason


def test_runs_do_not_see_each_others_codes() -> None:
    runs = Runs()
    first, second = runs.begin(), runs.begin()
    runs.exit(first, 3)
    assert (runs.exit_code(first), runs.exit_code(second)) == (3, None)
    runs.end(first)
    assert runs.exit_code(first) is None
