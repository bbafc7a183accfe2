"""Runs one CNI plugin: a program of somebody else's that may hang, flood, leave children behind or print rubbish."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess

from sampan.core.errors import TimedOut, from_os_error
from sampan.linux import cni, processes

MAX_OUTPUT = 1 << 20
CHUNK = 1 << 16


def call(
    command: str,
    attachment: cni.Attachment,
    plugin: cni.Plugin,
    previous: dict[str, object] | None,
    *,
    folders: list[str],
    seconds: float,
    inherited: int,
) -> bytes:
    """Has a plugin carry out a command; what it printed.

    Args:
        previous: as in `cni.request`. folders: where the programs are. seconds: the most that it may take.
        inherited: a descriptor that it and all that it starts hold until they end.

    Raises:
        NotFound: its program is not there. TimedOut: it was killed. SampanError: what it says went wrong.
    """
    program = cni.find_program(plugin.type, folders)
    environment = {**os.environ, **cni.environment(command, attachment, folders)}
    # Files instead of pipes: a child that it leaves behind keeps nobody waiting, and a flood has an end.
    stdin, stdout, stderr = _file(-1), _file(MAX_OUTPUT), _file(MAX_OUTPUT)
    try:
        os.write(stdin, cni.request(command, attachment, plugin, previous))
        os.lseek(stdin, 0, os.SEEK_SET)
        code = _run(program, environment, (stdin, stdout, stderr), inherited, seconds)
        out, err = _content(stdout), _content(stderr)
    except OSError as error:
        raise from_os_error(error, f"run the CNI plugin {plugin.type!r}") from error
    finally:
        for fd in (stdin, stdout, stderr):
            os.close(fd)
    if code is None:
        raise TimedOut(
            f"the CNI plugin {plugin.type!r} of network {attachment.network.name!r} did not end in {seconds:g} s "
            f"({command})"
        )
    if code != 0:
        raise cni.read_failure(command, attachment.network.name, plugin.type, code, out, err)
    return out


def _run(
    program: str, environment: dict[str, str], files: tuple[int, int, int], inherited: int, seconds: float
) -> int | None:
    """The exit code of a program, negative for a signal; None when it had to be killed."""
    stdin, stdout, stderr = files
    child = subprocess.Popen(
        [program],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=environment,
        cwd="/",
        pass_fds=[inherited],
        start_new_session=True,
    )
    pidfd = processes.open_pidfd(child.pid)
    try:
        ended = processes.wait_ended(pidfd, seconds)
    finally:
        os.close(pidfd)
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
    return child.returncode if ended else None


def _file(limit: int) -> int:
    """A file in memory; one with a limit cannot be written beyond it."""
    fd = os.memfd_create("cni", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    if limit >= 0:
        os.ftruncate(fd, limit)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    return fd


def _content(fd: int) -> bytes:
    """What was written to a file of a fixed size: nobody prints a NUL."""
    data = b""
    while len(data) < MAX_OUTPUT and b"\0" not in data:
        data += os.pread(fd, CHUNK, len(data))
    return data.partition(b"\0")[0]
