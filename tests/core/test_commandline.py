from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.commandline import (
    Arguments,
    Command,
    Option,
    UsageError,
    collected,
    parse,
    setting,
    suggestion,
    switch,
)
from sampan.core.errors import Unimplemented

TABLE = [
    switch("detach", "", "d"),
    switch("interactive", "", "i"),
    switch("tty", "", "t"),
    switch("rm", ""),
    setting("name", "NAME", ""),
    setting("pull", "WHEN", "", default="missing"),
    collected("publish", "PORT", "", "p"),
    collected("env", "KEY", "", "e"),
    setting("network", "MODE", ""),
    Option("net", value="MODE", same_as="network"),
    Option("gpus", value="GPUS", refusal="WASI has no devices"),
    Option("init", no_effect="nothing to reap"),
    Option("sig-proxy", default="true"),
]


def run_line(line: str) -> Arguments:
    return parse(line.split(), TABLE, interspersed=False)


@pytest.mark.parametrize(
    "line",
    ["-p8080:80", "-p 8080:80", "-p=8080:80", "--publish 8080:80", "--publish=8080:80", "-itp 8080:80"],
)
def test_a_value_in_every_spelling(line: str) -> None:
    assert run_line(line).values("publish") == ["8080:80"]


def test_flags_end_at_the_first_operand() -> None:
    args = run_line("--rm -e A=1 image -e B=2 --unknown -- x")
    assert args.operands == ["image", "-e", "B=2", "--unknown", "--", "x"]
    assert args.values("env") == ["A=1"]


def test_flags_may_follow_operands_elsewhere() -> None:
    args = parse(["one", "--rm", "two", "--", "--three"], TABLE)
    assert args.operands == ["one", "two", "--three"]
    assert args.on("rm")


def test_short_switches_stand_together() -> None:
    args = run_line("-dit")
    assert args.on("detach") and args.on("interactive") and args.on("tty") and not args.on("rm")


@pytest.mark.parametrize(
    ("line", "value"), [("--rm", True), ("--rm=true", True), ("--rm=0", False), ("-d", False)]
)
def test_switches_take_truth_after_an_equals_sign(line: str, value: bool) -> None:
    assert run_line(line).on("rm") is value


def test_the_last_value_counts_and_repeated_ones_collect() -> None:
    args = run_line("--name a --name b -e A -e B --rm --rm=false --sig-proxy=false")
    assert args.value("name") == "b"
    assert args.values("env") == ["A", "B"]
    assert not args.on("rm")
    assert not args.on("sig-proxy")


def test_defaults() -> None:
    args = run_line("")
    assert (args.value("pull"), args.value("name"), args.values("env")) == ("missing", "", [])
    assert args.on("sig-proxy")
    assert not args.given("pull")


def test_two_names_of_one_flag() -> None:
    assert run_line("--net host").value("network") == "host"


def test_a_dash_alone_is_an_operand() -> None:
    assert run_line("-").operands == ["-"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("--nmae x", ["unknown flag: --nmae", "did you mean --name?"]),
        ("--foo", ["unknown flag: --foo"]),
        ("-x", ["unknown shorthand flag: -x"]),
        ("-dx", ["unknown shorthand flag: -x in '-dx'"]),
        ("--name", ["flag needs an argument: --name NAME"]),
        ("-p", ["flag needs an argument: -p PORT"]),
        ("--rm=maybe", ["--rm is on or off", "'maybe'"]),
        ("--=x", ["unknown flag: --"]),
    ],
)
def test_what_does_not_fit_is_refused_by_name(line: str, words: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        run_line(line)
    for word in words:
        assert word in str(caught.value)


def test_a_flag_that_cannot_be_had_is_refused_with_the_reason() -> None:
    for line in ("--gpus all", "--gpus=all", "--gpus"):
        with pytest.raises(Unimplemented, match="--gpus cannot be had: WASI has no devices"):
            run_line(line)


def test_a_flag_without_effect_is_reported() -> None:
    assert run_line("--init").notes() == ["--init has no effect: nothing to reap"]
    assert run_line("--rm").notes() == []


@pytest.mark.parametrize(
    ("least", "most", "count", "said"),
    [
        (1, 1, 0, "needs exactly 1 argument, not 0"),
        (0, 0, 2, "needs no arguments, not 2"),
        (2, None, 1, "needs at least 2 arguments, not 1"),
        (0, 1, 2, "needs at most 1 argument, not 2"),
    ],
)
def test_the_number_of_operands_is_checked(least: int, most: int | None, count: int, said: str) -> None:
    command = Command("thing", "", "", lambda context, args: 0, least=least, most=most)
    with pytest.raises(UsageError, match=said) as caught:
        command.parse(["x"] * count)
    assert caught.value.command == "thing"


def test_help_is_given_whatever_the_operands() -> None:
    assert Command("thing", "", "", lambda context, args: 0, least=2).parse(["--help"]).on("help")


def test_suggestions_are_near() -> None:
    assert suggestion("imgaes", ["images", "image"]) == "did you mean images?"
    assert suggestion("xyzzy", ["images", "run"]) == ""
    assert suggestion("x", []) == ""


@given(st.lists(st.text(alphabet="-=adiprenam\0é", max_size=8), max_size=6), st.booleans())
def test_any_words_are_taken_or_refused(words: list[str], interspersed: bool) -> None:
    try:
        args = parse(words, TABLE, interspersed=interspersed)
    except (UsageError, Unimplemented):
        return
    assert all(operand in words for operand in args.operands)


@given(
    st.lists(st.tuples(st.sampled_from(["-e", "--env", "-e=", "--env="]), st.text(max_size=6)), max_size=5)
)
def test_values_come_back_as_they_were_given(pairs: list[tuple[str, str]]) -> None:
    words: list[str] = []
    for flag, value in pairs:
        words += [flag + value] if flag.endswith("=") else [flag, value]
    assert parse(words, TABLE).values("env") == [value for _, value in pairs]
