"""ExecSync, Exec, Attach and PortForward of the runtime service, for containers and pods of ours.

ExecSync runs a program to its end. The others promise streams: they return a URL of the streaming server, and what is
here runs when a client comes for it.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Protocol

from sampan.core.errors import Exhausted, Invalid, Precondition, TimedOut, Unavailable
from sampan.doors.cri.execution import forwarding
from sampan.doors.cri.execution.attachment import attach
from sampan.doors.cri.execution.processes import execute
from sampan.doors.cri.streaming.portforward import PortForward
from sampan.doors.cri.streaming.remotecommand import RemoteCommand, Streams, Wish
from sampan.doors.cri.streaming.server import ATTACH, EXEC, PORT_FORWARD

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sampan.container.store import Entry
    from sampan.core.roots import Roots
    from sampan.doors.cri.api.runtime_pb2 import AttachRequest, ExecRequest, PortForwardRequest
    from sampan.doors.cri.execution.descriptors import Descriptor
    from sampan.doors.cri.execution.processes import Executed
    from sampan.doors.cri.streaming.server import StreamingServer
    from sampan.doors.cri.streaming.streams import Stream

    WhenGone = Callable[[Callable[[], None]], object]

MOST_OUTPUT = (16 << 20) - (64 << 10)  # of both streams: a caller takes answers of at most 16 MiB


class Finder(Protocol):
    """What is known of containers and pods."""

    def container(self, container_id: str) -> Entry:
        """The container of this id. Raises NotFound."""

    def has_stdin_once(self, container_id: str) -> bool:
        """Whether its input ends with that of the first client that attached."""

    def netns(self, pod_id: str) -> str:
        """The path of a pod's network namespace, "" for the host's. Raises NotFound; Precondition: not ready."""


class Execution:
    """Runs programs in containers, and connects clients to them."""

    def __init__(self, roots: Roots, server: StreamingServer, finder: Finder) -> None:
        self._roots = roots
        self._server = server
        self._finder = finder

    def exec_sync(
        self, container_id: str, command: Sequence[str], timeout: float, when_gone: WhenGone = lambda _: None
    ) -> tuple[bytes, bytes, int]:
        """Runs a program to its end: what it wrote, and its exit code.

        Args:
            timeout: in seconds, 0 for none. when_gone: is given what to call when nobody waits for it any more.

        Raises:
            Unavailable: nobody waits for it any more; the program was killed.
            Invalid: no command, or a negative time. NotFound: no such container, or no such program in it.
            Precondition: it does not run. TimedOut: the program did not end in time; it was killed.
            Exhausted: it wrote more than 16 MiB; it was killed.
        """
        if timeout < 0:
            raise Invalid(f"the timeout of {timeout} seconds is negative")
        entry = self._running(container_id, command)
        running = self._server.submit(self._run_sync(entry.container.id, command, timeout))

        def give_up() -> None:
            running.cancel()

        when_gone(give_up)
        try:
            return running.result()
        except CancelledError:
            raise Unavailable(f"{command[0]} was killed: nobody waits for it any more") from None

    def exec(self, request: ExecRequest) -> str:
        """The URL of a program that runs when a client comes for it, and is killed when the client goes.

        Raises:
            Invalid: no command, or no streams. NotFound, Precondition: as `exec_sync`.
        """
        wish = _wish(request)
        entry = self._running(request.container_id, request.cmd)
        command = list(request.cmd)

        async def run(streams: Streams) -> int:
            executed = await execute(
                self._roots,
                entry.container.id,
                command,
                stdin=wish.stdin,
                stdout=wish.stdout,
                stderr=wish.stderr,
                terminal=wish.tty,
            )
            with executed:
                return await _serve(executed, streams)

        return self._server.url(EXEC, RemoteCommand(wish, run))

    def attach(self, request: AttachRequest) -> str:
        """The URL of a running container's streams; a client that goes does it no harm.

        Raises:
            Invalid: no streams. NotFound, Precondition: as `exec_sync`.
        """
        wish = _wish(request)
        entry = self._running(request.container_id)
        stdin_once = self._finder.has_stdin_once(entry.container.id)

        async def run(streams: Streams) -> int:
            return await attach(entry, streams, stdin_once=stdin_once)

        return self._server.url(ATTACH, RemoteCommand(wish, run))

    def port_forward(self, request: PortForwardRequest) -> str:
        """The URL of a pod's ports.

        Raises:
            Invalid: what is named is no port. NotFound: no such pod. Precondition: it is not ready.
        """
        for port in request.port:
            if not 0 < port < 1 << 16:
                raise Invalid(f"{port} is not a port")
        netns = self._finder.netns(request.pod_sandbox_id)
        promise = PortForward(lambda port: forwarding.dial(netns, port), list(request.port))
        return self._server.url(PORT_FORWARD, promise)

    def _running(self, container_id: str, command: Sequence[str] | None = None) -> Entry:
        if command is not None and not (command and command[0]):
            raise Invalid("there is no command to run")
        entry = self._finder.container(container_id)
        if not entry.is_alive():
            raise Precondition(f"container {entry.container.name} is not running")
        return entry

    async def _run_sync(
        self, container_id: str, command: Sequence[str], timeout: float
    ) -> tuple[bytes, bytes, int]:
        out, errors = bytearray(), bytearray()

        async def collect(end: Descriptor | None, kept: bytearray) -> None:
            while end is not None and (data := await end.read()):
                kept += data
                if len(out) + len(errors) > MOST_OUTPUT:
                    raise Exhausted(f"{command[0]} wrote more than {MOST_OUTPUT} bytes, and was killed")

        try:
            async with asyncio.timeout(timeout or None):
                with await execute(self._roots, container_id, command) as executed:
                    outputs = [collect(executed.stdout, out), collect(executed.stderr, errors)]
                    code = await executed.run(outputs)
        except TimeoutError:
            raise TimedOut(f"{command[0]} did not end in {timeout:g} seconds, and was killed") from None
        return bytes(out), bytes(errors), code


async def _serve(executed: Executed, streams: Streams) -> int:
    """Copies between a program and a client until the program's end; its exit code."""

    async def show(end: Descriptor, stream: Stream | None) -> None:
        while data := await end.read():
            if stream is not None:  # a terminal whose output nobody wants must be read all the same
                await stream.write(data)

    async def feed(end: Descriptor, stream: Stream) -> None:
        while (data := await stream.read()) and await end.write(data):
            continue
        stream.ignore_input()
        executed.end_input()

    async def resize() -> None:
        async for size in streams.sizes():
            executed.resize(size.rows, size.columns)

    outputs = [
        show(end, stream)
        for end, stream in ((executed.stdout, streams.stdout), (executed.stderr, streams.stderr))
        if end is not None
    ]
    inputs = [resize()]
    if executed.stdin is not None and streams.stdin is not None:
        inputs.append(feed(executed.stdin, streams.stdin))
    return await executed.run(outputs, inputs)


def _wish(request: ExecRequest | AttachRequest) -> Wish:
    if request.tty and request.stderr:
        raise Invalid("a terminal has no stderr of its own", fix="leave one of tty and stderr out")
    if not (request.stdin or request.stdout or request.stderr):
        raise Invalid("none of stdin, stdout and stderr is asked for")
    return Wish(request.stdin, request.stdout, request.stderr, request.tty)
