"""Seccomp profiles as container tools write them into a spec, for tests."""

from __future__ import annotations

from sampan.core.spec.runtime import Seccomp

EVERYDAY = """
accept accept4 access adjtimex alarm arch_prctl bind brk capget capset chdir chmod chown chown32 clock_adjtime
clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64 close
close_range connect copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait
epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 execve execveat exit exit_group faccessat faccessat2 fadvise64
fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchown fchownat fcntl fcntl64 fdatasync fgetxattr
flistxattr flock fork fremovexattr fsetxattr fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
futex futex_time64 futex_waitv futimesat getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer
getpeername getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit get_robust_list
getrusage getsid getsockname getsockopt get_thread_area gettid gettimeofday getuid getxattr inotify_add_watch
inotify_init inotify_init1 inotify_rm_watch io_cancel ioctl io_destroy io_getevents io_pgetevents ioprio_get
ioprio_set io_setup io_submit ipc kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown
lgetxattr link linkat listen listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 madvise membarrier
memfd_create memfd_secret mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap mmap2 modify_ldt mprotect
mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink mremap msgctl msgget msgrcv msgsnd msync munlock
munlockall munmap name_to_handle_at nanosleep newfstatat _newselect open openat openat2 pause pidfd_open
pidfd_send_signal pipe pipe2 pkey_alloc pkey_free pkey_mprotect poll ppoll ppoll_time64 prctl pread64 preadv preadv2
prlimit64 process_mrelease pselect6 pselect6_time64 ptrace pwrite64 pwritev pwritev2 read readahead readlink readlinkat
readv recv recvfrom recvmmsg recvmsg remap_file_pages removexattr rename renameat renameat2 restart_syscall rmdir rseq
rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait
rt_tgsigqueueinfo sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield
seccomp select semctl semget semop semtimedop send sendfile sendfile64 sendmmsg sendmsg sendto setfsgid setfsuid setgid
setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit set_robust_list setsid
setsockopt set_thread_area set_tid_address setuid setxattr shmat shmctl shmdt shmget shutdown sigaltstack signalfd
signalfd4 sigprocmask sigreturn socketcall socketpair splice stat stat64 statfs statfs64 statx symlink symlinkat sync
sync_file_range syncfs sysinfo tee tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
timerfd_create timerfd_gettime timerfd_settime times tkill truncate truncate64 ugetrlimit umask uname unlink unlinkat
utime utimensat utimes vfork vmsplice wait4 waitid waitpid write writev
""".split()  # noqa: SIM905 - a table to read
"""What Docker's default profile allows a container without capabilities, names of other architectures included."""
NEW_NAMESPACES = 0x7E020000


def allow(names: list[str], *conditions: tuple[int, int, str]) -> dict[str, object]:
    args = [{"index": i, "value": v, "op": f"SCMP_CMP_{op}"} for i, v, op in conditions]
    return {"names": names, "action": "SCMP_ACT_ALLOW", "args": args}


def docker_like(*without: str) -> Seccomp:
    """Docker's default profile for a container without capabilities, less what is named."""
    rules = [
        allow([name for name in EVERYDAY if name not in without]),
        allow(["socket"], (0, 40, "NE")),
        *(allow(["personality"], (0, value, "EQ")) for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF)),
        allow(["clone"], (0, NEW_NAMESPACES, "MASKED_EQ")),
        {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
    ]
    return Seccomp.from_json({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    })  # fmt: skip


def podman_like() -> Seccomp:
    """The shape of podman's: what is known and refused is EPERM, what is unknown ENOSYS, the same rule twice."""
    profile = docker_like()
    profile.default_errno_ret = 38
    profile.syscalls += Seccomp.from_json({
        "defaultAction": "SCMP_ACT_ERRNO",
        "syscalls": [
            {"names": ["bdflush", "kexec_load", "mount", "umount2", "unshare", "setns"], "action": "SCMP_ACT_ERRNO",
             "errnoRet": 1},
            allow(["socket"], (2, 9, "NE")), allow(["socket"], (2, 9, "NE")),
        ],
    }).syscalls  # fmt: skip
    return profile
