"""The counters of network namespaces."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sampan.linux.netdev import interfaces_of, parse


def test_the_default_interface_comes_first_and_loopback_not_at_all() -> None:
    text = "header | x\n" + "".join(
        f"{name}: {' '.join(str(n) for n in range(16))}\n" for name in ("  lo", "  a", "eth0")
    )
    eth0, other = parse(text)
    assert (eth0.name, other.name) == ("eth0", "a")
    assert (eth0.rx_bytes, eth0.rx_packets, eth0.rx_errors, eth0.rx_dropped) == (0, 1, 2, 3)
    assert (eth0.tx_bytes, eth0.tx_packets, eth0.tx_errors, eth0.tx_dropped) == (8, 9, 10, 11)


def test_what_is_no_namespace_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    own = "/proc/self/ns/net"
    assert list(interfaces_of([f"{tmp_path}/none", f"{tmp_path}/file", own])) == [own]


@given(st.lists(st.text(alphabet="abc: 0123456789|", max_size=40)))
def test_lines_of_another_kind_are_left_out(lines: list[str]) -> None:
    text = "\n".join(line for line in lines if line.count(" ") < 16)
    assert parse(text) == []
