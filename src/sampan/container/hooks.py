"""OCI hooks: programs that a spec asks to have run at fixed moments of a container's life.

config.md, "POSIX-platform Hooks": each gets the container's state as JSON on its standard input. One that fails
or takes too long is an error, with the end of what it wrote to its standard error; what that means for the
container is the caller's business.
"""

from __future__ import annotations

import os
import select
import time

from sampan.core import strictjson
from sampan.core.errors import Precondition, TimedOut, from_os_error
from sampan.linux.privileges import close_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.runtime import Hook, State

SIGKILL = 9
MOST_SHOWN = 2048


def run_hooks(
    moment: str, hooks: list[Hook], state: State, prepare: Callable[[], None] | None = None
) -> None:
    """Runs the hooks of one moment, one after the other.

    Args:
        moment: the spec's name of it (`createRuntime`), for errors.
        prepare: called in each hook's process before the hook's program.

    Raises:
        Precondition: one cannot be run, or fails. TimedOut: one took longer than its timeout and was killed.
    """
    document = strictjson.dumps(state)
    for number, hook in enumerate(hooks):
        _run(f"{moment} hook {number} ({hook.path})", hook, document, prepare)


def _run(name: str, hook: Hook, document: bytes, prepare: Callable[[], None] | None) -> None:
    given, said = os.memfd_create("state", os.MFD_CLOEXEC), os.memfd_create("said", os.MFD_CLOEXEC)
    try:
        os.write(given, document)
        os.lseek(given, 0, os.SEEK_SET)
        pid = os.fork()
        if pid == 0:
            _become(hook, given, said, prepare)
        ended = _wait(pid, hook.timeout)
        text = os.pread(said, os.fstat(said).st_size, 0)[-MOST_SHOWN:].decode(errors="replace").strip()
    except OSError as error:
        raise from_os_error(error, f"run the {name}") from error
    finally:
        os.close(given)
        os.close(said)
    if ended is None:
        raise TimedOut(f"the {name} did not end within its timeout of {hook.timeout} seconds")
    if ended != 0:
        how = f"exited with {ended}" if ended > 0 else f"was ended by signal {-ended}"
        raise Precondition(f"the {name} {how}" + (f": {text}" if text else ""))


def _become(hook: Hook, given: int, said: int, prepare: Callable[[], None] | None) -> None:
    try:
        os.setsid()  # a hook that is killed takes its children along
        os.dup2(given, 0)
        os.dup2(said, 1)
        os.dup2(said, 2)
        close_from(3)
        if prepare is not None:
            prepare()
        environment = dict(v.split("=", 1) for v in hook.env if "=" in v)
        os.execve(hook.path, hook.args or [hook.path], environment)
    except BaseException as error:
        os.write(2, f"{getattr(error, 'strerror', None) or error}".encode(errors="replace"))
    finally:
        os._exit(127)


def _wait(pid: int, timeout: int | None) -> int | None:
    """The exit code (negative for a signal), None when the time was up."""
    end = None if timeout is None else time.monotonic() + timeout
    pidfd = os.pidfd_open(pid)
    try:
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        in_time = bool(poll.poll(None if end is None else max(0.0, end - time.monotonic()) * 1000))
    finally:
        os.close(pidfd)
    if not in_time:
        try:
            os.killpg(pid, SIGKILL)
        except ProcessLookupError:  # it ended just now
            pass
    status = os.waitpid(pid, 0)[1]
    return os.waitstatus_to_exitcode(status) if in_time else None
