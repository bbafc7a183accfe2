"""Cgroups of the running kernel (version 1 or mixed here), and version 2's files.

No machine without a version 1 hierarchy can be had in a test, and a controller belongs to one version only; so the
values of version 2 are checked in a tree of plain files, and freezing, killing and removing on the bare v2 mount that
lies beside version 1. Limits that version 2 enforces are for a run in a virtual machine.
"""

from __future__ import annotations

import os
import signal
import time

import pytest

from sampan.core.errors import Denied, Exists, Invalid, NotFound, Precondition, Unimplemented
from sampan.core.spec.runtime import Cpu, Memory, Pids, Resources
from sampan.linux.cgroup_limits import weight
from sampan.linux.cgroups import ROOT, Cgroup, cgroup_of, hierarchy

UNIFIED = f"{ROOT}/unified"
MIB = 1 << 20


def limits(memory=None, *, swap=None, pids=None, **cpu):
    return Resources(
        memory=Memory(limit=memory, swap=swap) if memory else None,
        cpu=Cpu(**cpu) if cpu else None,
        pids=Pids(limit=pids) if pids else None,
    )


@pytest.fixture
def cgroup(as_root):
    if hierarchy() != "v1":
        pytest.skip("needs cgroup version 1")
    group = Cgroup(f"test-{os.getpid()}")
    yield group
    group.remove()


@pytest.fixture
def bare_v2(as_root):
    if hierarchy(UNIFIED) != "v2":
        pytest.skip("needs cgroup version 2 beside version 1")
    group = Cgroup(f"test-{os.getpid()}", root=UNIFIED)
    yield group
    group.remove()


