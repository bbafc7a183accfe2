import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core import units
from sampan.core.errors import Invalid
from sampan.core.signals import number_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("512", 512),
        ("64k", 65536),
        ("1.5g", 3 << 29),
        ("10MiB", 10 << 20),
        ("1b", 1),
        ("2 M", 2 << 20),
        ("1gb", 1 << 30),
    ],
)
def test_sizes(text, value):
    assert units.parse_size(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "1x", "1..5g", "1e3", "0x10", "٣m", "9" * 30, "8388608t", "1kk"]
)
def test_C16_what_is_no_size_is_refused(text):
    with pytest.raises(Invalid):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10", 10), ("1.5s", 1.5), ("2m30s", 150), ("1h", 3600), ("300ms", 0.3), ("0", 0)]
)
def test_durations(text, seconds):
    assert units.parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "1x", "1s2", "-1s", "1m-2s", "one"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(Invalid):
        units.parse_duration(text)


@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_times_are_read_as_they_were_written(nanoseconds):
    assert units.parse_rfc3339(units.rfc3339(nanoseconds)) == nanoseconds


@pytest.mark.parametrize("text", ["", "yesterday", "2026-13-01T00:00:00Z", "1"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(Invalid):
        units.parse_rfc3339(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (61, "About a minute"), (3600, "About an hour"),
     (7300, "2 hours"), (90_000, "25 hours"), (3 * 86400, "3 days"), (20 * 86400, "2 weeks"), (800 * 86400, "2 years")],
)  # fmt: skip
def test_ages(seconds, text):
    assert units.show_age(seconds) == text


def test_shown_sizes():
    assert [units.show_size(n) for n in (0, 999, 1000, 12_345_678)] == ["0B", "999B", "1kB", "12.35MB"]
    assert units.show_size(1536, binary=True) == "1.5KiB"


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("SIGTERM", 15), ("sigkill", 9), ("9", 9), ("RTMIN+3", 37), ("64", 64)]
)
def test_signals(text, number):
    assert number_of(text) == number


@pytest.mark.parametrize("text", ["", "0", "65", "-1", "SIGFOO", "1.5", "RTMIN+99", "٩", "SIG"])
def test_C10_what_is_no_signal_is_refused(text):
    with pytest.raises(Invalid):
        number_of(text)
