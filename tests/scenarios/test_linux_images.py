"""`sampan run` of Linux images: they run in runc, and every command works on them as on any other container."""

import json
import os
import pathlib
import shutil
import signal
import subprocess

import pytest

from tests.cli.conftest import Terminal
from tests.plain_user import NEEDED, plain_user
from tests.scenarios.conftest import free_port, inspect, needs, until
from tests.scenarios.oci.conftest import CARRIES, answer, archives  # noqa: F401 - a fixture

pytestmark = needs("runc", "busybox")

DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY --chmod=644 busybox /bin/data
COPY --chmod=4755 busybox /bin/owners
COPY passwd group /etc/
ENV PLACE=image
ENTRYPOINT ["/bin/sh", "-c"]
CMD ["echo out; echo err >&2"]
"""
OBEYS = "trap 'echo stopping; exit 143' TERM; echo up; while :; do busybox sleep 0.05; done"


@pytest.fixture
def linux(machine):
    """A machine with the image `box`: a static busybox, its shell the entrypoint."""
    folder = machine.folder / "context"
    folder.mkdir()
    shutil.copy(shutil.which("busybox"), folder / "busybox")
    (folder / "passwd").write_text("root:x:0:0::/root:/bin/sh\nann:x:1000:1000::/home/ann:/bin/sh\n")
    (folder / "group").write_text("root:x:0:\nann:x:1000:\nextra:x:44:ann\n")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    machine.ok("build", "-q", "-t", "box", str(folder))
    yield machine
    ids = machine.ok("ps", "-aq").split()
    if ids:
        machine.ok("rm", "-f", *ids)
    assert remains(machine) == []


def remains(machine):
    """What is left of any Linux container of a machine: the runtime's state, mounts."""
    state = machine.folder / "run" / "linux"
    mounts = pathlib.Path("/proc/self/mounts").read_text().splitlines()
    left = os.listdir(state) if state.exists() else []
    return left + [line for line in mounts if str(machine.folder) in line]


def program_of(machine, name):
    """The pid of its program, which runs."""
    state = inspect(machine, name)["State"]
    assert state["Running"], (state, machine.ok("logs", name))
    return state["Pid"]


def what_the_kernel_said_of(container_id):
    lines = subprocess.run(["dmesg"], capture_output=True, text=True, check=False).stdout.splitlines()
    return [line for line in lines if container_id in line] or lines[-20:]


