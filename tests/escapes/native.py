"""What native code tries in the container's process: `try_everything` prints a line for each attempt, as the guests
do; `lie` answers who enters the container with something else than its world.

Loaded before the jail, for nothing can be imported there; so the functions use what is loaded by then.
"""

from __future__ import annotations

import _socket
import array
import ctypes
import errno
import fcntl
import gc
import json
import mmap
import os
import resource
import select
from collections.abc import Callable, Iterator
from typing import Any

import escapes
from sampan.linux import syscalls
from sampan.linux.numbers import ARCHITECTURE

Attempt = Callable[[], object]
LIBC = ctypes.CDLL(None, use_errno=True)
UP = "../" * 30
MOST_FDS = 1024
NEWNS, NEWUTS, NEWIPC, NEWNET, NEWCGROUP = 0x20000, 0x4000000, 0x8000000, 0x40000000, 0x2000000
THREAD = 0x100 | 0x800 | 0x10000  # CLONE_VM, CLONE_SIGHAND, CLONE_THREAD
SETNS = (308, 268)[ARCHITECTURE]
MORE_CALLS = {  # (x86-64, arm64), arguments; V is the victim's pid
    "get_robust_list of another": ((274, 100), "V", 0, 0),
    "sched_setscheduler of another": ((144, 119), "V", 0, 0),
    "sched_setaffinity of another": ((203, 122), "V", 8, 0),
    "setpriority of another": ((141, 140), 0, "V", 5),
    "ioprio_set of another": ((251, 30), 1, "V", 0),
    "migrate_pages of another": ((256, 238), "V", 0, 0, 0),
    "setpgid of another": ((109, 154), "V", 0),
    "process_mrelease": ((448, 448), -1, 0),
    "landlock_create_ruleset": ((444, 444), 0, 0, 1),
    "chdir": ((80, 49), b"/"),
    "setrlimit": ((160, 164), 7, 0),
    "settimeofday": ((164, 170), 0, 0),
    "sethostname": ((170, 161), b"taken", 5),
    "lookup_dcookie": ((212, 18), 0, 0, 0),
    "inotify_init1": ((294, 26), 0),
    "mq_open": ((240, 180), b"x", 0o102, 0o600, 0),
    "semget": ((64, 190), 0x5A, 1, 0o1600),
    "shmat": ((30, 196), 0, 0, 0),
    "remap_file_pages": ((216, 234), 0, 0, 0, 0, 0),
    "mlockall": ((151, 230), 1),
    "mlock2": ((325, 284), 0, 4096, 0),
    "memfd_secret": ((447, 447), 0),
    "statmount": ((457, 457), 0, 0, 0, 0),
    "listmount": ((458, 458), 0, 0, 0, 0),
    "PR_SET_MM": ((157, 167), 35, 1, 0, 0, 0),
    "PR_SET_PTRACER": ((157, 167), 0x59616D61, "V", 0, 0, 0),
    "PR_SET_NO_NEW_PRIVS": ((157, 167), 38, 0, 0, 0, 0),
    "PR_SET_SECCOMP": ((157, 167), 22, 0, 0, 0, 0),
    "PR_SET_SECUREBITS": ((157, 167), 28, 0, 0, 0, 0),
    "PR_CAP_AMBIENT": ((157, 167), 47, 2, 21, 0, 0),
    "PR_SET_CHILD_SUBREAPER": ((157, 167), 36, 1, 0, 0, 0),
    "TIOCSCTTY": ((16, 29), 0, 0x540E, 1),
    "TIOCSTI": ((16, 29), 0, 0x5412, b"x"),
    "TIOCLINUX": ((16, 29), 0, 0x541C, b"\2"),
    "TIOCSETD": ((16, 29), 0, 0x5423, b"\0" * 4),
    "F_SETOWN": ((72, 25), 0, 8, "V"),
    "F_SETSIG": ((72, 25), 0, 10, 9),
    "F_SETLEASE": ((72, 25), 0, 1024, 0),
    "F_NOTIFY": ((72, 25), 0, 1026, 1),
    "a thread in new mounts": ((56, 220), THREAD | NEWNS, 0, 0, 0, 0),
    "a thread in a new network": ((56, 220), THREAD | NEWNET, 0, 0, 0, 0),
    "a thread in new names": ((56, 220), THREAD | NEWUTS, 0, 0, 0, 0),
    "a thread in new queues": ((56, 220), THREAD | NEWIPC, 0, 0, 0, 0),
    "a thread in new cgroups": ((56, 220), THREAD | NEWCGROUP, 0, 0, 0, 0),
    "x32's getpid": ((0x40000000 | 39, 0x40000000), 0),
    "x32's execve": ((0x40000000 | 520, 0x40000001), 0, 0, 0),
}
READS = """
/etc/shadow /etc/passwd /etc/hostname /root /home /usr /var/lib /tmp /run /boot /proc /proc/self /proc/self/mem
/proc/self/exe /proc/self/environ /proc/self/fd/0 /proc/self/root /proc/self/cwd /proc/self/ns/mnt /proc/self/task
/proc/thread-self/mem /proc/1/root /proc/1/mem /proc/1/environ /proc/1/ns/mnt /proc/kcore /proc/keys
/proc/sys/kernel/core_pattern /proc/sysrq-trigger /sys/kernel /sys/fs/cgroup /sys/firmware /sys/class /dev/null
/dev/mem /dev/kmsg /dev/ptmx /dev/pts/0 /dev/tty /dev/fd/0 /dev/shm /dev/mqueue /p/self/mem /p/1/root /p/self/exe
/pp/self/mem /s/kernel /c/memory/tasks /d/null /d/mem /dd/mem /dd/pts/0 /nodes/null /nodes/mem /nodes/disk /nodes/tty
/nodes/fuse /nodes/kmsg /rw/node /socket /masked/secret /link-absolute /link-relative /link-folder/secret /chain-3
/link-proc /link-proc-root/etc /rw/link-relative /ro/link-folder /link-fd/0
""".split()  # noqa: SIM905 - a list to read
WRITES = """
/new /inside /ro/new /ro/file /fixed/new /fixed/file /masked/new /link-new /rw/link-new /link-folder/new
/rw/link-folder/new /tmp/new /proc/self/oom_score_adj /proc/self/uid_map /proc/self/attr/current /proc/sysrq-trigger
/proc/sys/kernel/core_pattern /sys/fs/cgroup/memory/tasks /sys/fs/cgroup/cgroup.procs /c/memory/tasks
/c/memory/release_agent /c/unified/cgroup.procs /sys/kernel/uevent_helper /p/sys/kernel/core_pattern /etc/cron.d/new
/guest.wasm /nodes/disk /dev/shm/new
""".split()  # noqa: SIM905 - a list to read


