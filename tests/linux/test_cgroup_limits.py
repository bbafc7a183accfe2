"""What a spec's resources become in the files of both versions, and what is refused before anything is written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.core.spec.runtime import Resources
from sampan.linux.cgroup_limits import check, io_weight, v1_writes, v2_writes, weight

MIB = 1 << 20


def resources(**values):
    return Resources.from_json(values)


def flat(writes):
    return [f"{name} {value}" for _, _, values in writes for name, value in values]


def v1(has=("memory.memsw.limit_in_bytes",), **values):
    return flat(v1_writes(resources(**values), lambda _, name: name in has))


def v2(has=("memory.swap.max",), **values):
    return flat(v2_writes(resources(**values), lambda _, name: name in has))


def test_memory_means_memory_and_swap_together():
    both = "memory.memsw.limit_in_bytes"
    assert v1(memory={"limit": MIB}) == [f"memory.limit_in_bytes {MIB}", f"{both} {MIB}"]
    assert v1(memory={"limit": MIB, "swap": -1}) == [f"memory.limit_in_bytes {MIB}", f"{both} -1"]
    assert v1(has=(), memory={"limit": MIB, "swap": -1}) == [f"memory.limit_in_bytes {MIB}"]
    assert v2(memory={"limit": MIB}) == [f"memory.max {MIB}", "memory.swap.max 0"]
    assert v2(memory={"limit": MIB, "swap": 3 * MIB}) == [f"memory.max {MIB}", f"memory.swap.max {2 * MIB}"]
    assert v2(memory={"limit": MIB, "swap": -1}) == [f"memory.max {MIB}", "memory.swap.max max"]
    assert v2(memory={"limit": -1}) == ["memory.max max", "memory.swap.max max"]
    assert v2(has=(), memory={"limit": MIB}) == [f"memory.max {MIB}"]


def test_the_rest_of_memory():
    rest = {"reservation": 5, "kernelTCP": 6, "swappiness": 0, "disableOOMKiller": True}
    assert v1(memory=rest) == [
        "memory.soft_limit_in_bytes 5", "memory.kmem.tcp.limit_in_bytes 6", "memory.swappiness 0",
        "memory.oom_control 1",
    ]  # fmt: skip
    writes = v2_writes(resources(memory=rest), lambda *_: True)
    assert ("memory", "memory", [("memory.low", "5")]) in writes
    nowhere = {what for what, controller, _ in writes if not controller}
    assert nowhere == {"kernelTCP", "swappiness", "disableOOMKiller"}


def test_cpu_and_cpuset():
    cpu = {
        "shares": 512, "quota": 50_000, "period": 100_000, "burst": 0, "idle": 0, "cpus": "0-1", "mems": "0",
        "realtimePeriod": 1_000_000, "realtimeRuntime": 0,
    }  # fmt: skip
    assert v1(cpu=cpu) == [
        "cpu.cfs_period_us 100000", "cpu.cfs_quota_us 50000", "cpu.cfs_burst_us 0", "cpu.shares 512", "cpu.idle 0",
        "cpu.rt_period_us 1000000", "cpu.rt_runtime_us 0", "cpuset.cpus 0-1", "cpuset.mems 0",
    ]  # fmt: skip
    del cpu["realtimePeriod"]
    assert v2(cpu=cpu) == [
        "cpu.max 50000 100000", "cpu.max.burst 0", "cpu.weight 20", "cpu.idle 0", "cpuset.cpus 0-1", "cpuset.mems 0"
    ]  # fmt: skip
    assert v2(cpu={"quota": -1}) == ["cpu.max max 100000"]
    assert [w[0] for w in v2_writes(resources(cpu={"realtimeRuntime": 5}), lambda *_: True)] == ["realtime"]


def test_block_io():
    block = {
        "weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 100}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1024}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
    }  # fmt: skip
    assert v1(blockIO=block) == [
        "blkio.weight 500", "blkio.weight_device 8:0 100", "blkio.throttle.read_bps_device 8:0 1024",
        "blkio.throttle.write_iops_device 8:16 0",
    ]  # fmt: skip
    assert v1(has=("blkio.bfq.weight",), blockIO=block)[:2] == [
        "blkio.bfq.weight 500", "blkio.bfq.weight_device 8:0 100"
    ]  # fmt: skip
    assert v2(blockIO=block) == [
        "io.weight 4950", "io.weight 8:0 910", "io.max 8:0 rbps=1024", "io.max 8:16 wiops=max"
    ]  # fmt: skip
    assert v2(has=("io.bfq.weight",), blockIO=block)[:2] == ["io.bfq.weight 500", "io.bfq.weight 8:0 100"]


def test_pids_huge_pages_rdma_network_and_unified():
    assert v1(pids={"limit": 0}) == []
    assert v1(pids={"limit": -1}) == v2(pids={"limit": -1}) == ["pids.max max"]
    pages = [{"pageSize": "2MB", "limit": 0}]
    assert v1(hugepageLimits=pages) == ["hugetlb.2MB.limit_in_bytes 0"]
    assert v2(has=("hugetlb.2MB.rsvd.max",), hugepageLimits=pages) == [
        "hugetlb.2MB.max 0",
        "hugetlb.2MB.rsvd.max 0",
    ]
    assert v1(rdma={"mlx5_1": {"hcaHandles": 3}}) == ["rdma.max mlx5_1 hca_handle=3"]
    network = {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 5}]}
    assert v1(network=network) == ["net_cls.classid 1048577", "net_prio.ifpriomap eth0 5"]
    assert v2(unified={"memory.high": "7", "io.max": "8:0 rbps=1\n8:1 rbps=2"}) == [
        "memory.high 7", "io.max 8:0 rbps=1", "io.max 8:1 rbps=2"
    ]  # fmt: skip
    assert v1_writes(resources(unified={"memory.high": "7"}), lambda *_: True)[0][:2] == ("unified", "")


@pytest.mark.parametrize("hostile", [
    {"memory": {"limit": -2}}, {"memory": {"limit": 1 << 63}}, {"memory": {"limit": "max"}},
    {"memory": {"limit": 2 * MIB, "swap": MIB}}, {"memory": {"limit": -1, "swap": MIB}},
    {"memory": {"swappiness": 101}},
    {"cpu": {"shares": 1}}, {"cpu": {"shares": -1}}, {"cpu": {"shares": 1 << 63}}, {"cpu": {"quota": -2}},
    {"cpu": {"quota": 999}}, {"cpu": {"period": 999}}, {"cpu": {"period": 1 << 20}}, {"cpu": {"idle": 2}},
    {"cpu": {"burst": -1}}, {"cpu": {"cpus": "0\n"}}, {"cpu": {"mems": "all"}}, {"pids": {"limit": -2}},
    {"pids": {"limit": 1 << 63}}, {"blockIO": {"weight": 9}}, {"blockIO": {"weight": 1001}},
    {"blockIO": {"throttleReadBpsDevice": [{"major": -2, "minor": 0, "rate": 1}]}},
    {"blockIO": {"throttleReadBpsDevice": [{"major": 1, "minor": 0, "rate": -1}]}},
    {"blockIO": {"weightDevice": [{"major": 1, "minor": 0, "weight": 2000}]}},
    {"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}, {"hugepageLimits": [{"pageSize": "../2MB", "limit": 1}]},
    {"hugepageLimits": [{"pageSize": "MB", "limit": 1}]}, {"devices": [{"allow": True, "major": 1 << 12}]},
    {"unified": {"../memory.max": "1"}}, {"unified": {"a/b": "1"}}, {"unified": {"cgroup.procs": "1"}},
    {"unified": {"cgroup.kill": "1"}}, {"unified": {"": "1"}}, {"unified": {"..": "1"}},
    {"unified": {"memory.max": "1\0"}},
    {"unified": {"memory.max\n": "1"}}, {"network": {"classID": 1 << 32}}, {"rdma": {"a b": {"hcaHandles": 1}}},
    {"network": {"priorities": [{"name": "../eth0", "priority": 1}]}},
])  # fmt: skip
def test_C16_hostile_values_are_refused(hostile):
    with pytest.raises(Invalid):
        check(resources(**hostile))


def test_C16_swap_without_memory_cannot_be_had_on_version_2():
    with pytest.raises(Invalid):
        v2(memory={"swap": MIB})
    assert v2(memory={"swap": -1}) == ["memory.swap.max max"]


def test_what_callers_send_for_nothing_is_nothing():
    empty = {
        "memory": {"limit": 0, "reservation": 0, "swap": 0, "disableOOMKiller": False},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "pids": {"limit": 0}, "blockIO": {"weight": 0}, "network": {}, "unified": None, "devices": [],
    }  # fmt: skip
    check(resources(**empty))
    assert v1(**empty) == v2(**empty) == []


NUMBER = st.one_of(st.none(), st.integers(), st.sampled_from([0, 1, 2, -1, 1000, MIB, 1 << 63]))


@given(NUMBER, NUMBER, NUMBER, NUMBER, NUMBER)
def test_C16_any_numbers_are_refused_or_written_whole(limit, swap, shares, quota, pids):
    asked = resources(memory={"limit": limit, "swap": swap}, cpu={"shares": shares, "quota": quota})
    asked.pids = resources(pids={"limit": pids}).pids if pids is not None else None
    try:
        check(asked)
        second = flat(v2_writes(asked, lambda *_: True))
    except Invalid:
        return
    for line in [*flat(v1_writes(asked, lambda *_: True)), *second]:
        for word in line.split()[1:]:
            assert word == "max" or -1 <= int(word) < 1 << 63
    assert all("-" not in line for line in second)


@given(st.integers(2, 262144), st.integers(10, 1000))
def test_weights_stay_in_version_2s_range(shares, block):
    assert 1 <= weight(shares) <= 10000
    assert 1 <= io_weight(block) <= 10000
