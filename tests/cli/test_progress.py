from __future__ import annotations

import io
import sys
import threading

import pytest

from sampan.doors.cli.progress import Lines, shown


def test_lines_say_how_each_piece_ended(capsys: pytest.CaptureFixture[str]) -> None:
    with shown({}) as progress:
        progress.start("sha256:1", "layer 1", 100)
        progress.start("sha256:2", "layer\x1b 2", None)
        progress.advance("sha256:1", 50)
        progress.finish("sha256:2", "Already exists")
        progress.finish("sha256:1", "Pull complete")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "layer\\x1b 2: Already exists\nlayer 1: Pull complete\n"


def test_quiet_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    with shown({}, quiet=True) as progress:
        progress.start("a", "a", 1)
        progress.finish("a", "done")
    assert capsys.readouterr() == ("", "")


def test_lines_of_threads_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Pieces(io.StringIO):
        def write(self, text: str) -> int:
            taken.append(text)
            return len(text)

    monkeypatch.setattr(sys, "stderr", Pieces())
    lines = Lines()

    def work(name: str) -> None:
        lines.start(name, name, 1)
        lines.finish(name, "done")

    threads = [threading.Thread(target=work, args=(str(number),)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(piece for piece in taken if piece) == sorted(f"{number}: done\n" for number in range(20))