class Refused(Exception):
    """Raised by an attempt that came to nothing without an error of the kernel."""


def choose(args: list[str]) -> tuple[Callable[[dict[str, Any]], int], dict[str, Any]]:
    """The function that the arguments name, and what it is told."""
    functions = {"try": try_everything, "lie": lie, "sleep": sleep}
    return functions[args[0]], json.loads(args[1])


def warm_up() -> None:
    """Whatever the interpreter or libc loads when it is first used."""
    syscalls.load()
    json.dumps({"x": [1, "é"]})
    str(OSError(1, "x"))
    resource.getrlimit(resource.RLIMIT_NOFILE)


def sleep(_: dict[str, Any]) -> int:
    select.select([], [], [])
    return 0


def try_everything(wish: dict[str, Any]) -> int:
    """One line for each attempt on standard output; `network` in `wish`: what may be made then is not tried."""
    for name, attempt in _attempts(wish):
        try:
            got = attempt()
            line = f"escaped {name}: {got}"
        except OSError as error:
            line = f"refused {name}: {errno.errorcode.get(error.errno or 0, error)}"
        except (
            Refused,
            ValueError,
        ) as why:  # Python's own name for a limit that cannot be raised is ValueError
            line = f"refused {name}: {why}"
        os.write(1, f"{line}\n".encode(errors="backslashreplace"))
    os.write(1, b"end\n")
    return 0


def _attempts(wish: dict[str, Any]) -> Iterator[tuple[str, Attempt]]:
    outside, victims = wish["outside"], wish["victims"]
    yield from _calls(victims)
    yield from _files(outside)
    yield from _descriptors(outside)
    yield from _volumes(outside)
    yield from _processes(victims)
    yield from _code()
    yield from _network(wish["port"], wish["abstract"])


def _calls(victims: list[int]) -> Iterator[tuple[str, Attempt]]:
    granted = {"inet socket", "inet6 socket"}
    for name in escapes.ATTEMPTS.keys() - granted:
        yield name, lambda name=name: _refused_word(escapes.attempt(name, victims[0]))
    for name, (numbers, *arguments) in MORE_CALLS.items():
        for victim in victims if "V" in arguments else victims[:1]:
            values = [victim if value == "V" else value for value in arguments]
            yield f"{name} {victim}", lambda values=values, n=numbers: _call(n[ARCHITECTURE], *values)


