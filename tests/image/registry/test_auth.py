"""Challenges, tokens and logins: who gets credentials, and who does not (rows R10, R11, R17, R19)."""

from __future__ import annotations

import pytest

from sampan.core.errors import Denied, SampanError, Unauthenticated
from sampan.core.reference import parse_reference
from sampan.core.strictjson import dumps
from sampan.image.registry.credentials import ANONYMOUS, Credential
from sampan.image.registry.settings import RegistryOptions
from sampan.testing.registry import Fault, Registry

from .conftest import User

USERS = {"ann": "secret"}


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_a_user_pulls_and_pushes(user: User, auth: str) -> None:
    with Registry(auth=auth, users=USERS) as registry:
        user.log_in(registry)
        image = registry.add_image("team/app", "v1", [b"layer"])
        assert user.pull(registry) == image
        assert user.push(registry, image, "team/app:v2") == image


def test_anonymous_users_get_a_token_for_pulling(user: User) -> None:
    with Registry(auth="token") as registry:
        registry.add_image("team/app", "v1", [b"layer"])
        user.pull(registry)
        assert len(registry.seen("GET", "/token")) == 1
        assert "authorization" not in registry.seen("GET", "/token")[0].headers


def test_one_token_serves_all_layers(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        registry.add_image("team/app", "v1", [b"%d" % i for i in range(20)])
        user.pull(registry)
        assert len(registry.seen("GET", "/token")) == 1
        assert [r.status for r in registry.requests].count(401) == 1


def test_a_token_that_is_no_longer_taken_is_replaced(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        registry.add_image("team/app", "v1", [b"layer"])
        challenge = f'Bearer realm="{registry.url}/token"'
        registry.fault(Fault("/blobs/", status=401, headers={"WWW-Authenticate": challenge}))
        user.pull(registry)
        assert len(registry.seen("GET", "/token")) == 2


def test_an_identity_token_is_posted(user: User) -> None:
    with Registry(auth="token") as registry:
        registry.identity_tokens.add("refresh")
        user.credentials.store(registry.host, Credential(identity_token="refresh"))
        image = registry.add_image("team/app", "v1", [b"layer"])
        user.pull(registry)
        user.push(registry, image, "team/app:v2")
        assert {r.method for r in registry.seen(path="/token")} == {"POST"}
        assert "refresh" not in "".join(r.path for r in registry.requests)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"token":"%s"}',
        b'{"access_token":"%s"}',
        b'{"token":"%s","access_token":"%s"}',
        b'{"token":"","access_token":"%s"}',
        b'{"access_token":"","token":"%s"}',
        b'{"token":null,"access_token":"%s"}',
        b'{"token":"%s","access_token":"another"}',
        b'{"token":"%s","token":"%s"}',
        b'{"token":"","token":"%s","expires_in":"soon","issued_at":5}',
        b'{"token":"%s","expires_in":-1}',
    ],
)
def test_R10_every_way_to_write_a_token_is_understood(user: User, answer: bytes) -> None:
    with Registry(auth="token", users=USERS) as registry:
        registry.token_answer = answer
        registry.add_image("team/app", "v1", [b"layer"])
        user.pull(registry)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"token":"' + b"x" * 10_000_000 + b'"}',
        b"<html>%s</html>",
        b"",
        b"{}",
        b"[]",
        b'[["token","%s"]]',
        b'"%s"',
        b"null",
        b'{"token":5}',
        b'{"token":""}',
        b'{"token":"a b"}',
        b'{"token":"a\\r\\nX: y"}',
        b'{"token":"\xc3\xa9"}',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=range(15),
)
def test_R11_what_is_no_token_is_refused(user: User, answer: bytes) -> None:
    with Registry(auth="token") as registry:
        registry.token_answer = answer
        registry.add_image("team/app", "v1", [b"layer"])
        with pytest.raises(Unauthenticated):
            user.pull(registry)


@pytest.mark.parametrize("status", [400, 401, 403])
def test_R11_a_token_server_that_refuses_says_why(user: User, status: int) -> None:
    with Registry(auth="token", users=USERS) as registry:
        registry.fault(
            Fault("/token", times=-1, status=status, body=b'{"errors":[{"code":"DENIED","message":"no"}]}')
        )
        with pytest.raises(Unauthenticated, match=r"DENIED: no.*sampan login"):
            user.pull(registry)


