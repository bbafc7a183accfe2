"""A pod's namespaces without a process: what is inside, that they last, and that they go; rows X9, X10."""

import gc
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import threading
import time

import pytest

from sampan.container.podspaces import is_held, make, release
from sampan.core.errors import Invalid, Precondition, SampanError

KINDS = ["net", "ipc", "uts"]
SOURCE = pathlib.Path(__file__).parents[2] / "src"

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "pods" / "p1"
    yield str(folder)
    release(str(folder))


def inside(path, *command):
    """What a program says that runs in the namespaces held in a folder."""
    spaces = [f"--{kind}={path}/{kind}" for kind in KINDS if os.path.exists(f"{path}/{kind}")]
    return subprocess.run(
        ["nsenter", *spaces, *command], capture_output=True, text=True, check=True
    ).stdout.strip()


def identity(path):
    state = os.stat(path)
    return state.st_dev, state.st_ino


def own():
    return {kind: identity(f"/proc/self/ns/{kind}") for kind in KINDS}


def held():
    return {line.split()[4] for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines()}


def test_they_are_new_and_this_process_stays_in_its_own(folder):
    before = own()
    paths = make(folder, KINDS, {}, "harbour")
    assert paths == {kind: f"{folder}/{kind}" for kind in KINDS}
    assert own() == before
    assert all(is_held(path) for path in paths.values())
    assert all(identity(paths[kind]) != before[kind] for kind in KINDS)


def test_the_host_name_the_sysctls_and_the_loopback_are_set_inside_alone(folder):
    host = os.uname().nodename
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1"}
    outside = inside(folder, "sysctl", "-n", *sysctls)
    make(folder, KINDS, sysctls, "harbour")
    assert inside(folder, "hostname") == "harbour"
    assert inside(folder, "sysctl", "-n", *sysctls).split() == ["81", "1"]
    assert "LOOPBACK,UP" in inside(folder, "ip", "link", "show", "lo")
    assert (os.uname().nodename, inside("/nowhere", "sysctl", "-n", *sysctls)) == (host, outside)


def test_without_a_network_namespace_there_is_none(folder):
    paths = make(folder, ["ipc", "uts"], {}, "")
    assert sorted(paths) == ["ipc", "uts"]
    assert inside(folder, "hostname") == os.uname().nodename
    assert not is_held(f"{folder}/net")


def test_they_outlive_the_process_that_made_them(folder):
    program = f"""
import os, sys
sys.path.insert(0, {str(SOURCE)!r})
from sampan.container.podspaces import make
make({folder!r}, {KINDS}, {{}}, "left")
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-I", "-c", program], check=False).returncode == -9
    assert inside(folder, "hostname") == "left"


def test_release_leaves_nothing_and_may_be_repeated(folder):
    make(folder, KINDS, {}, "harbour")
    release(folder)
    assert not any(path.startswith(folder) for path in held())
    assert not os.path.exists(folder)
    release(folder)


def test_a_released_network_is_gone_once_nobody_is_in_it(folder):
    make(folder, KINDS, {}, "")
    here, there = f"e{os.urandom(4).hex()}", f"e{os.urandom(4).hex()}"
    subprocess.run(
        ["ip", "link", "add", here, "type", "veth", "peer", there, "netns", f"{folder}/net"], check=True
    )
    assert here in [name for _, name in socket.if_nameindex()]
    release(folder)
    end = time.monotonic() + 10
    while here in [name for _, name in socket.if_nameindex()] and time.monotonic() < end:
        time.sleep(0.02)
    assert here not in [name for _, name in socket.if_nameindex()]


def test_other_files_of_the_folder_stay(folder):
    make(folder, KINDS, {}, "")
    note = pathlib.Path(folder, "hosts")
    note.write_text("127.0.0.1 localhost\n")
    release(folder)
    assert sorted(os.listdir(folder)) == ["hosts"]


def test_X9_after_a_reboot_the_files_are_there_and_nothing_is_on_them(folder):
    os.makedirs(folder)
    for kind in KINDS:
        pathlib.Path(folder, kind).touch()
    assert not any(is_held(f"{folder}/{kind}") for kind in KINDS)
    with pytest.raises(Precondition, match="release"):
        make(folder, KINDS, {}, "")
    release(folder)
    assert make(folder, KINDS, {}, "") and is_held(f"{folder}/net")


def test_F5_half_made_ones_are_released(folder):
    make(folder, ["net"], {}, "")
    pathlib.Path(folder, "ipc").touch()
    release(folder)
    assert not os.path.exists(folder)


def test_X10_a_namespace_that_somebody_unmounted_is_reported(folder):
    make(folder, KINDS, {}, "")
    subprocess.run(["umount", f"{folder}/net"], check=True)
    assert not is_held(f"{folder}/net") and is_held(f"{folder}/ipc")
    release(folder)
    assert not os.path.exists(folder)


def test_mounts_on_top_of_each_other_are_all_released(folder):
    make(folder, ["net"], {}, "")
    subprocess.run(["mount", "--bind", "/proc/self/ns/net", f"{folder}/net"], check=True)
    release(folder)
    assert not any(path.startswith(folder) for path in held())


@pytest.mark.parametrize("value", ["net", "/dev/null", "nothing"])
def test_what_is_no_namespace_is_not_held(tmp_path, value):
    path = tmp_path / value if not value.startswith("/") else value
    if value == "net":
        path.touch()
    assert not is_held(str(path))


@pytest.mark.parametrize(
    ("kinds", "sysctls", "hostname", "error"),
    [
        (KINDS, {"vm.swappiness": "1"}, "", Invalid),
        (["ipc", "uts"], {"net.ipv4.ip_forward": "1"}, "", Invalid),
        (KINDS, {"net.ipv4.ip_forward": "many"}, "", Invalid),
        (KINDS, {"net.no.such": "1"}, "", SampanError),
        (KINDS, {}, "h" * 65, Invalid),
        (KINDS, {}, "a\0b", Invalid),
    ],
)
def test_what_cannot_be_made_leaves_nothing(folder, kinds, sysctls, hostname, error):
    with pytest.raises(error):
        make(folder, kinds, sysctls, hostname)
    assert not os.path.exists(folder)
    assert not any(path.startswith(folder) for path in held())


def test_who_may_not_make_them_is_told(tmp_path):
    os.chmod(tmp_path, 0o777)
    program = f"""
