"""Real guests on the real engine: a server in C, and small ones in the text format."""

from __future__ import annotations

import json
import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sampan.engine.grants import Grants, Network, PortMap, Preopen

from .conftest import EXAMPLES, Serve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from tests.engine.conftest import RunGuest

SERVER = EXAMPLES / "02-http-server/http-server.wasm"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 14\r\n\r\nHello, World!\n"
QUESTION = b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"


def ask(port: int, times: int = 1) -> bytes:
    """What the server answers on one connection."""
    answers = b""
    with connect(port) as client:
        for _ in range(times):
            client.sendall(QUESTION)
            answer = client.recv(4096)
            while len(answer) < len(ANSWER) and (more := client.recv(4096)):
                answer += more
            answers += answer
    return answers


def connect(port: int) -> socket.socket:
    """Connect to a port that is bound, as soon as it listens."""
    for _ in range(1000):
        try:
            return socket.create_connection(("127.0.0.1", port), timeout=20)
        except ConnectionRefusedError:
            time.sleep(0.01)
    raise AssertionError(f"nobody listens on {port}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_S1_a_server_answers_on_the_host_network(serve: Serve) -> None:
    port = free_port()
    guest = serve(SERVER, Grants(["server"], [f"PORT={port}"], [], Network("host")))
    assert guest.read_line() == b"listening on port %d\n" % port
    assert ask(port, times=3) == ANSWER * 3


def test_a_server_is_published_on_a_free_port(serve: Serve) -> None:
    guest = serve(SERVER, Grants(["server"], [], [], Network("published", [PortMap("127.0.0.1", 0, 8080)])))
    report = guest.next_report()
    assert report["guest"] == 8080
    assert guest.read_line() == b"listening on port 8080\n"
    with ThreadPoolExecutor(8) as many:
        assert set(many.map(lambda _: ask(report["host"], times=5), range(24))) == {ANSWER * 5}


def test_W23_a_server_without_a_grant_is_refused(serve: Serve) -> None:
    ending = serve(SERVER, Grants(["server"])).next_report()["ending"]
    assert (ending["code"], ending["reason"]) == (1, "exited")


def test_runs_at_once_of_one_program_have_sockets_of_their_own(serve: Serve) -> None:
    ports = [8080, 8081, 8082]
    networks = [Network("published", [PortMap("127.0.0.1", 0, port)]) for port in ports]
    guest = serve(SERVER, *(Grants(["x"], [f"PORT={p}"], [], n) for p, n in zip(ports, networks)))
    reports = [guest.next_report() for _ in ports]
    assert sorted(report["guest"] for report in reports) == ports
    assert {ask(report["host"]) for report in reports} == {ANSWER}


def text(imports: dict[str, str], body: str, data: str = "") -> str:
    """A guest whose `_start` has this body; `$out` prints a byte of memory."""
    declared = "\n".join(
        f'(import "wasi_snapshot_preview1" "{name}" (func ${name} (param{" i32" * len(params)}) (result i32)))'
        for name, params in {"fd_write": "iiii", **imports}.items()
    )
    return f"""(module {declared}
      (memory (export "memory") 2)
      (data (i32.const 1024) "{data}")
      (func $put (param $value i32) (param $at i32) (i32.store (local.get $at) (local.get $value)))
      (func $print (param $from i32) (param $size i32)
        (call $put (local.get $from) (i32.const 0)) (call $put (local.get $size) (i32.const 4))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func (export "_start") {body}))"""


# A server for one connection: accepts, receives into memory that it grew in between, and echoes.
ONE_ECHO = """
  (drop (call $sock_open (i32.const 1) (i32.const 2) (i32.const 16)))
  (call $put (i32.const 1024) (i32.const 24)) (call $put (i32.const 4) (i32.const 28))
  (drop (call $sock_bind (i32.load (i32.const 16)) (i32.const 24) (i32.const 7)))
  (drop (call $sock_listen (i32.load (i32.const 16)) (i32.const 1)))
  (drop ACCEPT)
  (drop (memory.grow (i32.const 100)))
  (call $put (i32.const 6000000) (i32.const 32)) (call $put (i32.const 100) (i32.const 36))
  (drop (call $sock_recv (i32.load (i32.const 20)) (i32.const 32) (i32.const 1) (i32.const 0)
                         (i32.const 40) (i32.const 44)))
  (call $put (i32.load (i32.const 40)) (i32.const 36))
  (drop (call $sock_send (i32.load (i32.const 20)) (i32.const 32) (i32.const 1) (i32.const 0) (i32.const 40)))
"""
ECHO_IMPORTS = {
    "sock_open": "iii",
    "sock_bind": "iii",
    "sock_listen": "ii",
    "sock_recv": "iiiiii",
    "sock_send": "iiiii",
}


def echo_is_right(serve: Serve, accept_type: str, accept: str) -> bool:
    guest = serve(
        text(
            {**ECHO_IMPORTS, "sock_accept": accept_type},
            ONE_ECHO.replace("ACCEPT", accept),
            "\\00\\00\\00\\00",
        ),
        Grants(["echo"], [], [], Network("published", [PortMap("127.0.0.1", 0, 7)])),
    )
    with connect(guest.next_report()["host"]) as client:
        client.sendall(b"into grown memory")
        answer = client.recv(100)
    assert guest.next_report()["ending"] == {"code": 0, "reason": "exited"}
    return answer == b"into grown memory"


def test_accept_with_two_parameters(serve: Serve) -> None:
    assert echo_is_right(serve, "ii", "(call $sock_accept (i32.load (i32.const 16)) (i32.const 20))")


def test_accept_with_three_parameters(serve: Serve) -> None:
    assert echo_is_right(
        serve, "iii", "(call $sock_accept (i32.load (i32.const 16)) (i32.const 0) (i32.const 20))"
    )


def test_a_function_of_an_unknown_type_is_an_error_that_names_it(run_guest: RunGuest) -> None:
    outcome = run_guest(text({"sock_open": "iii", "sock_accept": "iiiii"}, ""))
    assert (outcome.error, outcome.code) == ("PRECONDITION", 126)
    assert "sock_accept" in outcome.message


def test_a_function_that_nobody_has_is_an_error_that_names_it(run_guest: RunGuest) -> None:
    outcome = run_guest(text({"sock_open": "iii", "sock_teleport": "i"}, ""))
    assert (outcome.error, outcome.code) == ("PRECONDITION", 126)
    assert "sock_teleport" in outcome.message


def test_W22_pointers_outside_the_memory_are_errnos(run_guest: RunGuest) -> None:
    far = "(i32.const 0xfffffff0)"
    calls = [
        f"(call $sock_open (i32.const 1) (i32.const 2) {far})",
        f"(call $sock_bind (i32.const 1000) {far} (i32.const 1))",
        f"(call $sock_recv (i32.const 1000) {far} (i32.const 1) (i32.const 0) (i32.const 16) (i32.const 16))",
        f"(call $sock_send (i32.const 1000) (i32.const 16) (i32.const 1000000) (i32.const 0) {far})",
        f"(call $poll_oneoff {far} (i32.const 16) (i32.const 1) (i32.const 16))",
        "(call $poll_oneoff (i32.const 16) (i32.const 16) (i32.const -1) (i32.const 16))",
        f"(call $fd_read (i32.const 0) {far} (i32.const 1) (i32.const 16))",
    ]
    body = "(drop (call $sock_open (i32.const 1) (i32.const 2) (i32.const 16)))"
    body += "".join(f"(i32.store8 (i32.const {64 + i}) {call})" for i, call in enumerate(calls))
    imports = {"sock_open": "iii", "sock_bind": "iii", "sock_recv": "iiiiii", "sock_send": "iiiii",
               "poll_oneoff": "iiii", "fd_read": "iiii"}  # fmt: skip
    guest = text(imports, f"{body} (call $print (i32.const 64) (i32.const {len(calls)}))")
    outcome = run_guest(guest, Grants(["x"], [], [], Network("host")))
    assert list(outcome.stdout) == [21, 21, 21, 21, 21, 28, 21]


def subscription(at: int, kind: int, number: int, timeout: int = 0) -> str:
    return f"""(i64.store (i32.const {at}) (i64.const {at})) (i32.store8 (i32.const {at + 8}) (i32.const {kind}))
      (i32.store (i32.const {at + 16}) (i32.const {number}))
      (i64.store (i32.const {at + 24}) (i64.const {timeout}))"""


def test_a_file_standard_input_a_socket_and_a_clock_are_waited_for_in_one_poll(
    run_guest: RunGuest, tmp_path: Path
) -> None:
    (tmp_path / "world").mkdir()
    (tmp_path / "world/file").write_bytes(b"content")
    imports = {
        "sock_open": "iii",
        "sock_bind": "iii",
        "sock_listen": "ii",
        "poll_oneoff": "iiii",
        "fd_read": "iiii",
    }
    body = f"""
      (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 1028) (i32.const 4) (i32.const 0)
                             (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 16)))
      (drop (call $sock_open (i32.const 1) (i32.const 2) (i32.const 20)))
      {subscription(2000, 1, 0)} {subscription(2048, 0, 1, 5_000_000_000)} {subscription(2096, 1, 4)}
      {subscription(2144, 2, 1000)} {subscription(2192, 2, 1)}
      (i32.store8 (i32.const 67) (call $poll_oneoff (i32.const 2000) (i32.const 3000) (i32.const 5) (i32.const 68)))
      (call $print (i32.const 67) (i32.const 2))
      (call $print (i32.const 3000) (i32.const 160))
      (call $print (i32.const 2000) (i32.const 240))"""
    guest = text(imports, body, "\\00\\00\\00\\00file").replace(
        "(memory",
        '(import "wasi_snapshot_preview1" "path_open" (func $path_open'
        " (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32))) (memory",
        1,
    )
    grants = Grants(["x"], [], [Preopen(str(tmp_path / "world"), "/")], Network("host"))
    outcome = run_guest(guest, grants, stdin=b"typed")
    errno, count = outcome.stdout[:2]
    events = {
        int.from_bytes(outcome.stdout[at : at + 8], "little"): outcome.stdout[at + 8 : at + 11]
        for at in range(2, 2 + 32 * count, 32)
    }
    assert errno == 0
    # the file, which is always ready, and the standard streams and the socket, as they are
    assert set(events) >= {2096, 2192}
    assert set(events) <= {2000, 2096, 2144, 2192}
    assert all(event[:2] == b"\0\0" for event in events.values())
    kept = outcome.stdout[162:]
    assert [int.from_bytes(kept[at : at + 8], "little") for at in range(0, 240, 48)] == [
        2000,
        2048,
        2096,
        2144,
        2192,
    ]


def test_a_guest_with_sockets_reads_its_standard_input_to_the_end(run_guest: RunGuest) -> None:
    body = """(loop $more
      (call $put (i32.const 4096) (i32.const 16)) (call $put (i32.const 1000) (i32.const 20))
      (drop (call $fd_read (i32.const 0) (i32.const 16) (i32.const 1) (i32.const 24)))
      (call $print (i32.const 4096) (i32.load (i32.const 24)))
      (br_if $more (i32.load (i32.const 24))))"""
    content = os.urandom(200_000)
    outcome = run_guest(text({"sock_open": "iii", "fd_read": "iiii"}, body), stdin=content)
    assert outcome.stdout == content


def test_a_plain_module_is_not_given_a_socket_function(run_guest: RunGuest) -> None:
    # WASI's own sock_shutdown answers for a descriptor that is none
    body = """(i32.store8 (i32.const 64) (call $sock_shutdown (i32.const 1000) (i32.const 3)))
              (call $print (i32.const 64) (i32.const 1))"""
    assert run_guest(text({"sock_shutdown": "ii"}, body)).stdout == b"\x08"


def test_the_guests_reports_are_plain(serve: Serve) -> None:
    guest = serve(text({"sock_open": "iii"}, "(unreachable)"), Grants(["x"]))
    ending = guest.next_report()["ending"]
    assert (ending["code"], ending["reason"]) == (134, "trap")
    assert "unreachable" in json.dumps(ending)
