"""containerd's `hosts.toml`, read into our settings of registries."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.doors.cri.images.certs_d import add_hosts
from sampan.image.registry.settings import RegistryOptions, Settings


def read(folder: Path, text: str, registry: str = "docker.io", name: str = "") -> Settings:
    place = folder / (name or registry)
    place.mkdir(exist_ok=True)
    (place / "hosts.toml").write_text(text)
    found = Settings()
    add_hosts(found, str(folder), registry)
    return found


def places(settings: Settings, registry: str = "docker.io") -> list[str]:
    return [f"{e.schemes[0]}://{e.host}/{e.repository('x')}" for e in settings.endpoints(registry)]


def test_mirrors_come_in_their_order_and_the_registry_last(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        'server = "https://registry-1.docker.io"\n'
        '[host."http://one.test:5000"]\ncapabilities = ["pull", "resolve"]\n'
        '[host."two.test"]\n[host."https://three.test/v2/proxy"]\noverride_path = true\n',
    )
    assert places(found) == [
        "http://one.test:5000/x",
        "https://two.test/x",
        "https://three.test/proxy/x",
        "https://registry-1.docker.io/x",
    ]


def test_a_server_that_is_another_one_is_asked_before_the_registry(tmp_path: Path) -> None:
    found = read(tmp_path, 'server = "http://127.0.0.2:5000"\n', "registry.test")
    assert places(found, "registry.test") == ["http://127.0.0.2:5000/x", "https://registry.test/x"]


def test_a_host_that_may_not_do_all_is_left_out(tmp_path: Path) -> None:
    found = read(tmp_path, '[host."http://one.test"]\ncapabilities = ["push"]\n')
    assert places(found) == ["https://registry-1.docker.io/x"]


def test_how_a_host_is_trusted(tmp_path: Path) -> None:
    found = read(
        tmp_path,
        '[host."https://one.test:5000"]\nskip_verify = true\n[host."https://two.test"]\nca = "two.crt"\n'
        '[host."https://three.test"]\nca = ["/etc/three.crt"]\n',
    )
    assert found.trust("one.test", 5000).skip_verify
    assert found.trust("two.test", 443).authorities == [f"{tmp_path}/docker.io/two.crt"]
    assert found.trust("three.test", 443).authorities == ["/etc/three.crt"]


@pytest.mark.parametrize("name", ["registry.test:5000", "registry.test_5000_", "_default"])
def test_where_the_file_may_be(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, '[host."http://one.test"]\n', "registry.test:5000", name)
    assert places(found, "registry.test:5000")[0] == "http://one.test/x"


def test_our_own_settings_come_first(tmp_path: Path) -> None:
    (tmp_path / "docker.io").mkdir()
    (tmp_path / "docker.io" / "hosts.toml").write_text('[host."http://one.test"]\n')
    found = Settings({"docker.io": RegistryOptions(["own.test"])})
    add_hosts(found, str(tmp_path), "docker.io")
    assert places(found)[:2] == ["https://own.test/x", "http://one.test/x"]


@pytest.mark.parametrize("folder", ["", "/no/such/folder"])
def test_no_folder_adds_no_mirror(folder: str) -> None:
    found = Settings()
    add_hosts(found, folder, "docker.io")
    assert places(found) == ["https://registry-1.docker.io/x"]


def test_certificates_alone_are_trusted(tmp_path: Path) -> None:
    (tmp_path / "registry.test").mkdir()
    (tmp_path / "registry.test" / "ca.crt").write_text("x")
    found = Settings()
    add_hosts(found, str(tmp_path), "registry.test")
    assert found.trust("registry.test", 443).authorities == [f"{tmp_path}/registry.test/ca.crt"]


@pytest.mark.parametrize(
    "text",
    [
        '[host."https://one.test"]\nclient = ["a", "b"]\n',
        '[host."https://one.test".header]\nx = "y"\n',
        '[host."https://one.test/path"]\n',
        '[host."https://one.test"]\nca = ["a", "b"]\n',
    ],
)
def test_what_we_do_not_have_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(Unimplemented, match=r"one\.test"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "host = 1",
        "server = 1",
        "[host]\nx = 1",
        '[host."ftp://one.test"]',
        '[host."https://"]',
        "not toml",
        '[host."one.test"]\ncapabilities = "pull"',
        '[host."one.test"]\nca = [1]',
    ],
)
def test_what_makes_no_sense_is_said(tmp_path: Path, text: str) -> None:
    with pytest.raises(Invalid, match=r"hosts\.toml"):
        read(tmp_path, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet='[]"=.\nhostserverca:/1 truepull', max_size=60))
def test_any_text_is_settings_or_an_error_of_ours(tmp_path: Path, text: str) -> None:
    try:
        read(tmp_path, text)
    except SampanError:
        pass
