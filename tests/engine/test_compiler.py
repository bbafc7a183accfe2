"""The compiler process: what it gives, and how it ends when the code is hostile (row W3)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from hashlib import sha256

import pytest

from sampan.core.errors import Exhausted, Invalid, SampanError, TimedOut
from sampan.engine.code import wat_to_wasm
from sampan.engine.compiler import compile_file
from sampan.engine.tuning import Tuning

GOOD = wat_to_wasm(b'(module (func (export "_start")))')


def file_of(code: bytes) -> int:
    fd = os.memfd_create("guest")
    os.write(fd, code)
    return fd


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No descriptor and no process may be left over, however a compilation ends."""
    before = os.listdir("/proc/self/fd")
    yield
    assert len(os.listdir("/proc/self/fd")) == len(before)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def compile_bytes(code: bytes, kind: str = "module", **bounds: float) -> bytes:
    fd = file_of(code)
    try:
        compiled = compile_file(fd, kind, Tuning(), "guest", **bounds)  # type: ignore[arg-type]
        try:
            assert compiled.digest == sha256(code).hexdigest()
            return os.pread(compiled.fd, 1 << 30, 0)
        finally:
            os.close(compiled.fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize(("text", "kind"), [(b"(module)", "module"), (b"(component)", "component")])
def test_it_gives_compiled_code_and_the_digest_of_its_source(text: bytes, kind: str) -> None:
    assert compile_bytes(wat_to_wasm(text), kind).startswith(b"\x7fELF")


def test_the_position_of_the_descriptor_is_left_alone() -> None:
    fd = file_of(GOOD)
    os.lseek(fd, 5, os.SEEK_SET)
    os.close(compile_file(fd, "module", Tuning(), "guest").fd)
    assert os.lseek(fd, 0, os.SEEK_CUR) == 5
    os.close(fd)


@pytest.mark.parametrize("code", [b"", b"\0asm\1\0\0\0\1", GOOD[:-1]])
def test_W1_invalid_code_is_told_with_its_offset(code: bytes) -> None:
    with pytest.raises(Invalid, match=r"guest is not valid WebAssembly: .*offset 0x") as error:
        compile_bytes(code)
    assert error.value.exit_code == 126


def heavy(functions: int) -> bytes:
    """A module of large functions that no optimizer makes small."""
    step = "(local.set 0 (call $f (local.get 0) (i32.load (local.get 0))))"
    function = f"(func (param i32) (result i32) {step * 10_000} (local.get 0))"
    add = "(func $f (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))"
    return wat_to_wasm(f"(module (memory 1) {add} {function * functions})".encode())


def test_W3_too_much_time_is_a_time_out() -> None:
    with pytest.raises(TimedOut, match=r"0\.1 seconds") as error:
        compile_bytes(heavy(30), timeout=0.1)
    assert error.value.exit_code == 126


def test_W3_too_much_memory_is_exhausted() -> None:
    with pytest.raises(Exhausted, match="64 MiB") as error:
        compile_bytes(heavy(6), memory=64 << 20)
    assert error.value.exit_code == 126


HOSTILE = {
    "a hundred thousand functions": b"(module" + b"(func)" * 100_000 + b")",
    "50 000 locals": b"(module (func (local" + b" i32" * 50_000 + b")))",
    "more locals than allowed": b"(module (func (local" + b" i64" * 50_001 + b")))",
    "a br_table with 100 000 ways": (
        b"(module (func (block $a (br_table" + b" $a" * 100_000 + b" $a (i32.const 1)))))"
    ),
    "a segment beyond its memory": b'(module (memory 1) (data (i32.const 65535) "abc"))',
    "deep nesting": b"(module (func" + b"(block" * 2_000 + b")" * 2_000 + b"))",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_W3_hostile_code_compiles_or_is_refused(what: str) -> None:
    try:
        compiled = compile_bytes(wat_to_wasm(HOSTILE[what]), timeout=30)
    except SampanError as error:
        assert error.kind in ("INVALID", "TIMEOUT", "EXHAUSTED")
        assert error.exit_code == 126
    else:
        assert compiled.startswith(b"\x7fELF")


def test_an_interpreter_that_cannot_start_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(SampanError, match="start the compiler"):
        compile_bytes(GOOD)


def test_a_child_that_fails_in_another_way_is_our_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(SampanError) as error:
        compile_bytes(GOOD)
    assert (error.value.kind, error.value.exit_code) == ("INTERNAL", 126)


def test_a_status_that_somebody_else_took_is_an_error() -> None:
    """With SIGCHLD ignored the kernel keeps no status; nothing may be believed then."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(SampanError, match="status is lost"):
            compile_bytes(GOOD)
    finally:
        signal.signal(signal.SIGCHLD, before)
