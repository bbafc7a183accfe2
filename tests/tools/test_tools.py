"""Tools are built once, whole or not at all; a script plays the Go toolchain, which other tests use for real."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests import tools
from tests.tools import BUILDS, Build, needs, tool

GO = """#!/bin/sh
echo "$@" >>"$CALLS"
case $1.$2 in
mod.download) echo '{"GoMod": "/their/go.mod"}' && exit ;;
mod.edit) echo '{"Replace": [{"Old": {"Path": "example.org/api"}, "New": {"Path": "./staging/api"}},
    {"Old": {"Path": "example.org/old"}, "New": {"Path": "example.org/new"}}]}' && exit ;;
esac
[ ! -e "$CALLS.wanted" ] || grep -q "$(cat "$CALLS.wanted")" go.mod || exit 4
grep -q 'require example.org/peer v1.2.3' go.mod || exit 3
while [ "$1" != -o ]; do shift; done
case $2 in */) touch "$2/${3##*/}" ;; *) touch "$2" ;; esac
exit "${GO_EXIT:-0}"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The command lines that the toolchain was called with."""
    go, calls = tmp_path / "go", tmp_path / "calls"
    go.write_text(GO)
    go.chmod(0o755)
    monkeypatch.setattr(tools, "go_command", lambda: str(go))
    monkeypatch.setitem(
        BUILDS, "peer", Build("example.org/peer", "v1.2.3", "1.21", ("cmd/peer", "cmd/ctl"), ("cmd/check",))
    )
    monkeypatch.setenv("SAMPAN_TOOLS", str(tmp_path / "kept"))
    monkeypatch.setenv("CALLS", str(calls))
    return calls


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_tool_is_its_packages_and_its_test_binaries(calls: Path, tmp_path: Path) -> None:
    folder = tool("peer")
    assert folder == tmp_path / "kept" / "peer-v1.2.3"
    assert names(folder) == ["check", "ctl", "peer"]
    assert [line.split()[0] for line in calls.read_text().splitlines()] == ["build", "build", "test"]


def test_folders_of_the_modules_tree_are_taken_as_they_are_published(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = BUILDS["peer"]._replace(tests=(), staging="v0.2.3", variable="example.org/api/version.version")
    monkeypatch.setitem(BUILDS, "peer", build)
    Path(f"{calls}.wanted").write_text("^replace example.org/api => example.org/api v0.2.3$")
    assert tool("peer") is not None
    *asked, built, _ = calls.read_text().splitlines()
    assert asked == ["mod download -json example.org/peer@v1.2.3", "mod edit -json /their/go.mod"]
    assert "-X example.org/api/version.version=v1.2.3" in built


def test_who_asks_at_once_gets_one_build(calls: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(tool, ["peer"] * 8))
    assert len(folders) == 1
    assert len(calls.read_text().splitlines()) == 3


def test_a_build_that_fails_leaves_nothing_and_says_why(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GO_EXIT", "1")
    with pytest.raises(RuntimeError, match=r"go build .* example\.org/peer/cmd/peer"):
        tool("peer")
    assert names(tmp_path / "kept") == ["tools.lock"]
    monkeypatch.setenv("GO_EXIT", "0")
    assert tool("peer") is not None


def test_without_go_a_test_says_what_it_lacks(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools, "go_command", lambda: None)
    assert tool("peer") is None
    skip = needs("peer")[0]
    assert skip.args == (True,)
    assert skip.kwargs["reason"] == "the Go toolchain, which builds peer, is not here"
    assert not calls.exists()


def test_a_tool_that_was_built_needs_no_go(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tool("peer")
    monkeypatch.setattr(tools, "go_command", lambda: None)
    assert tool("peer") == folder
    assert needs("peer")[0].args == (False,)