def child_in(group, work):
    """A forked child that joins the group and works; its pid, once it has joined."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            group.attach()
            os.write(writing, b"x")
            work()
        finally:
            os._exit(0)
    os.close(writing)
    assert os.read(reading, 1) == b"x"
    os.close(reading)
    return pid


def touch(size):
    memory = bytearray(size)
    for at in range(0, size, 4096):
        memory[at] = 1
    return memory


def read(group, controller, name):
    with open(f"{ROOT}/{controller}/{group.files.path}/{name}") as file:
        return file.read().strip()


def test_limits_reach_the_kernel(cgroup):
    cgroup.create(limits(memory=64 * MIB, quota=50_000, period=100_000, shares=512, pids=20))
    assert read(cgroup, "memory", "memory.limit_in_bytes") == str(64 * MIB)
    assert read(cgroup, "memory", "memory.memsw.limit_in_bytes") == str(64 * MIB)
    assert read(cgroup, "cpu", "cpu.cfs_quota_us") == "50000"
    assert read(cgroup, "cpu", "cpu.shares") == "512"
    assert read(cgroup, "pids", "pids.max") == "20"
    assert cgroup.missing == []
    stats = cgroup.stats()
    assert stats.memory_limit == 64 * MIB
    assert stats.oom_kills == 0


def test_limits_can_be_raised_and_lowered_and_taken_away(cgroup):
    cgroup.create(limits(memory=64 * MIB))
    for size in (256 * MIB, 32 * MIB):  # memory and swap together must never be below memory: two orders
        cgroup.update(limits(memory=size))
        assert read(cgroup, "memory", "memory.limit_in_bytes") == str(size)
        assert read(cgroup, "memory", "memory.memsw.limit_in_bytes") == str(size)
    cgroup.update(limits(memory=-1, quota=-1, pids=-1))
    assert cgroup.stats().memory_limit == 0
    assert read(cgroup, "pids", "pids.max") == "max"


def test_W10_the_memory_limit_kills_only_inside_and_is_counted(cgroup):
    cgroup.create(limits(memory=32 * MIB))
    pid = child_in(cgroup, lambda: touch(128 * MIB))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert cgroup.oom_kills() >= 1
    assert cgroup.stats().memory_peak >= 24 * MIB


def test_X5_the_pids_limit_stops_a_fork(cgroup):
    cgroup.create(limits(pids=1))

    def fork():
        try:
            if os.fork() == 0:
                os._exit(0)
        except BlockingIOError:
            os._exit(7)

    _, status = os.waitpid(child_in(cgroup, fork), 0)
    assert os.waitstatus_to_exitcode(status) == 7


def test_stats_count_cpu_and_processes(cgroup):
    cgroup.create(Resources())

    def work():
        end = time.process_time() + 0.05
        while time.process_time() < end:
            pass
        signal.pause()

    pid = child_in(cgroup, work)
    try:
        while cgroup.stats().cpu_ns < 40_000_000:
            time.sleep(0.01)
        assert cgroup.stats().pids == 1
        assert cgroup.pids() == [pid]
        assert cgroup.stats().memory > 0
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def counting(writing):
    def work():
        while True:
            os.write(writing, b".")
            time.sleep(0.001)

    return work


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_freeze_stops_and_thaw_lets_go(version, request):
    group = request.getfixturevalue("cgroup" if version == "v1" else "bare_v2")
    group.create(Resources())
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    pid = child_in(group, counting(writing))
    try:
        group.freeze()
        drain(reading)
        time.sleep(0.05)
        with pytest.raises(BlockingIOError):
            os.read(reading, 1)
        group.thaw()
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline and not drain(reading):
            time.sleep(0.005)
        assert time.monotonic() < deadline
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(reading)
        os.close(writing)


def drain(fd):
    got = b""
    try:
        while piece := os.read(fd, 65536):
            got += piece
    except BlockingIOError:
        pass
    return got


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_remove_kills_what_is_left_even_frozen_and_leaves_nothing(version, request):
    group = request.getfixturevalue("cgroup" if version == "v1" else "bare_v2")
    group.create(Resources())
    pid = child_in(group, signal.pause)
    group.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    group.remove()
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    assert not [folder for folder in group.files.folders() if os.path.exists(folder)]
    group.remove()


def test_C8_a_taken_name_and_a_missing_group(cgroup):
    cgroup.create(Resources())
    with pytest.raises(Exists):
        Cgroup(f"test-{os.getpid()}").create(Resources())
    assert cgroup.stats().pids == 0
    with pytest.raises(NotFound):
        Cgroup("test-missing").attach()
    assert Cgroup("test-missing").pids() == []
    with pytest.raises(NotFound):
        cgroup.attach(2**22 + 1)


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/a", "a//b", "x" * 256, "a\0b", "a\nb", "."])
def test_C16_names_that_lead_elsewhere_are_refused(name):
    with pytest.raises(Invalid):
        Cgroup(name)


@pytest.mark.parametrize("refused", [
    limits(memory=-2), limits(memory=1 << 63), limits(pids=1 << 40), limits(quota=1),
    limits(period=1 << 40),
])  # fmt: skip
def test_C16_limits_that_the_kernel_does_not_take_leave_no_group(cgroup, refused):
    with pytest.raises(Invalid):
        cgroup.create(refused)
    assert not [folder for folder in cgroup.files.folders() if os.path.exists(folder)]


def test_an_ordinary_user_is_told(nobody, in_child):
    def attempt():
        try:
            Cgroup("test-nobody").create(Resources())
        except Denied:
            return True
        return False

    assert in_child(attempt, user=nobody)


def test_X10_a_group_that_was_removed_by_others_is_no_obstacle(cgroup):
    cgroup.create(Resources())
    for folder in cgroup.files.folders():
        os.rmdir(folder)
    assert cgroup.stats().memory == 0
    assert cgroup.oom_kills() == 0
    cgroup.remove()


def test_no_hierarchy_at_all(tmp_path):
    assert hierarchy(str(tmp_path)) == ""
    with pytest.raises(Unimplemented):
        Cgroup("x", root=str(tmp_path)).create(Resources())
    Cgroup("x", root=str(tmp_path)).remove()


V2_FILES = "memory.max memory.swap.max cpu.max cpu.weight pids.max memory.current memory.events cpu.stat"


@pytest.fixture
def v2_tree(tmp_path, monkeypatch):
    """Plain files in the shape of version 2; the kernel would make those of a new group by itself."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    mkdir = os.mkdir

    def mkdir_with_files(path, *args, **kwargs):
        mkdir(path, *args, **kwargs)
        for name in [*V2_FILES.split(), "cgroup.procs", "cgroup.subtree_control", "cgroup.freeze"]:
            with open(f"{path}/{name}", "w"):
                pass
        with open(f"{path}/cgroup.controllers", "w") as file:
            file.write("cpu memory pids\n")

    monkeypatch.setattr(os, "mkdir", mkdir_with_files)
    return tmp_path


