"""The statistics in runc's shape: of a real group of version 1, and of version 2's files."""

from __future__ import annotations

import os

import pytest

from sampan.core.spec.runtime import Memory, Pids, Resources
from sampan.linux.cgroup_files import V2
from sampan.linux.cgroup_stats import NO_LIMIT, measure
from sampan.linux.cgroups import Cgroup, hierarchy


def test_a_group_of_version_1(as_root):
    if hierarchy() != "v1":
        pytest.skip("needs cgroup version 1")
    group = Cgroup(f"test-{os.getpid()}")
    try:
        group.create(Resources(memory=Memory(limit=1 << 26), pids=Pids(limit=5)))
        pid = os.fork()
        if pid == 0:
            try:
                group.attach()
                bytearray(1 << 22)
            finally:
                os._exit(0)
        os.waitpid(pid, 0)
        found = group.detailed_stats()
    finally:
        group.remove()
    assert set(found) >= {"cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"}
    usage = found["cpu"]["usage"]
    assert usage["total"] == sum(usage["percpu"]) > 0
    assert {"kernel", "user", "percpu_kernel", "percpu_user"} <= set(usage)
    assert found["pids"] == {"limit": 5}
    memory = found["memory"]
    assert memory["usage"]["limit"] == memory["swap"]["limit"] == 1 << 26
    assert memory["usage"]["max"] >= 1 << 22
    assert memory["usage"]["failcnt"] == 0
    assert "total_rss" in memory["raw"]
    assert found["cpuset"]["sched_load_balance"] == 1
    assert found["cpuset"]["sched_relax_domain_level"] == -1
    assert 0 in found["cpuset"]["cpus"]


def test_the_files_of_version_2(tmp_path):
    for name, text in {
        "cpu.stat": "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 2\nthrottled_usec 7\n",
        "memory.current": "4096\n", "memory.max": "8192\n", "memory.peak": "5000\n", "memory.swap.current": "1\n",
        "memory.swap.max": "max\n", "memory.stat": "anon 5\nfile 6\n", "pids.current": "2\n", "pids.max": "max\n",
        "io.stat": "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n", "hugetlb.2MB.max": "max\n",
        "hugetlb.2MB.current": "2097152\n", "hugetlb.2MB.events": "max 3\n", "hugetlb.2MB.rsvd.max": "max\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    found = measure(V2(str(tmp_path.parent), tmp_path.name))
    assert found["cpu"] == {
        "usage": {"total": 30_000, "kernel": 10_000, "user": 20_000},
        "throttling": {"periods": 4, "throttledPeriods": 2, "throttledTime": 7_000},
    }
    assert found["memory"]["usage"] == {"limit": 8192, "usage": 4096, "max": 5000, "failcnt": 0}
    assert found["memory"]["swap"] == {"limit": NO_LIMIT, "usage": 4097, "failcnt": 0}
    assert found["memory"]["cache"] == 6
    assert found["memory"]["raw"] == {"anon": 5, "file": 6}
    assert found["pids"] == {"current": 2}
    assert found["blkio"]["ioServiceBytesRecursive"] == [
        {"major": 8, "op": "Read", "value": 1}, {"major": 8, "op": "Write", "value": 2}
    ]  # fmt: skip
    assert found["blkio"]["ioServicedRecursive"][1] == {"major": 8, "op": "Write", "value": 4}
    assert found["hugetlb"] == {"2MB": {"usage": 2097152, "failcnt": 3}}


def test_X10_a_group_that_is_gone_has_empty_statistics(tmp_path):
    found = measure(V2(str(tmp_path), "none"))
    assert found["pids"] == {}
    assert found["cpu"]["usage"] == {"kernel": 0, "user": 0}
