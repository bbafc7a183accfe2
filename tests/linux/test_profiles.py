"""The spec's seccomp profile: compiled, installed, and felt by calls; alone, and beside our own filter."""

from __future__ import annotations

import ctypes
import errno
import os
import signal
import socket
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.core.spec.runtime import Seccomp
from sampan.linux import profiles, seccomp, syscalls
from sampan.linux.privileges import no_new_privileges
from sampan.linux.profiles import check_profile, compile_profile

sys.path.insert(0, str(Path(__file__).parent))
from oci_profiles import EVERYDAY, NEW_NAMESPACES, allow, docker_like, podman_like

pytestmark = pytest.mark.skipif(not seccomp.is_available(), reason="needs a kernel with seccomp")


def profile(*rules, default="SCMP_ACT_ALLOW", **more):
    return Seccomp.from_json({"defaultAction": default, "syscalls": list(rules), **more})


def deny(name, number=errno.EXDEV, *conditions):
    rule = allow([name], *conditions)
    return {**rule, "action": "SCMP_ACT_ERRNO", "errnoRet": number}


def install(wanted, flags=()):
    no_new_privileges()
    seccomp.install_program(compile_profile(wanted), list(flags))


def result(call):
    """What a call answers: 0 or the errno."""
    try:
        call()
    except OSError as error:
        return error.errno
    return 0


def test_a_rule_gives_its_errno_and_the_default_is_kept(in_child, tmp_path):
    def attempt():
        install(profile(deny("mkdir"), {"names": ["rmdir"], "action": "SCMP_ACT_ERRNO"}))
        return result(lambda: os.mkdir(tmp_path / "a")), result(lambda: os.rmdir(tmp_path)), os.getppid() > 0

    assert in_child(attempt) == (errno.EXDEV, errno.EPERM, True)


OPERATORS = {
    "NE": (1, 0, 1),
    "LT": (1, 0, 0),
    "LE": (1, 1, 0),
    "EQ": (0, 1, 0),
    "GE": (0, 1, 1),
    "GT": (0, 0, 1),
}


@pytest.mark.parametrize("operator", OPERATORS)
def test_each_operator_compares_the_argument(in_child, operator):
    """getpriority(2) with a `which` below, at and above 1."""

    def attempt():
        install(profile(deny("getpriority", errno.EXDEV, (0, 1, operator))))
        return tuple(int(result(lambda w=w: os.getpriority(w, 0)) == errno.EXDEV) for w in (0, 1, 2))

    assert in_child(attempt) == OPERATORS[operator]


def test_a_masked_comparison_is_of_the_masked_bits(in_child):
    def attempt():
        install(profile(deny("socket", errno.EXDEV, (1, 0xF, "MASKED_EQ")) | {
            "args": [{"index": 1, "value": 0xF, "valueTwo": 2, "op": "SCMP_CMP_MASKED_EQ"}]
        }))  # fmt: skip
        return [
            result(lambda k=k: socket.socket(socket.AF_INET, k | socket.SOCK_CLOEXEC).close()) for k in (1, 2)
        ]

    assert in_child(attempt) == [0, errno.EXDEV]


def test_conditions_hold_together_but_two_on_one_argument_each_alone(in_child):
    def attempt():
        both = deny("getpriority", errno.EXDEV, (0, 1, "EQ"), (1, 7, "EQ"))
        either = deny("socket", errno.EXDEV, *((0, int(f), "EQ") for f in (socket.AF_INET, socket.AF_UNIX)))
        install(profile(both, either))
        together = [
            result(lambda w=w, i=i: os.getpriority(w, i)) == errno.EXDEV for w, i in ((1, 0), (0, 7), (1, 7))
        ]
        families = (socket.AF_INET, socket.AF_UNIX, socket.AF_INET6)
        return together, [result(lambda f=f: socket.socket(f).close()) == errno.EXDEV for f in families]

    assert in_child(attempt) == ([False, False, True], [True, True, False])


