from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.doors.cli.runmounts import MountWish, parse_dir, parse_mount, parse_tmpfs, parse_volume
from sampan.engine.grants import Preopen


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("/srv:/data", MountWish("bind", "/srv", "/data", create=True)),
        ("/srv:/data:ro", MountWish("bind", "/srv", "/data", read_only=True, create=True)),
        ("./x:/data:rw,z", MountWish("bind", "./x", "/data", create=True)),
        ("~/x:/data/", MountWish("bind", "~/x", "/data", create=True)),
        ("db:/var//lib/./db", MountWish("volume", "db", "/var/lib/db")),
        ("/cache", MountWish("volume", "", "/cache")),
    ],
)
def test_volumes(text: str, wish: MountWish) -> None:
    assert parse_volume(text) == wish


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "a:b",
        "/a:b",
        "/a:/b:",
        "/a:/b:x",
        "/a:/b:ro:rw",
        "/a:/",
        "/a:/b/../..",
        "-db:/x",
        "d b:/x",
        "é:/x",
    ],
)
def test_bad_volumes_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_volume(text)


def test_propagation_cannot_be_had() -> None:
    with pytest.raises(Unimplemented, match="rshared"):
        parse_volume("/a:/b:rshared")


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("type=bind,source=/srv,target=/data", MountWish("bind", "/srv", "/data")),
        ("type=bind,src=/srv,dst=/data,readonly", MountWish("bind", "/srv", "/data", read_only=True)),
        ("type=bind,src=/a,destination=/b,ro=false", MountWish("bind", "/a", "/b")),
        ("source=db,target=/db", MountWish("volume", "db", "/db")),
        ("target=/db", MountWish("volume", "", "/db")),
        ('type=bind,"src=/with,comma",dst=/data', MountWish("bind", "/with,comma", "/data")),
        ('type=bind,"src=/with""quote",dst=/data', MountWish("bind", '/with"quote', "/data")),
        (
            "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700",
            MountWish("tmpfs", "", "/t", size=1 << 20, mode=0o700),
        ),
    ],
)
def test_mounts(text: str, wish: MountWish) -> None:
    assert parse_mount(text) == wish


@pytest.mark.parametrize(
    "text",
    ["", "type=bind", "type=bind,dst=/x", "type=nfs,dst=/x", "type=tmpfs,src=/a,dst=/x", "dst=x",
     "type=bind,src=/a,dst=/b,what=x",
     "type=bind,src=/a,dst=/b,ro=maybe", '"type=bind', '"type=bind"x', "type=tmpfs,dst=/x,tmpfs-mode=9", "nonsense"],
)  # fmt: skip
def test_bad_mounts_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        parse_mount(text)


def test_options_of_mounts_that_cannot_be_had() -> None:
    for option in ("bind-propagation=shared", "volume-driver=nfs", "volume-nocopy", "volume-subpath=x"):
        with pytest.raises(Unimplemented, match="cannot be had"):
            parse_mount(f"src=a,dst=/b,{option}")


def test_tmpfs() -> None:
    assert parse_tmpfs("/run") == MountWish("tmpfs", "", "/run")
    assert parse_tmpfs("/run:size=64k,mode=755,ro,noexec") == MountWish(
        "tmpfs", "", "/run", read_only=True, size=65536, mode=0o755
    )
    for text in ("run", "/run:size=x", "/run:exec", "/"):
        with pytest.raises(Invalid):
            parse_tmpfs(text)


def test_dirs() -> None:
    assert parse_dir("/srv") == Preopen("/srv", "/srv")
    assert parse_dir(".::/data") == Preopen(".", "/data")
    assert parse_dir("/srv::/data:ro") == Preopen("/srv", "/data", True)
    for text in ("", "::/x", "/srv::", ":ro"):
        with pytest.raises(Invalid, match="--dir"):
            parse_dir(text)


@given(
    st.text(alphabet='abc/.:,="rotypesc-\0 ', max_size=30),
    st.sampled_from([parse_volume, parse_mount, parse_tmpfs]),
)
def test_any_text_is_taken_or_refused(text: str, parse: object) -> None:
    assert callable(parse)
    try:
        wish = parse(text)
    except SampanError:
        return
    assert wish.target.startswith("/") and ".." not in wish.target.split("/")


@given(st.text(min_size=1).filter(lambda t: t == t.strip() and "\0" not in t), st.booleans())
def test_every_source_can_be_quoted(source: str, read_only: bool) -> None:
    quoted = ("src=" + source).replace('"', '""')
    wish = parse_mount(f'type=bind,"{quoted}",dst=/x' + (",readonly" if read_only else ""))
    assert (wish.source, wish.read_only) == (source, read_only)