def _refused_word(word: str) -> str:
    if word != "ok":
        raise Refused(word)
    return word


def _call(number: int, *values: object) -> int:
    result: int = LIBC.syscall(
        ctypes.c_long(number), *(ctypes.c_long(v) if type(v) is int else v for v in values)
    )
    if result == -1:
        raise OSError(ctypes.get_errno(), "")
    return result


def _files(outside: str) -> Iterator[tuple[str, Attempt]]:
    for path in [
        *READS,
        outside,
        f"{outside}/secret",
        f"/{UP}{outside}/secret",
        f"/proc/1/root{outside}/secret",
    ]:
        yield f"open {path}", lambda path=path: _open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    for path in [*WRITES, f"{outside}/new", f"{outside}/secret"]:
        yield f"write {path}", lambda path=path: _open(path, os.O_WRONLY | os.O_CREAT | os.O_NONBLOCK)
        yield f"cut {path}", lambda path=path: os.truncate(path, 0)
    for path in (
        outside,
        f"{outside}/secret",
        "/proc/self/exe",
        "/etc/passwd",
        "/dev/null",
        f"/rw/{UP}{outside}",
    ):
        yield f"look at {path}", lambda path=path: os.stat(path)
        yield f"read the link {path}", lambda path=path: os.readlink(path)


def _open(path: str, flags: int, folder: int | None = None) -> str:
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        return os.read(fd, 30).decode(errors="replace") if flags & 3 == os.O_RDONLY else "opened"
    except IsADirectoryError:
        return "a folder"
    finally:
        os.close(fd)


def _descriptors(outside: str) -> Iterator[tuple[str, Attempt]]:
    """What is open in this process must lead nowhere else."""
    fds = [fd for fd in range(MOST_FDS) if _is_open(fd)]
    for fd in fds:
        for path in (f"{UP}{outside}/secret", f"{UP}etc/shadow", f"..{outside}/secret"):
            yield f"open {path} from {fd}", lambda fd=fd, path=path: _open(path, os.O_RDONLY, fd)
        yield f"enter {fd}", lambda fd=fd: _call(SETNS, fd, 0)
        yield f"the parent of namespace {fd}", lambda fd=fd: fcntl.ioctl(fd, 0xB702)
        yield f"the user namespace of {fd}", lambda fd=fd: fcntl.ioctl(fd, 0xB701)
        yield f"set-id bits on {fd}", lambda fd=fd: os.fchmod(fd, 0o6755)
        yield f"the owner of {fd}", lambda fd=fd: os.fchown(fd, 0, 0)
        yield f"the folder {fd} as the present one", lambda fd=fd: os.fchdir(fd)
        yield f"name {fd} in the volume", lambda fd=fd: _link_descriptor(fd)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


def _link_descriptor(fd: int) -> int:
    at_empty_path, linkat = 0x1000, (265, 37)[ARCHITECTURE]
    return _call(linkat, fd, b"", -100, b"/rw/linked", at_empty_path)


def _volumes(outside: str) -> Iterator[tuple[str, Attempt]]:
    """What may be written is no way to anything else."""
    yield "a link in the volume to the outside", lambda: _through_link(f"{outside}/secret")
    yield "a link in the volume upwards", lambda: _through_link(f"{UP}{outside}/secret")
    yield "a link in the volume to proc", lambda: _through_link("/proc/self/mem")
    yield "a hard link of the root's file", lambda: os.link("/inside", "/rw/hard")
    yield "a hard link of a read-only file", lambda: os.link("/ro/file", "/rw/hard")
    yield "a hard link of the outside", lambda: os.link(f"{outside}/secret", "/rw/hard")
    yield "rename out of the volume", lambda: os.rename("/rw/file", f"{outside}/stolen")
    yield "rename into the root", lambda: os.rename("/rw/file", "/stolen")
    yield "a device in the volume", lambda: os.mknod("/rw/zero", 0o20666, os.makedev(1, 5))
    yield "a disk in the volume", lambda: os.mknod("/rw/disk", 0o60666, os.makedev(8, 0))
    yield "a FIFO in the volume", lambda: os.mkfifo("/rw/pipe")
    yield "set-id bits in the volume", lambda: os.chmod("/rw/file", 0o6755)
    yield "an owner in the volume", lambda: os.chown("/rw/file", 1234, 1234)
    yield "capabilities of a file", lambda: os.setxattr("/rw/file", "security.capability", b"\0" * 20)
    yield "times of a read-only file", lambda: os.utime("/ro/file", (1, 1))
    yield "remove a mount", lambda: os.rmdir("/ro")
    yield "rename a mount", lambda: os.rename("/ro", "/rw/ro")
    yield "a file without a name, in the root", lambda: _open("/", os.O_TMPFILE | os.O_WRONLY)
    yield "another root", lambda: os.chroot("/rw")


