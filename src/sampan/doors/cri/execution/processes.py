"""One more program in a container, as an executor runs it: its descriptors, its end, and everything's end with it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sampan.container.starter import raise_if_error
from sampan.container.stdio import resize
from sampan.core.errors import Internal, Invalid, from_os_error
from sampan.doors.cri.execution import executor
from sampan.doors.cri.execution.afterwards import afterwards, cancel
from sampan.doors.cri.execution.descriptors import Descriptor

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from typing import Self

    from sampan.core.roots import Roots

PROGRAM = str(Path(executor.__file__).with_name("__main__.py"))
MOST_PACKET = 64 << 10
ENDING_SECONDS = 10.0  # for an executor to kill its program


class Executed:
    """A program that runs, with what we have of its streams; a context manager that ends it.

    Attributes:
        stdin, stdout, stderr: None where it has none of us; with a terminal, both of the first are its master.
    """

    def __init__(self, process: subprocess.Popen[bytes], line: socket.socket) -> None:
        self._process = process
        self._line = line
        self._waiter = Descriptor(os.dup(line.fileno()))
        self._is_terminal = False
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stdin: Descriptor | None = None
        self.stdout: Descriptor | None = None
        self.stderr: Descriptor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Kills it where it still runs."""
        afterwards(self._close())

    async def _close(self) -> None:
        await cancel(self._tasks)
        for end in (self.stdin, self.stdout, self.stderr, self._waiter):
            if end is not None:
                end.close()
        self._line.close()
        await _reap(self._process)

    async def begin(self, *, terminal: bool) -> None:
        """Waits until it runs.

        Raises:
            SampanError: what stopped it.
        """
        word, masters = await self._hear()
        if terminal and masters:
            self.stdin, self.stdout = Descriptor(masters[0]), Descriptor(os.dup(masters[0]))
            self._is_terminal = True
            word, _ = await self._hear()
        raise_if_error(word)

    async def run(
        self, outputs: Sequence[Coroutine[Any, Any, None]], inputs: Sequence[Coroutine[Any, Any, None]] = ()
    ) -> int:
        """Waits for its end; its exit code.

        Args:
            outputs: read what it writes, and are waited for. inputs: do not matter once it has ended.

        Raises:
            SampanError, OSError: what one of them raised.
        """
        working = {asyncio.create_task(work) for work in outputs}
        feeding = {asyncio.create_task(work) for work in inputs}
        ending = asyncio.create_task(self._hear())
        going = self._tasks = {ending, *working, *feeding}
        while not ending.done():
            done, going = await asyncio.wait(going, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        for end in (self.stdout, self.stderr):
            if end is not None:
                end.read_no_further()
        for task in working:
            await task
        return _code(ending.result()[0])

    def end_input(self) -> None:
        """Lets it see the end of its input; a terminal has none."""
        if self.stdin is not None and not self._is_terminal:
            self.stdin.close()

    def resize(self, rows: int, columns: int) -> None:
        """Changes the size of its terminal, if it has one."""
        if self._is_terminal and self.stdout is not None:
            resize(self.stdout.fd, rows, columns)

    async def _hear(self) -> tuple[dict[str, Any], list[int]]:
        """The executor's next word, and the descriptors with it."""
        await self._waiter.readable()
        data, descriptors, _, _ = socket.recv_fds(self._line, MOST_PACKET, 1)
        if not data:
            raise Internal("the process that runs the program was killed")
        return ({} if descriptors else json.loads(data)), descriptors


async def execute(
    roots: Roots,
    container_id: str,
    command: Sequence[str],
    *,
    stdin: bool = False,
    stdout: bool = True,
    stderr: bool = True,
    terminal: bool = False,
) -> Executed:
    """Starts a program in a running container.

    Args:
        command: the program and its arguments. stdin, stdout, stderr: which of its streams are wanted, as pipes.
        terminal: whether it has a terminal instead of them.

    Raises:
        NotFound: no such container, or no such program in it. Precondition: it does not run.
        SampanError: what else stopped it.
    """
    wanted = [not terminal and is_wanted for is_wanted in (stdin, stdout, stderr)]
    with ExitStack() as stack:
        try:
            executed = _start(roots, [container_id, *command], wanted, terminal=terminal)
        except OSError as error:
            raise from_os_error(error, "start a process for the command") from error
        stack.push(executed.__exit__)
        await executed.begin(terminal=terminal)
        stack.pop_all()
    return executed


def _start(roots: Roots, words: list[str], wanted: list[bool], *, terminal: bool) -> Executed:
    """Starts an executor, with pipes for the streams that are wanted."""
    ends: list[int] = []  # two for each stream, ours first
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        for at, is_wanted in enumerate(wanted):
            read, write = os.pipe2(os.O_CLOEXEC) if is_wanted else (-1, -1)
            ends += (write, read) if at == 0 else (read, write)
        executed = Executed(_spawn(roots, words, ends[1::2], theirs, terminal=terminal), ours)
    except BaseException:
        for fd in ends[::2]:
            _close(fd)
        ours.close()
        raise
    finally:
        for fd in ends[1::2]:
            _close(fd)
        theirs.close()
    executed.stdin, executed.stdout, executed.stderr = (
        Descriptor(fd) if fd >= 0 else None for fd in ends[::2]
    )
    return executed


def _spawn(
    roots: Roots, words: list[str], ends: list[int], line: socket.socket, *, terminal: bool
) -> subprocess.Popen[bytes]:
    stdin, stdout, stderr = (fd if fd >= 0 else subprocess.DEVNULL for fd in ends)
    kind = "terminal" if terminal else ""
    try:
        return subprocess.Popen(
            [sys.executable, "-I", "-S", PROGRAM, str(line.fileno()), kind, *words],
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            pass_fds=[line.fileno()],
            env={"SAMPAN_ROOT": roots.data, "SAMPAN_RUN_ROOT": roots.run},
            start_new_session=True,
        )
    except ValueError as error:
        raise Invalid(f"the command cannot be run: {error}") from error


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


async def _reap(process: subprocess.Popen[bytes]) -> None:
    """Collects an executor, which ends by itself, or has to."""
    with Descriptor(os.pidfd_open(process.pid)) as ended:
        try:
            async with asyncio.timeout(ENDING_SECONDS):
                await ended.readable()
        except TimeoutError:
            process.kill()
            await ended.readable()
    process.wait()


def _code(word: dict[str, Any]) -> int:
    if "code" not in word or "kind" in word:
        raise_if_error(word)
    return int(word["code"])
