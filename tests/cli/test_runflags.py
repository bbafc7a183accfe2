from __future__ import annotations

import pytest

from sampan.core.commandline import parse
from sampan.core.errors import Unimplemented
from sampan.doors.cli.runflags import CREATE_OPTIONS, REFUSED, RUN_OPTIONS

# Every flag of `docker run` (docker/cli, "run" reference), so that none is unknown here.
DOCKER = """
    add-host annotation attach blkio-weight blkio-weight-device cap-add cap-drop cgroup-parent cgroupns cidfile
    cpu-period cpu-quota cpu-rt-period cpu-rt-runtime cpu-shares cpus cpuset-cpus cpuset-mems detach detach-keys
    device device-cgroup-rule device-read-bps device-read-iops device-write-bps device-write-iops
    disable-content-trust dns dns-option dns-search domainname entrypoint env env-file expose gpus group-add
    health-cmd health-interval health-retries health-start-interval health-start-period health-timeout hostname
    init interactive ip ip6 ipc isolation kernel-memory label label-file link link-local-ip log-driver log-opt
    mac-address memory memory-reservation memory-swap memory-swappiness mount name network network-alias
    no-healthcheck oom-kill-disable oom-score-adj pid pids-limit platform privileged publish publish-all pull quiet
    read-only restart rm runtime security-opt shm-size sig-proxy stop-signal stop-timeout storage-opt sysctl tmpfs
    tty ulimit user userns uts volume volume-driver volumes-from workdir
"""
SHORT = {"a": "attach", "c": "cpu-shares", "d": "detach", "e": "env", "h": "hostname", "i": "interactive",
         "l": "label", "m": "memory", "p": "publish", "P": "publish-all", "q": "quiet", "t": "tty", "u": "user",
         "v": "volume", "w": "workdir"}  # fmt: skip


def test_every_flag_of_docker_run_is_known() -> None:
    known = {option.name for option in RUN_OPTIONS}
    assert set(DOCKER.split()) <= known
    assert {option.short: option.name for option in RUN_OPTIONS if option.short} == SHORT


def test_flags_are_docker_s_or_marked_as_ours() -> None:
    also_docker_s = {"net", "dns-opt", "net-alias"}
    for option in RUN_OPTIONS:
        assert option.own == (option.name not in {*DOCKER.split(), *also_docker_s}), option.name


def test_no_name_is_given_twice() -> None:
    for table in (RUN_OPTIONS, CREATE_OPTIONS):
        names = [option.name for option in table]
        assert len(names) == len(set(names))


@pytest.mark.parametrize("option", REFUSED, ids=lambda option: option.name)
def test_what_cannot_be_had_says_why(option: object) -> None:
    name, refusal = getattr(option, "name"), getattr(option, "refusal")  # noqa: B009
    with pytest.raises(Unimplemented) as caught:
        parse([f"--{name}=x", "image"], RUN_OPTIONS, interspersed=False)
    assert str(caught.value) == f"--{name} cannot be had: {refusal}"
