"""Loading and running core modules: entries, endings, limits. Rows W1 to W12 of the reliability list."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from sampan.core.errors import Invalid, Precondition, SampanError
from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants, Limits
from sampan.engine.program import Engine

if TYPE_CHECKING:
    from sampan.engine.program import Program
    from tests.engine.conftest import RunGuest

EXIT = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (func (export "_start") (call $exit (i32.const {}))))"""
START = '(module {} (func (export "_start") {}))'
MIB = 1 << 20


def load(engine: Engine, code: bytes, entry: str = "") -> Program:
    fd = os.memfd_create("guest")
    try:
        os.write(fd, code)
        return engine.load(fd, entry)
    finally:
        os.close(fd)


# -- what is refused before it runs


@pytest.mark.parametrize(
    "code",
    [
        b"",
        b"\0as",
        b"\0asm",
        b"\0asm\2\0\0\0",
        b"\0asm\1\0\0",
        b"\0asm\1\0\0\0\x99\1\0",
        wat_to_wasm(b"(module)") + b"zz",
        wat_to_wasm(b"(component)") + b"\x63",
    ],
)
def test_W1_what_is_no_wasm_binary_is_invalid(code: bytes) -> None:
    with pytest.raises(Invalid) as error:
        load(Engine(), code)
    assert error.value.exit_code == 126


def test_W1_the_error_has_the_offset() -> None:
    with pytest.raises(Invalid, match="at offset 0x"):
        load(Engine(), b"\0asm\1\0\0\0\1\x05")


GOOD = wat_to_wasm(START.format('(memory 1) (data (i32.const 0) "abc")', "(nop)").encode())


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@example(cut=0, place=0, value=0)
@example(cut=1, place=8, value=255)
@given(cut=st.integers(0, len(GOOD)), place=st.integers(0, len(GOOD) - 1), value=st.integers(0, 255))
def test_W1_cut_and_changed_modules_load_or_are_refused(cut: int, place: int, value: int) -> None:
    changed = bytearray(GOOD)
    changed[place] = value
    try:
        load(Engine(), bytes(changed[: len(GOOD) - cut]))
    except SampanError as error:
        assert error.kind in ("INVALID", "PRECONDITION")
        assert error.exit_code == 126


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (b"(module)", ".wat"),
        (b"\x7fELF\2\1\1\xc8" + bytes(56), "ahead of time"),
        (b"\x1f\x8b\x08\0\0\0", "gzip"),
        (b"<!doctype html>", "HTML"),
    ],
)
def test_W2_text_and_compiled_and_packed_code_are_refused(code: bytes, words: str) -> None:
    with pytest.raises(Invalid, match="not a wasm binary") as error:
        load(Engine(), code)
    assert words in str(error.value)
    assert error.value.exit_code == 126


@pytest.mark.parametrize(
    ("text", "entry", "words"),
    [
        ('(module (import "env" "magic" (func)) (func (export "_start")))', "", "env::magic"),
        (EXIT.replace("(param i32)", "").replace("(i32.const {})", ""), "", "proc_exit"),
        ('(module (memory (export "_start") 1))', "", "_start"),
        ('(module (func (export "_start") (param i32)))', "", "takes 1 values"),
        ('(module (func (export "_start") (result i32) (i32.const 1)))', "", "returns 1"),
        ('(module (func (export "go")))', "", "#go"),
        ('(module (func (export "go")))', "gone", "gone"),
        ('(module (func (export "go") (result externref) (ref.null extern)))', "go", "no number"),
    ],
)
def test_W4_what_is_missing_is_named(text: str, entry: str, words: str) -> None:
    with pytest.raises(Precondition) as error:
        load(Engine(), wat_to_wasm(text.encode()), entry)
    assert words in str(error.value)
    assert error.value.exit_code == 126


@pytest.mark.parametrize(
    ("declaration", "limits"),
    [
        ("(memory 65536)", Limits(memory=256 * MIB)),
        ("(memory i64 0x10000000000)", Limits(memory=256 * MIB)),
        ("(memory i64 0x10000000000)", Limits()),
        ("(memory 1)" * 100, Limits()),
    ],
)
def test_W5_too_much_memory_from_the_start_is_refused(
    run_guest: RunGuest, declaration: str, limits: Limits
) -> None:
    outcome = run_guest(START.format(declaration, ""), Grants(limits=limits))
    assert (outcome.error, outcome.code) == ("EXHAUSTED", 126)


def test_W6_a_table_beyond_the_limit_is_refused(run_guest: RunGuest) -> None:
    outcome = run_guest(START.format("(table 1000000000 funcref)", ""))
    assert (outcome.error, outcome.code) == ("EXHAUSTED", 126)


