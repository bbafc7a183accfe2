"""The calling guest's memory as bytes, and the reading of what it points to.

Everything a guest says about its memory is checked here: a place outside it is EFAULT and nothing is copied.
"""

from __future__ import annotations

from ctypes import byref, c_char
from errno import EFAULT, EINVAL

from sampan.engine.binding import EXTERN_MEMORY, C, Extern
from sampan.engine.sockets.interface import MOST_VECTORS, U32, VECTOR, refuse


class GuestMemory:
    """A view of one run's memory; `refresh` it in each call, as the guest may have grown it."""

    def __init__(self) -> None:
        self._export = Extern()
        self._known = False
        self._place = (0, 0)
        self.view = memoryview(bytearray())

    def refresh(self, caller: int) -> None:
        """Look where the memory is now.

        Raises:
            OSError: EFAULT, the guest has none.
        """
        if not self._known:
            found = C.wasmtime_caller_export_get(caller, b"memory", 6, byref(self._export))
            if not found or self._export.kind != EXTERN_MEMORY:
                raise refuse(EFAULT)
            self._known = True
        context = C.wasmtime_caller_context(caller)
        memory = byref(self._export.of.memory)
        place = (C.wasmtime_memory_data(context, memory), C.wasmtime_memory_data_size(context, memory))
        if place != self._place:
            address, size = place
            self.view = (
                memoryview((c_char * size).from_address(address)).cast("B") if size else memoryview(b"")
            )
            self._place = place

    def slice(self, start: int, size: int) -> memoryview:
        """The bytes at a place.

        Raises:
            OSError: EFAULT, they are not all inside.
        """
        end = start + size
        if end > len(self.view):
            raise refuse(EFAULT)
        return self.view[start:end]

    def vectors(self, start: int, count: int) -> list[memoryview]:
        """The buffers of an array of I/O vectors.

        Raises:
            OSError: EINVAL for too many of them, EFAULT when one is not inside.
        """
        if count > MOST_VECTORS:
            raise refuse(EINVAL)
        return [self.slice(*vector) for vector in VECTOR.iter_unpack(self.slice(start, count * VECTOR.size))]

    def u32(self, start: int) -> int:
        value: int = U32.unpack_from(self.slice(start, 4))[0]
        return value

    def put_u32(self, start: int, value: int) -> None:
        U32.pack_into(self.slice(start, 4), 0, value)
