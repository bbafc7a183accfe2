"""What a container may use: CRI's values in the specification's terms, and the place of its cgroup."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sampan.container.store import Containers
from sampan.core.errors import Invalid, Precondition
from sampan.core.spec.runtime import Cpu, HugepageLimit, Memory, Resources
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.specs import resources
from sampan.linux.cgroups import Cgroup

if TYPE_CHECKING:
    from .conftest import PodWorld

LimitsOf = api.LinuxContainerResources


def test_nothing_specified_is_no_limit() -> None:
    assert resources.resources_of(LimitsOf()) == Resources()


def test_every_value_has_its_place() -> None:
    given = LimitsOf(
        cpu_period=10000,
        cpu_quota=20000,
        cpu_shares=512,
        memory_limit_in_bytes=200 << 20,
        memory_swap_limit_in_bytes=300 << 20,
        cpuset_cpus="0-1",
        cpuset_mems="0",
        hugepage_limits=[api.HugepageLimit(page_size="2MB", limit=4 << 20)],
        unified={"memory.high": "1000000"},
    )
    assert resources.resources_of(given) == Resources(
        memory=Memory(limit=200 << 20, swap=300 << 20),
        cpu=Cpu(512, 20000, 10000, cpus="0-1", mems="0"),
        hugepage_limits=[HugepageLimit("2MB", 4 << 20)],
        unified={"memory.high": "1000000"},
    )


def test_swap_as_large_as_memory_is_none_and_needs_no_kernel_that_counts_it() -> None:
    given = LimitsOf(memory_limit_in_bytes=1 << 20, memory_swap_limit_in_bytes=1 << 20)
    assert resources.resources_of(given).memory == Memory(limit=1 << 20)


def test_no_limit_of_a_huge_page_is_left_out_where_the_host_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.linux.cgroups.ROOT", "/nowhere")
    given = [api.HugepageLimit(page_size="2MB"), api.HugepageLimit(page_size="1GB", limit=1 << 30)]
    assert resources.resources_of(LimitsOf(hugepage_limits=given)).hugepage_limits == [
        HugepageLimit("1GB", 1 << 30)
    ]


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"cpu_period": -1}, "cpu_period"),
        ({"cpu_quota": -2}, "cpu_quota"),
        ({"cpu_shares": -5}, "cpu_shares"),
        ({"memory_limit_in_bytes": -7}, "memory_limit_in_bytes"),
        ({"memory_swap_limit_in_bytes": 5}, "memory_swap_limit_in_bytes"),
        ({"memory_swap_limit_in_bytes": -9}, "memory_swap_limit_in_bytes"),
        ({"cpuset_cpus": "all"}, "cpu.cpus"),
        ({"cpuset_mems": "0\n1"}, "cpu.mems"),
        ({"cpu_shares": 1 << 40}, "shares"),
        ({"cpu_quota": 7}, "quota"),
        ({"hugepage_limits": [{"page_size": "huge", "limit": 1}]}, "pageSize"),
        ({"unified": {"../memory.max": "1"}}, "unified"),
        ({"unified": {"cgroup.procs": "1"}}, "unified"),
        ({"memory_limit_in_bytes": 9 << 20, "memory_swap_limit_in_bytes": 1 << 20}, "swap"),
    ],
)
def test_K13_what_means_nothing_is_refused_by_its_name(given: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        resources.resources_of(LimitsOf(**given))  # type: ignore[arg-type]


@pytest.mark.parametrize("score", [-1001, 1001, 1 << 40])
def test_an_oom_score_is_in_range(score: int) -> None:
    with pytest.raises(Invalid, match="oom_score_adj"):
        resources.oom_score_adj_of(LimitsOf(oom_score_adj=score))


def test_an_oom_score_that_may_not_be_had_becomes_the_nearest_that_may() -> None:
    with open("/proc/self/oom_score_adj") as file:
        own = int(file.read())
    assert resources.oom_score_adj_of(LimitsOf(oom_score_adj=1000)) == 1000
    assert resources.oom_score_adj_of(LimitsOf(oom_score_adj=-998)) in (-998, own)


@pytest.mark.parametrize(
    ("parent", "systemd", "path"),
    [
        ("", False, "/sampan/ID"),
        ("/kubepods/burstable/podX", False, "/kubepods/burstable/podX/ID"),
        ("kubepods//podX/", False, "/kubepods/podX/ID"),
        ("pod_123-456.slice", False, "/pod_123-456.slice/ID"),
        ("/kubepods.slice/kubepods-podX.slice", False, "/kubepods.slice/kubepods-podX.slice/ID"),
        ("/kubepods.slice/kubepods-podX.slice", True, "kubepods-podX.slice:sampan:ID"),
        ("pod_123-456.slice", True, "pod_123-456.slice:sampan:ID"),
        ("", True, "/sampan/ID"),
        ("/kubepods/podX", True, "/kubepods/podX/ID"),
    ],
)
def test_a_cgroup_is_below_the_pods(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, parent: str, systemd: bool, path: str
) -> None:
    monkeypatch.setattr("sampan.linux.systemd.RUNS", str(tmp_path if systemd else tmp_path / "nothing"))
    assert resources.cgroups_path_of(parent, "ID") == path
    assert resources.is_systemds(parent) == (":" in path)


@pytest.mark.parametrize("parent", ["../out", "/a/../../b", "a\0b", "a\nb", "/" + "a" * 300, "/a" * 1600])
def test_a_parent_that_leads_elsewhere_is_refused(parent: str) -> None:
    with pytest.raises(Invalid, match="cgroup"):
        resources.cgroups_path_of(parent, "ID")


def test_an_update_leaves_what_it_does_not_name() -> None:
    old = Resources(
        memory=Memory(limit=100, swap=200),
        cpu=Cpu(shares=2, quota=5000, period=10000, cpus="0"),
        hugepage_limits=[HugepageLimit("2MB", 1), HugepageLimit("1GB", 2)],
        unified={"memory.high": "1", "pids.max": "5"},
    )
    new = resources.resources_of(LimitsOf(cpu_shares=1024, unified={"pids.max": "9"}))
    new.hugepage_limits = [HugepageLimit("1GB", 7)]
    merged = resources.merge(old, new)
    assert merged.memory == old.memory
    assert merged.cpu == Cpu(shares=1024, quota=5000, period=10000, cpus="0")
    assert merged.hugepage_limits == [HugepageLimit("2MB", 1), HugepageLimit("1GB", 7)]
    assert merged.unified == {"memory.high": "1", "pids.max": "9"}


def update(world: PodWorld, container_id: str, **given: object) -> None:
    linux = LimitsOf(**given)  # type: ignore[arg-type]
    world.runtime.update_container_resources(
        api.UpdateContainerResourcesRequest(container_id=container_id, linux=linux)
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_K13_updates_count_at_once_and_for_a_created_one_from_its_start(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.create(pod_id, "sleep", "60")
    update(world, container_id, memory_limit_in_bytes=256 << 20)
    update(world, container_id, oom_score_adj=5, cpu_shares=77)
    world.runtime.start_container(api.StartContainerRequest(container_id=container_id))
    cgroup = Cgroup(f"sampan/{container_id}", base="", join=True)
    assert cgroup.stats().memory_limit == 256 << 20
    limits = Containers(world.roots).find(container_id).spec.linux
    assert limits is not None and limits.resources is not None and limits.resources.cpu is not None
    assert limits.resources.cpu.shares == 77
    update(world, container_id, memory_limit_in_bytes=300 << 20, cpu_shares=300)
    assert cgroup.stats().memory_limit == 300 << 20
    with pytest.raises(Precondition, match="memory"):
        update(world, container_id, memory_limit_in_bytes=4096)
    with pytest.raises(Invalid, match="cpu_shares"):
        update(world, container_id, cpu_shares=-1)
    assert world.status(container_id).resources.linux.memory_limit_in_bytes == 300 << 20
    world.stop(container_id)
    with pytest.raises(Precondition, match="ended"):
        update(world, container_id, memory_limit_in_bytes=400 << 20)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_cgroup_below_a_pods_slice_is_there_while_it_runs_and_gone_with_it(world: PodWorld) -> None:
    slice_name = f"sampan_test-{os.getpid()}.slice"
    pod_id = world.run_pod(linux={"cgroup_parent": slice_name})
    container_id = world.start_new(pod_id, "sleep", "60", linux={"resources": {"cpu_shares": 512}})
    cgroup = Cgroup(f"{slice_name}/{container_id}", base="", join=True)
    assert cgroup.pids()
    world.stop(container_id)
    world.ended(container_id)
    world.remove_pod(pod_id)
    assert not any(os.path.exists(folder) for folder in cgroup.folders)
    assert not any(os.path.exists(os.path.dirname(folder)) for folder in cgroup.folders)


def test_what_an_update_does_not_name_stays_in_what_was_asked_for() -> None:
    page = api.HugepageLimit
    old = api.LinuxContainerResources(
        cpu_shares=2,
        cpuset_cpus="0",
        hugepage_limits=[page(page_size="2MB", limit=1), page(page_size="1GB", limit=1)],
    )
    new = api.LinuxContainerResources(cpu_shares=5, hugepage_limits=[page(page_size="2MB", limit=4)])
    resources.merge_given(old, new)
    assert (old.cpu_shares, old.cpuset_cpus) == (5, "0")
    assert {each.page_size: each.limit for each in old.hugepage_limits} == {"2MB": 4, "1GB": 1}
