"""Components: commands of WASI 0.2, other functions as entries, what is refused."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from sampan.core.errors import Precondition, Unimplemented
from sampan.engine.code import wat_to_wasm
from sampan.engine.grants import Grants, Limits, Network, PortMap
from sampan.engine.program import Engine

if TYPE_CHECKING:
    from sampan.engine.program import Program
    from tests.engine.conftest import RunGuest

# A command whose `run` returns ok (0) or error (1), or does what the body says.
COMMAND = """(component
  (core module $m {memory} (func (export "run") (result i32) {body}))
  (core instance $i (instantiate $m))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@{version}" (instance $command)))"""
LIBRARY = """(component
  (core module $m (func (export "seven") (result i32) (i32.const 7))
    (func (export "same") (param i32) (result i32) (local.get 0))
    (func (export "fail") (result i32) (i32.const 1)))
  (core instance $i (instantiate $m))
  (func (export "seven") (result u32) (canon lift (core func $i "seven")))
  (func (export "same") (param "x" u32) (result u32) (canon lift (core func $i "same")))
  (func $fail (result (result)) (canon lift (core func $i "fail")))
  (instance $tools (export "fail" (func $fail)))
  (export "test:lib/tools" (instance $tools)))"""
# Calls wasi:cli/exit with its one variable: ok or error.
EXIT = """(component
  (import "wasi:cli/exit@0.2.0" (instance $exit (export "exit" (func (param "status" (result))))))
  (core func $exit (canon lower (func $exit "exit")))
  (core module $m (import "host" "exit" (func $exit (param i32)))
    (func (export "run") (result i32) (call $exit (i32.const {status})) (i32.const 0)))
  (core instance $i (instantiate $m (with "host" (instance (export "exit" (func $exit))))))
  (func $run (result (result)) (canon lift (core func $i "run")))
  (instance $command (export "run" (func $run)))
  (export "wasi:cli/run@0.2.0" (instance $command)))"""
MIB = 1 << 20


def command(body: str, *, memory: str = "", version: str = "0.2.3") -> str:
    return COMMAND.format(body=body, memory=memory, version=version)


def load(text: str, entry: str = "") -> Program:
    fd = os.memfd_create("guest")
    try:
        os.write(fd, wat_to_wasm(text.encode()))
        return Engine().load(fd, entry)
    finally:
        os.close(fd)


@pytest.mark.parametrize("version", ["0.2.0", "0.2.3", "0.2.6"])
@pytest.mark.parametrize("code", [0, 1])
def test_a_command_exits_with_its_result(run_guest: RunGuest, version: str, code: int) -> None:
    outcome = run_guest(command(f"(i32.const {code})", version=version))
    assert (outcome.code, outcome.reason, outcome.kind) == (code, "exited", "component")


@pytest.mark.parametrize("status", [0, 1])
def test_W12_exit_of_a_component_knows_0_and_1(run_guest: RunGuest, status: int) -> None:
    outcome = run_guest(EXIT.format(status=status))
    assert (outcome.code, outcome.reason, outcome.message) == (status, "exited", "")


def test_W11_a_trap_of_a_component_has_a_backtrace(run_guest: RunGuest) -> None:
    outcome = run_guest(command("(unreachable)"))
    assert (outcome.code, outcome.reason) == (134, "trap")
    assert "unreachable" in outcome.message
    assert "wasm backtrace:\n  0: m!" in outcome.message


def test_W9_runaway_recursion_of_a_component_is_a_trap(run_guest: RunGuest) -> None:
    text = command("(call $f)").replace(
        "(core module $m ", "(core module $m (func $f (result i32) (call $f)) "
    )
    outcome = run_guest(text)
    assert (outcome.code, outcome.reason) == (134, "trap")
    assert "call stack exhausted" in outcome.message


def test_W5_too_much_memory_of_a_component_is_refused(run_guest: RunGuest) -> None:
    text = command("(i32.const 0)", memory="(memory 65536)")
    outcome = run_guest(text, Grants(limits=Limits(memory=64 * MIB)))
    assert (outcome.error, outcome.code) == ("EXHAUSTED", 126)


def test_W7_a_deadline_ends_a_component(run_guest: RunGuest) -> None:
    outcome = run_guest(command("(loop $l (br $l)) (unreachable)"), Grants(limits=Limits(deadline=0.1)))
    assert (outcome.code, outcome.reason) == (137, "deadline")


def test_fuel_ends_a_component(run_guest: RunGuest) -> None:
    outcome = run_guest(command("(loop $l (br $l)) (unreachable)"), Grants(limits=Limits(fuel=10_000)))
    assert (outcome.code, outcome.reason) == (137, "fuel")


def test_W24_a_million_resources_harm_nobody_else(run_guest: RunGuest) -> None:
    text = """(component
      (type $thing (resource (rep i32)))
      (core func $new (canon resource.new $thing))
      (core module $m (import "host" "new" (func $new (param i32) (result i32)))
        (func (export "run") (result i32) (local $i i32)
          (loop $more (drop (call $new (local.get $i)))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000000))))
          (i32.const 0)))
      (core instance $i (instantiate $m (with "host" (instance (export "new" (func $new))))))
      (func $run (result (result)) (canon lift (core func $i "run")))
      (instance $command (export "run" (func $run)))
      (export "wasi:cli/run@0.2.0" (instance $command)))"""
    outcome = run_guest(text)
    assert (outcome.code, outcome.reason) in ((0, "exited"), (134, "trap"))


@pytest.mark.parametrize(("entry", "code"), [("seven", 0), ("test:lib/tools#fail", 1)])
def test_an_exported_function_is_an_entry(run_guest: RunGuest, entry: str, code: int) -> None:
    assert run_guest(LIBRARY, entry=entry).code == code


@pytest.mark.parametrize(
    ("text", "entry", "words"),
    [
        (LIBRARY, "", "wasi:cli/run@0.2"),
        (LIBRARY, "gone", "'gone'"),
        (LIBRARY, "test:lib/gone#fail", "test:lib/gone#fail"),
        (LIBRARY, "test:lib/tools#gone", "test:lib/tools#gone"),
        (
            command("(i32.const 0)").replace("wasi:cli/run@0.2.3", "wasi:http/incoming-handler@0.2.0"),
            "",
            "cannot be served yet",
        ),
    ],
)
def test_W4_a_missing_entry_is_named(text: str, entry: str, words: str) -> None:
    with pytest.raises(Precondition) as error:
        load(text, entry)
    assert words in str(error.value)
    assert error.value.exit_code == 126


@pytest.mark.parametrize(
    ("text", "entry", "words"),
    [
        (
            LIBRARY.replace('"x" u32', '"x" (option u8)').replace("(param i32)", "(param i32 i32)"),
            "same",
            "other than",
        ),
        (LIBRARY, "test:lib/tools", "not a function"),
        (
            command("(i32.const 0)").replace(
                "(component", '(component (import "test:host/magic" (instance (export "x" (func))))', 1
            ),
            "",
            "test:host/magic",
        ),
    ],
)
def test_W4_an_entry_or_import_that_cannot_be_used_is_named(
    run_guest: RunGuest, text: str, entry: str, words: str
) -> None:
    outcome = run_guest(text, entry=entry)
    assert (outcome.error, outcome.code) == ("PRECONDITION", 126)
    assert words in outcome.message


def test_a_program_runs_again_and_in_children_of_a_fork() -> None:
    program = load(command("(i32.const 1)"))
    assert [program.run(Grants()).code for _ in range(2)] == [1, 1]
    child = os.fork()
    if child == 0:
        os._exit(program.run(Grants()).code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


@pytest.mark.parametrize(
    "port", [PortMap("", 9090, 8080), PortMap("127.0.0.1", 8080, 8080), PortMap("", 0, 8080)]
)
def test_ports_that_a_component_cannot_have_are_refused(port: PortMap) -> None:
    program = load(command("(i32.const 0)"))
    with pytest.raises(Unimplemented, match="8080:8080"):
        program.run(Grants(network=Network("published", [port])))


def test_the_same_port_on_all_addresses_can_be_published() -> None:
    program = load(command("(i32.const 0)"))
    assert program.run(Grants(network=Network("published", [PortMap("", 8080, 8080)]))).code == 0
