"""The HTTP/1.1 upgrade to SPDY or WebSocket: what a request asks for, and the headers that grant it.

RFC 9110 §7.8 for the upgrade, RFC 6455 §4.2 for WebSocket's part of it; SPDY's is Kubernetes' own: the protocols that
are spoken over its streams are offered in `X-Stream-Protocol-Version`.
"""

from __future__ import annotations

import binascii

from sampan.core.errors import Invalid, Unimplemented
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    Headers = list[tuple[bytes, bytes]]

SPDY, WEBSOCKET = "spdy", "websocket"
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_SPDY_PROTOCOLS, _WEBSOCKET_PROTOCOLS = b"x-stream-protocol-version", b"sec-websocket-protocol"


class Upgrade(Record):
    """What a client asks for.

    Attributes:
        kind: SPDY or WEBSOCKET. offered: the protocols that the client would speak over it, best first.
        key: of a WebSocket's handshake.
    """

    kind: str
    offered: list[str]
    key: bytes = b""


def parse(method: bytes, headers: Iterable[tuple[bytes, bytes]]) -> Upgrade:
    """The upgrade that a request asks for.

    Args:
        headers: their names in lower case.

    Raises:
        Invalid: it asks for none, or not in the right way. Unimplemented: for one that is not served.
    """
    given: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        given.setdefault(name, []).append(value)
    if b"upgrade" not in [token.lower() for token in _tokens(given.get(b"connection", []))]:
        raise Invalid("the request is not an upgrade", fix="ask for SPDY/3.1 or websocket")
    wanted = [token.lower() for token in _tokens(given.get(b"upgrade", []))]
    if b"websocket" in wanted:
        return _websocket(method, given)
    if b"spdy/3.1" in wanted:
        return Upgrade(SPDY, _texts(given.get(_SPDY_PROTOCOLS, [])))
    raise Unimplemented("the request asks for another upgrade than SPDY/3.1 and websocket")


def choose(upgrade: Upgrade, served: Sequence[str], otherwise: str = "") -> str:
    """The first protocol that both sides speak.

    Args:
        otherwise: the protocol of a client that offers none, "" where it must.

    Raises:
        Unimplemented: there is none.
    """
    for protocol in upgrade.offered:
        if protocol in served:
            return protocol
    if otherwise and not upgrade.offered:
        return otherwise
    offered = ", ".join(upgrade.offered)[:200] or "none"
    raise Unimplemented(f"the client offers the protocols {offered}; these are served: {', '.join(served)}")


def granted(upgrade: Upgrade, protocol: str) -> Headers:
    """The headers of the answer 101 that grants an upgrade."""
    spoken = protocol.encode() if protocol in upgrade.offered else b""
    if upgrade.kind == SPDY:
        headers = [(b"Connection", b"Upgrade"), (b"Upgrade", b"SPDY/3.1")]
        return [*headers, (b"X-Stream-Protocol-Version", spoken)] if spoken else headers
    headers = [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"websocket"),
        (b"Sec-WebSocket-Accept", accept(upgrade.key)),
    ]
    return [*headers, (b"Sec-WebSocket-Protocol", spoken)] if spoken else headers


def accept(key: bytes) -> bytes:
    """What a WebSocket server proves with that it has understood the client's key."""
    import hashlib

    digest = hashlib.sha1(key + _GUID, usedforsecurity=False).digest()
    return binascii.b2a_base64(digest, newline=False)


def _websocket(method: bytes, given: dict[bytes, list[bytes]]) -> Upgrade:
    if method != b"GET":
        raise Invalid("a WebSocket begins with GET")
    if given.get(b"sec-websocket-version") != [b"13"]:
        raise Unimplemented("only version 13 of WebSocket is served")
    keys = given.get(b"sec-websocket-key", [])
    try:
        fits = len(keys) == 1 and len(binascii.a2b_base64(keys[0].strip())) == 16
    except binascii.Error:
        fits = False
    if not fits:
        raise Invalid("the WebSocket's key is not 16 bytes in base64")
    return Upgrade(WEBSOCKET, _texts(given.get(_WEBSOCKET_PROTOCOLS, [])), keys[0].strip())


def _tokens(values: list[bytes]) -> list[bytes]:
    """The members of a list that may be spread over several header lines."""
    return [token.strip() for value in values for token in value.split(b",") if token.strip()]


def _texts(values: list[bytes]) -> list[str]:
    return [token.decode("latin-1") for token in _tokens(values)]