import os, sys
sys.path.insert(0, {str(SOURCE)!r})
from sampan.container.podspaces import make
from sampan.core.errors import Denied
from sampan.linux import syscalls
syscalls.load()
os.chdir({str(tmp_path)!r})
os.setresuid(65534, 65534, 65534)
try:
    make("pod", ["net"], {{}}, "")
except Denied as error:
    print(os.path.exists("pod"))
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n", done.stderr


def test_other_mount_namespaces_get_them_too_as_plugins_in_containers_need(tmp_path):
    folder = f"{tmp_path}/run/p1"

    def python(call):
        source = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); from sampan.container.podspaces import *; {call}"
        return shlex.join([sys.executable, "-I", "-c", source])

    script = f"""
mkdir {tmp_path}/run && mount -t tmpfs run {tmp_path}/run && mount --make-shared {tmp_path}/run
unshare -m --propagation slave sleep 1000 & other=$!
until [ "$(cat /proc/$other/comm)" = sleep ]; do sleep 0.01; done
{python(f"make({folder!r}, ['net'], {{}}, '')")}
grep -c {folder}/net /proc/$other/mountinfo
{python(f"release({folder!r})")}
grep -c {folder}/net /proc/$other/mountinfo
kill $other
"""
    done = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True)
    assert done.stdout.split() == ["1", "0"], done.stderr


def test_X3_without_descriptors_what_is_held_is_seen_and_released(tmp_path):
    program = f"""
import os, resource, sys
sys.path.insert(0, {str(SOURCE)!r})
from sampan.container.podspaces import is_held, make, release
from sampan.core.errors import Exhausted
make("{tmp_path}/first", {KINDS}, {{}}, "")
make("{tmp_path}/warm", {KINDS}, {{}}, "")
release("{tmp_path}/warm")
lowest = os.dup(0)
for most in range(lowest, lowest + 20):
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, 4096))
    try:
        make("{tmp_path}/second", {KINDS}, {{}}, "")
        break
    except Exhausted:
        assert is_held("{tmp_path}/first/net")
        assert not os.path.exists("{tmp_path}/second")
resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, 4096))
held = [is_held("{tmp_path}/" + name) for name in ("first/net", "second/net", "third/net")]
release("{tmp_path}/first")
release("{tmp_path}/second")
print(most > lowest, held, os.path.exists("{tmp_path}/first"))
"""
    done = subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("True [True, True, False] False\n", 0), done.stderr


def test_many_at_once_are_all_different(tmp_path):
    folders = [str(tmp_path / f"p{number}") for number in range(16)]
    threads = [
        threading.Thread(target=make, args=(folder, KINDS, {}, f"h{folder[-2:]}")) for folder in folders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        assert len({identity(f"{folder}/net") for folder in folders}) == len(folders)
        assert [inside(folder, "hostname") for folder in folders] == [f"h{folder[-2:]}" for folder in folders]
    finally:
        for folder in folders:
            release(folder)


@pytest.mark.parametrize("switch", [gc.enable, gc.disable])
def test_the_collector_is_as_it_was(folder, switch):
    try:
        switch()
        before = gc.isenabled()
        make(folder, KINDS, {}, "")
        assert gc.isenabled() is before
    finally:
        gc.enable()
