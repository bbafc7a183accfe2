"""What a container sees at which place."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sampan.core.errors import Invalid, NotFound, Unimplemented
from sampan.core.spec.runtime import Mount
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.specs import mounts

from .messages import make_roots

if TYPE_CHECKING:
    from .conftest import PodWorld

NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
LONG = "/" + "a" * 5000


def test_a_resolver_has_what_the_pod_asks_for(tmp_path: Path) -> None:
    dns = api.DNSConfig(servers=["10.0.0.1", "fd00::1"], searches=["a.svc", "svc"], options=["ndots:5"])
    mounts.write_resolver(str(tmp_path), dns)
    assert (tmp_path / "resolv.conf").read_text() == (
        "search a.svc svc\nnameserver 10.0.0.1\nnameserver fd00::1\noptions ndots:5\n"
    )


def test_without_a_configuration_the_resolver_is_the_hosts(tmp_path: Path) -> None:
    mounts.write_resolver(str(tmp_path), api.DNSConfig())
    with open("/etc/resolv.conf") as file:
        assert (tmp_path / "resolv.conf").read_text() == file.read()


@pytest.mark.parametrize("value", ["", "a b", "a\nnameserver 6.6.6.6", "a\0", "a\x1b", "a" * 5000])
@pytest.mark.parametrize("field", ["servers", "searches", "options"])
def test_a_value_that_would_be_another_line_is_refused(tmp_path: Path, field: str, value: str) -> None:
    with pytest.raises(Invalid, match=rf"dns_config\.{field}\[0\]"):
        mounts.write_resolver(str(tmp_path), api.DNSConfig(**{field: [value]}))
    assert not os.listdir(tmp_path)


def test_a_pods_files_are_written_once(tmp_path: Path) -> None:
    config = api.PodSandboxConfig(hostname="web-1", dns_config={"servers": ["10.0.0.1"]})
    mounts.write_pod_files(str(tmp_path), config)
    assert (tmp_path / "hostname").read_text() == "web-1\n"
    assert "127.0.0.1\tweb-1\n" in (tmp_path / "hosts").read_text()
    (tmp_path / "resolv.conf").write_text("changed by its container\n")
    mounts.write_pod_files(str(tmp_path), config)
    assert (tmp_path / "resolv.conf").read_text() == "changed by its container\n"


def test_in_the_hosts_network_a_pod_has_the_hosts_names(tmp_path: Path) -> None:
    options = {"network": api.NODE}
    mounts.write_pod_files(
        str(tmp_path), api.PodSandboxConfig(linux={"security_context": {"namespace_options": options}})
    )
    with open("/etc/hosts") as file:
        assert (tmp_path / "hosts").read_text() == file.read()
    assert (tmp_path / "hostname").read_text() == f"{os.uname().nodename}\n"


@pytest.mark.parametrize(
    ("wish", "field"),
    [
        ({"container_path": "data", "host_path": "/x"}, "container_path"),
        ({"container_path": "/", "host_path": "/x"}, "container_path"),
        ({"container_path": "/a/../..", "host_path": "/x"}, "container_path"),
        ({"container_path": "/proc", "host_path": "/x"}, "container_path"),
        ({"container_path": "//proc/./self", "host_path": "/x"}, "container_path"),
        ({"container_path": "/sys/fs", "host_path": "/x"}, "container_path"),
        ({"container_path": "/a\0b", "host_path": "/x"}, "container_path"),
        ({"container_path": LONG, "host_path": "/x"}, "container_path"),
        ({"container_path": "/a", "host_path": "relative"}, "host_path"),
        ({"container_path": "/a", "host_path": ""}, "host_path"),
        ({"container_path": "/a", "host_path": "/x\0"}, "host_path"),
        ({"container_path": "/a", "host_path": LONG}, "host_path"),
        ({"container_path": "/a", "host_path": "/x", "propagation": 9}, "propagation"),
        ({"container_path": "/a", "host_path": "/x", "recursive_read_only": True}, "recursive_read_only"),
        (
            {"container_path": "/a", "host_path": "/x", "recursive_read_only": True, "readonly": True}
            | {"propagation": 1},
            "recursive_read_only",
        ),
        ({"container_path": "/a", "host_path": "/x", "image": {"image": "b"}}, "host_path"),
        ({"container_path": "/a", "host_path": "/x", "image_sub_path": "b"}, "image_sub_path"),
        ({"container_path": "/a", "host_path": "/x", "mount_options": ["dev=0"]}, "mount_options"),
        ({"container_path": "/a", "host_path": "/x", "mount_options": ["remount"]}, "mount_options"),
    ],
)  # fmt: skip
def test_K8_what_contradicts_itself_or_leads_elsewhere_is_refused_by_name(
    wish: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid, match=rf"mounts\[0\].*{field}"):
        mounts.check_wishes([api.Mount(**wish)], linux=False)  # type: ignore[arg-type]


def test_a_linux_container_may_have_something_below_sys_and_never_below_proc() -> None:
    mounts.check_wishes([api.Mount(container_path="/sys/fs/bpf", host_path="/sys/fs/bpf")], linux=True)
    with pytest.raises(Invalid, match="/proc"):
        mounts.check_wishes([api.Mount(container_path="/proc/x", host_path="/x")], linux=True)


def test_a_mapping_of_ids_is_not_to_be_had() -> None:
    ids = [api.IDMapping(host_id=1, container_id=2, length=3)]
    with pytest.raises(Unimplemented, match=r"mounts\[0\]"):
        mounts.check_wishes([api.Mount(container_path="/a", host_path="/x", uidMappings=ids)], linux=True)


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    wish = api.Mount(container_path="/data", host_path=f"{tmp_path}/new/folder")
    (made,) = mounts.wished_mounts([wish], make_roots(tmp_path))
    assert made == Mount("/data", "bind", f"{tmp_path}/new/folder", ["rbind", "rprivate", "rw"])
    assert os.path.isdir(f"{tmp_path}/new/folder")


def test_K8_a_source_that_is_a_link_is_the_place_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    wish = api.Mount(container_path="/data", host_path=f"{tmp_path}/link", readonly=True)
    (made,) = mounts.wished_mounts([wish], make_roots(tmp_path))
    assert (made.source, made.options) == (f"{tmp_path}/real", ["rbind", "rprivate", "ro"])


def test_K8_a_source_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    for path in ("file/below", "loop"):
        wish = api.Mount(container_path="/data", host_path=f"{tmp_path}/{path}")
        with pytest.raises(Invalid, match=r"mounts\[0\]\.host_path"):
            mounts.wished_mounts([wish], make_roots(tmp_path / path.partition("/")[0].upper()))


def test_read_only_all_the_way_down(tmp_path: Path) -> None:
    wish = api.Mount(
        container_path="/d",
        host_path=str(tmp_path),
        readonly=True,
        recursive_read_only=True,
        mount_options=["noexec"],
    )
    (made,) = mounts.wished_mounts([wish], make_roots(tmp_path))
    assert made.options == ["rbind", "rprivate", "rro", "noexec"]


def test_an_image_that_is_not_there_cannot_be_mounted(tmp_path: Path) -> None:
    wish = api.Mount(container_path="/models", image={"image": "example.org/models:1"})
    with pytest.raises(NotFound, match="models"):
        mounts.wished_mounts([wish], make_roots(tmp_path))


def test_the_roots_propagation_is_the_widest_that_is_asked_for() -> None:
    private, slave, shared = (api.Mount(propagation=p) for p in (0, 1, 2))
    assert mounts.propagation_of([private]) == ""
    assert mounts.propagation_of([private, slave]) == "rslave"
    assert mounts.propagation_of([slave, shared, private]) == "rshared"


def test_a_wish_takes_the_place_of_a_default_and_what_is_higher_comes_first() -> None:
    defaults = [Mount("/proc", "proc"), Mount("/dev", "tmpfs"), Mount("/etc/hosts", "bind", "/pods/hosts")]
    wished = [
        Mount("/data/deep/er", "bind", "/a"),
        Mount("/etc//hosts", "bind", "/b"),
        Mount("/data", "bind", "/c"),
    ]
    arranged = mounts.arranged(defaults, wished)
    assert [m.destination for m in arranged] == ["/proc", "/dev", "/data", "/etc//hosts", "/data/deep/er"]


def test_a_privileged_container_may_write_to_sysfs() -> None:
    def options(*, privileged: bool) -> list[str]:
        found = mounts.linux_mounts("/shm", privileged=privileged)
        return next(m.options for m in found if m.type == "sysfs")

    assert "ro" in options(privileged=False)
    assert "ro" not in options(privileged=True)


@pytest.fixture
def shared(tmp_path: Path) -> object:
    """A folder of the host whose mounts propagate."""
    folder = tmp_path / "shared"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], check=True)
    subprocess.run(["mount", "--make-shared", folder], check=True)
    yield folder
    subprocess.run(["umount", "-R", "-l", folder], check=True)


@NEEDS_ROOT
@pytest.mark.parametrize("propagation", [api.PROPAGATION_HOST_TO_CONTAINER, api.PROPAGATION_BIDIRECTIONAL])
def test_K8_nothing_propagates_from_a_mount_that_is_private(
    tmp_path: Path, shared: Path, propagation: api.MountPropagation
) -> None:
    roots = make_roots(tmp_path)
    wish = api.Mount(container_path="/data", host_path=str(shared), propagation=propagation)
    assert mounts.wished_mounts([wish], roots)[0].options[1] in ("rslave", "rshared")
    subprocess.run(["mount", "--make-private", shared], check=True)
    with pytest.raises(Invalid, match="not shared"):
        mounts.wished_mounts([wish], roots)


@NEEDS_ROOT
@pytest.mark.parametrize(
    "propagation",
    [api.PROPAGATION_PRIVATE, api.PROPAGATION_HOST_TO_CONTAINER, api.PROPAGATION_BIDIRECTIONAL],
)
def test_what_the_host_mounts_later_is_seen_where_it_propagates(
    world: PodWorld, shared: Path, propagation: api.MountPropagation
) -> None:
    wish = {"container_path": "/data", "host_path": str(shared), "propagation": propagation}
    (shared / "sub").mkdir()
    container_id = world.start_new(world.run_pod(), "sleep", "60", mounts=[wish])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", shared / "sub"], check=True)
    (shared / "sub" / "late").write_text("")
    pid = world.runtime.container(container_id).running.pid  # type: ignore[union-attr]
    seen = os.path.exists(f"/proc/{pid}/root/data/sub/late")
    assert seen == (propagation != api.PROPAGATION_PRIVATE)
    assert container_id not in Path("/proc/self/mountinfo").read_text()  # nothing of its own is seen outside


@NEEDS_ROOT
def test_a_guest_can_leave_its_last_words_and_nothing_else_below_dev(world: PodWorld, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("")
    pod_id = world.run_pod()

    def write(place: str, source: Path | str, name: str) -> int:
        wish = {"container_path": place, "host_path": str(source)}
        container_id = world.start_new(pod_id, "write", place, "out of luck", name=name, mounts=[wish])
        return world.ended(container_id).exit_code

    assert write("/dev/termination-log", tmp_path / "words", "a") == 0
    assert (tmp_path / "words").read_text() == "out of luck"
    (tmp_path / "words").write_text("")
    assert write("/dev/log", tmp_path / "words", "b") != 0
    write("/dev/termination-log", "/dev/null", "c")  # a device is not made: it writes to a file of its own
    assert (tmp_path / "words").read_text() == ""