@pytest.mark.parametrize(("action", "ending"), [
    ("KILL_PROCESS", -signal.SIGSYS), ("KILL", -signal.SIGSYS), ("KILL_THREAD", -signal.SIGSYS),
    ("TRAP", -signal.SIGSYS), ("LOG", 0), ("TRACE", errno.ENOSYS), ("ERRNO", errno.EPERM), ("ALLOW", 0),
])  # fmt: skip
def test_each_action_does_what_it_says(in_child, action, ending):
    def attempt():
        pid = os.fork()
        if pid == 0:
            install(profile({"names": ["getpriority"], "action": f"SCMP_ACT_{action}"}))
            os._exit(result(lambda: os.getpriority(0, 0)))
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(attempt) == ending


def test_an_unknown_call_is_left_out_as_by_runc(in_child):
    def attempt():
        install(profile(deny("call_of_the_future"), deny("socketcall"), deny("mkdir")))
        return result(lambda: os.mkdir("/"))

    assert in_child(attempt) == errno.EXDEV


C17 = {
    "no action": {"default": "SCMP_ACT_FOO"},
    "lower case": {"default": "scmp_act_allow"},
    "an architecture": {"architectures": ["SCMP_ARCH_PDP11"]},
    "an architecture without its prefix": {"architectures": ["X86_64"]},
    "a flag": {"flags": ["SECCOMP_FILTER_FLAG_FOO"]},
    "a flag for agents": {"flags": ["SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV"]},
    "an errno for allow": {"defaultErrnoRet": 3},
}
C17_RULES = {
    "an action": {"names": ["mkdir"], "action": "KILL"},
    "an operator": allow(["mkdir"], (0, 0, "ABOUT")),
    "a seventh argument": allow(["mkdir"], (6, 0, "EQ")),
    "a value too large": allow(["mkdir"], (0, 1 << 64, "EQ")),
    "a negative value": allow(["mkdir"], (0, -1, "EQ")),
    "no name": {"names": [], "action": "SCMP_ACT_KILL"},
    "an empty name": {"names": [""], "action": "SCMP_ACT_KILL"},
    "an errno too large": deny("mkdir", 5000),
    "a negative errno": deny("mkdir", -1),
}


@pytest.mark.parametrize("more", C17.values(), ids=C17)
def test_C17_an_unknown_part_of_a_profile_is_refused(more):
    with pytest.raises(Invalid, match=r"linux\.seccomp"):
        check_profile(profile(**more))


@pytest.mark.parametrize("rule", C17_RULES.values(), ids=C17_RULES)
def test_C17_an_unknown_part_of_a_rule_is_refused_by_its_place(rule):
    with pytest.raises(Invalid, match=r"linux\.seccomp\.syscalls\[1\]"):
        check_profile(profile(deny("rmdir"), rule))


def test_C17_rules_that_contradict_each_other():
    twice = (deny("mkdir", 1, (0, 1, "EQ")), deny("mkdir", 2, (0, 1, "EQ")))
    with pytest.raises(Invalid, match="contradict"):
        compile_profile(profile(*twice))


