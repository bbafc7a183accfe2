"""What native code in a container process would try: raw system calls, with arguments that make them bite.

Dangerous ones get arguments that the kernel refuses in another way than the filter does.
"""

from __future__ import annotations

import ctypes
import errno
import os

from sampan.linux import syscalls
from sampan.linux.numbers import ARCHITECTURE

# name: (x86-64, arm64)
NUMBERS = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bind": (49, 200),
    "bpf": (321, 280),
    "capset": (126, 91),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "clone": (56, 220),
    "clone3": (435, 435),
    "connect": (42, 203),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fanotify_init": (300, 262),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchownat": (260, 54),
    "fcntl": (72, 25),
    "finit_module": (313, 273),
    "fork": (57, -1),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_setup": (425, 425),
    "ioctl": (16, 29),
    "iopl": (172, -1),
    "kcmp": (312, 272),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "mknodat": (259, 33),
    "mmap": (9, 222),
    "modify_ldt": (154, -1),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "move_pages": (279, 239),
    "mprotect": (10, 226),
    "msgget": (68, 186),
    "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "personality": (135, 92),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "pkey_mprotect": (329, 288),
    "prctl": (157, 167),
    "prlimit64": (302, 261),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "seccomp": (317, 277),
    "set_mempolicy": (238, 237),
    "setdomainname": (171, 162),
    "setfsuid": (122, 151),
    "setgid": (106, 144),
    "setgroups": (116, 159),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setresuid": (117, 147),
    "setreuid": (113, 145),
    "setsid": (112, 157),
    "setuid": (105, 146),
    "setxattr": (188, 5),
    "shmget": (29, 194),
    "socket": (41, 198),
    "socketpair": (53, 199),
    "swapon": (167, 224),
    "syslog": (103, 116),
    "tgkill": (234, 131),
    "tkill": (200, 130),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "vhangup": (153, 58),
}

PARENT = -1  # stands for the pid of the parent
BUFFER = ctypes.create_string_buffer(4096)
AT = ctypes.addressof(BUFFER)
ROOT = b"/"
SIGCHLD = 17
NEWUSER, NEWNS, NEWNET, THREAD = 0x10000000, 0x20000, 0x40000000, 0x10000
PAGE = 4096

