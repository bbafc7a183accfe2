"""Docker's and podman's credential files, and credential helpers."""

from __future__ import annotations

import base64
import json
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, NotFound, SampanError, Unavailable
from sampan.image.registry.credentials import ANONYMOUS, Credential, Credentials, default_files

HELPER = """#!/bin/sh
# keeps one credential a server in files; shows what it was started with
store="$(dirname "$0")/secrets"
mkdir -p "$store"
echo "$0 $*" >> "$store/calls"
env >> "$store/env"
read -r input
case "$1" in
get) file="$store/$(echo "$input" | tr '/:' '__')"
     if [ -f "$file" ]; then cat "$file"; else echo "credentials not found in native keychain"; exit 1; fi ;;
store) server=$(echo "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/')
     echo "$input" > "$store/$(echo "$server" | tr '/:' '__')" ;;
erase) rm "$store/$(echo "$input" | tr '/:' '__')" ;;
esac
"""


def encoded(pair: str) -> str:
    return base64.b64encode(pair.encode()).decode()


def config(tmp_path: Path, document: object, name: str = "config.json", mode: int = 0o600) -> str:
    path = tmp_path / name
    path.write_text(json.dumps(document))
    path.chmod(mode)
    return str(path)


@pytest.fixture
def helper(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "bin" / "docker-credential-test"
    program.parent.mkdir()
    program.write_text(HELPER)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return program.parent / "secrets"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"auth": encoded("ann:secret")}, Credential("ann", "secret")),
        ({"auth": encoded("ann:se:cr:et")}, Credential("ann", "se:cr:et")),
        ({"username": "ann", "password": "secret"}, Credential("ann", "secret")),
        ({"identitytoken": "t"}, Credential(identity_token="t")),
        ({"auth": encoded("ann:"), "identitytoken": "t"}, Credential("ann", "", "t")),
        ({"registrytoken": "t"}, Credential(registry_token="t")),
        ({}, ANONYMOUS),
        ({"auth": None}, ANONYMOUS),
    ],
)
def test_entries_are_read(tmp_path: Path, entry: dict[str, str], expected: Credential) -> None:
    path = config(tmp_path, {"auths": {"r.example:5000": entry}})
    assert Credentials([path]).find("r.example:5000") == expected


@pytest.mark.parametrize(
    "key", ["r.example", "https://r.example", "https://r.example/v1/", "http://r.example/v2/"]
)
def test_old_keys_are_read(tmp_path: Path, key: str) -> None:
    path = config(tmp_path, {"auths": {key: {"auth": encoded("ann:secret")}}})
    assert Credentials([path]).find("r.example").password == "secret"
    assert not Credentials([path]).find("r.example.net")
    assert not Credentials([path]).find("example")


def test_the_default_registry_is_kept_under_its_old_key(tmp_path: Path) -> None:
    path = str(tmp_path / "config.json")
    Credentials([path]).store("docker.io", Credential("ann", "secret"))
    assert list(json.loads(Path(path).read_text())["auths"]) == ["https://index.docker.io/v1/"]
    assert Credentials([path]).find("docker.io", "library/x").password == "secret"


def test_the_longest_key_wins(tmp_path: Path) -> None:
    auths = {"r.example": "one", "r.example/team": "two", "r.example/team/app": "three"}
    path = config(tmp_path, {"auths": {k: {"auth": encoded(f"u:{v}")} for k, v in auths.items()}})
    credentials = Credentials([path])
    assert credentials.find("r.example", "other/x").password == "one"
    assert credentials.find("r.example", "team/x").password == "two"
    assert credentials.find("r.example", "team/app").password == "three"
    assert credentials.find("r.example", "teams").password == "one"


