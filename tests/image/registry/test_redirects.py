"""Where a registry may lead us."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Denied, Invalid, SampanError
from sampan.image.registry.redirects import (
    may_have_credentials,
    next_hop,
    origin,
    registrable_domain,
    resolve_host,
    shown,
)

ADDRESSES = {
    "public.example": ["93.184.216.34"],
    "cdn.example": ["93.184.216.35", "2606:2800::1"],
    "inside.example": ["10.1.2.3"],
    "both.example": ["93.184.216.34", "127.0.0.1"],
    "mapped.example": ["::ffff:169.254.169.254"],
    "any.example": ["0.0.0.0"],
}


def hop(url: str, location: str, home: str = "") -> str:
    return next_hop(url, location, home or url, lambda host: ADDRESSES.get(host, []))


def test_R15_a_redirect_is_resolved_against_its_page() -> None:
    assert hop("https://public.example/v2/a", "/b?x=1#f") == "https://public.example/b?x=1"
    assert hop("https://public.example/v2/a", "https://u:p@cdn.example/b") == "https://cdn.example/b"
    assert hop("http://public.example/a", "https://cdn.example/b") == "https://cdn.example/b"


def test_R15_https_never_becomes_http() -> None:
    with pytest.raises(Denied, match="from https to http"):
        hop("https://public.example/a", "http://cdn.example/b")


@pytest.mark.parametrize(
    "target",
    [
        "http://169.254.169.254/latest",
        "http://[fe80::1]/",
        "http://mapped.example/",
        "http://localhost:1/",
        "http://127.0.0.1/",
        "http://[::1]/",
        "http://10.0.0.1/",
        "http://192.168.1.1/",
        "http://inside.example/",
        "http://both.example/",
        "http://any.example/",
        "file:///etc/passwd",
        "unix:/run/docker.sock",
        "gopher://x/",
    ],
)
def test_R16_private_targets_are_refused(target: str) -> None:
    with pytest.raises(Denied):
        hop("http://public.example/v2/", target)


@pytest.mark.parametrize(
    ("home", "target", "allowed"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:6000/b", True),
        ("http://localhost:5000", "http://10.0.0.1/b", True),
        ("http://10.0.0.1", "http://inside.example/b", True),
        ("http://10.0.0.1", "http://127.0.0.1/b", False),
        ("http://127.0.0.1:5000", "http://169.254.169.254/b", False),
        ("http://10.0.0.1", "http://169.254.169.254/b", False),
        ("http://169.254.1.1", "http://169.254.1.1/b", True),
    ],
)
def test_R16_a_private_registry_may_lead_no_further_inside(home: str, target: str, allowed: bool) -> None:
    if allowed:
        assert hop(home, target) == target
    else:
        with pytest.raises(Denied):
            hop(home, target)


def test_a_redirect_to_nowhere_is_refused() -> None:
    with pytest.raises(Invalid):
        hop("https://public.example/", "")
    with pytest.raises(SampanError):
        hop("https://public.example/", "https://[::1")


@pytest.mark.parametrize(
    ("realm", "registry", "allowed"),
    [
        ("https://auth.example.com/token", "https://registry.example.com", True),
        ("https://example.com/token", "https://registry.example.com", True),
        ("https://registry.example.com:444/token", "https://registry.example.com", True),
        ("http://registry.example.com/token", "https://registry.example.com", False),
        ("https://evil.example/token", "https://registry.example.com", False),
        ("https://notexample.com/token", "https://example.com", False),
        ("https://example.com.evil.net/token", "https://example.com", False),
        ("https://b.co.uk/token", "https://a.co.uk", False),
        ("https://auth.a.co.uk/token", "https://a.co.uk", True),
        ("https://10.0.0.2/token", "https://10.0.0.1", False),
        ("http://127.0.0.1:2/token", "http://127.0.0.1:1", True),
        ("http://evil.example/token", "http://127.0.0.1:1", False),
        ("https://login.other.net/token", "https://allowed.example.com", True),
    ],
)
def test_R17_credentials_go_to_the_registrys_own_token_server(
    realm: str, registry: str, allowed: bool
) -> None:
    assert may_have_credentials(realm, registry, ["login.other.net"]) is allowed


def test_registrable_domains() -> None:
    assert registrable_domain("a.b.example.com") == "example.com"
    assert registrable_domain("a.example.co.uk") == "example.co.uk"
    assert registrable_domain("co.uk") == ""
    assert registrable_domain("localhost") == ""
    assert registrable_domain("127.0.0.1") == ""
    assert registrable_domain("::1") == ""


def test_shown_urls_have_no_secrets() -> None:
    assert shown("https://user:secret@h.example/p?token=secret#secret") == "https://h.example/p"
    assert shown("user:secret@h.example/p?x") == "h.example/p"


@given(st.text(max_size=80))
def test_any_location_is_followed_or_refused(location: str) -> None:
    try:
        target = hop("https://public.example/v2/", location)
    except SampanError:
        return
    assert origin(target)[0] == "https"


def test_names_of_this_machine_are_known() -> None:
    assert "127.0.0.1" in resolve_host("localhost")
    assert resolve_host("no such host") == []