ATTEMPTS = {
    "trace myself": ("ptrace", 0, 0, 0, 0),
    "attach to the parent": ("ptrace", 0x4206, PARENT, 0, 0),
    "read the parent's memory": ("process_vm_readv", PARENT, AT, 0, AT, 0, 0),
    "write the parent's memory": ("process_vm_writev", PARENT, AT, 0, AT, 0, 0),
    "advise the parent's memory": ("process_madvise", -1, AT, 0, 0, 0),
    "compare with the parent": ("kcmp", PARENT, PARENT, 0, 0, 0),
    "move the parent's pages": ("move_pages", PARENT, 0, 0, 0, 0, 0),
    "mount": ("mount", b"none", b"/nowhere", b"tmpfs", 0, None),
    "unmount": ("umount2", b"/nowhere", 0),
    "pivot": ("pivot_root", b"/nowhere", b"/nowhere"),
    "open a tree": ("open_tree", -100, ROOT, 0),
    "open a file system": ("fsopen", b"tmpfs", 0),
    "pick a file system": ("fspick", -100, ROOT, 0),
    "configure a file system": ("fsconfig", -1, 0, 0, 0, 0),
    "mount a file system": ("fsmount", -1, 0, 0),
    "move a mount": ("move_mount", -1, b"", -1, b"", 0),
    "change a mount": ("mount_setattr", -1, b"", 0, 0, 0),
    "chroot": ("chroot", ROOT),
    "new user namespace": ("unshare", NEWUSER),
    "new mount namespace": ("unshare", NEWNS),
    "new network namespace": ("unshare", NEWNET),
    "enter a namespace": ("setns", -1, 0),
    "execute": ("execve", b"/nowhere", 0, 0),
    "execute at": ("execveat", -100, b"/nowhere", 0, 0, 0),
    "fork": ("clone", SIGCHLD, 0, 0, 0, 0),
    "old fork": ("fork",),
    "thread in a new namespace": ("clone", SIGCHLD | NEWUSER, 0, 0, 0, 0),
    "clone3": ("clone3", 0, 0),
    "load a BPF program": ("bpf", 0, AT, 0),
    "count events of the parent": ("perf_event_open", AT, PARENT, -1, -1, 0),
    "handle page faults": ("userfaultfd", 1),
    "io_uring": ("io_uring_setup", 1, AT),
    "session keyring": ("keyctl", 0, -3, 0),
    "add a key": ("add_key", b"user", b"x", b"x", 1, -1),
    "request a key": ("request_key", b"user", b"x", 0, 0),
    "signal the parent": ("kill", PARENT, 0),
    "signal everybody": ("kill", 0, 0),
    "signal the parent's thread": ("tgkill", PARENT, PARENT, 0),
    "signal a thread": ("tkill", PARENT, 0),
    "queue a signal": ("rt_sigqueueinfo", PARENT, 0, AT),
    "open the parent": ("pidfd_open", PARENT, 0),
    "signal by descriptor": ("pidfd_send_signal", -1, 0, 0, 0),
    "take the parent's descriptor": ("pidfd_getfd", -1, 0, 0),
    "make a device": ("mknodat", -100, b"/nowhere/x", 0o20666, 0x103),
    "become root": ("setuid", 0),
    "become a group": ("setgid", 0),
    "become another": ("setresuid", 0, 0, 0),
    "real ids": ("setreuid", 0, 0),
    "groups": ("setgroups", 0, 0),
    "file system id": ("setfsuid", 0),
    "capabilities": ("capset", AT, 0),
    "set-id bits": ("fchmod", 2, 0o4755),
    "mode by name": ("fchmodat", -100, b"/nowhere", 0o777),
    "owner": ("fchownat", -100, b"/nowhere", 0, 0, 0),
    "attribute": ("setxattr", b"/nowhere", b"user.x", 0, 0, 0),
    "load a module": ("init_module", 0, 0, b""),
    "load a module file": ("finit_module", -1, b"", 0),
    "load a kernel": ("kexec_load", 0, 0, 0, 0xFFFF),
    "reboot": ("reboot", 0, 0, 0, 0),
    "swap on": ("swapon", b"/nowhere", 0),
    "host name": ("sethostname", AT, -1),
    "domain name": ("setdomainname", AT, -1),
    "set the clock": ("clock_settime", 99, AT),
    "adjust the clock": ("adjtimex", 8),
    "quota": ("quotactl", -1, b"/nowhere", 0, 0),
    "accounting": ("acct", b"/nowhere"),
    "kernel log": ("syslog", 10, 0, 0),
    "ports": ("iopl", 99),
    "personality": ("personality", 0xFFFFFFFF),
    "local descriptor table": ("modify_ldt", 99, 0, 0),
    "executable memory": ("mmap", 0, PAGE, 5, 0x22, -1, 0),
    "make memory executable": ("mprotect", 0, 0, 4),
    "the same with a key": ("pkey_mprotect", 0, 0, 4, -1),
    "type into the terminal": ("ioctl", 0, 0x5412, AT),
    "signals from a descriptor": ("fcntl", 2, 8, PARENT),
    "become dumpable": ("prctl", 4, 1, 0, 0, 0),
    "raise a limit": ("prlimit64", 0, 7, AT, 0),
    "the parent's limits": ("prlimit64", PARENT, 7, 0, 0),
    "open by handle": ("open_by_handle_at", -1, AT, 0),
    "make a handle": ("name_to_handle_at", -100, b"/nowhere", AT, AT, 0),
    "watch files": ("fanotify_init", 0, 0),
    "another filter": ("seccomp", 1, 0, 0),
    "shared memory": ("shmget", 0x5A, 4096, 0),
    "message queue": ("msgget", 0x5A, 0),
    "session": ("setsid",),
    "memory policy": ("set_mempolicy", 99, 0, 0),
    "inet socket": ("socket", 2, 1, 0),
    "inet6 socket": ("socket", 10, 2, 0),
    "unix socket": ("socket", 1, 1, 0),
    "netlink socket": ("socket", 16, 3, 0),
    "packet socket": ("socket", 17, 3, 0),
    "crypto socket": ("socket", 38, 5, 0),
    "raw socket": ("socket", 2, 3, 1),
    "connect": ("connect", -1, AT, 16),
    "bind": ("bind", -1, AT, 16),
    "socket pair": ("socketpair", 1, 1, 0, AT),
}  # fmt: skip


def attempt(name: str, parent: int) -> str:
    """The name of the error that the call ends with; `ok` if it works."""
    call, *args = ATTEMPTS[name]
    number = NUMBERS[call][ARCHITECTURE]
    if number < 0:
        return "no such call"
    values = [parent if value == PARENT and call not in _MINUS_ONE else value for value in args]
    result = syscalls._quick(number, *values, *(0,) * (6 - len(values)))
    if call in ("clone", "fork") and result == 0:
        os._exit(0)
    return "ok" if result != -1 else errno.errorcode[syscalls._get_errno()]


_MINUS_ONE = {
    "process_madvise", "fsconfig", "fsmount", "move_mount", "mount_setattr", "setns", "pidfd_send_signal",
    "pidfd_getfd", "finit_module", "quotactl", "mmap", "pkey_mprotect", "open_by_handle_at", "connect", "bind",
    "add_key", "sethostname", "setdomainname",
}  # fmt: skip
"""Calls for which -1 is -1."""
