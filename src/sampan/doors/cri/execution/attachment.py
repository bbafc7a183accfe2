"""Attach: a client's streams at a running container, by the container's control socket; no process is needed for it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from typing import TYPE_CHECKING

from sampan.container import control
from sampan.core.errors import Unavailable
from sampan.doors.cri.execution.afterwards import afterwards, cancel
from sampan.doors.cri.execution.descriptors import Descriptor

if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.doors.cri.streaming.remotecommand import Streams
    from sampan.doors.cri.streaming.streams import Stream

ANSWER_SECONDS = 10.0


async def attach(entry: Entry, streams: Streams, *, stdin_once: bool) -> int:
    """Copies between a client and a container, until either leaves; 0.

    The client gets what the container writes from now on. What it types reaches a container that keeps its input; with
    `stdin_once`, that input ends with the client's.

    Raises:
        Precondition: the container does not run. Unavailable: it does not answer.
    """
    connection = control.request(entry.folder, {"do": "attach"}, timeout=0)
    packets = Descriptor(connection.detach())
    inputs: list[asyncio.Task[None]] = []
    ends_input = False
    try:
        await _hear_answer(packets, entry.container.name)
        inputs.append(asyncio.create_task(_pass_sizes_on(packets, streams)))
        if streams.stdin is not None and entry.container.keep_stdin:
            inputs.append(asyncio.create_task(_type(packets, streams.stdin, ends=stdin_once)))
            ends_input = stdin_once
        elif streams.stdin is not None:
            streams.stdin.ignore_input()
        await _show(packets, streams)
        ends_input = False  # it has ended
    finally:
        afterwards(_leave(packets, inputs, ends_input=ends_input))
    return 0


async def _hear_answer(packets: Descriptor, name: str) -> None:
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            answer = await packets.read()
    except TimeoutError:
        raise Unavailable(f"container {name} does not answer") from None
    if not answer:
        raise Unavailable(f"container {name} takes nobody more", fix="fewer may attach to it at once")


async def _show(packets: Descriptor, streams: Streams) -> None:
    """Passes output on until the container ends."""
    targets = {control.STDOUT: streams.stdout, control.STDERR: streams.stderr}
    while (packet := await packets.read()) and packet[:1] != control.ENDED:
        target = targets.get(packet[:1])
        if target is not None:
            await target.write(packet[1:])


async def _type(packets: Descriptor, stdin: Stream, *, ends: bool) -> None:
    """Passes input on until its end."""
    while data := await stdin.read():
        for at in range(0, len(data), control.MAX_DATA):
            if not await packets.write(control.STDIN + data[at : at + control.MAX_DATA]):
                stdin.ignore_input()
                return
    if ends:
        await packets.write(control.STDIN_END)


async def _leave(packets: Descriptor, inputs: list[asyncio.Task[None]], *, ends_input: bool) -> None:
    """Leaves a container behind a client.

    Args:
        ends_input: whether the container is to see the end of its input, when it has taken the rest of it. Its output
            is dropped meanwhile: who has gone must not hold up a container that writes before it reads. To close a
            socket with output left in it would throw away what the container has not yet taken.
    """
    await cancel(inputs)
    with packets:
        if not ends_input:
            return
        ending = asyncio.create_task(_end_input(packets))
        try:
            while await packets.read():  # until it has taken that, too, and hangs up
                continue
        finally:
            await cancel([ending])


async def _end_input(packets: Descriptor) -> None:
    await packets.write(control.STDIN_END)
    with socket.socket(fileno=os.dup(packets.fd)) as connection:
        connection.shutdown(socket.SHUT_WR)


async def _pass_sizes_on(packets: Descriptor, streams: Streams) -> None:
    async for size in streams.sizes():
        await packets.write(control.RESIZE + json.dumps(size._asdict()).encode())