def _through_link(target: str) -> str:
    os.symlink(target, "/rw/made")
    try:
        return _open("/rw/made", os.O_RDONLY)
    finally:
        os.unlink("/rw/made")


def _processes(victims: list[int]) -> Iterator[tuple[str, Attempt]]:
    for pid in victims:
        yield f"kill {pid}", lambda pid=pid: os.kill(pid, 9)
        yield f"kill the group {pid}", lambda pid=pid: os.killpg(pid, 9)
        yield f"trace {pid}", lambda pid=pid: _refused_word(escapes.attempt("attach to the parent", pid))
        yield f"read {pid}", lambda pid=pid: _refused_word(escapes.attempt("read the parent's memory", pid))
        yield f"write {pid}", lambda pid=pid: _refused_word(escapes.attempt("write the parent's memory", pid))
        yield f"hold {pid}", lambda pid=pid: os.pidfd_open(pid)
        yield f"limit {pid}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE, (8, 8))
        yield f"the limits of {pid}", lambda pid=pid: resource.prlimit(pid, resource.RLIMIT_NOFILE)
        yield f"a session of {pid}", lambda pid=pid: os.getsid(pid)
    yield "signal everybody that there is", lambda: os.kill(-1, 0)
    yield "become root", lambda: os.setuid(0)
    yield "become root, effectively", lambda: os.seteuid(0)
    yield "more files", lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
    yield "fork", lambda: _fork(os.fork)
    yield "a terminal of another", lambda: _fork(os.forkpty)
    yield "wait for others", lambda: os.waitpid(-1, os.WNOHANG)


def _fork(fork: Callable[[], Any]) -> object:
    made = fork()
    if made == 0 or (type(made) is tuple and made[0] == 0):
        os._exit(0)
    return made


def _code() -> Iterator[tuple[str, Attempt]]:
    yield "executable memory", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    yield "executable memory of a file", _executable_file
    yield "a program in memory", lambda: _run_memory(b"")
    yield "a program in memory, by path", lambda: _run_memory(b"/proc/self/fd/")
    for path in ("/bin/sh", "/proc/self/exe", "/guest.wasm", "/rw/set-id", "/ro/file"):
        yield f"execute {path}", lambda path=path: os.execve(path, [path], {})


def _executable_file() -> object:
    fd = os.memfd_create("x")
    try:
        os.ftruncate(fd, 4096)
        return mmap.mmap(fd, 4096, prot=mmap.PROT_READ | mmap.PROT_EXEC)
    finally:
        os.close(fd)


def _run_memory(below: bytes) -> object:
    fd = os.memfd_create("x")
    try:
        os.write(fd, b"#!/bin/sh\n")
        if below:
            return os.execve(below + str(fd).encode(), ["x"], {})
        return _call((322, 281)[ARCHITECTURE], fd, b"", 0, 0, 0x1000)
    finally:
        os.close(fd)


