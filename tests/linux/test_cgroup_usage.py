"""What a cgroup uses: of files as both versions have them, and of a real group."""

from __future__ import annotations

from pathlib import Path

from sampan.linux.cgroup_files import V1, V2
from sampan.linux.cgroup_usage import CgroupUsage, usage_of


def write(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2(tmp_path: Path) -> None:
    write(
        tmp_path / "a",
        cpu__stat="usage_usec 1234\nuser_usec 1000\n",
        memory__current="5000\n",
        memory__stat="anon 3000\nfile 2000\ninactive_file 1500\npgfault 12\npgmajfault 3\n",
        memory__max="max\n",
        memory__swap__current="70\n",
        memory__swap__max="100\n",
        pids__current="4\n",
        memory__events="oom 1\noom_kill 2\n",
    )
    usage = usage_of(V2(str(tmp_path), "a"))
    assert usage == CgroupUsage(1_234_000, 5000, 1500, 0, 3000, 12, 3, 70, 100, 4, 2)
    assert usage.working_set == 3500


def test_version_1(tmp_path: Path) -> None:
    for controller in ("memory", "cpu,cpuacct", "pids"):
        write(tmp_path / controller, tasks="")
    write(
        tmp_path / "memory" / "a",
        memory__usage_in_bytes="5000\n",
        memory__limit_in_bytes="8000\n",
        memory__memsw__usage_in_bytes="5100\n",
        memory__memsw__limit_in_bytes="9223372036854771712\n",
        memory__stat="rss 1\ntotal_rss 3000\ntotal_inactive_file 6000\ntotal_pgfault 12\ntotal_pgmajfault 3\n",
        memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n",
    )
    write(tmp_path / "cpu,cpuacct" / "a", cpuacct__usage="1234\n")
    write(tmp_path / "pids" / "a", pids__current="4\n")
    usage = usage_of(V1(str(tmp_path), "a"))
    assert usage == CgroupUsage(1234, 5000, 6000, 8000, 3000, 12, 3, 100, 0, 4, 2)
    assert usage.working_set == 0  # the two files are not of one moment


def test_a_group_that_is_gone_uses_nothing(tmp_path: Path) -> None:
    assert usage_of(V2(str(tmp_path), "a")) == CgroupUsage()
    assert usage_of(V1(str(tmp_path), "a")) == CgroupUsage()


def test_two_together() -> None:
    one = CgroupUsage(*range(1, 12))
    assert one.plus(one) == CgroupUsage(*range(2, 24, 2))
