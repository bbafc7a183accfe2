"""The least limits that a container can have: its own process lives within them too, beside the workload.

Below these the engine could not start, or would stop half way. It sets nothing: `walls` applies what is left.
"""

from __future__ import annotations

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Resources, Rlimit

LEAST_MEMORY = 2 << 20
LEAST_TASKS = 8
LEAST_RLIMITS = {
    "RLIMIT_AS": 8 << 30,  # the engine reserves 4 GiB for each Wasm memory, whatever it uses
    "RLIMIT_DATA": 64 << 20,
    "RLIMIT_FSIZE": 64 << 10,  # the exit record and the log are files as well
    "RLIMIT_NOFILE": 64,
    "RLIMIT_NPROC": LEAST_TASKS,
}


def check_limits(resources: Resources, rlimits: list[Rlimit]) -> None:
    """Refuses limits that a container's own process could not live with.

    Raises:
        Invalid: one is too low; the error says which, and what the least is.
    """
    if resources.memory is not None and resources.memory.limit is not None:
        _check("memory limit", resources.memory.limit, LEAST_MEMORY)
    if resources.pids is not None:
        _check("limit on processes and threads", resources.pids.limit, LEAST_TASKS)
    for limit in rlimits:
        name = limit.type.removeprefix("RLIMIT_").lower()
        _check(f"limit {name}", limit.soft, LEAST_RLIMITS.get(limit.type, 0))


def _check(what: str, value: int, least: int) -> None:
    if 0 <= value < least:
        raise Invalid(
            f"the {what} of {value} is too low: the container's own process needs more",
            fix=f"the least is {least}",
        )
