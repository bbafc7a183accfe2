"""Fingerprints: equal for equal engines, different for all else."""

from __future__ import annotations

import os

import pytest

from sampan.engine import tuning
from sampan.engine.tuning import Tuning, fingerprint


def test_every_part_of_the_code_changes_the_fingerprint(
    monkeypatch: pytest.MonkeyPatch, tmp_path: os.PathLike[str]
) -> None:
    seen = {fingerprint(Tuning()), fingerprint(Tuning(fuel=True)), fingerprint(Tuning(epochs=True))}
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "_processor", lambda: "another processor")
        seen.add(fingerprint(Tuning()))
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "CODE_FORMAT", 99)
        seen.add(fingerprint(Tuning()))
    library = os.path.join(tmp_path, "library")
    os.mknod(library)
    with monkeypatch.context() as patched:
        patched.setattr(tuning, "library_path", lambda: library)
        seen.add(fingerprint(Tuning()))
    assert len(seen) == 6


def test_what_is_not_in_the_code_does_not_change_it() -> None:
    assert fingerprint(Tuning(stack=1 << 20)) == fingerprint(Tuning())


def test_it_is_one_line() -> None:
    assert "\n" not in fingerprint(Tuning())
    assert tuning._processor().startswith(os.uname().machine)
