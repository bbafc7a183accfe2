"""TLS, proxies and the bounds of one exchange (row R19)."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import trustme

from sampan.core.errors import Denied, Invalid, NotFound, SampanError, Unavailable, Unimplemented
from sampan.image.registry.answer import Patience
from sampan.image.registry.exchange import Exchange
from sampan.image.registry.settings import RegistryOptions, Settings, registry_name
from sampan.testing.registry import Registry

from .conftest import User


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def certificate(
    authority: trustme.CA, folder: Path, name: str = "127.0.0.1", **more: object
) -> tuple[str, str]:
    issued = authority.issue_cert(name, **more)  # type: ignore[arg-type]
    key, chain = folder / "server.key", folder / "server.crt"
    issued.private_key_pem.write_to_path(key)
    for i, blob in enumerate(issued.cert_chain_pems):
        blob.write_to_path(chain, append=i > 0)
    return str(chain), str(key)


def trust(user: User, registry: Registry, authority: trustme.CA, layout: str) -> None:
    ca = user.folder / "certs.d" / registry.host / "ca.crt"
    ca.parent.mkdir(parents=True)
    authority.cert_pem.write_to_path(ca)
    if layout == "certs.d":
        user.settings.certificate_folders = [str(user.folder / "certs.d")]
    else:
        user.settings.registries[registry.host] = RegistryOptions(ca=str(ca))


@pytest.mark.parametrize("layout", ["certs.d", "ca"])
def test_a_private_authority_is_trusted_where_it_is_named(
    user: User, authority: trustme.CA, layout: str
) -> None:
    with Registry(certificate=certificate(authority, user.folder)) as registry:
        trust(user, registry, authority, layout)
        image = registry.add_image("team/app", "v1", [b"layer"])
        assert user.pull(registry) == image


def test_R19_a_self_signed_certificate_is_refused(user: User, authority: trustme.CA) -> None:
    with Registry(certificate=certificate(authority, user.folder)) as registry:
        with pytest.raises(Denied, match=r"not trusted.*certs\.d"):
            user.pull(registry)
        assert registry.requests == []


def test_R19_a_certificate_for_another_host_is_refused(user: User, authority: trustme.CA) -> None:
    with Registry(certificate=certificate(authority, user.folder, "other.example")) as registry:
        trust(user, registry, authority, "ca")
        with pytest.raises(Denied, match="not trusted"):
            user.pull(registry)


def test_R19_an_expired_certificate_is_refused(user: User, authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    files = certificate(authority, user.folder, not_before=past, not_after=past + datetime.timedelta(1))
    with Registry(certificate=files) as registry:
        trust(user, registry, authority, "ca")
        with pytest.raises(Denied, match="expired"):
            user.pull(registry)


def test_any_certificate_is_taken_where_the_user_says_so(user: User, authority: trustme.CA) -> None:
    with Registry(certificate=certificate(authority, user.folder)) as registry:
        user.settings.registries[registry.host] = RegistryOptions(skip_tls_verify=True)
        registry.add_image("team/app", "v1", [])
        user.pull(registry)


def test_a_plain_server_asked_by_https_is_an_error_with_a_fix(registry: Registry) -> None:
    url = f"https://{registry.host}/v2/"
    with Exchange(Settings(), Patience(connect=1.0)) as exchange, pytest.raises(Denied, match="plain_http"):
        exchange.request("GET", url, {})


def test_a_certificate_file_that_is_none_is_an_error(tmp_path: Path) -> None:
    broken = tmp_path / "ca.crt"
    broken.write_text("not a certificate")
    with Exchange(Settings({"r.example:1": RegistryOptions(ca=str(broken))})) as exchange:
        with pytest.raises(Invalid, match="cannot be read"):
            exchange.request("GET", "https://r.example:1/v2/", {})
        broken.unlink()
        with pytest.raises(NotFound, match=r"ca\.crt"):
            exchange.request("GET", "https://r.example:1/v2/", {})


@pytest.mark.parametrize(
    "url", ["", "x", "ftp://h/", "http://", "http://h:99999/", "http://[::1/", "http://a\nb/"]
)
def test_what_is_no_url_is_refused(url: str) -> None:
    with Exchange(Settings()) as exchange, pytest.raises(Invalid):
        exchange.request("GET", url, {})


def test_this_machine_is_reached_without_the_proxy(
    user: User, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    registry.add_image("team/app", "v1", [])
    user.pull(registry)


def test_other_hosts_are_reached_through_the_proxy(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", registry.url)
    with Exchange(Settings()) as exchange, exchange.request("GET", "http://r.example/v2/", {}) as answer:
        assert answer.status == 200
    assert registry.requests[0].path == "http://r.example/v2/"


def test_a_proxy_that_is_gone_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with Exchange(Settings()) as exchange, pytest.raises(Unavailable):
        exchange.request("GET", "http://r.example/v2/", {})


@pytest.mark.parametrize(
    ("proxy", "kind"), [("socks5://127.0.0.1:1", Unimplemented), ("gopher://x", Invalid)]
)
def test_a_proxy_of_another_kind_is_an_error(
    monkeypatch: pytest.MonkeyPatch, proxy: str, kind: type[SampanError]
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    with Exchange(Settings()) as exchange, pytest.raises(kind, match="prox"):
        exchange.request("GET", "http://r.example/v2/", {})


def test_the_name_to_log_in_to() -> None:
    assert registry_name("https://registry-1.docker.io/v2/x") == "docker.io"
    assert registry_name("http://127.0.0.1:5000/v2/") == "127.0.0.1:5000"