def parent_of(pid):
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def runs(pid):
    """Whether a process is there, and no zombie that waits for who inherited it."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until_said(machine, name, text):
    until(lambda: text in machine.ok("logs", name), 20)


def test_its_output_and_its_exit_codes_are_the_programs_own(linux):
    done = linux("run", "--rm", "box")
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert linux("run", "--rm", "box", "exit 7").returncode == 7
    assert linux("run", "--rm", "box", "/bin/nothing").returncode == 127
    missing = linux("run", "--rm", "--entrypoint", "/bin/nothing", "box")
    assert (missing.returncode, missing.stderr.count("\n")) == (127, 1)
    refused = linux("run", "--rm", "--entrypoint", "/bin/data", "box")
    assert refused.returncode == 126
    assert "permission denied" in refused.stderr
    assert linux.ok("ps", "-aq") == ""


def test_it_is_explained_as_linux(linux):
    said = linux.ok("explain", "box")
    assert said.startswith("box: linux")
    assert "ELF" in said
    assert "runc" in said


def test_a_set_user_id_program_is_one_in_the_container(linux):
    asked = "busybox stat -c %a /bin/owners; busybox grep ' / ' /proc/mounts; busybox grep NoNewPrivs /proc/self/status"
    mode, mount, privileges = linux.ok("run", "--rm", "box", asked).splitlines()
    assert mode == "4755"
    assert "nosuid" not in mount
    assert privileges.split()[1] == "0"


def test_it_lives_a_whole_life_in_the_background(linux):
    linux.ok("run", "-d", "--name", "life", "box", OBEYS)
    until_said(linux, "life", "up")
    assert "life" in linux.ok("ps")
    pid = program_of(linux, "life")
    assert "busybox sleep" in linux.ok("top", "life")
    assert inspect(linux, "life")["Platform"] == "linux"
    assert inspect(linux, "life")["Mounts"] == []
    assert json.loads(linux.ok("stats", "--no-stream", "--format", "json", "life"))["PIDs"] != "0"
    linux.ok("stop", "life")
    assert not runs(pid)
    assert inspect(linux, "life")["State"]["ExitCode"] == 143
    assert linux.ok("logs", "life") == "up\nstopping\n"
    linux.ok("start", "life")
    until(lambda: linux.ok("logs", "life").count("up") == 2)
    linux.ok("kill", "life")
    assert linux.ok("wait", "life") == "137\n"
    linux.ok("rm", "life")


def test_stop_kills_what_does_not_obey(linux):
    linux.ok("run", "-d", "--name", "deaf", "box", "trap '' TERM; echo up; while :; do busybox sleep 1; done")
    until_said(linux, "deaf", "up")
    linux.ok("stop", "-t", "0.2", "deaf")
    assert inspect(linux, "deaf")["State"]["ExitCode"] == 137


def test_any_signal_reaches_the_program(linux):
    linux.ok(
        "run",
        "-d",
        "--name",
        "hears",
        "box",
        "trap 'exit 9' WINCH; echo up; while :; do busybox sleep 0.05; done",
    )
    until_said(linux, "hears", "up")
    linux.ok("kill", "-s", "WINCH", "hears")
    assert linux.ok("wait", "hears") == "9\n"


def test_a_signal_for_the_container_process_goes_on_to_the_program(linux):
    linux.ok("run", "-d", "--name", "life", "box", OBEYS)
    until_said(linux, "life", "up")
    os.kill(parent_of(program_of(linux, "life")), signal.SIGTERM)
    assert linux.ok("wait", "life") == "143\n"


def test_flags_mean_what_they_mean_to_docker(linux, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "file").write_text("of the host\n")
    flags = ("-e", "A=1", "-v", f"{tmp_path}/shared:/data:ro", "-w", "/etc", "-u", "ann", "-h", "zoo",
             "--read-only", "--tmpfs", "/scratch", "-m", "64m", "--pids-limit", "20")  # fmt: skip
    script = """busybox id -u; busybox id -G; busybox pwd; echo $A $PLACE $HOME; busybox hostname