def test_R17_credentials_stay_away_from_strangers(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry, Registry(address="127.0.0.2") as stranger:
        user.log_in(registry)
        registry.challenge = f'Bearer realm="{stranger.url}/token",service="x"'
        with pytest.raises(Denied, match="which is not its own"):
            user.pull(registry)
        assert stranger.requests == []


def test_R17_a_stranger_that_the_user_allows_gets_them(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry, Registry(address="127.0.0.2") as stranger:
        user.log_in(registry)
        registry.challenge = f'Bearer realm="{stranger.url}/token",service="x"'
        user.settings.registries[registry.host] = RegistryOptions(token_hosts=["127.0.0.2"], plain_http=True)
        with pytest.raises(Unauthenticated):  # its tokens are not this registry's
            user.pull(registry)
        assert "authorization" in stranger.requests[0].headers


@pytest.mark.parametrize(
    "challenge",
    [
        'Bearer realm="ftp://127.0.0.1/token"',
        'Bearer realm="http://user:pw@127.0.0.1:{port}/token"',
        'Bearer realm="/token"',
        'Bearer realm=""',
        "Bearer",
        'Bearer service="x"',
        'Bearer realm="http://169.254.169.254/token"',
        "Digest realm=x",
        'Bearer realm="open',
    ],
)
def test_R17_a_challenge_that_leads_astray_is_refused(user: User, challenge: str) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        registry.challenge = challenge.replace("{port}", registry.host.partition(":")[2])
        with pytest.raises((Unauthenticated, Denied)):
            user.pull(registry)
        assert registry.seen(path="/token") == []


def test_R17_no_more_rights_are_asked_for_than_needed(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        registry.add_image("team/app", "v1", [b"layer"])
        realm = f"{registry.url}/token"
        registry.challenge = (
            f'Bearer realm="{realm}",scope="repository:team/app:pull,push,delete registry:catalog:*"'
        )
        user.pull(registry)
        [request] = registry.seen("GET", "/token")
        assert "scope=repository%3Ateam%2Fapp%3Apull&" in request.path
        assert "push" not in request.path


def test_R17_a_token_server_that_redirects_gets_nothing_more(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry, Registry(address="127.0.0.2") as stranger:
        user.log_in(registry)
        registry.fault(Fault("/token", status=307, headers={"Location": f"{stranger.url}/token"}))
        with pytest.raises(SampanError):
            user.pull(registry)
        assert stranger.requests == []


def test_R19_a_401_is_answered_once(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        challenge = f'Bearer realm="{registry.url}/token"'
        registry.fault(Fault("/v2/team", times=-1, status=401, headers={"WWW-Authenticate": challenge}))
        with pytest.raises(Unauthenticated, match="sampan login"):
            user.pull(registry)
        assert len(registry.seen(path="/v2/team")) == 2


def test_a_refused_tokens_error_names_the_registry_to_log_in_to(user: User) -> None:
    with Registry(auth="token", users=USERS) as registry:
        user.log_in(registry)
        challenge = f'Bearer realm="{registry.url}/token"'
        registry.fault(Fault("/v2/team", times=-1, status=401, headers={"WWW-Authenticate": challenge}))
        with pytest.raises(Unauthenticated, match=f"sampan login {registry.host}$"):
            user.pull(registry)


def test_without_credentials_the_error_says_how_to_log_in(user: User) -> None:
    with Registry(auth="basic", users=USERS) as registry, pytest.raises(Unauthenticated) as caught:
        user.pull(registry)
    assert str(caught.value).endswith(f"log in with: sampan login {registry.host}")


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_login_keeps_what_the_registry_takes(user: User, auth: str) -> None:
    with Registry(auth=auth, users=USERS) as registry, user.client() as client:
        client.login(registry.host, Credential("ann", "secret"))
        assert user.credentials.find(registry.host) == Credential("ann", "secret")
        assert client.logout(registry.host)
        assert not client.logout(registry.host)
        assert user.credentials.find(registry.host) == ANONYMOUS


@pytest.mark.parametrize("auth", ["basic", "token"])
def test_login_with_a_wrong_password_changes_nothing(user: User, auth: str) -> None:
    with Registry(auth=auth, users=USERS) as registry, user.client() as client:
        user.log_in(registry)
        with pytest.raises(Unauthenticated) as caught:
            client.login(registry.host, Credential("ann", "wrong-password"))
        assert "wrong-password" not in str(caught.value)
        assert user.credentials.find(registry.host) == Credential("ann", "secret")


def test_a_registry_token_is_used_as_it_is(user: User) -> None:
    with Registry(auth="token") as registry, user.client() as client:
        registry.add_image("team/app", "v1", [])
        registry.tokens["ready-made"] = ["repository:team/app:pull"]
        config = {"auths": {registry.host: {"registrytoken": "ready-made"}}}
        (user.folder / "config.json").write_bytes(dumps(config))
        assert client.tags(parse_reference(f"{registry.host}/team/app")) == ["v1"]
        assert registry.seen(path="/token") == []
