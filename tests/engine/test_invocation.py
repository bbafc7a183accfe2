"""Functions that are called by words: a module's take numbers, a component's also text."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.engine import invocation
from sampan.engine.binding import F32, F64, I32, I64
from sampan.engine.grants import Grants

if TYPE_CHECKING:
    from .conftest import RunGuest

MATH = """(module
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "long") (param i64) (result i64) (local.get 0))
  (func (export "half") (param f64) (result f64) (f64.div (local.get 0) (f64.const 2)))
  (func (export "single") (param f32) (result f32) (local.get 0))
  (func (export "both") (param i32) (result i32 f64) (local.get 0) (f64.const 2.5))
  (func (export "big") (result i64) (i64.const -1))
  (func (export "nothing") (param i32))
  (func (export "answer") (result i32) (i32.const 42))
  (func (export "fail") (param i32) (unreachable)))"""
GREET = """(component
  (core module $m
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 16384))
    (data (i32.const 0) "Hello, ")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.get $top)
      (global.set $top (i32.add (global.get $top) (local.get 3))))
    (func (export "greet") (param $name i32) (param $size i32) (result i32)
      (memory.copy (i32.const 8192) (i32.const 0) (i32.const 7))
      (memory.copy (i32.const 8199) (local.get $name) (local.get $size))
      (i32.store (i32.const 512) (i32.const 8192))
      (i32.store (i32.const 516) (i32.add (local.get $size) (i32.const 7)))
      (i32.const 512))
    (func (export "one") (param i32) (result i32) (local.get 0))
    (func (export "s64") (param i64) (result i64) (local.get 0))
    (func (export "f32") (param f32) (result f32) (local.get 0))
    (func (export "f64") (param f64) (result f64) (local.get 0)))
  (core instance $i (instantiate $m))
  (func (export "greet") (param "name" string) (result string)
    (canon lift (core func $i "greet") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func (export "s8") (param "x" s8) (result s8) (canon lift (core func $i "one")))
  (func (export "u8") (param "x" u8) (result u8) (canon lift (core func $i "one")))
  (func (export "s16") (param "x" s16) (result s16) (canon lift (core func $i "one")))
  (func (export "u16") (param "x" u16) (result u16) (canon lift (core func $i "one")))
  (func (export "s32") (param "x" s32) (result s32) (canon lift (core func $i "one")))
  (func (export "u32") (param "x" u32) (result u32) (canon lift (core func $i "one")))
  (func (export "s64") (param "x" s64) (result s64) (canon lift (core func $i "s64")))
  (func (export "u64") (param "x" u64) (result u64) (canon lift (core func $i "s64")))
  (func (export "f32") (param "x" f32) (result f32) (canon lift (core func $i "f32")))
  (func (export "f64") (param "x" f64) (result f64) (canon lift (core func $i "f64")))
  (func (export "bool") (param "x" bool) (result bool) (canon lift (core func $i "one")))
  (func (export "char") (param "x" char) (result char) (canon lift (core func $i "one"))))"""


def grants(*words: str) -> Grants:
    return Grants(args=["guest.wasm", *words])


@pytest.mark.parametrize(
    ("entry", "words", "printed"),
    [
        ("add", ["40", "2"], "42\n"),
        ("add", ["2147483647", "1"], "-2147483648\n"),
        ("add", ["0x10", "-1"], "15\n"),
        ("long", ["-9223372036854775808"], "-9223372036854775808\n"),
        ("half", ["5"], "2.5\n"),
        ("half", ["1e300"], "5" + "0" * 299 + "\n"),
        ("half", ["1e-9"], "0.0000000005\n"),
        ("half", ["inf"], "inf\n"),
        ("half", ["nan"], "NaN\n"),
        ("single", ["0.1"], "0.1\n"),
        ("single", ["-16777216"], "-16777216\n"),
        ("both", ["7"], "7\n2.5\n"),
        ("big", [], "-1\n"),
        ("nothing", ["1"], ""),
    ],
)
def test_S13_a_modules_function_takes_and_returns_numbers(
    run_guest: RunGuest, entry: str, words: list[str], printed: str
) -> None:
    outcome = run_guest(MATH, grants(*words), entry=entry)
    assert (outcome.code, outcome.reason, outcome.stdout.decode()) == (0, "exited", printed)
    assert outcome.imported == []


def test_a_function_that_takes_nothing_gives_its_exit_code(run_guest: RunGuest) -> None:
    outcome = run_guest(MATH, grants("words", "of", "WASI"), entry="answer")
    assert (outcome.code, outcome.stdout) == (42, b"")


def test_a_trap_prints_no_result(run_guest: RunGuest) -> None:
    outcome = run_guest(MATH, grants("1"), entry="fail")
    assert (outcome.code, outcome.reason, outcome.stdout) == (134, "trap", b"")


@pytest.mark.parametrize(
    ("entry", "words", "said"),
    [
        ("add", ["1"], "takes 2 values, and is given 1"),
        ("add", ["1", "2", "3"], "given 3"),
        ("nothing", ["duizhangwww"], "only a component's function takes text"),
        ("add", ["1", "4294967296"], "i32"),
        ("add", ["1", ""], "i32"),
        ("add", ["1", "1.5"], "i32"),
        ("add", ["1", "1_0"], "i32"),
        ("add", ["1", " 1"], "i32"),
        ("add", ["1", "٣"], "i32"),
        ("add", ["1", "9" * 5000], "i32"),
        ("half", ["one"], "f64"),
    ],
)
def test_S13_what_is_no_such_number_is_refused_before_anything_runs(
    run_guest: RunGuest, entry: str, words: list[str], said: str
) -> None:
    outcome = run_guest(MATH, grants(*words), entry=entry)
    assert (outcome.error, outcome.code) == ("INVALID", 126)
    assert said in outcome.message


@pytest.mark.parametrize(
    ("entry", "word", "printed"),
    [
        ("greet", "duizhangwww", '"Hello, duizhangwww"'),
        ("greet", "", '"Hello, "'),
        ("greet", 'a "b"\n', '"Hello, a \\"b\\"\\n"'),
        ("greet", "Grüße 🚢", '"Hello, Grüße 🚢"'),
        ("s8", "-128", "-128"),
        ("u8", "255", "255"),
        ("s16", "-32768", "-32768"),
        ("u16", "65535", "65535"),
        ("s32", "-2147483648", "-2147483648"),
        ("u32", "4294967295", "4294967295"),
        ("s64", "-9223372036854775808", "-9223372036854775808"),
        ("u64", "18446744073709551615", "18446744073709551615"),
        ("f32", "0.1", "0.1"),
        ("f64", "-2.5", "-2.5"),
        ("f64", "nan", "nan"),
        ("bool", "true", "true"),
        ("bool", "false", "false"),
        ("char", "ü", "'ü'"),
        ("char", "'", "'\\''"),
    ],
)
def test_S13_a_components_function_takes_and_returns_text_too(
    run_guest: RunGuest, entry: str, word: str, printed: str
) -> None:
    outcome = run_guest(GREET, grants(word), entry=entry)
    assert (outcome.code, outcome.stdout.decode()) == (0, f"{printed}\n")
    assert outcome.imported == []


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ("greet", []),
        ("greet", ["a", "b"]),
        ("s8", ["128"]),
        ("u8", ["-1"]),
        ("u64", ["18446744073709551616"]),
        ("bool", ["yes"]),
        ("char", ["ab"]),
        ("char", [""]),
        ("f64", ["x"]),
    ],
)
def test_S13_a_word_that_is_no_such_value_is_refused(
    run_guest: RunGuest, entry: str, words: list[str]
) -> None:
    outcome = run_guest(GREET, grants(*words), entry=entry)
    assert (outcome.error, outcome.code) == ("INVALID", 126)


def test_a_function_that_nobody_calls_may_take_vectors(run_guest: RunGuest) -> None:
    text = '(module (func (export "_start")) (func (export "mix") (param v128) (result v128) (local.get 0)))'
    assert (run_guest(text).code, run_guest(text).reason) == (0, "exited")


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_number_is_told_in_full(value: float) -> None:
    text = invocation.real(value, single=False)
    assert float(text) == value
    assert "e" not in text


@given(st.floats(width=32, allow_nan=False, allow_infinity=False))
def test_a_single_number_is_told_in_full(value: float) -> None:
    text = invocation.real(value, single=True)
    assert struct.unpack("f", struct.pack("f", float(text)))[0] == value
    assert "e" not in text


@given(st.text(), st.sampled_from([I32, I64, F32, F64]))
def test_any_word_is_a_number_or_refused(word: str, kind: int) -> None:
    try:
        (bits,) = invocation.take([word], (kind,), "it")
    except Invalid:
        return
    assert 0 <= bits < 1 << (32 if kind in (I32, F32) else 64)
    assert invocation.told(bits, kind)
