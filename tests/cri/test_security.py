"""A security context in the specification's terms."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from sampan.container.linuxdefaults import CAPABILITIES
from sampan.core.errors import Invalid, NotFound, Precondition, Unimplemented
from sampan.core.spec.runtime import Namespace, Seccomp, SyscallRule, User
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.specs import security
from sampan.linux.privileges import own_capabilities

from .messages import POD_ID, make_pod, make_rootfs, make_roots

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import PodWorld

Context = api.LinuxContainerSecurityContext


def test_without_a_wish_the_image_says_who_it_is(tmp_path: Path) -> None:
    rootfs = make_rootfs(tmp_path)
    assert security.user_of(Context(), "", rootfs) == User(0, 0, additional_gids=[0, 50])
    assert security.user_of(Context(), "web", rootfs) == User(1000, 1001, additional_gids=[1001, 50, 8])


def test_a_number_a_name_and_a_group(tmp_path: Path) -> None:
    rootfs = make_rootfs(tmp_path)
    by_number = Context(run_as_user={"value": 1000}, run_as_group={"value": 7})
    assert security.user_of(by_number, "root", rootfs) == User(1000, 7, additional_gids=[7, 50, 8])
    by_name = Context(run_as_username="web", run_as_group={"value": 7})
    assert security.user_of(by_name, "root", rootfs) == User(1000, 7, additional_gids=[7, 50, 8])
    root = Context(run_as_user={"value": 0}, supplemental_groups_policy=api.Strict)
    assert security.user_of(root, "web", rootfs) == User(0, 0, additional_gids=[0])
    unknown = Context(run_as_user={"value": 4711})
    assert security.user_of(unknown, "web", rootfs) == User(4711, 0, additional_gids=[0])


def test_groups_are_merged_with_the_images_or_stand_for_themselves(tmp_path: Path) -> None:
    rootfs = make_rootfs(tmp_path)
    merged = Context(run_as_username="web", supplemental_groups=[8, 1234])
    assert security.user_of(merged, "", rootfs).additional_gids == [1001, 50, 8, 1234]
    merged.supplemental_groups_policy = api.Strict
    assert security.user_of(merged, "", rootfs).additional_gids == [1001, 8, 1234]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"run_as_user": {"value": -1}}, "run_as_user"),
        ({"run_as_user": {"value": 1 << 40}}, "run_as_user"),
        ({"run_as_user": {"value": 1}, "run_as_username": "web"}, "run_as_username"),
        ({"run_as_group": {"value": 1}}, "run_as_group"),
        ({"run_as_user": {"value": 1}, "run_as_group": {"value": -1}}, "run_as_group"),
        ({"run_as_username": "web:root"}, "run_as_username"),
        ({"run_as_username": "a\0b"}, "run_as_username"),
        ({"supplemental_groups": [-1]}, r"supplemental_groups\[0\]"),
        ({"supplemental_groups": [1, 1 << 33]}, r"supplemental_groups\[1\]"),
        ({"supplemental_groups": range(70000)}, "supplemental_groups"),
        ({"supplemental_groups_policy": 5}, "supplemental_groups_policy"),
    ],
)
def test_who_cannot_be_is_refused_by_the_fields_name(
    tmp_path: Path, given: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        security.user_of(Context(**given), "", make_rootfs(tmp_path))  # type: ignore[arg-type]


def test_a_name_that_the_image_does_not_have_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="nobody-here"):
        security.user_of(Context(run_as_username="nobody-here"), "", make_rootfs(tmp_path))


def capabilities(**given: object) -> api.LinuxContainerSecurityContext:
    return Context(capabilities=api.Capability(**given))  # type: ignore[arg-type]


def test_capabilities_are_dockers_unless_told_otherwise() -> None:
    found = security.capabilities_of(Context())
    assert found.bounding == found.effective == found.permitted == list(CAPABILITIES)
    assert found.inheritable == found.ambient == []


@pytest.mark.parametrize(
    "name", ["sys_admin", "SYS_ADMIN", "cap_sys_admin", "CAP_SYS_ADMIN", "Cap_Sys_Admin"]
)
def test_a_capability_may_be_spelled_in_any_way(name: str) -> None:
    assert "CAP_SYS_ADMIN" in security.capabilities_of(capabilities(add_capabilities=[name])).effective
    assert security.capabilities_of(
        capabilities(add_capabilities=["SYS_ADMIN"], drop_capabilities=[name])
    ).effective == list(CAPABILITIES)


def test_all_of_them_may_be_added_or_dropped() -> None:
    everything = security.capabilities_of(capabilities(add_capabilities=["ALL"]))
    assert everything.bounding == own_capabilities()
    nothing = security.capabilities_of(capabilities(drop_capabilities=["all"]))
    assert nothing.bounding == nothing.permitted == nothing.effective == []
    one = security.capabilities_of(
        capabilities(drop_capabilities=["ALL"], add_capabilities=["NET_BIND_SERVICE"])
    )
    assert one.effective == ["CAP_NET_BIND_SERVICE"]
    most = security.capabilities_of(capabilities(add_capabilities=["ALL"], drop_capabilities=["SYS_ADMIN"]))
    assert most.bounding == [name for name in own_capabilities() if name != "CAP_SYS_ADMIN"]


def test_ambient_ones_are_in_every_set() -> None:
    found = security.capabilities_of(capabilities(add_ambient_capabilities=["net_raw", "syslog"]))
    assert found.ambient == found.inheritable == ["CAP_NET_RAW", "CAP_SYSLOG"]
    assert {"CAP_NET_RAW", "CAP_SYSLOG"} <= set(found.effective) & set(found.bounding)


def test_a_privileged_container_has_all_whatever_it_drops() -> None:
    context = capabilities(drop_capabilities=["ALL"])
    context.privileged = True
    assert security.capabilities_of(context).effective == own_capabilities()


@pytest.mark.parametrize("field", ["add_capabilities", "drop_capabilities", "add_ambient_capabilities"])
@pytest.mark.parametrize("name", ["", "FLY", "CAP_", "a\0b", "x" * 100000])
def test_what_is_no_capability_is_refused(field: str, name: str) -> None:
    with pytest.raises(Invalid, match=field):
        security.capabilities_of(capabilities(**{field: [name]}))


def test_a_privileged_container_needs_a_privileged_pod(tmp_path: Path) -> None:
    roots = make_roots(tmp_path)
    context = Context(privileged=True)
    with pytest.raises(Invalid, match="privileged"):
        security.check_privileged(context, make_pod(roots))
    allowing = api.PodSandboxConfig(linux={"security_context": {"privileged": True}})
    security.check_privileged(context, make_pod(roots, allowing))


@pytest.mark.parametrize(
    ("given", "kind", "name"),
    [
        ({}, "unconfined", ""),
        ({"seccomp": {}}, "default", ""),
        ({"seccomp": {"profile_type": 1}}, "unconfined", ""),
        ({"seccomp": {"profile_type": 2, "localhost_ref": "/p.json"}}, "localhost", "/p.json"),
        ({"seccomp_profile_path": "runtime/default"}, "default", ""),
        ({"seccomp_profile_path": "docker/default"}, "default", ""),
        ({"seccomp_profile_path": "unconfined"}, "unconfined", ""),
        ({"seccomp_profile_path": "localhost//p.json"}, "localhost", "/p.json"),
        ({"seccomp": {"profile_type": 1}, "seccomp_profile_path": "runtime/default"}, "unconfined", ""),
    ],
)
def test_a_seccomp_profile_in_the_new_field_or_the_old_one(
    given: dict[str, object], kind: str, name: str
) -> None:
    assert security.seccomp_profile(Context(**given)) == security.Profile(kind, name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"seccomp": {"profile_type": 7}}, "profile_type"),
        ({"seccomp": {"profile_type": 0, "localhost_ref": "/p"}}, "localhost_ref"),
        ({"seccomp": {"profile_type": 2, "localhost_ref": "p.json"}}, "seccomp"),
        ({"seccomp": {"profile_type": 2}}, "seccomp"),
        ({"seccomp": {"profile_type": 2, "localhost_ref": "/a\0"}}, "seccomp"),
        ({"seccomp_profile_path": "what"}, "seccomp_profile_path"),
        ({"seccomp_profile_path": "localhost/p.json"}, "seccomp_profile_path"),
    ],
)
def test_a_profile_that_is_none_is_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        security.seccomp_profile(Context(**given))  # type: ignore[arg-type]


def test_a_profile_of_the_node_is_read(tmp_path: Path) -> None:
    document = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}],
    }
    (tmp_path / "p.json").write_text(json.dumps(document))
    assert security.read_seccomp(f"{tmp_path}/p.json") == Seccomp(
        "SCMP_ACT_ALLOW", syscalls=[SyscallRule(["mkdir"], "SCMP_ACT_ERRNO")]
    )


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"defaultAction": 1}', b"\xff", b"{" * 100000, b" " * (2 << 20)]
)
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.json").write_bytes(content)
    with pytest.raises(Invalid, match="seccomp profile"):
        security.read_seccomp(f"{tmp_path}/p.json")


def test_a_profile_is_never_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (f"{tmp_path}/pipe", f"{tmp_path}", f"{tmp_path}/none", "/dev/zero"):
        with pytest.raises(Invalid, match="seccomp profile"):
            security.read_seccomp(path)


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({}, ""),
        ({"apparmor": {}}, ""),
        ({"apparmor": {"profile_type": 1}}, ""),
        ({"apparmor": {"profile_type": 2, "localhost_ref": "mine"}}, "mine"),
        ({"apparmor": {"profile_type": 2, "localhost_ref": "localhost/mine"}}, "mine"),
        ({"apparmor_profile": "runtime/default"}, ""),
        ({"apparmor_profile": "localhost/mine"}, "mine"),
    ],
)
def test_an_apparmor_profile_has_a_name(given: dict[str, object], name: str) -> None:
    assert security.apparmor_of(Context(**given)) == name  # type: ignore[arg-type]


def test_an_apparmor_profile_without_a_name_is_refused() -> None:
    with pytest.raises(Invalid, match="apparmor"):
        security.apparmor_of(Context(apparmor={"profile_type": 2}))
    with pytest.raises(Invalid, match="apparmor"):
        security.apparmor_of(Context(apparmor={"profile_type": 2, "localhost_ref": "a\0"}))


def test_hidden_paths_are_passed_on_but_for_a_privileged_container() -> None:
    context = Context(masked_paths=["/proc/kcore"], readonly_paths=["/proc/sys"])
    assert security.hidden_paths(context) == (["/proc/kcore"], ["/proc/sys"])
    context.privileged = True
    assert security.hidden_paths(context) == ([], [])
    for field in ("masked_paths", "readonly_paths"):
        with pytest.raises(Invalid, match=rf"{field}\[0\]"):
            security.hidden_paths(Context(**{field: ["proc"]}))


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"network": api.CONTAINER}, "network"),
        ({"network": api.TARGET}, "network"),
        ({"pid": 12}, "pid"),
        ({"ipc": api.TARGET}, "ipc"),
        ({"pid": api.TARGET}, "target_id"),
        ({"pid": api.POD, "target_id": "abc"}, "target_id"),
        ({"userns_options": {"mode": api.CONTAINER}}, "userns_options.mode"),
        ({"userns_options": {"mode": api.NODE, "uids": [{"length": 1}]}}, "userns_options"),
        ({"userns_options": {"mode": api.POD}}, "userns_options.uids"),
        (
            {"userns_options": {"mode": api.POD, "uids": [{"length": 0}], "gids": [{"length": 1}]}},
            "userns_options.uids",
        ),
    ],
)
def test_a_mode_that_means_nothing_is_refused(given: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        security.check_namespace_options(api.NamespaceOption(**given), "options")  # type: ignore[arg-type]


def test_a_user_namespace_is_refused_and_the_nodes_is_what_there_is() -> None:
    ids = [api.IDMapping(host_id=100000, container_id=0, length=65536)]
    users = api.UserNamespace(mode=api.POD, uids=ids, gids=ids)
    with pytest.raises(Unimplemented, match="user namespace"):
        security.check_namespace_options(api.NamespaceOption(userns_options=users), "options")
    nodes = api.UserNamespace(mode=api.NODE)
    security.check_namespace_options(api.NamespaceOption(userns_options=nodes), "options")


def test_a_wasm_container_shares_what_its_pod_has_and_never_its_pids(tmp_path: Path) -> None:
    roots = make_roots(tmp_path)
    place = f"{roots.run}/pods/{POD_ID}"
    own = [Namespace("mount"), Namespace("pid"), Namespace("cgroup")]
    assert security.wasm_namespaces(make_pod(roots)) == [
        *own,
        Namespace("ipc", f"{place}/ipc"),
        Namespace("uts", f"{place}/uts"),
        Namespace("network", f"{place}/net"),
    ]
    options = {"network": api.NODE, "pid": api.NODE}
    of_node = make_pod(
        roots, api.PodSandboxConfig(linux={"security_context": {"namespace_options": options}})
    )
    assert security.wasm_namespaces(of_node) == [*own, Namespace("ipc", f"{place}/ipc"), Namespace("uts")]


def test_a_linux_container_has_the_nodes_pids_only_where_its_pod_has(tmp_path: Path) -> None:
    roots = make_roots(tmp_path)
    context = Context(namespace_options={"pid": api.NODE})
    with pytest.raises(Invalid, match="pid"):
        security.linux_namespaces(context, make_pod(roots), "")
    options = {"network": api.NODE, "pid": api.NODE}
    of_node = make_pod(
        roots, api.PodSandboxConfig(linux={"security_context": {"namespace_options": options}})
    )
    kinds = [n.type for n in security.linux_namespaces(context, of_node, "")]
    assert not {"pid", "network", "uts"} & set(kinds)
    for mode in (api.POD, api.CONTAINER):
        found = security.linux_namespaces(Context(namespace_options={"pid": mode}), make_pod(roots), "")
        assert Namespace("pid") in found


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_target_is_a_running_container_of_the_same_pod(world: PodWorld) -> None:
    pod_id, other_id = world.run_pod(), world.run_pod("other")
    pod = world.runtime.pods.index.get(pod_id).pod
    target = world.create(pod_id, "sleep", "60")
    stranger = world.create(other_id, "sleep", "60")

    def pids_of(container_id: str) -> str:
        context = Context(namespace_options={"pid": api.TARGET, "target_id": container_id})
        return security.target_pids(context, pod, world.roots)

    for unknown in ("nobody", stranger):
        with pytest.raises(Invalid, match="no container of the pod"):
            pids_of(unknown)
    with pytest.raises(Precondition, match="does not run"):
        pids_of(target)
    world.runtime.start_container(api.StartContainerRequest(container_id=target))
    running = world.runtime.container(target).running
    assert running is not None
    assert pids_of(target) == f"/proc/{running.pid}/ns/pid"
