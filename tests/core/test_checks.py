"""The pure checks against plainer ways to say the same; that each refuses by its field is in container/test_bundle."""

from __future__ import annotations

import os
import resource

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid
from sampan.core.spec.checks import RLIMITS, check_process, check_version
from sampan.core.spec.linuxchecks import check_cgroups_path, check_mappings, check_resources
from sampan.core.spec.runtime import Cpu, IdMapping, Process, Resources

small = st.integers(-1, 12)


@given(st.lists(st.tuples(small, small, small), min_size=1, max_size=4))
def test_C19_maps_are_taken_when_each_id_is_mapped_once_and_only_then(lines):
    inside = [n for first, _, size in lines for n in range(first, first + size)]
    outside = [n for _, first, size in lines for n in range(first, first + size)]
    once = len({*inside}) == len(inside) and len({*outside}) == len(outside)
    right = once and all(size > 0 and first >= 0 and host >= 0 for first, host, size in lines)
    mappings = [IdMapping(*line) for line in lines]
    if right:
        check_mappings(mappings, "maps")
        return
    with pytest.raises(Invalid, match="maps"):
        check_mappings(mappings, "maps")


def test_C19_a_map_of_every_id_there_is():
    check_mappings([IdMapping(0, 0, 2**32 - 1)], "maps")
    with pytest.raises(Invalid):
        check_mappings([IdMapping(0, 0, 2**32)], "maps")


@given(st.lists(st.sampled_from(["a", "..", ".", "", "proc", "self"]), max_size=6))
def test_C14_a_cwd_below_proc_is_refused_however_it_is_spelled(parts):
    cwd = "/" + "/".join(parts)
    below = (os.path.normpath(cwd).lstrip("/") + "/").startswith("proc/")
    if not below:
        check_process(Process(["a"], cwd))
        return
    with pytest.raises(Invalid, match="/proc"):
        check_process(Process(["a"], cwd))


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from(["", "-dev", "-rc.1", "+a.b", "-1+2"]))
def test_C2_every_version_1_is_read(minor, patch, more):
    check_version(f"1.{minor}.{patch}{more}")
    with pytest.raises(Invalid, match="ociVersion"):
        check_version(f"2.{minor}.{patch}{more}")


def test_C18_the_limits_have_the_kernels_numbers():
    named = {name: number for name, number in vars(resource).items() if name in RLIMITS}
    assert len(named) >= 15
    assert all(RLIMITS[number] == name for name, number in named.items())


@given(st.lists(st.tuples(st.integers(0, 99), st.integers(0, 99) | st.none()), min_size=1, max_size=4))
def test_C16_a_list_of_cpus(ranges):
    text = ",".join(f"{low}" if high is None else f"{low}-{high}" for low, high in ranges)
    resources = Resources(cpu=Cpu(cpus=text))
    if all(high is None or high >= low for low, high in ranges):
        check_resources(resources)
        return
    with pytest.raises(Invalid, match=r"cpu\.cpus"):
        check_resources(resources)


@pytest.mark.parametrize(
    "path", ["", "/docker/abc", "system.slice:docker:abc", "a/b..c/...", "/" + "a" * 255]
)
def test_C16_cgroup_paths_that_tools_write(path):
    check_cgroups_path(path)
