"""Cgroups that systemd makes: a scope for each container, started over D-Bus (org.freedesktop.systemd1.Manager).

Where systemd owns the tree, it is asked for the group, with the limits that it knows as properties, and leaves the
rest to us (Delegate=yes); so a reload of systemd undoes nothing. No unit files are written, and no bus is started.
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, SampanError, TimedOut, Unavailable, Unimplemented
from sampan.core.record import Record
from sampan.core.spec.runtime import Resources
from sampan.linux.cgroup_limits import PERIOD, weight
from sampan.linux.cgroups import ROOT, Cgroup

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RUNS = "/run/systemd/system"
SECONDS = 30.0
MANAGER = ("/org/freedesktop/systemd1", "org.freedesktop.systemd1", "org.freedesktop.systemd1.Manager")
NO_SUCH_UNIT = "org.freedesktop.systemd1.NoSuchUnit"
INFINITY = (1 << 64) - 1
SECOND = 1_000_000


class Unit(Record):
    """A scope: `system.slice` and `sampan-ID.scope`."""

    slice: str
    name: str


class BusError(SampanError):
    """Raised when systemd answers with an error; `name` is its D-Bus name."""

    kind = "UNAVAILABLE"

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message, fix="see `journalctl -u init.scope`, or use the cgroupfs driver")
        self.name = name


def read_unit(cgroups_path: str, container_id: str) -> Unit:
    """The scope that a `cgroupsPath` of the form `slice:prefix:name` means; the slice and the prefix may be empty.

    Raises:
        Invalid: another form, or a part that is no name of a unit.
    """
    parts = cgroups_path.split(":") if cgroups_path else ["", "sampan", container_id]
    if len(parts) != 3 or not parts[2]:
        raise Invalid(
            f"the cgroupsPath {cgroups_path[:80]!r} is not slice:prefix:name",
            fix="leave --systemd-cgroup away for a path, or set the same cgroup driver in the caller",
        )
    above, prefix, name = parts
    above = above or ("system.slice" if os.geteuid() == 0 else "user.slice")
    if not name.endswith(".slice"):
        name = f"{prefix}-{name}.scope" if prefix else f"{name}.scope"
    for part in (above, name):
        if not set(part) <= _UNIT_LETTERS or len(part) > 255 or part.startswith("."):
            raise Invalid(f"{part[:80]!r} is not a name for a unit of systemd")
    return Unit(above, name)


_UNIT_LETTERS = set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:-_.\\@")


def slice_path(name: str) -> str:
    """Where a slice is: `a-b.slice` is `a.slice/a-b.slice`, and `-.slice` the root.

    Raises:
        Invalid: it is not the name of a slice.
    """
    stem = name.removesuffix(".slice")
    if stem == "-":
        return ""
    words = stem.split("-")
    if stem == name or "" in words:
        raise Invalid(f"{name[:80]!r} is not the name of a slice")
    return "/".join("-".join(words[: count + 1]) + ".slice" for count in range(len(words)))


class ScopeCgroup(Cgroup):
    """The cgroup of a container that is a scope of systemd.

    Args:
        unit: the scope.
        root: where the hierarchies are mounted.
        runs: a folder that is there where systemd runs.

    Raises:
        Invalid: the slice has no path.
        Unimplemented: systemd does not run here.
    """

    def __init__(self, unit: Unit, *, root: str = ROOT, runs: str = RUNS) -> None:
        if not os.path.isdir(runs):
            raise Unimplemented(
                "systemd does not run here, so it can make no cgroup",
                fix="leave --systemd-cgroup away (cgroupfs is the other driver)",
            )
        self.unit = unit
        user = os.geteuid()
        above = f"user.slice/user-{user}.slice/user@{user}.service" if user else ""
        path = "/".join(part for part in (above, slice_path(unit.slice), unit.name) if part)
        super().__init__(path, root=root, base="", join=True)

    def _make(self, resources: Resources, pid: int) -> None:
        manager = Manager()
        try:
            properties = [
                ("Description", ("s", f"sampan container {self.unit.name}")),
                ("Slice", ("s", self.unit.slice)),
                ("Delegate", ("b", True)),
                ("PIDs", ("au", [pid])),
                ("DefaultDependencies", ("b", False)),
                *((f"{name}Accounting", ("b", True)) for name in ("CPU", "Memory", "Tasks", "IO")),
                *limits(resources, self.version),
            ]
            try:
                manager.run(
                    "StartTransientUnit", "ssa(sv)a(sa(sv))", self.unit.name, "replace", properties, []
                )
            except BusError as error:
                if not error.name.endswith(".UnitExists"):
                    raise
                manager.call(
                    "ResetFailedUnit", "s", self.unit.name
                )  # one that ended by a failure stays known
                manager.run(
                    "StartTransientUnit", "ssa(sv)a(sa(sv))", self.unit.name, "replace", properties, []
                )
        finally:
            manager.close()
        super()._make(resources, pid)

    def update(self, resources: Resources) -> None:
        """As `Cgroup.update`; systemd is told first, so that it does not set the old limits again."""
        properties = limits(resources, self.version)
        if properties:
            manager = Manager()
            try:
                manager.call("SetUnitProperties", "sba(sv)", self.unit.name, True, properties)
            finally:
                manager.close()
        super().update(resources)

    def remove(self) -> None:
        """Stop the scope, which kills what is left in it, and remove what systemd did not make."""
        manager = Manager()
        try:
            try:
                self._kill()
                manager.run("StopUnit", "ss", self.unit.name, "replace")
                manager.call("ResetFailedUnit", "s", self.unit.name)
            except BusError as error:
                if error.name != NO_SUCH_UNIT:  # it went with its last process
                    raise
        finally:
            manager.close()
        super().remove()


def limits(resources: Resources, version: str) -> list[tuple[str, tuple[str, Any]]]:
    """The limits that are properties of a unit (systemd.resource-control(5)), as D-Bus variants."""
    out: list[tuple[str, tuple[str, Any]]] = []

    def add(name: str, value: int | None) -> None:
        if value:
            out.append((name, ("t", value if value > 0 else INFINITY)))

    if memory := resources.memory:
        add("MemoryLimit" if version == "v1" else "MemoryMax", memory.limit)
        if version == "v2":
            add("MemoryLow", memory.reservation)
            total = memory.swap or memory.limit
            if memory.limit and memory.limit > 0 and total and total > 0:
                out.append(("MemorySwapMax", ("t", total - memory.limit)))
            else:
                add("MemorySwapMax", total)
    if cpu := resources.cpu:
        if cpu.shares:
            out.append(
                ("CPUShares", ("t", cpu.shares))
                if version == "v1"
                else ("CPUWeight", ("t", weight(cpu.shares)))
            )
        if cpu.quota:
            each = -(-cpu.quota * SECOND // (cpu.period or PERIOD)) if cpu.quota > 0 else INFINITY
            out.append(("CPUQuotaPerSecUSec", ("t", each if each == INFINITY else _tens_of_ms(each))))
        if version == "v2":
            add("CPUQuotaPeriodUSec", cpu.period)
            for name, cpus in (("AllowedCPUs", cpu.cpus), ("AllowedMemoryNodes", cpu.mems)):
                if cpus:
                    out.append((name, ("ay", bitmap(cpus))))
    if resources.pids is not None:
        add("TasksMax", resources.pids.limit)
    return out


def _tens_of_ms(microseconds: int) -> int:
    """systemd counts a CPU quota in steps of a hundredth; rounded up, so that it is never stricter than we are."""
    return -(-microseconds // 10_000) * 10_000


def bitmap(numbers: str) -> bytes:
    """`0-3,5` as systemd takes it: bit N of byte N // 8.

    Raises:
        Invalid: it is not a list of numbers below 8192.
    """
    bits = 0
    for part in numbers.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and len(first) <= 4 and len(last) <= 4):
            raise Invalid(f"{numbers[:80]!r} is not a list like 0-3,5")
        low, high = int(first), int(last)
        if not low <= high < 8192:
            raise Invalid(f"{numbers[:80]!r} is not a list like 0-3,5")
        bits |= (1 << high + 1) - (1 << low)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")


class Manager:
    """A connection to systemd: the system's for root, the user's own for others.

    Raises:
        Unavailable: there is no bus, or systemd is not on it.
    """

    def __init__(self) -> None:
        try:
            from jeepney import DBusAddress
            from jeepney.io.blocking import open_dbus_connection
        except ImportError as error:
            raise Unimplemented(
                "systemd's cgroup driver needs the package jeepney", fix="install it, or use cgroupfs"
            ) from error
        path, service, interface = MANAGER
        self._address = DBusAddress(path, service, interface)
        try:
            self._bus = open_dbus_connection("SYSTEM" if os.geteuid() == 0 else "SESSION")
        except (OSError, KeyError, RuntimeError) as error:
            raise Unavailable(
                f"systemd cannot be asked over D-Bus: {error}",
                fix="start dbus (a user needs DBUS_SESSION_BUS_ADDRESS), or use the cgroupfs driver",
            ) from error

    def close(self) -> None:
        self._bus.close()

    def call(self, method: str, signature: str = "", *arguments: Any) -> tuple[Any, ...]:
        """The answer to a call.

        Raises:
            BusError: systemd refuses.
            TimedOut: it does not answer.
        """
        from jeepney import new_method_call

        return self._ask(new_method_call(self._address, method, signature, arguments), method)

    def _ask(self, message: Any, what: str) -> tuple[Any, ...]:
        from jeepney import HeaderFields, MessageType

        try:
            reply = self._bus.send_and_get_reply(message, timeout=SECONDS)
        except TimeoutError as error:
            raise TimedOut(f"systemd does not answer to {what}") from error
        except OSError as error:
            raise Unavailable(f"systemd cannot be asked over D-Bus: {error}") from error
        if reply.header.message_type is MessageType.error:
            text = str(reply.body[0]) if reply.body else ""
            raise BusError(reply.header.fields[HeaderFields.error_name], f"systemd refuses {what}: {text}")
        body: tuple[Any, ...] = reply.body
        return body

    def run(self, method: str, signature: str, *arguments: Any) -> None:
        """Make a call that begins a job, and wait for the job's end.

        Raises:
            BusError: systemd refuses, or the job fails.
            TimedOut: the job does not end.
        """
        from jeepney import MatchRule
        from jeepney.bus_messages import message_bus

        path, _, interface = MANAGER
        rule = MatchRule(type="signal", path=path, interface=interface, member="JobRemoved")
        self._ask(message_bus.AddMatch(rule), "AddMatch")
        self.call("Subscribe")
        with self._bus.filter(rule, bufsize=1000) as ended:
            (job,) = self.call(method, signature, *arguments)
            while True:
                try:
                    _, removed, unit, result = self._bus.recv_until_filtered(ended, timeout=SECONDS).body
                except TimeoutError as error:
                    raise TimedOut(f"systemd's job for {method} does not end") from error
                except OSError as error:
                    raise Unavailable(f"systemd cannot be asked over D-Bus: {error}") from error
                if removed == job and result != "done":
                    raise BusError("", f"systemd's job for {unit} ended as {result!r}")
                if removed == job:
                    return
