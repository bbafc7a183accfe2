"""`sampan-oci update`: what a container may use, changed while it runs; what is not named stays as it is."""

from __future__ import annotations

import os

from sampan.core import strictjson
from sampan.core.commandline import Command, Option, UsageError, setting
from sampan.core.errors import Exhausted, Invalid, Precondition, Unimplemented, from_os_error
from sampan.core.spec.runtime import Resources
from sampan.core.units import parse_size
from sampan.doors.oci.listing import COMMANDS
from sampan.doors.oci.target import find

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.oci.context import Context

MAX_DOCUMENT = 1 << 20
MEMORY = {
    "memory": "limit",
    "memory-reservation": "reservation",
    "memory-swap": "swap",
    "kernel-memory-tcp": "kernelTCP",
}
CPU_NUMBERS = {
    "cpu-period": "period",
    "cpu-quota": "quota",
    "cpu-burst": "burst",
    "cpu-share": "shares",
    "cpu-rt-period": "realtimePeriod",
    "cpu-rt-runtime": "realtimeRuntime",
    "cpu-idle": "idle",
}
CPU_LISTS = {"cpuset-cpus": "cpus", "cpuset-mems": "mems"}


def run(context: Context, arguments: Arguments) -> int:
    entry = find(context, arguments.operands[0])
    wanted = read(arguments.value("resources")) if arguments.given("resources") else from_flags(arguments)
    if not wanted.to_json():
        raise UsageError("nothing is named that should change", fix="name a limit, like --memory 64m")
    if not entry.is_alive():
        raise Precondition(f"container {entry.container.id} is not running")
    from sampan.container.status import cgroup_of

    cgroup = cgroup_of(entry.container, entry.spec)
    cgroup.update(wanted)
    if cgroup.missing and entry.container.strict:
        raise Unimplemented(f"this host has no way to limit {', '.join(cgroup.missing)} of the container")
    return 0


def from_flags(arguments: Arguments) -> Resources:
    """What the flags name.

    Raises:
        Invalid: a value that is not what its flag takes.
    """
    memory = {key: _size(arguments, flag) for flag, key in MEMORY.items() if arguments.given(flag)}
    cpu = {key: _number(arguments, flag) for flag, key in CPU_NUMBERS.items() if arguments.given(flag)}
    lists = {key: arguments.value(flag) for flag, key in CPU_LISTS.items() if arguments.given(flag)}
    document: dict[str, object] = {"memory": memory or None, "cpu": {**cpu, **lists} or None}
    if arguments.given("pids-limit"):
        document["pids"] = {"limit": _number(arguments, "pids-limit")}
    if arguments.given("blkio-weight"):
        document["blockIO"] = {"weight": _number(arguments, "blkio-weight")}
    return Resources.from_json(document)


def _size(arguments: Arguments, flag: str) -> int:
    text = arguments.value(flag)
    return -1 if text == "-1" else parse_size(text, f"size for --{flag}")


def _number(arguments: Arguments, flag: str) -> int:
    text = arguments.value(flag)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise Invalid(f"--{flag} {text[:40]!r} is not a number")
    return int(text)


def read(path: str) -> Resources:
    """The resources that a JSON file names; `-` is standard input.

    Raises:
        SampanError: it cannot be read, or is not such a document.
    """
    what = "standard input" if path == "-" else path
    try:
        fd = 0 if path == "-" else os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with open(fd, "rb", closefd=path != "-") as file:
            data = file.read(MAX_DOCUMENT + 1)
    except ValueError as error:
        raise Invalid(f"the path {path[:60]!r} has a NUL byte in it") from error
    except OSError as error:
        raise from_os_error(error, f"read the resources from {what}") from error
    if len(data) > MAX_DOCUMENT:
        raise Exhausted(f"the resources in {what} have more than {MAX_DOCUMENT} bytes")
    return Resources.from_json(strictjson.loads(data, what=f"the resources in {what}"), "resources")


COMMAND = Command(
    "update",
    "ID",
    COMMANDS["update"],
    run,
    [
        setting("resources", "FILE", "JSON file of resources (-: standard input); no other flag counts then", "r"),
        setting("blkio-weight", "N", "Weight of block I/O, 10 to 1000"),
        setting("cpu-period", "N", "Period of the CPU limit, in microseconds"),
        setting("cpu-quota", "N", "CPU time in each period, in microseconds"),
        setting("cpu-burst", "N", "CPU time that may be saved up, in microseconds"),
        setting("cpu-share", "N", "Weight of CPU time beside other containers"),
        setting("cpu-rt-period", "N", "Period of the realtime limit, in microseconds"),
        setting("cpu-rt-runtime", "N", "Realtime in each period, in microseconds"),
        setting("cpu-idle", "0|1", "Whether it runs only when nothing else does"),
        setting("cpuset-cpus", "LIST", "CPUs it may use, like 0-2,5"),
        setting("cpuset-mems", "LIST", "Memory nodes it may use"),
        Option("kernel-memory", value="BYTES", no_effect="the kernel has no such limit any more"),
        setting("kernel-memory-tcp", "BYTES", "Limit of TCP buffers"),
        setting("memory", "BYTES", "Limit of memory"),
        setting("memory-reservation", "BYTES", "Soft limit of memory"),
        setting("memory-swap", "BYTES", "Limit of memory and swap together; -1 for none"),
        setting("pids-limit", "N", "How many processes and threads"),
        Option("l3-cache-schema", value="TEXT", refusal="Intel RDT is not supported"),
        Option("mem-bw-schema", value="TEXT", refusal="Intel RDT is not supported"),
    ],
    ["sampan-oci update --memory 64m web", "echo '{\"pids\": {\"limit\": 20}}' | sampan-oci update -r - web"],
    least=1,
    most=1,
    program="sampan-oci",
)  # fmt: skip
