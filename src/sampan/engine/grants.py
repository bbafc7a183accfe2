"""What a workload is given, and how it ended: plain values between the container process and the engine.

Default deny: no folder, no network, no environment. Holds no rule of its own; `wasi` and `store` carry it out.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    OnBind = Callable[["PortMap", int], None]  # told the host's port when the guest binds a published one

KIB = 1024
MOST = 1 << 62
DEFAULT_STACK = 512 * KIB
DEFAULT_TABLE_ELEMENTS = 1_000_000


class Preopen(Record):
    """A host folder that the guest sees as `guest`, with everything below it."""

    host: str
    guest: str
    read_only: bool = False


class PortMap(Record):
    """A published port: the guest binds `guest_port`, the host's clients see `host_port`.

    `host_address` is an IP address, "" for all of them. `host_port` 0 means any free one.
    """

    host_address: str
    host_port: int
    guest_port: int
    protocol: str = "tcp"


class Network(Record):
    """`mode` is none (default), host (everything the process may reach) or published (only `ports`)."""

    mode: str = "none"
    ports: list[PortMap] = []


class Limits(Record):
    """Bounds of one run; None means no bound of the engine's (the kernel's remain).

    Attributes:
        memory: bytes for each linear memory, and for the GC heap.
        table_elements: for each table; 8 bytes each. Ten thousand, as often advised, is less than large Go and
            C++ programs have functions.
        stack: bytes of Wasm stack. The thread that runs needs far more than this: 8 MiB.
        deadline: seconds of time; a host call that blocks (a sleep, a read) is only ended by a signal.
        fuel: units of about one instruction each.
    """

    memory: int | None = None
    table_elements: int = DEFAULT_TABLE_ELEMENTS
    stack: int = DEFAULT_STACK
    deadline: float | None = None
    fuel: int | None = None

    def check(self) -> None:
        """Raises:
        Invalid: a limit is negative, or no finite number.
        """
        for name in ("memory", "table_elements", "deadline", "fuel"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < MOST:
                raise Invalid(f"the limit {name}={value} makes no sense", fix="give a number from 0 upwards")


class Grants(Record):
    """Everything a run gets. `args[0]` is the program's name; `env` entries are `NAME=value`, the last one wins.

    Standard input, output and error are the process's descriptors 0 to 2.
    """

    args: list[str] = []
    env: list[str] = []
    preopens: list[Preopen] = []
    network: Network = Network()
    limits: Limits = Limits()


class Ending(Record):
    """How a run ended.

    `code` is what a shell would see. `reason`: exited (the guest's own code, 0 to 255), trap (134),
    deadline or fuel (137); memory and error are for whoever sees what the engine cannot, such as the kernel's
    limit. `message` has the reason and the Wasm backtrace, for the guest's stderr; "" when it just exited.
    """

    code: int
    reason: str
    message: str = ""
