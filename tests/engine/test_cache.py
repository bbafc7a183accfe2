"""The cache of compiled code: what is wrong is never loaded, and nothing on the disk stops a run (W26, W27, F28)."""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.engine import cache as cache_module
from sampan.engine import program as program_module
from sampan.engine.cache import CodeCache
from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants
from sampan.engine.program import Engine

SOURCE = Path(__file__).parents[2] / "src"
MUTATIONS = 1000 if os.environ.get("SAMPAN_SWEEP") == "full" else 200
FULL = "/dev/full"


def guest(code: int) -> bytes:
    return wat_to_wasm(
        f"""(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
        (memory (export "memory") 1) (func (export "_start") (call $exit (i32.const {code}))))""".encode()
    )


class Counter:
    """Counts compilations, and what is handed to the engine as compiled code."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.compiled = 0
        self.mapped: list[bytes] = []
        compile_file, map_code = program_module.compile_file, program_module.map_code

        def counting_compile(*arguments: object, **options: object) -> object:
            self.compiled += 1
            return compile_file(*arguments, **options)  # type: ignore[arg-type]

        def counting_map(engine: int, fd: int, kind: str) -> int:
            self.mapped.append(os.pread(fd, 1 << 20, 0))
            return map_code(engine, fd, kind)

        monkeypatch.setattr(program_module, "compile_file", counting_compile)
        monkeypatch.setattr(program_module, "map_code", counting_map)


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Counter:
    return Counter(monkeypatch)


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = len(os.listdir("/proc/self/fd"))
    Engine()  # engines keep none
    yield
    assert len(os.listdir("/proc/self/fd")) == before


class World:
    """A cache in a folder, a module file, an engine."""

    def __init__(self, base: Path, code: int = 7) -> None:
        self.code_folder, self.run_folder = base / "code", base / "run"
        self.cache = CodeCache(str(self.code_folder), str(self.run_folder))
        self.engine = Engine()
        self.source = base / "guest.wasm"
        self.source.write_bytes(guest(code))

    def run(self, source: Path | None = None, engine: Engine | None = None) -> int:
        fd = os.open(source or self.source, os.O_RDONLY)
        try:
            return (engine or self.engine).load(fd, cache=self.cache).run(Grants()).code
        finally:
            os.close(fd)

    @property
    def entry(self) -> Path:
        (entry,) = self.code_folder.iterdir()
        return entry


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inodes count as unchanged at once, instead of after two seconds."""
    monkeypatch.setattr(cache_module, "SETTLED", -(10**12))


# -- the normal case


