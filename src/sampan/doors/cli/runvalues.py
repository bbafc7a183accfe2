"""What the values of `run`'s flags say: ports, limits, restart policies, signals of the keyboard, and simple words.

Docker's spelling throughout. Each parser takes the text as given and makes a record, or refuses it by name.
Mounts are in `runmounts`, environments and labels in `runenv`.
"""

from __future__ import annotations

from sampan.container.records import Restart
from sampan.core.errors import Invalid, Unimplemented
from sampan.core.spec.runtime import Rlimit
from sampan.core.units import parse_size
from sampan.engine.grants import PortMap

CPU_PERIOD = 100_000
MAX_PORT = 65535
RESTARTS = ("no", "always", "unless-stopped", "on-failure")
ULIMITS = frozenset(
    {
        *("as", "core", "cpu", "data", "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc"),
        *("rss", "rtprio", "rttime", "sigpending", "stack"),
    }
)
UNLIMITED = (1 << 64) - 1


def one_of(flag: str, text: str, words: tuple[str, ...]) -> str:
    """`text`, when it is one of `words`.

    Raises:
        Invalid: it is not.
    """
    if text not in words:
        raise Invalid(f"--{flag} {text[:40]!r} is not one of {', '.join(words)}")
    return text


def parse_count(flag: str, text: str, least: int = 0) -> int:
    """A whole number of at least `least`.

    Raises:
        Invalid: anything else, or 2^63 and more.
    """
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20) or not least <= int(text) < 1 << 63:
        raise Invalid(f"--{flag} {text[:40]!r} is not a whole number of at least {least}")
    return int(text)


def parse_ports(texts: list[str]) -> list[PortMap]:
    """The published ports of `[IP:][HOST[-HOST]:]PORT[-PORT][/tcp|udp]`; host port 0 for any free one.

    Raises:
        Invalid: not such a text, ranges of different lengths, or one host port published twice.
        Unimplemented: another protocol.
    """
    ports = [port for text in texts for port in _parse_port(text)]
    taken: set[tuple[str, int, str]] = set()
    for port in ports:
        key = (port.host_address, port.host_port, port.protocol)
        if port.host_port and key in taken:
            raise Invalid(f"the host's port {port.host_port}/{port.protocol} is published twice")
        taken.add(key)
    return ports


def _parse_port(text: str) -> list[PortMap]:
    body, slash, protocol = text.partition("/")
    protocol = protocol.lower() if slash else "tcp"
    if protocol == "sctp":
        raise Unimplemented("WASI has no SCTP sockets, so its ports cannot be published")
    if protocol not in ("tcp", "udp"):
        raise _bad_port(text, f"{protocol[:20]!r} is not a protocol")
    rest, _, guest = body.rpartition(":")
    address, host = _split_address(text, rest)
    guests = _port_range(text, guest, least=1)
    hosts = _port_range(text, host, least=0) if host else [0] * len(guests)
    if len(hosts) != len(guests):
        raise _bad_port(text, f"{len(hosts)} ports of the host do not match {len(guests)} of the container")
    return [PortMap(address, h, g, protocol) for h, g in zip(hosts, guests)]


def _split_address(text: str, rest: str) -> tuple[str, str]:
    """IP address and host port of what stands before the container's port."""
    address, colon, host = rest.rpartition(":")
    if rest.startswith("["):
        inside, bracket, after = rest[1:].partition("]")
        if not bracket or (after and not after.startswith(":")):
            raise _bad_port(text, "a [ is not closed")
        address, colon, host = inside, ":", after.removeprefix(":")
    if not colon:
        return "", rest
    from _socket import AF_INET, AF_INET6, inet_pton

    try:
        inet_pton(AF_INET6 if ":" in address else AF_INET, address)
    except (OSError, ValueError):
        raise _bad_port(text, f"{address[:40]!r} is not an IP address") from None
    return address, host


def _port_range(text: str, part: str, least: int) -> list[int]:
    first, dash, last = part.partition("-")
    numbers = []
    for number in (first, last if dash else first):
        if not (
            number.isascii() and number.isdigit() and len(number) < 6 and least <= int(number) <= MAX_PORT
        ):
            raise _bad_port(text, f"{number[:20]!r} is not a port")
        numbers.append(int(number))
    if numbers[1] < numbers[0]:
        raise _bad_port(text, f"the range {part!r} runs backwards")
    return list(range(numbers[0], numbers[1] + 1))


def _bad_port(text: str, why: str) -> Invalid:
    return Invalid(
        f"--publish {text[:60]!r}: {why}", fix="write it like 8080:80, 127.0.0.1:8080:80 or 8000-8003:80-83"
    )