busybox cat /data/file
echo x > /scratch/x && echo scratch; echo x > /x || echo root is read-only; echo x > /data/x || echo data is read-only
busybox cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max
busybox cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max; busybox grep CapEff /proc/self/status"""
    lines = linux("run", "--rm", *flags, "box", script).stdout.splitlines()
    assert lines == [
        "1000", "1000 44", "/etc", "1 image /home/ann", "zoo", "of the host",
        "scratch", "root is read-only", "data is read-only", str(64 << 20), "20", "CapEff:\t0000000000000000",
    ]  # fmt: skip


def test_root_has_dockers_capabilities_and_may_lose_them(linux):
    script = "busybox grep -E 'Cap(Eff|Bnd)|NoNew' /proc/self/status"
    full = "CapEff:\t00000000a80425fb\nCapBnd:\t00000000a80425fb\nNoNewPrivs:\t0\n"
    assert linux.ok("run", "--rm", "box", script) == full
    flags = ("--cap-drop", "all", "--security-opt", "no-new-privileges")
    none = "CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nNoNewPrivs:\t1\n"
    assert linux.ok("run", "--rm", *flags, "box", script) == none


def test_memory_that_it_may_not_have_ends_it_as_oom(linux):
    assert (
        linux(
            "run", "--name", "big", "-m", "16m", "--entrypoint", "/bin/busybox", "box", "tail", "/dev/zero"
        ).returncode
        == 137
    )
    big = inspect(linux, "big")
    assert big["State"]["OOMKilled"] is True, (big["State"], what_the_kernel_said_of(big["Id"]))


def test_it_has_a_network_of_its_own_or_the_hosts(linux):
    script = "busybox grep -c : /proc/net/dev; busybox ping -c 1 -q localhost >&2 && echo itself"
    assert linux.ok("run", "--rm", "box", script) == "1\nitself\n"
    assert linux.ok("run", "--rm", "--network", "host", "box", "busybox readlink /proc/self/ns/net") == (
        os.readlink("/proc/self/ns/net") + "\n"
    )
    refused = linux("run", "--rm", "-p", "80", "box")
    assert refused.returncode == 125
    assert "--network host" in refused.stderr


@pytest.mark.parametrize(
    "flags", [("--fuel", "5"), ("--timeout", "1"), ("--waive", "cgroup"), ("--max-stack", "1m")]
)
def test_what_only_wasm_has_is_refused(linux, flags):
    refused = linux("run", "--rm", *flags, "box")
    assert refused.returncode == 125
    assert f"{flags[0]} is for WebAssembly" in refused.stderr
    assert linux.ok("ps", "-aq") == ""


def test_an_init_is_refused(linux):
    refused = linux("run", "--rm", "--init", "box")
    assert refused.returncode == 125
    assert "--init cannot be had" in refused.stderr


def test_without_a_runtime_the_fix_is_named(linux):
    refused = linux("run", "--rm", "box", env={"SAMPAN_LINUX_RUNTIME": "no-such-runtime"})
    assert refused.returncode == 125
    assert "install runc" in refused.stderr


def test_input_and_a_terminal(linux):
    done = linux("run", "--rm", "-i", "box", "busybox cat; exit 3", stdin=b"typed")
    assert (done.returncode, done.stdout) == (3, "typed")
    terminal = Terminal(linux, "run", "--rm", "-it", "box", "busybox tty; read line; echo got $line; exit 4")
    terminal.until(b"/dev/pts/0")
    terminal.type(b"words\n")
    terminal.until(b"got words")
    assert terminal.end() == 4


def test_exec_and_cp(linux):
    linux.ok("run", "-d", "--name", "life", "box", OBEYS)
    script = "busybox cat; echo $B $PLACE; busybox pwd; exit 5"
    done = linux("exec", "-i", "-e", "B=2", "-w", "/etc", "life", "/bin/sh", "-c", script, stdin=b"in\n")
    assert (done.returncode, done.stdout) == (5, "in\n2 image\n/etc\n")
    as_ann = "busybox id -u; busybox grep CapEff /proc/self/status"
    assert (
        linux.ok("exec", "-u", "ann", "life", "/bin/sh", "-c", as_ann) == "1000\nCapEff:\t0000000000000000\n"
    )
    missing = linux("exec", "life", "/bin/nothing")
    assert (missing.returncode, missing.stderr.count("\n")) == (127, 1)
    assert linux("exec", "life", "/bin/data").returncode == 126
    linux.ok("exec", "-d", "life", "/bin/sh", "-c", "echo made > /made")
    until(lambda: linux("exec", "life", "/bin/busybox", "cat", "/made").stdout == "made\n")
    terminal = Terminal(linux, "exec", "-it", "life", "/bin/sh", "-c", "busybox tty; exit 6")
    assert terminal.end() == 6
    assert b"/dev/pts/" in terminal.shown
    linux.ok("cp", "life:/made", "out")
    (linux.folder / "given").write_text("from outside")
    linux.ok("cp", "given", "life:/tmp-file")
    assert linux.ok("exec", "life", "/bin/busybox", "cat", "/tmp-file") == "from outside"
    linux.ok("stop", "life")
    linux.ok("cp", "life:/tmp-file", "back")
    assert (linux.folder / "back").read_text() == "from outside"
    assert (linux.folder / "out").read_text() == "made\n"


def test_its_restart_policy_is_kept(linux):
    linux.ok("run", "-d", "--name", "again", "--restart", "on-failure:2", "box", "echo try; exit 3")
    until(lambda: linux.ok("logs", "again").count("try") == 3)
    until(lambda: inspect(linux, "again")["State"]["Status"] == "exited")
    assert inspect(linux, "again")["State"]["ExitCode"] == 3


def test_rm_f_and_rm_leave_nothing(linux):
    linux.ok("run", "-d", "--name", "life", "box", OBEYS)
    until_said(linux, "life", "up")
    pid = program_of(linux, "life")
    linux.ok("rm", "-f", "life")
    assert not runs(pid)
    linux.ok("run", "-d", "--rm", "box", "exit 0")
    until(lambda: linux.ok("ps", "-aq") == "")
    until(lambda: remains(linux) == [])


def test_when_its_process_is_killed_the_program_goes_with_it(linux):
    linux.ok("run", "-d", "--name", "orphan", "box", OBEYS)
    pid = program_of(linux, "orphan")
    os.kill(parent_of(pid), signal.SIGKILL)
    until(lambda: not runs(pid))
    assert inspect(linux, "orphan")["State"]["ExitCode"] == 137


def test_when_the_zygote_is_killed_too_the_next_start_or_rm_ends_the_program(linux):
    for end in (("start", "orphan"), ("rm", "-f", "orphan")):
        if "rm" in end:
            linux.ok("kill", "orphan")
            linux.ok("start", "orphan")
        else:
            linux.ok("run", "-d", "--name", "orphan", "box", OBEYS)
        pid = program_of(linux, "orphan")
        process = parent_of(pid)
        os.kill(parent_of(process), signal.SIGKILL)
        os.kill(process, signal.SIGKILL)
        until(lambda: not runs(process))  # noqa: B023 - called at once
        assert runs(pid)
        linux.ok(*end)
        until(lambda: not runs(pid))  # noqa: B023


def test_when_the_program_is_killed_that_is_its_end(linux):
    linux.ok("run", "-d", "--name", "life", "box", OBEYS)
    os.kill(program_of(linux, "life"), signal.SIGKILL)
    assert linux.ok("wait", "life") == "137\n"
    assert inspect(linux, "life")["State"]["OOMKilled"] is False


def test_S4_an_image_that_carries_its_own_runtime_runs_as_it_is(machine, archives):  # noqa: F811
    carries = next(path for path in archives if "carries" in str(path))
    machine.ok("load", "-i", str(carries))
    port = free_port()
    machine.ok("run", "-d", "--network", "host", "-e", f"PORT={port}", "--name", "carries", CARRIES)
    assert until(lambda: answer(port)) == "Hello from a Linux binary\n"
    assert machine.ok("logs", "carries") == "pid 1 serves /http-server.wasm\n"
    machine.ok("rm", "-f", "carries")
    assert remains(machine) == []


@pytest.fixture
def nobody():
    for user in plain_user():
        yield user
        user("rm", "-f", "life")


@NEEDED
def test_a_plain_user_is_root_in_it(nobody):
    context = nobody.home / "context"
    context.mkdir()
    shutil.copy(shutil.which("busybox"), context / "busybox")
    (context / "Dockerfile").write_text(DOCKERFILE.replace("COPY passwd group /etc/\n", ""))
    assert nobody("build", "-q", "-t", "box", str(context)).returncode == 0
    script = "busybox id -u; echo x > /x && busybox stat -c %u /x; busybox grep -c : /proc/net/dev; exit 5"
    done = nobody("run", "--rm", "box", script)
    assert (done.returncode, done.stdout) == (5, "0\n0\n1\n"), done.stderr
    assert nobody("run", "--rm", "--network", "host", "box", "exit 6").returncode == 6
    refused = nobody("run", "--rm", "-m", "64m", "box")
    assert refused.returncode == 125
    assert "--memory cannot be had" in refused.stderr
    assert nobody("run", "-d", "--name", "life", "box", OBEYS).returncode == 0
    nobody.until(lambda: "up" in nobody("logs", "life").stdout)
    assert nobody("exec", "life", "/bin/sh", "-c", "echo made > /made; busybox id -u").stdout == "0\n"
    assert nobody("cp", "life:/made", "out").returncode == 0
    assert (nobody.home / "out").read_text() == "made\n"
    pid = int(nobody("inspect", "-f", "{{.State.Pid}}", "life").stdout)
    os.kill(parent_of(pid), signal.SIGKILL)
    nobody.until(lambda: not runs(pid))
    assert nobody("start", "life").returncode == 0
    pid = int(nobody("inspect", "-f", "{{.State.Pid}}", "life").stdout)
    assert nobody("rm", "-f", "life").returncode == 0
    nobody.until(lambda: not runs(pid))
    assert os.listdir(nobody.home / "run" / "linux") == []
