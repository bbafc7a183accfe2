"""What a client may ask for, and how it is granted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.wire import upgrade
from sampan.wire.upgrade import SPDY, WEBSOCKET, Upgrade

KEY = b"dGhlIHNhbXBsZSBub25jZQ=="
WEB = [
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"websocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY),
]


def test_spdy_as_kubectl_asks_for_it():
    headers = [
        (b"connection", b"Upgrade"),
        (b"upgrade", b"SPDY/3.1"),
        (b"x-stream-protocol-version", b"v4.channel.k8s.io"),
        (b"x-stream-protocol-version", b"v3.channel.k8s.io, v2.channel.k8s.io"),
    ]
    wanted = upgrade.parse(b"POST", headers)
    assert wanted == Upgrade(SPDY, ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io"])
    assert upgrade.granted(wanted, "v3.channel.k8s.io") == [
        (b"Connection", b"Upgrade"),
        (b"Upgrade", b"SPDY/3.1"),
        (b"X-Stream-Protocol-Version", b"v3.channel.k8s.io"),
    ]


def test_websocket_as_its_specification_shows_it():
    """RFC 6455 §1.3."""
    wanted = upgrade.parse(b"GET", [*WEB, (b"sec-websocket-protocol", b"v5.channel.k8s.io, chat")])
    assert wanted == Upgrade(WEBSOCKET, ["v5.channel.k8s.io", "chat"], KEY)
    granted = dict(upgrade.granted(wanted, "chat"))
    assert granted[b"Sec-WebSocket-Accept"] == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    assert granted[b"Sec-WebSocket-Protocol"] == b"chat"


def test_the_first_that_both_speak_is_chosen():
    wanted = Upgrade(SPDY, ["v9", "v2", "v1"])
    assert upgrade.choose(wanted, ("v1", "v2")) == "v2"
    with pytest.raises(Unimplemented, match="offers the protocols v9, v2, v1; these are served: v3"):
        upgrade.choose(wanted, ("v3",), "v3")


def test_a_client_that_names_no_protocol_is_not_told_one():
    wanted = Upgrade(WEBSOCKET, [], KEY)
    assert upgrade.choose(wanted, ("v1",), "v1") == "v1"
    assert b"Sec-WebSocket-Protocol" not in dict(upgrade.granted(wanted, "v1"))
    with pytest.raises(Unimplemented):
        upgrade.choose(wanted, ("v1",))


@pytest.mark.parametrize(
    ("method", "headers", "error"),
    [
        (b"GET", [], Invalid),
        (b"GET", [(b"upgrade", b"websocket")], Invalid),
        (b"GET", [(b"connection", b"upgrade"), (b"upgrade", b"h2c")], Unimplemented),
        (b"POST", WEB, Invalid),
        (b"GET", [*WEB[:2], (b"sec-websocket-version", b"8"), WEB[3]], Unimplemented),
        (b"GET", WEB[:3], Invalid),
        (b"GET", [*WEB, WEB[3]], Invalid),
        (b"GET", [*WEB[:3], (b"sec-websocket-key", b"short")], Invalid),
        (b"GET", [*WEB[:3], (b"sec-websocket-key", b"\xff")], Invalid),
    ],
)
def test_what_cannot_be_granted_is_refused(method, headers, error):
    with pytest.raises(error):
        upgrade.parse(method, headers)


@given(st.lists(st.tuples(st.sampled_from([name for name, _ in WEB]), st.binary(max_size=40)), max_size=6))
def test_garbage_is_never_more_than_an_error(headers):
    try:
        upgrade.parse(b"GET", headers)
    except SampanError:
        pass
