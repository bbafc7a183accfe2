"""The default seccomp profile of Linux containers."""

from __future__ import annotations

import pytest

from sampan.container.linuxdefaults import CAPABILITIES
from sampan.container.linuxseccomp import ALLOW, ALLOWED, BY_CAPABILITY, default_profile
from sampan.linux.profiles import check_profile, compile_profile


def allowed(capabilities: list[str]) -> set[str]:
    rules = default_profile(capabilities).syscalls
    return {name for rule in rules if rule.action == ALLOW and not rule.args for name in rule.names}


@pytest.mark.parametrize(
    "capabilities", [[], list(CAPABILITIES), [*CAPABILITIES, "CAP_SYS_ADMIN"], list(BY_CAPABILITY)]
)
def test_the_kernel_takes_it(capabilities: list[str]) -> None:
    profile = default_profile(capabilities)
    assert check_profile(profile)
    assert compile_profile(profile)


def test_what_no_container_needs_is_refused() -> None:
    found = allowed(list(CAPABILITIES))
    assert {"openat", "execve", "futex", "chroot", "setuid"} <= found
    dangerous = {
        "add_key",
        "keyctl",
        "request_key",
        "kexec_load",
        "kexec_file_load",
        "init_module",
        "swapon",
        "reboot",
    }
    assert not found & {
        *dangerous,
        "mount",
        "setns",
        "unshare",
        "bpf",
        "userfaultfd",
        "io_uring_setup",
        "clone",
    }


def test_a_capability_brings_the_calls_that_it_is_for() -> None:
    assert "mount" in allowed(["CAP_SYS_ADMIN"])
    assert "init_module" in allowed(["CAP_SYS_MODULE"])
    assert "chroot" not in allowed([])


def test_clone_makes_no_namespaces_and_clone3_says_that_it_is_not_there() -> None:
    rules = {rule.names[0]: rule for rule in default_profile([]).syscalls if len(rule.names) == 1}
    assert rules["clone"].args[0].op == "SCMP_CMP_MASKED_EQ"
    assert (rules["clone3"].action, rules["clone3"].errno_ret) == ("SCMP_ACT_ERRNO", 38)


def test_each_call_stands_there_once() -> None:
    assert len(set(ALLOWED)) == len(ALLOWED)