def parse_cpus(text: str) -> tuple[int, int]:
    """Quota and period in microseconds of `--cpus 1.5`; quota 0 for no limit.

    Raises:
        Invalid: not a number from 0.01 to 10000, nor 0.
    """
    whole, _, part = text.partition(".")
    digits = whole + part
    if not (digits.isascii() and digits.isdigit() and len(digits) < 16):
        raise Invalid(f"--cpus {text[:40]!r} is not a number", fix="write it like 0.5 or 2")
    value = float(text)
    if value and not 0.01 <= value <= 10_000:
        raise Invalid(f"--cpus {text[:40]} is not between 0.01 and 10000")
    return round(value * CPU_PERIOD), CPU_PERIOD


def parse_ulimit(text: str) -> Rlimit:
    """The limit of `NAME=SOFT[:HARD]`; -1 for none.

    Raises:
        Invalid: not such a text, or the soft limit is above the hard one.
    """
    name, equals, values = text.partition("=")
    if not equals or name not in ULIMITS:
        raise Invalid(
            f"--ulimit {text[:60]!r} is not NAME=SOFT[:HARD]", fix=f"names are {', '.join(sorted(ULIMITS))}"
        )
    soft_text, colon, hard_text = values.partition(":")
    soft = _limit(text, soft_text)
    hard = _limit(text, hard_text) if colon else soft
    if soft > hard:
        raise Invalid(f"--ulimit {text[:60]!r}: the soft limit is above the hard one")
    return Rlimit(f"RLIMIT_{name.upper()}", soft, hard)


def _limit(text: str, value: str) -> int:
    if value in ("-1", "unlimited"):
        return UNLIMITED
    if not (value.isascii() and value.isdigit() and len(value) < 20):
        raise Invalid(f"--ulimit {text[:60]!r}: {value[:20]!r} is not a number")
    return int(value)


def parse_restart(text: str) -> Restart:
    """The policy of `no`, `always`, `unless-stopped`, `on-failure[:N]`.

    Raises:
        Invalid: another one, or a number where none belongs.
    """
    policy, colon, most = text.partition(":")
    one_of("restart", policy or "no", RESTARTS)
    if colon and policy != "on-failure":
        raise Invalid(f"--restart {text[:40]!r}: only on-failure takes a number of retries")
    return Restart(policy or "no", parse_count("restart on-failure", most) if colon else 0)


def parse_detach_keys(text: str) -> bytes:
    """The bytes that a terminal sends for `ctrl-p,ctrl-q` or `a,ctrl-\\`; empty for no such keys.

    Raises:
        Invalid: a part is neither one ASCII character nor `ctrl-` and one of a-z @ [ \\ ] ^ _.
    """
    keys = bytearray()
    for part in text.split(",") if text else []:
        control = part.lower().removeprefix("ctrl-")
        if len(part) == 1 and part.isascii() and part.isprintable():
            keys += part.encode()
        elif control != part.lower() and len(control) == 1 and control in "abcdefghijklmnopqrstuvwxyz@[\\]^_":
            keys.append(ord(control.upper()) & 0x1F)
        else:
            raise Invalid(
                f"--detach-keys {text[:40]!r} has {part[:20]!r}, which is no key", fix="ctrl-a is one"
            )
    return bytes(keys)


def check_security_options(texts: list[str]) -> None:
    """Takes `no-new-privileges`, which is always on.

    Raises:
        Unimplemented: an option that would take a wall away, or label the process.
        Invalid: an option that there is not.
    """
    for text in texts:
        name, _, value = text.replace(":", "=", 1).partition("=")
        if name == "no-new-privileges" and value in ("", "true"):
            continue
        if name in ("no-new-privileges", "seccomp", "apparmor", "label", "systempaths", "writable-cgroups"):
            raise Unimplemented(
                f"--security-opt {text[:60]} cannot be had: the walls around a container are fixed",
                fix="a wall that this machine cannot build is waived with --waive",
            )
        raise Invalid(f"--security-opt {text[:60]!r} is not a security option")


def check_log_driver(text: str) -> None:
    """Takes `json-file`, what Docker does unless told otherwise.

    Raises:
        Unimplemented: another one.
    """
    if text != "json-file":
        raise Unimplemented(f"the log driver {text[:40]!r} cannot be had", fix="leave --log-driver out")


def parse_network(text: str, ports: list[PortMap]) -> str:
    """The mode none, host or published, from `--network` and whether ports are published.

    Raises:
        Unimplemented: a network of Docker's that there is not.
        Invalid: ports are published on a network that has none.
    """
    if not text:
        return "published" if ports else "none"
    if text not in ("none", "host"):
        raise Unimplemented(
            f"there is no network {text[:40]!r}", fix="use --network none or host, or publish ports with -p"
        )
    if ports and text == "none":
        raise Invalid("ports cannot be published with --network none", fix="leave --network out")
    return text


def parse_memory(flag: str, text: str) -> int:
    """Bytes of `64m`; at least one Wasm page.

    Raises:
        Invalid: not a size, or less than 64 KiB.
    """
    value = parse_size(text, f"size for --{flag}")
    if value < 65536:
        raise Invalid(f"--{flag} {text[:40]} is less than 64k, one page of Wasm memory")
    return value
