"""The systemd driver on a real bus (a private dbus-daemon), with a manager of our own in systemd's place."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.core.errors import Invalid, SampanError, Unavailable, Unimplemented
from sampan.core.spec.runtime import Resources
from sampan.linux.cgroups import ROOT, cgroup_of, hierarchy
from sampan.linux.systemd import INFINITY, ScopeCgroup, Unit, bitmap, limits, read_unit, slice_path

jeepney = pytest.importorskip("jeepney")
MIB = 1 << 20
BUS = """<busconfig><type>session</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/></policy>
</busconfig>"""


class FakeSystemd(threading.Thread):
    """Answers as systemd's manager does: a job for each start and stop, and its end as a signal.

    It makes the scope's group in the `systemd` hierarchy and moves the processes, as systemd does.
    """

    def __init__(self):
        super().__init__(daemon=True)
        from jeepney.io.blocking import open_dbus_connection

        self.calls = []
        self.refuse = ""
        self.result = "done"
        self.bus = open_dbus_connection("SYSTEM")
        name = jeepney.message_bus.RequestName("org.freedesktop.systemd1")
        assert self.bus.send_and_get_reply(name).body == (1,)

    def run(self):
        while True:
            try:
                message = self.bus.receive()
            except (OSError, ValueError):
                return
            member = message.header.fields.get(jeepney.HeaderFields.member)
            if message.header.message_type is not jeepney.MessageType.method_call:
                continue
            if member == "Leave":
                self.bus.send(jeepney.new_method_return(message))
                self.bus.close()
                return
            self.calls.append((member, message.body))
            self.answer(message, member)

    def answer(self, message, member):
        if self.refuse == member:
            error = (
                "org.freedesktop.systemd1.NoSuchUnit"
                if member == "StopUnit"
                else "org.freedesktop.DBus.Error.Failed"
            )
            self.bus.send(jeepney.new_error(message, error, "s", ("no, by the test",)))
            return
        if not member.startswith(("Start", "Stop")):
            self.bus.send(jeepney.new_method_return(message))
            return
        if member.startswith("Start"):
            self.start_scope(*message.body[:3])
        manager = jeepney.DBusAddress(
            "/org/freedesktop/systemd1", interface="org.freedesktop.systemd1.Manager"
        )
        for job, result in ((6, "failed"), (7, self.result)):  # job 6 is another's
            path = f"/org/freedesktop/systemd1/job/{job}"
            if job == 7:
                self.bus.send(jeepney.new_method_return(message, "o", (path,)))
            body = (job, path, message.body[0], result)
            self.bus.send(jeepney.new_signal(manager, "JobRemoved", "uoss", body))

    def start_scope(self, unit, mode, properties):
        values = {name: value for name, (_, value) in properties}
        folder = f"{ROOT}/systemd/{slice_path(values['Slice'])}/{unit}"
        os.makedirs(folder, exist_ok=True)
        for pid in values["PIDs"]:
            with open(f"{folder}/cgroup.procs", "w") as file:
                file.write(str(pid))


@pytest.fixture
def bus(tmp_path, monkeypatch):
    if shutil.which("dbus-daemon") is None:
        pytest.skip("needs dbus-daemon")
    socket = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(BUS.format(socket=socket))
    daemon = subprocess.Popen(
        ["dbus-daemon", f"--config-file={tmp_path}/bus.conf", "--nofork", "--print-address"],
        stdout=subprocess.PIPE,
    )
    assert daemon.stdout.readline()
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={socket}")
    yield
    daemon.terminate()
    daemon.wait()
    daemon.stdout.close()


@pytest.fixture
def systemd(bus, as_root):
    from jeepney.io.blocking import open_dbus_connection

    fake = FakeSystemd()
    fake.start()
    yield fake
    with open_dbus_connection("SYSTEM") as connection:
        address = jeepney.DBusAddress("/", "org.freedesktop.systemd1", "test.Fake")
        connection.send_and_get_reply(jeepney.new_method_call(address, "Leave"), timeout=10)
    fake.join(10)
    assert not fake.is_alive()


@pytest.fixture
def scope(systemd, tmp_path):
    if hierarchy() != "v1" or not os.path.isdir(f"{ROOT}/systemd"):
        pytest.skip("needs cgroup version 1")
    slice_name = f"sampantest{os.getpid()}.slice"
    group = ScopeCgroup(Unit(slice_name, "sampan-c1.scope"), runs=str(tmp_path))
    yield group
    systemd.refuse, systemd.result = "StopUnit", "done"
    group.remove()
    for folder in group.files.folders():
        parent = os.path.dirname(folder)
        if os.path.isdir(parent):
            os.rmdir(parent)


def sleeping():
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            signal.pause()
    return pid


def test_a_scope_is_started_changed_and_stopped(systemd, scope):
    pid = sleeping()
    try:
        scope.create(
            Resources.from_json(
                {"memory": {"limit": 64 * MIB}, "cpu": {"quota": 50_000}, "pids": {"limit": 9}}
            ),
            pid,
        )
        (started,) = [body for name, body in systemd.calls if name == "StartTransientUnit"]
        unit, mode, properties, auxiliary = started
        assert (unit, mode, auxiliary) == ("sampan-c1.scope", "replace", [])
        assert dict(properties) == {
            "Description": ("s", "sampan container sampan-c1.scope"), "Slice": ("s", scope.unit.slice),
            "Delegate": ("b", True), "PIDs": ("au", [pid]), "DefaultDependencies": ("b", False),
            "CPUAccounting": ("b", True), "MemoryAccounting": ("b", True), "TasksAccounting": ("b", True),
            "IOAccounting": ("b", True), "MemoryLimit": ("t", 64 * MIB), "CPUQuotaPerSecUSec": ("t", 500_000),
            "TasksMax": ("t", 9),
        }  # fmt: skip
        scope.attach(pid)
        assert scope.pids() == [pid]
        assert scope.stats().memory_limit == 64 * MIB
        with open(f"/proc/{pid}/cgroup") as file:
            there = [line for line in file if scope.path in line]
        assert len(there) == len(scope.files.folders())

        scope.update(Resources.from_json({"pids": {"limit": -1}}))
        assert (
            "SetUnitProperties",
            (scope.unit.name, True, [("TasksMax", ("t", INFINITY))]),
        ) in systemd.calls
        scope.remove()
        assert [name for name, _ in systemd.calls][-2:] == ["StopUnit", "ResetFailedUnit"]
        assert not [folder for folder in scope.files.folders() if os.path.exists(folder)]
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_what_systemd_refuses_is_told_and_leaves_no_group(systemd, scope):
    systemd.refuse = "StartTransientUnit"
    with pytest.raises(SampanError, match="no, by the test"):
        scope.create(Resources(), 1 << 22)
    assert not [folder for folder in scope.files.folders() if os.path.exists(folder)]


def test_a_job_that_fails_is_an_error(systemd, scope):
    systemd.result = "failed"
    pid = sleeping()
    try:
        with pytest.raises(SampanError, match="ended as 'failed'"):
            scope.create(Resources(), pid)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def test_no_systemd_is_named_with_the_fix(tmp_path, monkeypatch):
    with pytest.raises(Unimplemented, match="--systemd-cgroup"):
        ScopeCgroup(Unit("system.slice", "a.scope"), runs=str(tmp_path / "none"))
    if not os.path.isdir("/run/systemd/system"):
        with pytest.raises(Unimplemented):
            cgroup_of("", "c1", systemd=True)


def test_systemd_without_a_bus_is_named_with_the_fix(as_root, tmp_path, monkeypatch):
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/none")
    if not hierarchy():
        pytest.skip("needs cgroups")
    with pytest.raises(Unavailable, match="dbus"):
        ScopeCgroup(Unit("system.slice", "sampan-none.scope"), runs=str(tmp_path)).create(Resources())


@pytest.mark.parametrize(("path", "slice_name", "name"), [
    ("", "system.slice", "sampan-c1.scope"), ("kubepods.slice:cri-containerd:abc", "kubepods.slice",
    "cri-containerd-abc.scope"), (":docker:abc", "system.slice", "docker-abc.scope"),
    ("a.slice::b", "a.slice", "b.scope"), ("a.slice:x:b.slice", "a.slice", "b.slice"),
])  # fmt: skip
def test_cgroups_path_of_systemd(as_root, path, slice_name, name):
    assert read_unit(path, "c1") == Unit(slice_name, name)


@pytest.mark.parametrize("path", [
    "/kubepods/c1", "a:b", "a:b:c:d", "a.slice:b:", "../a.slice:b:c", "a.slice:b:../c", "a.slice:b:" + "c" * 300,
    "a.slice:b:c\n", "a.slice:b/../..:c",
])  # fmt: skip
def test_C16_other_forms_are_refused(path):
    with pytest.raises(Invalid):
        read_unit(path, "c1")


@pytest.mark.parametrize("name", ["a", "a--b.slice", "-a.slice", "a-.slice", ".slice"])
def test_C16_slices_without_a_path_are_refused(name):
    with pytest.raises(Invalid):
        slice_path(name)


def test_paths_of_slices():
    assert slice_path("-.slice") == ""
    assert slice_path("system.slice") == "system.slice"
    assert slice_path("a-b-c.slice") == "a.slice/a-b.slice/a-b-c.slice"


def test_limits_of_version_2():
    resources = Resources.from_json({
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": MIB},
        "cpu": {"shares": 1024, "quota": 33_333, "period": 100_000, "cpus": "0-1,9", "mems": "0"},
        "pids": {"limit": -1},
    })  # fmt: skip
    assert limits(resources, "v2") == [
        ("MemoryMax", ("t", 64 * MIB)), ("MemoryLow", ("t", MIB)), ("MemorySwapMax", ("t", 32 * MIB)),
        ("CPUWeight", ("t", 39)), ("CPUQuotaPerSecUSec", ("t", 340_000)), ("CPUQuotaPeriodUSec", ("t", 100_000)),
        ("AllowedCPUs", ("ay", b"\x03\x02")), ("AllowedMemoryNodes", ("ay", b"\x01")), ("TasksMax", ("t", INFINITY)),
    ]  # fmt: skip


@given(st.sets(st.integers(0, 200), min_size=1))
def test_bitmaps_hold_the_numbers(numbers):
    bits = bitmap(",".join(str(number) for number in numbers))
    assert {n for n in range(len(bits) * 8) if bits[n // 8] >> n % 8 & 1} == numbers


@pytest.mark.parametrize("text", ["", "a", "3-1", "1-", "-1", "99999999999", "8192"])
def test_C16_lists_that_are_none_are_refused(text):
    with pytest.raises(Invalid):
        bitmap(text)
