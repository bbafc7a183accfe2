"""A container process that supervises a Linux program: the same records and the same log as for Wasm."""

import os
import pathlib
import shutil
import signal

import pytest

from sampan.container import control, ending, remains, starting, stdio
from sampan.container.linuxdefaults import with_defaults
from sampan.container.linuxruntime import LinuxRuntime
from sampan.container.logs import STDERR
from sampan.container.reaper import reap
from sampan.container.records import Restart
from sampan.core.errors import Invalid, NotFound, Precondition, SampanError
from sampan.core.spec.runtime import Process, User

from ..waiting import until

RUNC, BUSYBOX = shutil.which("runc"), shutil.which("busybox")
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (RUNC and BUSYBOX), reason="needs root, runc and busybox"
)


@pytest.fixture
def linux(world):
    """Makes containers of Linux programs."""
    rootfs = pathlib.Path(world.roots.data) / "linux-rootfs"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(BUSYBOX, rootfs / "bin" / "busybox")
    (rootfs / "bin" / "sh").symlink_to("busybox")
    (rootfs / "notes").write_text("no program")

    def make(*args, runtime=RUNC, process=None, **fields):
        entry = world.make(
            lower=rootfs, process=process or Process(list(args)), linux_runtime=runtime, **fields
        )
        spec = with_defaults(entry.spec, f"/sampan/{entry.container.id}", [], host_network=False)
        world.containers.remove(entry.container.id)
        return world.containers.create(entry.container, spec)

    return make


def shell(script):
    return "/bin/sh", "-c", script


def finish(world, entry):
    return reap(entry, world.roots, starting.start_here(entry, world.roots, stdio.CAPTURE))


def state_of_runc(world):
    return os.listdir(f"{world.roots.run}/linux")


@pytest.mark.parametrize("code", [0, 7, 255])
def test_an_exit_code_is_recorded_and_its_output_logged(world, linux, code):
    entry = linux(*shell(f"echo out; echo err >&2; exit {code}"))
    record = finish(world, entry)
    assert (record.code, record.reason, record.message) == (code, "exited", "")
    assert world.output(entry) == b"out\n"
    assert world.output(entry, STDERR) == b"err\n"
    assert state_of_runc(world) == []


def test_a_large_output_is_whole(world, linux):
    entry = linux(*shell("/bin/busybox seq 1 50000"))
    assert finish(world, entry).code == 0
    assert world.output(entry).split() == [b"%d" % n for n in range(1, 50001)]


@pytest.mark.parametrize(
    ("command", "kind", "code"),
    [("/bin/nothing", NotFound, 127), ("/notes", Invalid, 126), ("/bin", SampanError, 126)],
)
def test_a_program_that_cannot_begin_is_an_error_of_the_start(world, linux, command, kind, code):
    entry = linux(command)
    with pytest.raises(kind) as raised:
        starting.start_here(entry, world.roots, stdio.CAPTURE)
    assert raised.value.exit_code == code
    assert entry.exit().code == code
    assert state_of_runc(world) == []


def test_a_signal_is_the_programs_own_end(world, linux):
    entry = linux("/bin/busybox", "sleep", "1000")
    starting.start(entry, world.roots)
    run = entry.running
    assert run.target == (run.linux_pid, run.linux_start) != (run.pid, run.start_time)
    ending.kill(entry, world.roots, signal.SIGKILL)
    record = ending.wait(entry, 20)
    assert (record.code, record.reason) == (137, "killed")


def test_one_that_is_killed_before_it_began_was_killed(world, linux):
    entry = linux(*shell("echo never"))
    starting.start(entry, world.roots, stdio.ATTACHED)  # and nobody attaches yet
    ending.kill(entry, world.roots, signal.SIGKILL)
    client = control.request(entry.folder, {"do": "attach"}, 10)
    control.receive(client)
    client.close()
    record = ending.wait(entry, 20)
    assert (record.code, record.reason) == (137, "killed")
    assert world.output(entry) == b""


def test_the_processes_end_with_the_first_one(world, linux):
    entry = linux(*shell("/bin/busybox sleep 1000 & echo up; exit 3"))
    assert finish(world, entry).code == 3
    assert not os.path.exists(f"/sys/fs/cgroup/pids/sampan/{entry.container.id}")