def test_an_agent_is_refused_with_the_reason():
    with pytest.raises(Unimplemented, match="agent"):
        check_profile(profile({"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}))
    with pytest.raises(Unimplemented, match="agent"):
        check_profile(profile(listenerPath="/run/agent"))


def test_a_host_without_libseccomp_is_told_what_to_install(monkeypatch):
    monkeypatch.setattr(profiles, "LIBRARY", "libseccomp-is-not-here.so")
    with pytest.raises(Unimplemented, match="install libseccomp"):
        compile_profile(profile())


@given(st.fixed_dictionaries({
    "defaultAction": st.sampled_from([*profiles.ACTIONS, "X"]),
    "defaultErrnoRet": st.none() | st.integers(-2, 70000),
    "architectures": st.lists(st.sampled_from(["SCMP_ARCH_X86_64", "SCMP_ARCH_ARM", "Y"]), max_size=2),
    "syscalls": st.lists(st.fixed_dictionaries({
        "names": st.lists(st.sampled_from(["mkdir", "clone", "nope", "socketcall", "é", "a\0b"]), max_size=3),
        "action": st.sampled_from([*profiles.ACTIONS, "SCMP_ACT_NOTIFY"]),
        "errnoRet": st.none() | st.integers(-2, 70000),
        "args": st.lists(st.fixed_dictionaries({
            "index": st.integers(-1, 7), "value": st.integers(-1, 1 << 65), "valueTwo": st.integers(-1, 1 << 65),
            "op": st.sampled_from([*profiles.OPERATORS, "Z"]),
        }), max_size=4),
    }), max_size=5),
}))  # fmt: skip
def test_a_profile_compiles_or_is_refused(document):
    try:
        code = compile_profile(Seccomp.from_json(document))
    except SampanError:
        return
    assert len(code) % 8 == 0
    assert code


@pytest.mark.parametrize("make", [docker_like, podman_like, lambda: docker_like("seccomp", "prctl")])
@pytest.mark.parametrize("network", [False, True])
def test_both_filters_stand_whatever_the_profile_says_of_seccomp(in_child, make, network):
    """mkdir both allow, getpgid ours refuses, unshare both; and no filter can follow."""
    program = compile_profile(make())

    def attempt():
        no_new_privileges()
        seccomp.install(network, (program, []))
        calls = [
            lambda: os.mkdir("/"),
            lambda: os.getpgid(0),
            lambda: syscalls.call("unshare", NEW_NAMESPACES),
            lambda: syscalls.call("seccomp", 1, 0, bytes(16)),
        ]
        return [result(call) for call in calls]

    assert in_child(attempt) == [errno.EEXIST, errno.EPERM, errno.EPERM, errno.EPERM]


def test_the_usual_profile_allows_all_that_our_own_filter_does():
    """So that a container process, and not only a guest, has what it needs beside it."""
    by_arguments = {"socket", "clone", "clone3"}
    ours = {*seccomp.ALLOWED, *seccomp._rules(True, 1), "bind", "listen", "connect"} - by_arguments
    assert ours - set(EVERYDAY) == set()


def test_what_the_profile_alone_refuses_is_refused(in_child, open_folder):
    program = compile_profile(docker_like("mkdir", "mkdirat"))

    def attempt():
        no_new_privileges()
        seccomp.install(False, (program, ["SECCOMP_FILTER_FLAG_LOG", "SECCOMP_FILTER_FLAG_SPEC_ALLOW"]))
        return result(lambda: os.mkdir(open_folder / "d")), result(
            lambda: os.close(os.open(open_folder, os.O_RDONLY))
        )

    assert in_child(attempt) == (errno.EPERM, 0)


def test_a_thread_that_is_there_has_the_profile_too(in_child):
    def attempt():
        go, seen = threading.Event(), []

        def wait_and_try():
            go.wait()
            seen.append(result(lambda: os.mkdir("/")))

        thread = threading.Thread(target=wait_and_try)
        thread.start()
        install(profile(deny("mkdir")))
        go.set()
        thread.join()
        return seen

    assert in_child(attempt) == [errno.EXDEV]


@pytest.mark.parametrize("code", [b"", b"\xff" * 8, b"\x06" + bytes(7) + b"\x05" + bytes(7)])
def test_a_program_that_the_kernel_does_not_take(in_child, code):
    def attempt():
        no_new_privileges()
        try:
            seccomp.install_program(code, [])
        except Invalid:
            return True
        return False

    assert in_child(attempt)


def test_a_program_that_is_too_long(in_child):
    def attempt():
        no_new_privileges()
        try:
            seccomp.install_program(seccomp.assemble([(0x06, 0, 0, 0x7FFF0000)]) * 4095, [])
        except Invalid as error:
            return "more than the 4096" in error.message
        return False

    assert in_child(attempt)


def test_another_architectures_calls_are_killed(in_child):
    if ctypes.sizeof(ctypes.c_void_p) != 8 or os.uname().machine != "x86_64":
        pytest.skip("int 0x80 is x86's")
    import mmap

    def call_old_getpid():
        code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
        code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")  # mov eax, 20; int 0x80; ret
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(code)))
        pid = os.fork()
        if pid == 0:
            install(profile(architectures=["SCMP_ARCH_X86"]))
            function()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    assert in_child(call_old_getpid) == -signal.SIGSYS