def _network(port: int, abstract: str) -> Iterator[tuple[str, Attempt]]:
    """TCP and UDP lead no further than the container's own network namespace; there is nothing else."""
    v4, v6, unix = _socket.AF_INET, _socket.AF_INET6, _socket.AF_UNIX
    stream, datagram, raw = _socket.SOCK_STREAM, _socket.SOCK_DGRAM, _socket.SOCK_RAW
    yield "the host's loopback", lambda: _connect(v4, stream, ("127.0.0.1", port))
    yield "the host's loopback by IPv6", lambda: _connect(v6, stream, ("::1", port))
    yield "any address", lambda: _connect(v4, stream, ("0.0.0.0", port))
    yield "the metadata service", lambda: _connect(v4, stream, ("169.254.169.254", 80))
    yield "an abstract socket", lambda: _connect(unix, stream, "\0" + abstract)
    yield "a socket with a path", lambda: _connect(unix, stream, "/socket")
    yield "packets", lambda: _socket.socket(17, raw, 0x300)
    yield "raw IP", lambda: _socket.socket(v4, raw, 1)
    yield "ping", lambda: _socket.socket(v4, datagram, 1)
    yield "netlink", lambda: _socket.socket(16, raw, 0)
    yield "audit", lambda: _socket.socket(16, raw, 9)
    yield "netfilter", lambda: _socket.socket(16, raw, 12)
    yield "vsock", lambda: _socket.socket(40, stream, 0)
    yield "the kernel's cryptography", lambda: _socket.socket(38, 5, 0)
    yield "bluetooth", lambda: _socket.socket(31, raw, 1)
    yield "SCTP", lambda: _socket.socket(v4, stream, 132)
    for name, level, option in (
        ("IP_TRANSPARENT", 0, 19), ("SO_MARK", 1, 36), ("SO_RCVBUFFORCE", 1, 33), ("SO_PRIORITY", 1, 12),
        ("SO_DEBUG", 1, 1), ("the tables of iptables", 0, 64),
    ):  # fmt: skip
        yield name, lambda level=level, option=option: _set_option(level, option)
    yield "a route to the network", lambda: fcntl.ioctl(_socket.socket(v4, datagram), 0x890B, b"\0" * 120)
    yield (
        "the state of an interface",
        lambda: fcntl.ioctl(_socket.socket(v4, datagram), 0x8914, b"lo" + b"\0" * 38),
    )


def _connect(family: int, kind: int, address: Any) -> str:
    made = _socket.socket(family, kind)
    try:
        made.settimeout(2)
        made.connect(address)
        made.send(b"x")
    finally:
        made.close()
    return "connected"


def _set_option(level: int, option: int) -> None:
    made = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    try:
        made.setsockopt(level, option, 0x7FFFFFF0)
    finally:
        made.close()


# -- a process that deceives who enters its container


def lie(wish: dict[str, Any]) -> int:
    """Puts a lie in the place of the answer to `world`, tells so, and sleeps."""
    supervisor = next(o for o in gc.get_objects() if type(o).__name__ == "Supervisor")
    answers = supervisor._answers
    tell = answers["world"]
    root, spaces = _own_world(tell)
    folder = os.open("/rw", os.O_RDONLY | os.O_DIRECTORY)
    file = os.open("/inside", os.O_RDONLY)
    first, *rest = spaces.items()
    swapped = dict(zip(spaces, [*list(spaces.values())[1:], first[1]]))
    lies: dict[str, tuple[object, list[int]]] = {
        "another folder": (list(spaces), [folder, *spaces.values()]),
        "a file": (list(spaces), [file, *spaces.values()]),
        "no namespaces": ([], [root]),
        "one namespace less": ([flag for flag, _ in rest], [root, *(fd for _, fd in rest)]),
        "namespaces in another order": (list(spaces), [root, *swapped.values()]),
        "files for namespaces": (list(spaces), [root, *[file] * len(spaces)]),
        "flags as text": ([str(flag) for flag in spaces], [root, *spaces.values()]),
        "flags that are lists": ([[flag] for flag in spaces], [root, *spaces.values()]),
        "a document of flags": ({str(flag): 1 for flag in spaces}, [root, *spaces.values()]),
        "one flag twice": ([*spaces, first[0]], [root, *spaces.values(), file]),
        "no descriptors": (list(spaces), []),
        "a number": (1, [root, *spaces.values()]),
        "null": (None, [root, *spaces.values()]),
        "an error": ({"kind": "DENIED", "message": "\x1b[2J", "fix": "", "code": 0}, []),
        "nesting": ("[" * 60000, []),
    }

    def answer(client: _socket.socket) -> None:
        if wish["how"] == "silence":
            _kept.append(os.dup(client.fileno()))
            return
        if wish["how"] == "noise":
            client.send(b"\xff\0{" * 1000)
            return
        value, fds = lies[wish["how"]]
        data = value.encode() if isinstance(value, str) else json.dumps(value).encode()
        rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array.array("i", fds).tobytes())] if fds else []
        client.sendmsg([data], rights)

    answers["world"] = answer
    os.write(1, b"ready\n")
    return sleep(wish)


_kept: list[int] = []


def _own_world(tell: Callable[[Any], None]) -> tuple[int, dict[int, int]]:
    """The descriptors that an honest answer has; the function holds them."""
    names = dict(zip(tell.__code__.co_freevars, (cell.cell_contents for cell in tell.__closure__ or ())))
    return names["world"].root, names["spaces"]