def test_code_is_compiled_once(world: World, counter: Counter) -> None:
    assert [world.run() for _ in range(3)] == [7, 7, 7]
    assert counter.compiled == 1
    assert stat.S_IMODE(world.code_folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(world.entry.stat().st_mode) == 0o600


def test_the_same_content_in_another_file_is_known(world: World, counter: Counter, tmp_path: Path) -> None:
    world.run()
    other = tmp_path / "copy"
    other.write_bytes(world.source.read_bytes())
    assert world.run(other) == 7
    assert counter.compiled == 1


def test_another_content_under_the_same_name_is_seen(
    world: World, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    world.run()
    time.sleep(0.02)  # the kernel's clock moves in ticks
    world.source.write_bytes(guest(8))
    assert world.run() == 8
    assert counter.compiled == 2


def test_a_warm_start_reads_no_content(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    world.run()
    world.run()

    def refuse(*_: object) -> str:
        raise AssertionError("hashed again")

    monkeypatch.setattr(cache_module, "_sha256", refuse)
    assert world.run() == 7


def test_an_inode_that_changed_just_now_is_hashed_again(world: World) -> None:
    world.run()
    world.run()
    assert list(world.run_folder.glob("*")) == []


def test_engines_of_another_configuration_have_code_of_their_own(world: World, counter: Counter) -> None:
    assert world.run() == world.run(engine=Engine(fuel=True)) == world.run(engine=Engine(epochs=True)) == 7
    assert counter.compiled == 3
    assert world.run(engine=Engine(fuel=True)) == 7
    assert counter.compiled == 3


def test_W26_code_of_another_library_or_processor_does_not_count(world: World, counter: Counter) -> None:
    world.run()
    world.engine.fingerprint += " and avx1024"
    assert world.run() == 7
    assert counter.compiled == 2


# -- damage: never mapped, deleted, compiled again


def damage(world: World, counter: Counter, change: bytes) -> None:
    """Put `change` in the entry's place; it must not reach the engine, and must be gone afterwards."""
    world.entry.write_bytes(change)
    counter.mapped.clear()
    before = counter.compiled
    assert world.run() == 7
    assert counter.compiled == before + 1
    assert change not in counter.mapped
    assert world.entry.read_bytes() != change


def test_W26_F28_changed_entries_are_compiled_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random flips, cuts, swaps: none may be found. Run against `find` alone, so that there can be many."""
    settle(monkeypatch)
    world.run()
    world.run()
    good, entry = world.entry.read_bytes(), world.entry
    digest, fingerprint = entry.name.split("-")[0], world.engine.fingerprint
    chance = random.Random(28)
    for _ in range(MUTATIONS):
        changed = bytearray(good)
        kind = chance.randrange(4)
        if kind == 0:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del changed[chance.randrange(len(changed)) :]
        elif kind == 2:
            changed += chance.randbytes(chance.randrange(1, 200))
        else:
            place = chance.randrange(len(changed) - 64)
            changed[place : place + 64] = chance.randbytes(64)
        replacement = entry.with_suffix(".new")
        replacement.write_bytes(changed)
        os.chmod(replacement, 0o600)
        os.rename(replacement, entry)
        assert world.cache.find(digest, fingerprint) is None
        assert not entry.exists()
    world.run()
    fd = world.cache.find(digest, fingerprint)
    assert fd is not None
    os.close(fd)


def test_W26_a_flipped_bit_is_seen_even_after_it_was_verified(
    world: World, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(monkeypatch)
    world.run()
    world.run()
    good = world.entry.read_bytes()
    for place in (0, len(good) // 2, len(good) - 200, len(good) - 1):
        time.sleep(0.02)
        good = world.entry.read_bytes()
        damage(world, counter, good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])


@pytest.mark.parametrize("content", [b"", b"x", b"\x7fELF", b"\0" * 100_000])
def test_W26_an_entry_that_is_none_is_compiled_again(world: World, counter: Counter, content: bytes) -> None:
    world.run()
    damage(world, counter, content)


def test_W26_the_entry_of_another_module_does_not_count(
    world: World, counter: Counter, tmp_path: Path
) -> None:
    world.run()
    (tmp_path / "other").mkdir()
    other = World(tmp_path / "other", code=99)
    other.run()
    damage(world, counter, other.entry.read_bytes())


def test_W26_code_that_the_engine_refuses_is_compiled_again(world: World, counter: Counter) -> None:
    """An entry in order, but with code of another configuration in it."""
    world.run(engine=Engine(fuel=True))
    fuel = world.entry
    plain = world.engine.fingerprint
    digest = fuel.name.split("-")[0]
    content = fuel.read_bytes()
    fuel.unlink()
    code = os.memfd_create("code")
    os.write(code, content[: content.index(b"\nsampan 1\t")])
    world.cache.store(digest, plain, code)
    os.close(code)
    before = counter.compiled
    assert world.run() == 7
    assert counter.compiled == before + 1
    assert world.run() == 7
    assert counter.compiled == before + 1


# -- attackers


def test_W26_a_link_is_not_followed(world: World, counter: Counter, tmp_path: Path) -> None:
    world.run()
    entry = world.entry
    moved = tmp_path / "moved"
    os.rename(entry, moved)
    entry.symlink_to(moved)
    assert world.run() == 7
    assert counter.compiled == 2
    assert not world.entry.is_symlink()


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_W26_an_entry_that_others_can_write_does_not_count(world: World, counter: Counter, mode: int) -> None:
    world.run()
    world.entry.chmod(mode)
    assert world.run() == 7
    assert counter.compiled == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777])
def test_W26_a_folder_that_others_can_write_is_not_used(world: World, counter: Counter, mode: int) -> None:
    world.run()
    world.code_folder.chmod(mode)
    assert [world.run(), world.run()] == [7, 7]
    assert counter.compiled == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="giving files away needs root")
def test_W26_an_entry_or_folder_of_another_owner_does_not_count(world: World, counter: Counter) -> None:
    world.run()
    os.chown(world.entry, 12345, 12345)
    assert world.run() == 7
    assert counter.compiled == 2
    os.chown(world.code_folder, 12345, 12345)
    assert world.run() == 7
    assert counter.compiled == 3


def test_W26_a_folder_that_is_a_link_is_not_used(world: World, counter: Counter, tmp_path: Path) -> None:
    world.run()
    os.rename(world.code_folder, tmp_path / "moved")
    world.code_folder.symlink_to(tmp_path / "moved")
    assert world.run() == 7
    assert counter.compiled == 2


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_W26_an_entry_that_is_no_file_does_not_stop_a_run(
    world: World, counter: Counter, make: object
) -> None:
    world.run()
    entry = world.entry
    entry.unlink()
    make(entry)  # type: ignore[operator]
    assert world.run() == 7
    assert counter.compiled == 2


def test_W26_notes_of_the_run_folder_are_checked_too(
    world: World, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A forged note cannot make a changed entry good: the digest that it confirms is in the entry itself."""
    settle(monkeypatch)
    world.run()
    world.run()
    for note in world.run_folder.iterdir():
        note.write_text("nonsense\n")
    assert world.run() == 7
    assert counter.compiled == 1
    world.run_folder.chmod(0o777)
    assert world.run() == 7
    assert counter.compiled == 1


# -- no room, no rights, many at once


@pytest.mark.parametrize("place", ["code_folder", "run_folder"])
def test_W27_a_folder_that_cannot_be_made_does_not_stop_a_run(
    world: World, counter: Counter, place: str
) -> None:
    getattr(world, place).write_text("in the way")
    assert [world.run(), world.run()] == [7, 7]
    assert counter.compiled == (2 if place == "code_folder" else 1)


def test_W27_a_full_disk_does_not_stop_a_run(
    world: World, counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write of the cache fails as on a full disk: nothing is kept, nothing is left."""
    real = os.write
    full = os.open(FULL, os.O_WRONLY)
    monkeypatch.setattr(cache_module, "_write", lambda fd, data: real(full, bytes(data)))
    assert [world.run(), world.run()] == [7, 7]
    os.close(full)
    assert counter.compiled == 2
    assert list(world.code_folder.iterdir()) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_W27_a_small_or_read_only_filesystem_does_not_stop_a_run(world: World, counter: Counter) -> None:
    world.code_folder.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "none", str(world.code_folder)], check=True
    )
    try:
        assert world.run() == 7
        assert list(world.code_folder.iterdir()) == []
        subprocess.run(["mount", "-o", "remount,ro,size=1m", str(world.code_folder)], check=True)
        assert world.run() == 7
        assert counter.compiled == 2
    finally:
        subprocess.run(["umount", str(world.code_folder)], check=True)


def test_W27_sixteen_at_once_all_run(world: World) -> None:
    program = (
        "import os, sys; from sampan.engine.cache import CodeCache; from sampan.engine.grants import Grants;"
        "from sampan.engine.program import Engine; fd = os.open(sys.argv[1], 0);"
        "os._exit(Engine().load(fd, cache=CodeCache(sys.argv[2], sys.argv[3])).run(Grants()).code)"
    )
    paths = [str(p) for p in (world.source, world.code_folder, world.run_folder)]
    children = [
        subprocess.Popen([sys.executable, "-c", program, *paths], env={"PYTHONPATH": str(SOURCE)})
        for _ in range(16)
    ]
    assert [child.wait(60) for child in children] == [7] * 16
    assert len(list(world.code_folder.iterdir())) == 1
    assert world.run() == 7


def test_a_cache_that_vanishes_is_made_again(world: World, counter: Counter) -> None:
    world.run()
    shutil.rmtree(world.code_folder)
    assert [world.run(), world.run()] == [7, 7]
    assert counter.compiled == 2


def test_what_a_killed_writer_left_is_removed_in_time(world: World) -> None:
    world.code_folder.mkdir(mode=0o700)
    for name, age in (("old", 7200), ("new", 60)):
        left = world.code_folder / f".tmp-{name}"
        left.write_bytes(b"half of it")
        os.utime(left, (time.time() - age,) * 2)
    world.run()
    names = {entry.name for entry in world.code_folder.iterdir()}
    assert ".tmp-old" not in names
    assert ".tmp-new" in names
    assert len(names) == 2