def test_the_first_file_that_knows_the_registry_counts(tmp_path: Path) -> None:
    first = config(tmp_path, {"auths": {"a.example": {"auth": encoded("u:1")}}}, "1.json")
    second = config(
        tmp_path, {"auths": {k: {"auth": encoded("u:2")} for k in ("a.example", "b.example")}}, "2.json"
    )
    credentials = Credentials([str(tmp_path / "none.json"), first, second])
    assert credentials.find("a.example").password == "1"
    assert credentials.find("b.example").password == "2"
    assert credentials.find("c.example") == ANONYMOUS


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "[]",
        '{"auths":[]}',
        '{"auths":{"r.example":"x"}}',
        '{"auths":{"r.example":{"auth":1}}}',
        '{"auths":{"r.example":{"auth":"c2VjcmV0"}}}',
        '{"auths":{"r.example":{"auth":"!secret"}}}',
        '{"credsStore":1}',
        '{"credsStore":"../evil"}',
        '{"credHelpers":{"r.example":"a b"}}',
    ],
)
def test_a_broken_file_is_an_error_without_its_secrets(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(Invalid) as caught:
        Credentials([str(path)]).find("r.example")
    assert "secret" not in str(caught.value)
    assert "c2VjcmV0" not in str(caught.value)


@given(st.binary(max_size=100))
def test_any_file_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(data)
    try:
        assert Credentials([str(path)]).find("r.example") == ANONYMOUS
    except SampanError:
        pass


def test_storing_keeps_what_it_does_not_know(tmp_path: Path) -> None:
    before = {
        "auths": {"a.example": {"auth": encoded("u:1"), "email": "x"}},
        "detachKeys": "ctrl-x",
        "plugins": {"x": {}},
    }
    path = config(tmp_path, before, mode=0o644)
    Credentials([path]).store("b.example", Credential("bob", "s:é"))
    after = json.loads(Path(path).read_text())
    assert after.pop("auths") == {**before.pop("auths"), "b.example": {"auth": encoded("bob:s:é")}}
    assert after == before
    assert Path(path).stat().st_mode & 0o777 == 0o600
    assert Credentials([path]).find("b.example") == Credential("bob", "s:é")
    assert os.listdir(tmp_path) == ["config.json"]


def test_a_linked_file_stays_a_link(tmp_path: Path) -> None:
    real = config(tmp_path, {}, "real.json")
    (tmp_path / "config.json").symlink_to(real)
    Credentials([str(tmp_path / "config.json")]).store("r.example", Credential("u", "p"))
    assert (tmp_path / "config.json").is_symlink()
    assert "r.example" in Path(real).read_text()


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "home" / ".docker" / "config.json"
    Credentials([str(path)]).store("r.example", Credential("u", "p"))
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_erasing_takes_all_spellings_away(tmp_path: Path) -> None:
    entry = {"auth": encoded("u:p")}
    path = config(
        tmp_path, {"auths": {"r.example": entry, "https://r.example/v1/": entry, "s.example": entry}}
    )
    credentials = Credentials([path])
    assert credentials.erase("r.example")
    assert not credentials.erase("r.example")
    assert list(json.loads(Path(path).read_text())["auths"]) == ["s.example"]


def test_logins_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "config.json")
    names = [f"r{i}.example" for i in range(8)]
    threads = [
        threading.Thread(target=Credentials([path]).store, args=(n, Credential("u", n))) for n in names
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(json.loads(Path(path).read_text())["auths"]) == names


def test_a_file_that_others_can_read_is_reported(tmp_path: Path) -> None:
    said: list[str] = []
    Credentials([config(tmp_path, {}, mode=0o644)], said.append).find("r.example")
    assert len(said) == 1
    assert "chmod 600" in said[0]
    said.clear()
    Credentials([config(tmp_path, {}, "private.json")], said.append).find("r.example")
    assert said == []


def test_secrets_are_not_in_a_repr() -> None:
    assert "secret" not in repr(Credential("ann", "secret", "secret", "secret"))


@pytest.mark.parametrize("document", [{"credsStore": "test"}, {"credHelpers": {"r.example": "test"}}])
def test_helpers_store_get_and_erase(tmp_path: Path, helper: Path, document: dict[str, object]) -> None:
    path = config(tmp_path, document)
    credentials = Credentials([path])
    assert credentials.find("r.example") == ANONYMOUS
    credentials.store("r.example", Credential("ann", "top-secret"))
    assert credentials.find("r.example") == Credential("ann", "top-secret")
    assert "top-secret" not in Path(path).read_text()
    assert "top-secret" not in (helper / "calls").read_text() + (helper / "env").read_text()
    assert credentials.erase("r.example")
    assert credentials.find("r.example") == ANONYMOUS
    assert not credentials.erase("r.example")


def test_helpers_keep_identity_tokens(tmp_path: Path, helper: Path) -> None:
    credentials = Credentials([config(tmp_path, {"credsStore": "test"})])
    credentials.store("r.example", Credential(identity_token="token"))
    assert credentials.find("r.example") == Credential(identity_token="token")
    assert '"Username":"<token>"' in (helper / "r.example").read_text()


def test_a_helper_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="docker-credential-absent is not installed"):
        Credentials([config(tmp_path, {"credsStore": "absent"})]).find("r.example")


def test_a_helper_that_fails_or_babbles_is_an_error(tmp_path: Path, helper: Path) -> None:
    credentials = Credentials([config(tmp_path, {"credsStore": "test"})])
    program = helper.parent / "docker-credential-test"
    program.write_text("#!/bin/sh\necho locked; echo secret >&2; exit 3\n")
    with pytest.raises(Unavailable, match=r"docker-credential-test get failed: locked") as caught:
        credentials.find("r.example")
    assert "secret" not in str(caught.value)
    program.write_text("#!/bin/sh\necho '{\"Username\":1}'\n")
    with pytest.raises(Invalid):
        credentials.find("r.example")


def test_the_files_are_dockers_then_podmans() -> None:
    assert default_files({"HOME": "/h"}) == ["/h/.docker/config.json"]
    assert default_files({"DOCKER_CONFIG": "/d", "XDG_RUNTIME_DIR": "/r"}) == [
        "/d/config.json",
        "/r/containers/auth.json",
    ]
    assert default_files({"REGISTRY_AUTH_FILE": "/a.json", "DOCKER_CONFIG": "/d"}) == ["/a.json"]