def test_the_values_of_version_2(v2_tree):
    group = Cgroup("c1", root=str(v2_tree))
    assert group.version == "v2"
    group.create(limits(memory=64 * MIB, quota=50_000, shares=1024, pids=20))
    folder = v2_tree / "sampan/c1"
    assert group.missing == []
    assert {n: (folder / n).read_text() for n in V2_FILES.split()[:5]} == {
        "memory.max": str(64 * MIB), "memory.swap.max": "0", "cpu.max": "50000 100000", "cpu.weight": "39",
        "pids.max": "20",
    }  # fmt: skip
    (folder / "memory.swap.max").write_text("")
    group.update(limits(memory=64 * MIB, swap=96 * MIB, quota=-1))
    assert (folder / "memory.swap.max").read_text() == str(32 * MIB)
    (folder / "memory.current").write_text("4096\n")
    (folder / "memory.events").write_text("low 0\noom 3\noom_kill 2\n")
    (folder / "cpu.stat").write_text("usage_usec 12\nuser_usec 5\n")
    stats = group.stats()
    assert (stats.memory, stats.oom_kills, stats.cpu_ns) == (4096, 2, 12_000)


def test_controllers_that_are_not_there_are_listed(bare_v2):
    bare_v2.create(limits(memory=64 * MIB, pids=5))
    assert set(bare_v2.missing) >= {"memory", "pids"}
    assert "freezer" not in bare_v2.missing


@pytest.mark.parametrize(
    ("shares", "expected"), [(2, 1), (1024, 39), (262144, 10000), (0, 1), (1 << 40, 10000)]
)
def test_shares_become_a_weight(shares, expected):
    assert weight(shares) == expected


@pytest.fixture
def parent(as_root):
    """A group like a pod's, made by somebody else in the memory and cpuset hierarchies alone."""
    if hierarchy() != "v1" or not os.path.isdir(f"{ROOT}/cpuset"):
        pytest.skip("needs cgroup version 1 with cpuset")
    name = f"sampantest-{os.getpid()}"
    for controller in ("memory", "cpuset"):
        os.mkdir(f"{ROOT}/{controller}/{name}")
    yield name
    for entry in os.scandir(ROOT):
        if os.path.isdir(f"{entry.path}/{name}"):
            os.rmdir(f"{entry.path}/{name}")


def test_a_group_below_a_pods_is_made_and_only_it_is_removed(parent):
    group = cgroup_of(f"/{parent}/c1", "c1", systemd=False)
    group.create(limits(memory=64 * MIB, shares=512))
    assert group.path == f"{parent}/c1"
    with open(f"{ROOT}/cpuset/cpuset.cpus") as root:
        assert (
            read(group, "cpuset", "cpuset.cpus") == root.read().strip()
        )  # of the group above, which was empty too
    child = child_in(group, signal.pause)
    with open(f"/proc/{child}/cgroup") as file:
        assert sum(f"/{parent}/c1" in line for line in file) == len(group.files.folders())
    other = cgroup_of(f"//{parent}/./c1/", "c2", systemd=False)
    with pytest.raises(Precondition):
        other.create(Resources())
    assert group.pids() == [child]
    group.remove()
    os.waitpid(child, 0)
    assert os.path.isdir(f"{ROOT}/memory/{parent}")
    assert not os.path.exists(f"{ROOT}/memory/{parent}/c1")