def test_what_a_killed_process_left_goes_before_the_next_run(world, linux):
    entry = linux(*shell("echo up; exec /bin/busybox sleep 1000"))
    pid = starting.start_here(entry, world.roots, stdio.CAPTURE)
    program = os.pidfd_open(entry.running.linux_pid)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)  # and nobody concludes the run
    assert state_of_runc(world) == [entry.container.id]
    starting.start(entry, world.roots)
    assert entry.is_alive()
    until(lambda: _ended(program))
    os.close(program)


def _ended(pidfd):
    from sampan.linux.processes import wait_ended

    return wait_ended(pidfd, 0)


def test_remains_are_forgotten_twice_without_harm(world, linux):
    entry = linux(*shell("exit 0"))
    finish(world, entry)
    remains.forget(entry, world.roots)
    remains.forget(entry, world.roots)
    assert state_of_runc(world) == []


def test_a_runtime_that_is_gone_is_named(world, linux):
    entry = linux(*shell("exit 0"), runtime="/nowhere/runc")
    with pytest.raises(NotFound, match="/nowhere/runc"):
        starting.start_here(entry, world.roots, stdio.CAPTURE)
    remains.forget(entry, world.roots)


def test_a_runtime_that_only_fails_is_told_of(world, linux):
    entry = linux(*shell("exit 0"), runtime="/bin/false")
    with pytest.raises(Precondition, match="false ended with 1"):
        starting.start_here(entry, world.roots, stdio.CAPTURE)


def test_a_terminal_is_the_containers_own(world, linux):
    process = Process(list(shell("/bin/busybox tty; /bin/busybox stty size; exit 2")), terminal=True)
    entry = linux(process=process)
    assert finish(world, entry).code == 2
    assert world.output(entry).startswith(b"/dev/pts/0\r\n")


def test_another_user_owns_its_output(world, linux):
    process = Process(list(shell("echo again > /dev/stdout; /bin/busybox id -u")), user=User(1000, 1000))
    entry = linux(process=process)
    assert finish(world, entry).code == 0
    assert world.output(entry) == b"again\n1000\n"


def test_it_starts_again_by_its_policy(world, linux):
    entry = linux(*shell("echo try; exit 1"), restart=Restart("on-failure", 1))
    starting.start(entry, world.roots)
    until(lambda: world.output(entry).count(b"try") == 2)


def test_the_complaint_of_an_exec_has_the_shells_code(world, linux):
    entry = linux("/bin/busybox", "sleep", "1000")
    starting.start(entry, world.roots)
    runtime = LinuxRuntime(entry, world.roots)
    try:
        codes = []
        for args in (["/bin/nothing"], ["/notes"], ["/bin/busybox", "true"]):
            pid = runtime.execute(Process(args), detached=True, keep_stdin=False)
            os.waitpid(pid, 0)
            failure = runtime.why_not()
            codes.append(failure.exit_code if failure is not None else 0)
        assert codes == [127, 126, 0]
    finally:
        runtime.close()


def test_without_its_runtime_the_rest_still_goes(world, linux, tmp_path):
    shutil.copy(RUNC, tmp_path / "runc")
    entry = linux("/bin/busybox", "sleep", "1000", runtime=str(tmp_path / "runc"))
    starting.start(entry, world.roots)
    program = os.pidfd_open(entry.running.linux_pid)
    (tmp_path / "runc").unlink()
    ending.remove(entry, world.roots, force=True)
    assert _ended(program)
    os.close(program)
    assert state_of_runc(world) == []
    assert not os.path.exists(f"/sys/fs/cgroup/pids/sampan/{entry.container.id}")


def test_a_program_that_closed_its_input_holds_nobody_up(world, linux):
    entry = linux(*shell("exec < /dev/null; echo closed; /bin/busybox sleep 1000"), keep_stdin=True)
    starting.start(entry, world.roots)
    world.until_output(entry, b"closed")
    client = control.request(entry.folder, {"do": "attach"}, 10)
    try:
        control.receive(client)
        for _ in range(8):
            client.send(control.STDIN + bytes(60000))
        ending.kill(entry, world.roots, signal.SIGKILL)
        while (packet := control.receive(client)[0])[:1] != control.ENDED:
            assert packet
    finally:
        client.close()
