"""What `registries.toml` says, and where certificates are looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.core.errors import Invalid, NotFound
from sampan.image.registry.settings import (
    RegistryOptions,
    Settings,
    is_loopback,
    load_settings,
    parse_registry,
    read_registries,
)


def write(path: Path, text: str) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def test_a_table_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.toml",
        '[registries."docker.io"]\nmirrors = ["m.example:5000", "p.example/docker"]\n'
        '[registries."r.example:5000"]\nplain_http = true\nca = "/x.crt"\ntoken_hosts = ["t.example"]\n',
    )
    assert read_registries(path) == {
        "docker.io": RegistryOptions(mirrors=["m.example:5000", "p.example/docker"]),
        "r.example:5000": RegistryOptions(plain_http=True, ca="/x.crt", token_hosts=["t.example"]),
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[registries", "not TOML"),
        ("\xff", "not TOML"),
        ("mirrors = []", "unknown key 'mirrors'"),
        ('registries = "x"', "not a table"),
        ('[registries."a"]\nmirror = ["x"]', "unknown key 'mirror'"),
        ('[registries."a"]\nmirrors = "x"', "expected a list"),
        ('[registries."a"]\nplain_http = 1', "expected true or false"),
    ],
)
def test_mistakes_are_errors_that_say_where(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "r.toml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(Invalid, match=says) as caught:
        read_registries(str(path))
    assert str(path) in str(caught.value)


def test_the_users_file_wins_over_the_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = write(tmp_path / "system.toml", '[registries."a"]\nplain_http = true\n[registries."b"]\n')
    monkeypatch.setattr("sampan.image.registry.settings.SYSTEM_FILE", system)
    write(tmp_path / ".config/sampan/registries.toml", '[registries."a"]\nmirrors = ["m"]\n')
    settings = load_settings({"HOME": str(tmp_path)})
    assert settings.registries == {"a": RegistryOptions(mirrors=["m"]), "b": RegistryOptions()}


def test_the_chosen_file_is_the_only_one(tmp_path: Path) -> None:
    path = write(tmp_path / "own.toml", '[registries."c"]\n')
    assert list(load_settings({"SAMPAN_REGISTRIES": path, "HOME": str(tmp_path)}).registries) == ["c"]
    with pytest.raises(NotFound):
        load_settings({"SAMPAN_REGISTRIES": str(tmp_path / "none.toml")})


def test_endpoints_are_the_mirrors_and_then_the_registry() -> None:
    settings = Settings(
        {
            "docker.io": RegistryOptions(mirrors=["m.example:5000/docker", "http://n.example"]),
            "m.example:5000": RegistryOptions(plain_http=True),
        }
    )
    found = settings.endpoints("docker.io")
    assert [(e.host, e.schemes, e.account) for e in found] == [
        ("m.example:5000", ["http"], "m.example:5000"),
        ("n.example", ["http"], "n.example"),
        ("registry-1.docker.io", ["https"], "docker.io"),
    ]
    assert found[0].repository("library/x") == "docker/library/x"
    assert found[2].repository("library/x") == "library/x"


@pytest.mark.parametrize("name", ["", "ftp://x", "http://", "http://user:secret@host", "/x"])
def test_bad_mirrors_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        Settings().endpoint(name)


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:5000", "127.0.0.1:1", "127.3.2.1", "[::1]:5000", "LOCALHOST"]
)
def test_this_machine_is_tried_with_https_then_http(host: str) -> None:
    assert is_loopback(host)
    assert Settings().endpoint(host).schemes == ["https", "http"]


@pytest.mark.parametrize(
    "host", ["localhost.example", "127.0.0.1.example", "128.0.0.1", "[::2]", "example:5000"]
)
def test_other_hosts_are_asked_by_https_only(host: str) -> None:
    assert Settings().endpoint(host).schemes == ["https"]


def test_certificates_are_found_where_docker_has_them(tmp_path: Path) -> None:
    for name in (
        "r.example:5000/ca.crt",
        "r.example:5000/client.cert",
        "r.example:5000/client.key",
        "plain/ca.crt",
    ):
        write(tmp_path / name, "x")
    settings = Settings({"r.example:5000": RegistryOptions(ca="/own.crt")}, [str(tmp_path)])
    trust = settings.trust("r.example", 5000)
    assert trust.authorities == ["/own.crt", f"{tmp_path}/r.example:5000/ca.crt"]
    assert trust.clients == [f"{tmp_path}/r.example:5000/client"]
    assert settings.trust("r.example", 443).authorities == []
    assert settings.trust("plain", 443).authorities == [f"{tmp_path}/plain/ca.crt"]
    assert settings.trust("::1", 5000).authorities == []


def test_the_default_registrys_table_holds_for_its_api_host() -> None:
    settings = Settings({"docker.io": RegistryOptions(skip_tls_verify=True)})
    assert settings.trust("registry-1.docker.io", 443).skip_verify
    assert not settings.trust("other.example", 443).skip_verify


@pytest.mark.parametrize(
    ("text", "registry"),
    [
        ("r.example:5000", "r.example:5000"),
        ("https://r.example/v1/", "r.example"),
        ("localhost", "localhost"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("docker.io", "docker.io"),
    ],
)
def test_a_registry_may_be_written_in_many_ways(text: str, registry: str) -> None:
    assert parse_registry(text) == registry


@pytest.mark.parametrize(
    "text", ["", "host", "user:pw@host.example", "h_h.example", "host:0", "-a.example", "a..b"]
)
def test_what_no_reference_can_name_is_no_registry(text: str) -> None:
    with pytest.raises(Invalid):
        parse_registry(text)
