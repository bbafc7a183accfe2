from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.container.records import Restart
from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.core.spec.runtime import Rlimit
from sampan.doors.cli import runvalues
from sampan.engine.grants import PortMap


@pytest.mark.parametrize(
    ("text", "ports"),
    [
        ("80", [PortMap("", 0, 80)]),
        ("8080:80", [PortMap("", 8080, 80)]),
        (":80", [PortMap("", 0, 80)]),
        ("127.0.0.1:8080:80", [PortMap("127.0.0.1", 8080, 80)]),
        ("127.0.0.1::80", [PortMap("127.0.0.1", 0, 80)]),
        ("[::1]:8080:80", [PortMap("::1", 8080, 80)]),
        ("[::1]::80", [PortMap("::1", 0, 80)]),
        ("8080:80/udp", [PortMap("", 8080, 80, "udp")]),
        ("8080:80/TCP", [PortMap("", 8080, 80)]),
        ("8000-8001:80-81", [PortMap("", 8000, 80), PortMap("", 8001, 81)]),
        ("80-81", [PortMap("", 0, 80), PortMap("", 0, 81)]),
    ],
)
def test_ports_as_docker_spells_them(text: str, ports: list[PortMap]) -> None:
    assert runvalues.parse_ports([text]) == ports


@pytest.mark.parametrize(
    "text",
    ["", ":", "x", "80:", "0", "65536", "8080:80/x", "1:2:3", "999.0.0.1:1:2", "[::1:80", "[::1]80", "8000-8002:80-81",
     "81-80", "-1", "80-", "٨٠", "localhost:80:80", "8080:80/", "::1:80:80x"],
)  # fmt: skip
def test_bad_ports_are_refused(text: str) -> None:
    with pytest.raises(Invalid, match="--publish"):
        runvalues.parse_ports([text])


def test_one_port_cannot_be_published_twice() -> None:
    with pytest.raises(Invalid, match="published twice"):
        runvalues.parse_ports(["8080:80", "8080:81"])
    assert len(runvalues.parse_ports(["8080:80", "8080:80/udp", "127.0.0.1:8080:80", "80", "80"])) == 5


def test_sctp_cannot_be_had() -> None:
    with pytest.raises(Unimplemented, match="SCTP"):
        runvalues.parse_ports(["80/sctp"])


@given(st.integers(0, 65535), st.integers(1, 65535), st.sampled_from(["tcp", "udp"]), st.ip_addresses())
def test_every_port_comes_back(host: int, guest: int, protocol: str, address: object) -> None:
    shown = f"[{address}]" if ":" in str(address) else str(address)
    [port] = runvalues.parse_ports([f"{shown}:{host}:{guest}/{protocol}"])
    assert port == PortMap(str(address), host, guest, protocol)


@given(st.text(alphabet="0123456789:-/.[]tcpud", max_size=24))
def test_any_port_text_is_taken_or_refused(text: str) -> None:
    try:
        ports = runvalues.parse_ports([text])
    except SampanError:
        return
    assert ports and all(0 <= p.host_port <= 65535 and 1 <= p.guest_port <= 65535 for p in ports)


def test_cpus() -> None:
    assert runvalues.parse_cpus("1.5") == (150_000, 100_000)
    assert runvalues.parse_cpus("0") == (0, 100_000)
    for text in ("", "x", "-1", "0.001", "1e3", "99999", "1.2.3"):
        with pytest.raises(Invalid, match="--cpus"):
            runvalues.parse_cpus(text)


def test_ulimits() -> None:
    assert runvalues.parse_ulimit("nofile=1024:2048") == Rlimit("RLIMIT_NOFILE", 1024, 2048)
    assert runvalues.parse_ulimit("core=0") == Rlimit("RLIMIT_CORE", 0, 0)
    assert runvalues.parse_ulimit("memlock=-1").hard == (1 << 64) - 1
    for text in ("nofile", "files=1", "nofile=x", "nofile=2:1", "nofile=", "nofile=1:", "nofile=1:2:3"):
        with pytest.raises(Invalid, match="--ulimit"):
            runvalues.parse_ulimit(text)


def test_restart_policies() -> None:
    assert runvalues.parse_restart("no") == Restart("no", 0)
    assert runvalues.parse_restart("always") == Restart("always", 0)
    assert runvalues.parse_restart("on-failure:3") == Restart("on-failure", 3)
    for text in ("sometimes", "always:3", "on-failure:", "on-failure:-1", "on-failure:x"):
        with pytest.raises(Invalid, match="--restart"):
            runvalues.parse_restart(text)


def test_detach_keys() -> None:
    assert runvalues.parse_detach_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert runvalues.parse_detach_keys("a,ctrl-@,CTRL-[") == b"a\x00\x1b"
    assert runvalues.parse_detach_keys("") == b""
    for text in ("ctrl-", "ab", "ctrl-ab", "ctrl-1", ",", "é"):
        with pytest.raises(Invalid, match="--detach-keys"):
            runvalues.parse_detach_keys(text)


def test_security_options() -> None:
    runvalues.check_security_options(
        ["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"]
    )
    for text in ("seccomp=unconfined", "no-new-privileges=false", "apparmor=unconfined", "label=disable"):
        with pytest.raises(Unimplemented, match="walls"):
            runvalues.check_security_options([text])
    with pytest.raises(Invalid):
        runvalues.check_security_options(["nonsense"])


def test_networks() -> None:
    port = PortMap("", 0, 80)
    assert runvalues.parse_network("", []) == "none"
    assert runvalues.parse_network("", [port]) == "published"
    assert runvalues.parse_network("host", []) == "host"
    with pytest.raises(Unimplemented, match="no network 'bridge'"):
        runvalues.parse_network("bridge", [])
    with pytest.raises(Invalid, match="cannot be published"):
        runvalues.parse_network("none", [port])


def test_counts_sizes_and_words() -> None:
    assert runvalues.parse_count("fuel", "12") == 12
    assert runvalues.parse_count("stop-timeout", "-1", least=-1) == -1
    for text in ("", "x", "-1", "1.5", "9" * 30, "٣"):
        with pytest.raises(Invalid, match="--fuel"):
            runvalues.parse_count("fuel", text)
    assert runvalues.parse_memory("memory", "64m") == 64 << 20
    with pytest.raises(Invalid, match="less than 64k"):
        runvalues.parse_memory("memory", "4k")
    assert runvalues.one_of("pull", "always", ("always", "never")) == "always"
    with pytest.raises(Invalid, match="--pull 'x' is not one of always, never"):
        runvalues.one_of("pull", "x", ("always", "never"))
    runvalues.check_log_driver("json-file")
    with pytest.raises(Unimplemented, match="syslog"):
        runvalues.check_log_driver("syslog")