def test_an_empty_group_that_the_caller_made_is_used(parent):
    os.mkdir(f"{ROOT}/memory/{parent}/c1")
    group = cgroup_of(f"/{parent}/c1", "c1", systemd=False)
    group.create(limits(memory=64 * MIB))
    assert read(group, "memory", "memory.limit_in_bytes") == str(64 * MIB)
    os.mkdir(f"{ROOT}/memory/{parent}/c1/inner")  # what a workload with cgroups of its own leaves
    group.remove()
    assert not os.path.exists(f"{ROOT}/memory/{parent}/c1")


def test_cpuset_and_the_rest_reach_the_kernel(cgroup):
    cgroup.create(
        Resources.from_json({
            "cpu": {"cpus": "0", "mems": "0", "burst": 1000, "quota": 20_000, "idle": 0},
            "memory": {"reservation": 8 * MIB, "swappiness": 10},
            "unified": {"memory.high": "1"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
        })
    )  # fmt: skip
    assert read(cgroup, "cpuset", "cpuset.cpus") == "0"
    assert read(cgroup, "memory", "memory.soft_limit_in_bytes") == str(8 * MIB)
    assert read(cgroup, "memory", "memory.swappiness") == "10"
    assert read(cgroup, "cpu", "cpu.cfs_burst_us") == "1000"
    assert "unified" in cgroup.missing
    assert "cpuset" not in cgroup.missing


def test_C16_what_the_kernel_has_no_device_or_cpu_for_is_refused(cgroup):
    device = {"major": 4000, "minor": 1, "rate": 1}
    for refused in ({"cpu": {"cpus": "5000"}}, {"blockIO": {"throttleReadBpsDevice": [device]}}):
        with pytest.raises(Invalid):
            cgroup.create(Resources.from_json(refused))
        assert not [folder for folder in cgroup.files.folders() if os.path.exists(folder)]


def test_paths_of_the_spec():
    assert cgroup_of("", "c1", systemd=False).path == "sampan/c1"
    assert cgroup_of("/kubepods/pod1/c1", "x", systemd=False).path == "kubepods/pod1/c1"
    assert cgroup_of("a/b", "x", systemd=False).path == "sampan/a/b"
    assert cgroup_of("a.slice:b:c", "x", systemd=False).path == "sampan/a.slice:b:c"  # as runc reads it


@pytest.mark.parametrize(
    "path", ["/", ".", "..", "/../x", "a/../../b", "/x/..", "/" + "x" * 300, "/x" * 2000, "/a\0b", "/a\nb"]
)
def test_C16_paths_that_lead_elsewhere_are_refused(path):
    with pytest.raises(Invalid):
        cgroup_of(path, "c1", systemd=False)


def test_C16_hostile_limits_make_no_group(cgroup):
    for hostile in ({"memory": {"limit": 1 << 63}}, {"unified": {"cgroup.procs": "1"}}):
        with pytest.raises(Invalid):
            cgroup.create(Resources.from_json(hostile))
        assert not [folder for folder in cgroup.files.folders() if os.path.exists(folder)]


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_is_frozen_says_what_the_kernel_says(version, request):
    group = request.getfixturevalue("cgroup" if version == "v1" else "bare_v2")
    assert not group.is_frozen()
    group.create(Resources())
    assert not group.is_frozen()
    group.freeze()
    assert group.is_frozen()
    group.thaw()
    assert not group.is_frozen()


def test_an_update_on_version_2_that_would_kill_is_refused(v2_tree):
    group = Cgroup("c1", root=str(v2_tree))
    group.create(limits(memory=64 * MIB))
    (v2_tree / "sampan/c1/memory.current").write_text(str(32 * MIB))
    asked = Resources.from_json({"memory": {"limit": 16 * MIB, "checkBeforeUpdate": True}})
    with pytest.raises(Precondition):
        group.update(asked)
    assert (v2_tree / "sampan/c1/memory.max").read_text() == str(64 * MIB)


def test_version_2_switches_controllers_on_from_the_root_down(v2_tree):
    Cgroup("c1", root=str(v2_tree)).create(Resources())
    assert (v2_tree / "cgroup.subtree_control").read_text() == "+cpuset +cpu +io +memory +pids"
    assert (v2_tree / "sampan/cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (v2_tree / "sampan/c1/cgroup.subtree_control").read_text() == ""
