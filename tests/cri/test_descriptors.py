"""Reading and writing in an event loop, with pipes and terminals."""

from __future__ import annotations

import asyncio
import os

from sampan.doors.cri.execution.descriptors import Descriptor


def test_what_is_written_is_read_up_to_the_end():
    async def copy() -> bytes:
        read, write = os.pipe()
        got = b""
        with Descriptor(read) as source, Descriptor(write) as sink:

            async def send() -> None:
                assert await sink.write(bytes(1 << 20))
                sink.close()

            sending = asyncio.create_task(send())
            while part := await source.read():
                got += part
            await sending
        return got

    assert asyncio.run(copy()) == bytes(1 << 20)


def test_nobody_to_take_it_is_told():
    async def write() -> bool:
        read, write = os.pipe()
        os.close(read)
        with Descriptor(write) as sink:
            return await sink.write(b"x")

    assert not asyncio.run(write())


def test_what_has_been_written_is_read_though_others_may_go_on_writing():
    async def read() -> list[bytes]:
        read, write = os.pipe()
        with Descriptor(read) as source:
            waiting = asyncio.create_task(source.read())
            await asyncio.sleep(0)
            source.read_no_further()
            first = await waiting
        again, write_again = os.pipe()
        os.write(write_again, b"before")
        with Descriptor(again) as source:
            source.read_no_further()
            os.write(write_again, b"after")
            second = b""
            while part := await source.read():
                second += part
        os.close(write)
        os.close(write_again)
        return [first, second]

    assert asyncio.run(read()) == [b"", b"before"]


def test_a_terminal_whose_user_has_gone_is_at_its_end():
    async def read() -> list[bytes]:
        master, slave = os.openpty()
        os.write(slave, b"last words")
        os.close(slave)
        with Descriptor(master) as source:
            return [await source.read(), await source.read()]

    assert asyncio.run(read()) == [b"last words", b""]