def test_W6_a_table_stops_growing_at_the_limit(run_guest: RunGuest) -> None:
    text = """(module (table $t 0 funcref) (func (export "grow") (result i32)
      (loop $more (br_if $more (i32.ne (i32.const -1) (table.grow $t (ref.null func) (i32.const 10)))))
      (table.size $t)))"""
    assert run_guest(text, Grants(limits=Limits(table_elements=100)), entry="grow").code == 100


def test_W10_a_memory_stops_growing_at_the_limit(run_guest: RunGuest) -> None:
    text = """(module (memory 1) (func (export "grow") (result i32)
      (loop $more (br_if $more (i32.ne (i32.const -1) (memory.grow (i32.const 1)))))
      (memory.fill (i32.const 0) (i32.const 7) (i32.mul (memory.size) (i32.const 65536)))
      (memory.size)))"""
    assert run_guest(text, Grants(limits=Limits(memory=10 * 65536)), entry="grow").code == 10


# -- how it ends


@pytest.mark.parametrize(("status", "code"), [(n, n & 0xFF) for n in [*range(0, 256, 5), 126, 127, 256, -1]])
def test_W12_proc_exit_gives_every_code(status: int, code: int) -> None:
    program = load(Engine(), wat_to_wasm(EXIT.format(status).encode()))
    ending = program.run(Grants())
    assert (ending.code, ending.reason, ending.message) == (code, "exited", "")


def test_W12_all_codes_of_one_program_from_its_argument(run_guest: RunGuest) -> None:
    """The guest exits with the number of its arguments."""
    text = """(module (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func (export "_start") (drop (call $sizes (i32.const 0) (i32.const 4)))
        (call $exit (i32.load (i32.const 0)))))"""
    for code in (0, 1, 125, 126, 255):
        assert run_guest(text, Grants(args=["x"] * code)).code == code


def test_a_start_that_returns_exits_with_0(run_guest: RunGuest) -> None:
    outcome = run_guest(START.format("", ""))
    assert (outcome.code, outcome.reason, outcome.kind) == (0, "exited", "module")


@pytest.mark.parametrize(
    ("declaration", "body", "words"),
    [
        ("", "(unreachable)", "unreachable"),
        ("", "(drop (i32.div_s (i32.const 1) (i32.const 0)))", "divide by zero"),
        ("(memory 1)", "(drop (i32.load (i32.const 65536)))", "out of bounds memory access"),
        ("(table 1 funcref)", "(call_indirect (i32.const 0))", "uninitialized element"),
        ("(table 1 funcref)", "(call_indirect (i32.const 9))", "undefined element"),
        ("(tag $t)", "(throw $t)", "exception"),
        (
            "(type $a (array i8))(type $l (struct (field (ref null $l)) (field (ref $a))))",
            """(local $x (ref null $l)) (loop $more (local.set $x (struct.new $l (local.get $x)
            (array.new_default $a (i32.const 1000000)))) (br $more))""",
            "GC heap out of memory",
        ),
    ],
)
def test_W11_a_trap_ends_with_134_its_text_and_a_backtrace(
    run_guest: RunGuest, declaration: str, body: str, words: str
) -> None:
    outcome = run_guest(START.format(declaration, body), Grants(limits=Limits(memory=64 * MIB)))
    assert (outcome.code, outcome.reason) == (134, "trap")
    assert words in outcome.message
    assert "wasm backtrace:\n  0: " in outcome.message


def test_W11_the_backtrace_has_names_and_offsets(run_guest: RunGuest) -> None:
    text = """(module $app (func $inner unreachable)
      (func $_ZN4core9panicking5panic17h0123456789abcdefE (call $inner))
      (func (export "_start") (call $_ZN4core9panicking5panic17h0123456789abcdefE)))"""
    lines = run_guest(text).message.splitlines()
    assert lines[2].startswith("  0: app!inner at 0x")
    assert lines[3].startswith("  1: app!core::panicking::panic at 0x")
    assert lines[4].startswith("  2: app!function 2 at 0x")


@pytest.mark.parametrize(
    "text",
    [
        '(module (func $f (export "_start") (call $f) (call $f)))',
        """(module (import "wasi_snapshot_preview1" "sched_yield" (func $yield (result i32)))
           (memory (export "memory") 1)
           (func $f (export "_start") (drop (call $yield)) (call $f) (call $f)))""",
    ],
)
def test_W9_runaway_recursion_is_a_trap(run_guest: RunGuest, text: str) -> None:
    outcome = run_guest(text)
    assert (outcome.code, outcome.reason) == (134, "trap")
    assert "call stack exhausted" in outcome.message


def test_W9_a_larger_stack_goes_deeper(run_guest: RunGuest) -> None:
    text = """(module (global $n (mut i32) (i32.const 0))
      (func $f (param i32) (if (local.get 0) (then (call $f (i32.sub (local.get 0) (i32.const 1)))
        (global.set $n (i32.add (global.get $n) (i32.const 1))))))
      (func (export "_start") (call $f (i32.const 60000))))"""
    assert run_guest(text, Grants(limits=Limits(stack=128 << 10))).code == 134
    assert run_guest(text, Grants(limits=Limits(stack=4 * MIB))).code == 0


