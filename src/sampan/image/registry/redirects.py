"""Where one exchange may lead: origins, redirects and token servers (pure rules, one name look-up).

A registry is trusted with its own content, not with our credentials for others and not with our place in the
network: it may send us to a content network, never from https to http, never to addresses that only we can reach
(CVE-2020-15157 and its kin).
"""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from sampan.core.errors import Denied, Invalid
from sampan.image.registry.settings import is_loopback_name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Resolve = Callable[[str], list[str]]

MAX_HOPS = 5
_PORTS = {"http": 80, "https": 443}
_SECOND_LEVEL = frozenset(
    ("ac", "co", "com", "edu", "go", "gob", "gov", "mil", "ne", "net", "nom", "or", "org")
)
_OPEN, _PRIVATE, _LOOPBACK, _LINK = range(4)  # how far inside an address is
_PLACES = ("a public", "a private", "a loopback", "a link-local")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of an absolute http or https URL.

    Raises:
        Invalid: not such a URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"{shown(url)!r} is not a URL") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise Invalid(f"{shown(url)!r} is not an http or https URL")
    return parts.scheme, parts.hostname, port or _PORTS[parts.scheme]


def shown(url: str) -> str:
    """`url` as errors may show it: without user, password, query and fragment, where secrets travel."""
    head, separator, rest = url.partition("://")
    if not separator:
        head, rest = "", url
    rest = rest.partition("?")[0].partition("#")[0]
    host, slash, path = rest.partition("/")
    return f"{head}{separator}{host.rpartition('@')[2]}{slash}{path}"[:200]


def next_hop(url: str, location: str, home: str, resolve: Resolve) -> str:
    """The absolute URL that a redirect from `url` leads to.

    Args:
        location: the `Location` header.
        home: the URL at the registry that was asked first.
        resolve: the addresses of a host name.

    Raises:
        Denied: https to http, another scheme, or an address further inside than the registry's own.
        Invalid: no `Location`, or not a URL.
    """
    if not location:
        raise Invalid(f"{shown(url)} answers with a redirect to nowhere")
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
    except ValueError as error:
        raise Invalid(f"{shown(url)} redirects to something that is not a URL") from error
    if parts.scheme not in _PORTS:
        raise Denied(f"{shown(url)} redirects to the scheme {parts.scheme[:20]!r}")
    if url.startswith("https:") and parts.scheme != "https":
        raise Denied(f"{shown(url)} redirects from https to {shown(target)}")
    target = parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()
    check_place(target, home, resolve)
    return target


def check_place(target: str, home: str, resolve: Resolve) -> None:
    """Refuse a target that is further inside our network than the registry at `home` is.

    Raises:
        Denied: the target has a private, loopback or link-local address and `home` has not such a one.
    """
    _, target_host, _ = origin(target)
    _, home_host, _ = origin(home)
    if target_host == home_host:
        return
    place = _place(target_host, resolve)
    if place == _LINK or place > _place(home_host, resolve):
        raise Denied(
            f"the registry {home_host} leads to {target_host}, {_PLACES[place]} address of this network"
        )


def _place(host: str, resolve: Resolve) -> int:
    import ipaddress

    if is_loopback_name(host):
        return _LOOPBACK
    try:
        texts = [str(ipaddress.ip_address(host))]
    except ValueError:
        texts = resolve(host)
    place = _OPEN
    for text in texts:
        address = ipaddress.ip_address(text.partition("%")[0])
        address = getattr(address, "ipv4_mapped", None) or address
        if address.is_link_local:
            return _LINK
        if address.is_loopback or address.is_unspecified:
            place = _LOOPBACK
        elif not address.is_global and place == _OPEN:
            place = _PRIVATE
    return place


def resolve_host(host: str) -> list[str]:
    """The addresses of a host name; none if there are none (connecting then says so)."""
    import socket

    try:
        return [str(info[4][0]) for info in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError):
        return []


def may_have_credentials(realm: str, registry: str, allowed: list[str]) -> bool:
    """Whether a token server may be given the credentials of the registry that named it.

    It may when it is on the registry's host or registrable domain, or in the user's list; and it must speak https,
    unless the registry itself is on this machine or speaks http.

    Args:
        realm: the token server's URL.
        registry: a URL at the registry.
        allowed: further hosts by name.
    """
    scheme, host, _ = origin(realm)
    registry_scheme, registry_host, _ = origin(registry)
    if scheme != "https" and registry_scheme == "https" and not is_loopback_name(registry_host):
        return False
    if host == registry_host or host in allowed:
        return True
    return registrable_domain(host) == registrable_domain(registry_host) != ""


def registrable_domain(host: str) -> str:
    """The part of a host name that somebody registered: `example.com`, `example.co.uk`; empty for addresses.

    Errs to the narrow side: two names that this holds for strangers can be allowed by `token_hosts`.
    """
    labels = host.rstrip(".").split(".")
    if ":" in host or len(labels) < 2 or labels[-1].isdigit():
        return ""
    wanted = 3 if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVEL else 2
    return ".".join(labels[-wanted:]) if len(labels) >= wanted else ""
