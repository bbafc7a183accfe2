"""What a guest is given and what it is not: arguments, environment, folders. Rows W13 to W16, W22."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sampan.core.errors import SampanError
from sampan.engine import wasi
from sampan.engine.grants import Grants, Limits, Preopen

if TYPE_CHECKING:
    from tests.engine.conftest import RunGuest, Script

SUCCESS, BADF, ILSEQ, INVAL, LOOP, NAMETOOLONG, NOENT, NOTDIR, PERM = 0, 8, 25, 28, 32, 37, 44, 54, 63
DIRECTORY, TRUNCATE = 2, 8  # open flags

# Writes its arguments or its environment to stdout, as they are in memory: each ends with a NUL byte.
TELL = """(module
  (import "wasi_snapshot_preview1" "{0}_sizes_get" (func $sizes (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "{0}_get" (func $get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (func (export "_start")
    (drop (call $sizes (i32.const 0) (i32.const 12)))
    (drop (call $get (i32.const 1024) (i32.const 65536)))
    (i32.store (i32.const 8) (i32.const 65536))
    (drop (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 4)))))"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    base = tmp_path / "guest-root"
    (base / "sub").mkdir(parents=True)
    (base / "file").write_bytes(b"content")
    (base / "absolute").symlink_to("/etc/passwd")
    (base / "upwards").symlink_to("../..")
    (base / "inside").symlink_to("file")
    (tmp_path / "secret").write_bytes(b"secret")
    return base


def granted(folder: Path, *, read_only: bool = False) -> Grants:
    return Grants(args=["guest"], preopens=[Preopen(str(folder), "/", read_only)])


def errnos(run_guest: RunGuest, script: Script, grants: Grants) -> list[int]:
    outcome = run_guest(script.text(), grants)
    assert (outcome.code, outcome.reason, outcome.message) == (0, "exited", "")
    return list(outcome.stdout)


# -- arguments, environment, standard streams


def test_arguments_arrive_as_they_are(run_guest: RunGuest) -> None:
    args = ["/app.wasm", "", "two words", "ümläut", "-x"]
    assert run_guest(TELL.format("args"), Grants(args=args)).stdout.decode().split("\0")[:-1] == args


def test_the_environment_is_what_is_granted_and_the_last_value_wins(run_guest: RunGuest) -> None:
    env = ["A=1", "B=x=y", "A=2", "EMPTY="]
    outcome = run_guest(TELL.format("environ"), Grants(env=env))
    assert outcome.stdout.split(b"\0")[:-1] == [b"B=x=y", b"A=2", b"EMPTY="]


def test_without_a_grant_there_is_no_environment(run_guest: RunGuest) -> None:
    assert run_guest(TELL.format("environ")).stdout == b""


@pytest.mark.parametrize(
    "grants",
    [
        Grants(args=["a\0b"]),
        Grants(args=["\udcff"]),
        Grants(env=["NOVALUE"]),
        Grants(env=["=value"]),
        Grants(env=["A=\0"]),
        Grants(preopens=[Preopen("/\0", "/")]),
    ],
)
def test_what_cannot_be_passed_on_is_invalid(grants: Grants) -> None:
    with pytest.raises(SampanError) as error:
        wasi.configure(grants, network=False)
    assert error.value.kind == "INVALID"


@pytest.mark.parametrize(("name", "kind"), [("gone", "NOT_FOUND"), ("file", "INVALID")])
def test_a_folder_that_cannot_be_opened_is_named(folder: Path, name: str, kind: str) -> None:
    with pytest.raises(SampanError) as error:
        wasi.configure(granted(folder / name), network=False)
    assert error.value.kind == kind
    assert name in str(error.value)


def test_standard_streams_are_the_process_own(run_guest: RunGuest) -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1) (data (i32.const 0) "\\00\\04\\00\\00\\40\\00\\00\\00")
      (func (export "_start")
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))"""
    outcome = run_guest(text, stdin=b"from the host")
    assert outcome.stdout == outcome.stderr == b"from the host"


# -- folders


def test_without_a_grant_there_is_no_folder(run_guest: RunGuest, script: Script) -> None:
    script.open(3, b"file").call("fd_prestat_get", 3, 128)
    assert errnos(run_guest, script, Grants(args=["guest"])) == [BADF, BADF]


def test_W13_paths_that_leave_the_folder_fail(run_guest: RunGuest, script: Script, folder: Path) -> None:
    wanted = {
        b"../secret": PERM,
        b"/etc/passwd": PERM,
        b"absolute": PERM,
        b"upwards/secret": PERM,
        b"upwards": PERM,
        b"sub/../../secret": PERM,
        b"sub/../../../../../../etc/passwd": PERM,
        b"..": PERM,
        b"a" * 300: NAMETOOLONG,
        b"\xff\xfe": ILSEQ,
        b"fi\0le": INVAL,
        b"": NOENT,
        b"file/": NOTDIR,
        b"inside": SUCCESS,
        b"sub/../file": SUCCESS,
    }
    for path in wanted:
        script.open(3, path)
    assert errnos(run_guest, script, granted(folder)) == list(wanted.values())


def test_W14_links_that_a_guest_makes_lead_nowhere_outside(
    run_guest: RunGuest, script: Script, folder: Path
) -> None:
    script.call("path_symlink", b"/etc/passwd", 3, b"made-absolute")
    script.call("path_symlink", b"../secret", 3, b"made-upwards").open(3, b"made-upwards")
    script.open(3, b"made-upwards", follow=0)
    script.call("path_link", 3, 1, b"upwards/secret", 3, b"hard")
    assert errnos(run_guest, script, granted(folder)) == [PERM, SUCCESS, PERM, LOOP, INVAL]
    assert not (folder / "hard").exists()


def test_W14_a_folder_that_moves_while_it_is_open_stays_inside(
    run_guest: RunGuest, script: Script, folder: Path
) -> None:
    script.open(3, b"sub", flags=DIRECTORY).call("path_rename", 3, b"sub", 3, b"moved")
    script.open(4, b"..", flags=DIRECTORY).open(4, b"../file").open(4, b"../../secret")
    assert errnos(run_guest, script, granted(folder)) == [SUCCESS, SUCCESS, PERM, PERM, PERM]


def test_W14_nothing_is_linked_or_moved_into_a_read_only_folder(
    run_guest: RunGuest, script: Script, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "writable").mkdir()
    (tmp_path / "writable" / "own").write_bytes(b"own")
    for source, name, target in ((4, b"own", 3), (3, b"file", 4)):
        script.call("path_link", source, 0, name, target, b"linked")
        script.call("path_rename", source, name, target, b"moved")
    grants = granted(folder, read_only=True)
    grants.preopens.append(Preopen(str(tmp_path / "writable"), "/writable"))
    assert errnos(run_guest, script, grants) == [PERM] * 4
    assert os.listdir(tmp_path / "writable") == ["own"]
    assert (folder / "file").read_bytes() == b"content"


CHANGES = {
    "create": lambda s: s.open(3, b"new", create=True, write=True),
    "open for writing": lambda s: s.open(3, b"file", write=True),
    "open to truncate": lambda s: s.open(3, b"file", flags=TRUNCATE, write=True),
    "rename": lambda s: s.call("path_rename", 3, b"file", 3, b"renamed"),
    "unlink": lambda s: s.call("path_unlink_file", 3, b"inside"),
    "make a folder": lambda s: s.call("path_create_directory", 3, b"made"),
    "remove a folder": lambda s: s.call("path_remove_directory", 3, b"sub"),
    "symbolic link": lambda s: s.call("path_symlink", b"file", 3, b"made"),
    "hard link": lambda s: s.call("path_link", 3, 0, b"file", 3, b"made"),
    "times by path": lambda s: s.call("path_filestat_set_times", 3, 0, b"file", ("i64", 1), ("i64", 1), 5),
    "times of the folder": lambda s: s.call("fd_filestat_set_times", 3, ("i64", 1), ("i64", 1), 5),
    "times by descriptor": lambda s: s.open(3, b"file").call(
        "fd_filestat_set_times", 4, ("i64", 1), ("i64", 1), 5
    ),
    "truncate": lambda s: s.open(3, b"file").call("fd_filestat_set_size", 4, ("i64", 0)),
    "write": lambda s: s.open(3, b"file").call("fd_write", 4, 8, 1, 16),
}


def state_of(folder: Path) -> list[tuple[str, int, int]]:
    return sorted(
        (e.name, e.stat(follow_symlinks=False).st_mtime_ns, e.stat(follow_symlinks=False).st_size)
        for e in os.scandir(folder)
    )


@pytest.mark.parametrize("change", CHANGES)
def test_W16_a_read_only_folder_does_not_change(
    run_guest: RunGuest, script: Script, folder: Path, change: str
) -> None:
    CHANGES[change](script)
    before = state_of(folder)
    last = errnos(run_guest, script, granted(folder, read_only=True))[-1]
    assert last in ((BADF, PERM) if change == "write" else (PERM,))
    assert state_of(folder) == before


@pytest.mark.parametrize(
    "change",
    # reading rights alone never allow the last two
    [c for c in CHANGES if c not in ("truncate", "write", "times of the folder", "times by descriptor")],
)
def test_a_writable_folder_changes(run_guest: RunGuest, script: Script, folder: Path, change: str) -> None:
    CHANGES[change](script)
    before = state_of(folder)
    assert errnos(run_guest, script, granted(folder))[-1] == SUCCESS
    assert state_of(folder) != before or change == "open for writing"


# -- wild pointers

MEMORY = 4 * 65536


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("random_get", (0, -1)),
        ("random_get", (MEMORY - 4, 100)),
        ("fd_write", (1, MEMORY + 1024, 10, 8)),
        ("fd_write", (1, 0, 100_000_000, 8)),
        ("fd_write", (1, 3, 1, 8)),  # misaligned
        ("fd_write", (1, 0, 1, -2)),
        ("fd_read", (0, 0, -1, 8)),
        ("args_get", (-1, -1)),
        ("poll_oneoff", (0, 0, -1, 8)),
        ("poll_oneoff", (0, 0, 0, 8)),
        ("path_open", (3, 0, -1, -1, 0, ("i64", 0), ("i64", 0), 0, -4)),
    ],
)
def test_W22_wild_pointers_and_sizes_fail_or_trap(
    run_guest: RunGuest, script: Script, folder: Path, name: str, arguments: tuple[object, ...]
) -> None:
    script.call(name, *arguments)
    grants = granted(folder).replace(limits=Limits(memory=1 << 20))
    outcome = run_guest(script.text(), grants)
    assert (outcome.code, outcome.reason) in ((0, "exited"), (134, "trap"))
    if outcome.code == 0:
        assert outcome.stdout[0] != SUCCESS


def test_W22_a_million_vectors_that_overlap(run_guest: RunGuest) -> None:
    text = """(module
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 256)
      (func (export "_start") (local $i i32)
        (loop $fill
          (i32.store (i32.mul (local.get $i) (i32.const 8)) (i32.const 0))
          (i32.store offset=4 (i32.mul (local.get $i) (i32.const 8)) (i32.const 1000000))
          (br_if $fill (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1000000) (i32.const 9000000)))))"""
    outcome = run_guest(text, Grants(limits=Limits(memory=32 << 20)))
    assert (outcome.code, outcome.reason) in ((0, "exited"), (134, "trap"))
    assert len(outcome.stdout) <= 1_000_000