@pytest.mark.parametrize(
    "text",
    [
        '(module (func $s (loop $l (br $l))) (start $s) (func (export "_start")))',
        START.format("", "(loop $l (br $l))"),
        START.format(
            "(memory 1000)",
            "(loop $l (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536000)) (br $l))",
        ),
    ],
)
def test_W7_W8_a_deadline_ends_loops(run_guest: RunGuest, text: str) -> None:
    outcome = run_guest(text, Grants(limits=Limits(deadline=0.1)))
    assert (outcome.code, outcome.reason) == (137, "deadline")
    assert "deadline" in outcome.message


def test_a_run_within_its_deadline_is_left_alone(run_guest: RunGuest) -> None:
    outcome = run_guest(START.format("", ""), Grants(limits=Limits(deadline=30.0)))
    assert (outcome.code, outcome.reason) == (0, "exited")


def test_fuel_ends_a_loop(run_guest: RunGuest) -> None:
    outcome = run_guest(START.format("", "(loop $l (br $l))"), Grants(limits=Limits(fuel=10_000)))
    assert (outcome.code, outcome.reason) == (137, "fuel")


def test_an_engine_refuses_limits_that_it_was_not_made_for() -> None:
    program = load(Engine(), GOOD)
    for limits in (Limits(fuel=1), Limits(deadline=1.0), Limits(stack=1 << 21)):
        with pytest.raises(Precondition):
            program.run(Grants(limits=limits))


@pytest.mark.parametrize(
    "limits",
    [Limits(memory=-1), Limits(table_elements=-1), Limits(fuel=1 << 64), Limits(deadline=float("nan"))],
)
def test_limits_that_make_no_sense_are_invalid(limits: Limits) -> None:
    program = load(Engine(fuel=True, epochs=True), GOOD)
    with pytest.raises(Invalid):
        program.run(Grants(limits=limits))


@pytest.mark.parametrize("stack", [-1, 0, 1 << 10, 5 * MIB, 1 << 40])
def test_a_stack_that_the_engine_cannot_have_is_invalid(stack: int) -> None:
    with pytest.raises(Invalid):
        Engine(stack=stack)


def test_engines_without_limits_on_fuel_and_epochs_run_freely() -> None:
    for engine in (Engine(fuel=True), Engine(epochs=True)):
        assert load(engine, GOOD).run(Grants()).code == 0


# -- entries


def test_an_export_is_an_entry_and_its_i32_the_exit_code(run_guest: RunGuest) -> None:
    text = '(module (func (export "nothing")) (func (export "seven") (result i32) (i32.const 263)))'
    assert run_guest(text, entry="nothing").code == 0
    assert run_guest(text, entry="seven").code == 7


def test_a_reactor_is_initialized_first(run_guest: RunGuest) -> None:
    text = """(module (global $n (mut i32) (i32.const 1))
      (func (export "_initialize") (global.set $n (i32.const 5)))
      (func (export "get") (result i32) (global.get $n)))"""
    assert run_guest(text, entry="get").code == 5


def test_a_reactor_whose_initialize_exits_has_ended(run_guest: RunGuest) -> None:
    text = EXIT.format(9).replace('"_start"', '"_initialize"')
    assert run_guest(text[:-1] + '(func (export "get")))', entry="get").code == 9


# -- several at once, again, and after a fork


def test_a_program_runs_again_and_keeps_nothing() -> None:
    text = b"""(module (global $n (mut i32) (i32.const 0)) (func (export "next") (result i32)
      (global.set $n (i32.add (global.get $n) (i32.const 1))) (global.get $n)))"""
    program = load(Engine(), wat_to_wasm(text), "next")
    assert [program.run(Grants()).code for _ in range(3)] == [1, 1, 1]


def test_programs_run_in_children_of_a_fork() -> None:
    program = load(Engine(), wat_to_wasm(EXIT.format(77).encode()))
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(program.run(Grants()).code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 77


def test_nothing_is_imported_while_running_after_preload(run_guest: RunGuest) -> None:
    for code in (EXIT.format(200), START.format("", "(unreachable)")):
        assert run_guest(code).imported == []


def test_names_of_a_guest_cannot_pretend_another_ending(run_guest: RunGuest) -> None:
    text = """(module (func $a (@name "\\1b[31mCaused by:\\n    wasm trap: interrupt") unreachable)
      (func (export "_start") (call $a)))"""
    outcome = run_guest(text)
    assert (outcome.code, outcome.reason) == (134, "trap")
    assert "unreachable" in outcome.message.splitlines()[0]
    assert "\x1b" not in outcome.message
