"""Install and uninstall on roots in folders: nothing is lost, nothing is left, and what fails changes nothing."""

import json
import os
import stat
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.core.errors import Denied, Invalid, NotFound, SampanError
from sampan.doors.oci.setup import actions
from sampan.doors.oci.setup.actions import TOOLS, detect_tools, install, uninstall
from sampan.doors.oci.setup.files import Root
from tests.oci.setup import test_jsonedit, test_tomledit
from tests.oci.setup.conftest import RUNTIME, Image

FILES = {
    "docker": ("/etc/docker/daemon.json", b'{"debug": true,\n "runtimes": {"kata": {"path": "/k"}}}'),
    "podman": ("/etc/containers/containers.conf.d/sampan.conf", b"[engine]\nevents_logger = 'file' # mine\n"),
    "containerd": ("/etc/containerd/config.toml", b"version = 2\n# mine\n[debug]\nlevel = 'info'"),
    "crio": ("/etc/crio/crio.conf.d/50-sampan.conf", b"[crio.api]\nlisten = '/run/x'\n"),
}
pytestmark = pytest.mark.usefixtures("no_tools")


def only(reports):
    (report,) = reports
    return report


@pytest.mark.parametrize("tool", TOOLS)
def test_F26_fifty_rounds_on_a_missing_file_leave_nothing(image, tool):
    before = image.etc()
    for _ in range(50):
        assert only(install([tool], image.options)).outcome == "installed"
        assert RUNTIME.encode() in image.read(FILES[tool][0])
        assert only(uninstall([tool], image.options)).outcome == "removed"
        assert image.etc() == before


@pytest.mark.parametrize("tool", TOOLS)
def test_F26_fifty_rounds_on_a_file_leave_its_bytes_mode_and_owner(image, tool):
    path, data = FILES[tool]
    image.write(path, data, 0o640)
    if os.geteuid() == 0:
        os.chown(image.at(path), 12, 34)
    before = image.etc()
    for _ in range(50):
        install([tool], image.options)
        seen, backup = image.at(path).stat(), image.at(f"{path}.sampan-backup")
        assert (stat.S_IMODE(seen.st_mode), seen.st_uid) == (0o640, image.at(path).stat().st_uid)
        assert backup.read_bytes() == data
        assert backup.stat()[:1] + backup.stat()[4:6] == seen[:1] + seen[4:6]
        uninstall([tool], image.options)
        assert image.etc() == before


@pytest.mark.parametrize("tool", TOOLS)
def test_twice_is_as_once(image, tool):
    install([tool], image.options)
    once = image.etc()
    assert only(install([tool], image.options)).outcome == "unchanged"
    assert image.etc() == once
    uninstall([tool], image.options)
    assert only(uninstall([tool], image.options)).outcome == "not installed"


quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)


def round_trip(folder, tool, data):
    image = Image(folder)
    path = FILES[tool][0]
    image.write(path, data)
    before = image.etc()
    assert only(install([tool], image.options)).outcome == "installed"
    assert only(uninstall([tool], image.options)).outcome == "removed"
    assert image.etc() == before


@quick
@given(test_jsonedit.documents, test_jsonedit.layouts)
def test_any_json_comes_back_to_the_byte(tmp_path_factory, document, indent):
    round_trip(tmp_path_factory.mktemp("root"), "docker", json.dumps(document, indent=indent).encode())


@quick
@given(test_tomledit.others, test_tomledit.plugins, st.sampled_from([2, 3]))
def test_any_toml_comes_back_to_the_byte(tmp_path_factory, other, plugin, version):
    text = test_tomledit.written({**other, "version": version}, plugin)
    round_trip(tmp_path_factory.mktemp("root"), "containerd", text.encode())


@pytest.mark.parametrize(
    ("tool", "old", "new"),
    [
        ("docker", b'"debug": true', b'"debug": false'),
        ("containerd", b"'info'", b"'warn'"),
        ("podman", b"'file'", b"'none'"),
        ("crio", b"/run/x", b"/run/y"),
    ],
)
def test_of_an_edited_file_only_our_entry_goes(image, tool, old, new):
    path, data = FILES[tool]
    image.write(path, data)
    install([tool], image.options)
    image.write(path, image.read(path).replace(old, new))
    report = only(uninstall([tool], image.options))
    assert "edited since install" in report.messages[-1]
    assert image.read(path).rstrip() == data.replace(old, new).rstrip()
    assert not image.at(f"{path}.sampan-backup").exists()


def test_a_file_of_ours_that_got_more_is_kept(image):
    install(["containerd"], image.options)
    path = FILES["containerd"][0]
    image.write(path, image.read(path) + b"[debug]\nlevel = 'info'\n")
    uninstall(["containerd"], image.options)
    assert image.read(path) == b"version = 2\n[debug]\nlevel = 'info'\n"


def test_without_the_backup_only_our_entry_goes(image):
    path, data = FILES["docker"]
    image.write(path, data)
    install(["docker"], image.options)
    image.at(f"{path}.sampan-backup").unlink()
    uninstall(["docker"], image.options)
    assert image.read(path) == data


def test_a_removed_file_stays_removed(image):
    path, data = FILES["docker"]
    image.write(path, data)
    install(["docker"], image.options)
    image.at(path).unlink()
    assert only(uninstall(["docker"], image.options)).outcome == "removed"
    assert not image.at(path).exists()
    assert image.read(f"{path}.sampan-backup") == data


def test_a_new_path_replaces_the_old_and_undo_is_still_exact(image):
    path, data = FILES["containerd"]
    image.write(path, data)
    before = image.etc()
    install(["containerd"], image.options)
    image.write("/opt/sampan-oci", b"#!/bin/sh\n", 0o755)
    assert (
        only(install(["containerd"], image.options.replace(runtime_path="/opt/sampan-oci"))).outcome
        == "installed"
    )
    assert b"/opt/sampan-oci" in image.read(path)
    assert RUNTIME.encode() not in image.read(path)
    uninstall(["containerd"], image.options)
    assert image.etc() == before


@pytest.mark.parametrize("first", ["one", "two"])
def test_two_names_go_in_any_order(image, first):
    path, data = FILES["docker"]
    image.write(path, data)
    one, two = image.options.replace(name="one"), image.options.replace(name="two")
    install(["docker"], one)
    install(["docker"], two)
    assert set(json.loads(image.read(path))["runtimes"]) == {"kata", "one", "two"}
    for options in (one, two) if first == "one" else (two, one):
        uninstall(["docker"], options)
    assert image.read(path) == data
    assert os.listdir(image.at("/etc/docker")) == ["daemon.json"]


@pytest.mark.parametrize(
    ("tool", "data"),
    [
        ("docker", b'{"runtimes": '),
        ("docker", b'{"runtimes": []}'),
        ("docker", b"\xff"),
        ("containerd", b"version = \n"),
        ("containerd", b"version = 4\n"),
        ("containerd", b"version = '2'\n"),
        ("containerd", b"version = 2\nplugins = 3\n"),
        ("podman", b"[[engine]]\n"),
        ("crio", b"crio = 1\n"),
        ("docker", b'{"runtimes": {"sampan": {"path": "/opt/mine"}}}'),
    ],
)
def test_what_cannot_be_edited_is_named_and_not_touched(image, tool, data):
    path = FILES[tool][0]
    image.write(path, data)
    before = image.etc()
    report = only(install([tool], image.options))
    assert report.outcome == "failed"
    assert path in report.messages[0]
    assert image.etc() == before


def test_one_broken_tool_does_not_hold_up_the_others(image):
    image.write("/etc/docker/daemon.json", b"{")
    outcomes = [r.outcome for r in install(["docker", "podman"], image.options)]
    assert outcomes == ["failed", "installed"]


def test_what_the_tool_refuses_is_not_written(image, monkeypatch):
    image.write(*FILES["containerd"])
    before = image.etc()

    def refuse(self, staged, options, *, present):
        with open(staged) as file:
            assert RUNTIME in file.read()
        raise Invalid("containerd does not accept it")

    monkeypatch.setattr(type(TOOLS["containerd"]), "check", refuse)
    assert only(install(["containerd"], image.options)).messages == ["containerd does not accept it"]
    assert image.etc() == before


def test_a_link_is_followed_inside_the_root_and_stays_a_link(image):
    image.write("/opt/real.toml", b"version = 2\n")
    image.at("/etc/containerd").mkdir()
    image.at("/etc/containerd/config.toml").symlink_to("/opt/real.toml")
    report = only(install(["containerd"], image.options))
    assert report.path == "/opt/real.toml"
    assert image.at("/etc/containerd/config.toml").is_symlink()
    assert RUNTIME.encode() in image.read("/opt/real.toml")
    assert not os.path.exists("/opt/real.toml")
    uninstall(["containerd"], image.options)
    assert image.read("/opt/real.toml") == b"version = 2\n"
    assert os.listdir(image.at("/opt")) == ["real.toml"]


def test_a_link_that_goes_round_is_refused(image):
    image.at("/etc/docker").mkdir()
    image.at("/etc/docker/daemon.json").symlink_to("daemon.json")
    assert only(install(["docker"], image.options)).outcome == "failed"


def test_a_configuration_that_is_no_file_is_refused(image):
    image.at("/etc/docker/daemon.json").mkdir(parents=True)
    before = image.etc()
    assert "folder" in only(install(["docker"], image.options)).messages[0]
    assert image.etc() == before


def test_dry_run_shows_and_changes_nothing(image):
    image.write(*FILES["docker"])
    before = set(image.folder.rglob("*"))
    report = only(install(["docker"], image.options.replace(dry_run=True)))
    assert report.outcome == "would change"
    assert "+" in report.diff
    assert RUNTIME in report.diff
    assert set(image.folder.rglob("*")) == before


def test_a_default_runtime_is_not_taken_away(image):
    install(["docker"], image.options)
    path = FILES["docker"][0]
    image.write(path, json.dumps({**json.loads(image.read(path)), "default-runtime": "sampan"}).encode())
    before = image.etc()
    assert "default runtime" in only(uninstall(["docker"], image.options)).messages[0]
    assert image.etc() == before


def test_without_memory_our_runtime_is_known_by_its_program(image):
    path, data = FILES["docker"]
    image.write(path, data)
    install(["docker"], image.options)
    for kept in image.at("/var/lib/sampan/setup").glob("*.json"):
        kept.unlink()
    assert only(install(["docker"], image.options)).outcome == "unchanged"
    assert only(uninstall(["docker"], image.options)).outcome == "removed"
    assert json.loads(image.read(path)) == json.loads(data)


def test_anothers_runtime_is_not_taken_out(image):
    image.write("/etc/docker/daemon.json", b'{"runtimes": {"sampan": {"path": "/opt/mine"}}}')
    before = image.etc()
    assert only(uninstall(["docker"], image.options)).outcome == "failed"
    assert image.etc() == before


KILLED = """
import os, sys
from sampan.doors.oci.setup import actions, files, tool
from sampan.doors.oci.setup.records import Options
tool.find_program = lambda name: ""
left = int(sys.argv[3])
def dying(method):
    def step(*args, **kwargs):
        global left
        if left == 0:
            os._exit(9)
        left -= 1
        return method(*args, **kwargs)
    return step
for name in ("write", "remove", "remove_folders"):
    setattr(files.Root, name, dying(getattr(files.Root, name)))
options = Options(root=sys.argv[1], runtime_path=sys.argv[4])
reports = getattr(actions, sys.argv[2])(["containerd"], options)
assert reports[0].outcome in ("installed", "removed"), reports
"""


@pytest.mark.parametrize("existed", [True, False])
@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_F26_killed_before_any_write_the_next_uninstall_is_exact(image, tmp_path, action, existed):
    if existed:
        image.write(*FILES["containerd"])
    before = image.etc()
    for step in range(9):
        if action == "uninstall":
            install(["containerd"], image.options)
        done = subprocess.run(
            [sys.executable, "-c", KILLED, str(image.folder), action, str(step), RUNTIME],
            timeout=60,
            env={**os.environ, "TMPDIR": str(tmp_path)},
        )
        uninstall(["containerd"], image.options)
        left = {name: value for name, value in image.etc().items() if "/.tmp-" not in name}
        assert left == before
        if done.returncode == 0:
            assert step > 0
            return
        assert done.returncode == 9
    raise AssertionError("it never got through")


def test_no_permission_is_said_and_nothing_changes(image):
    image.write(*FILES["docker"])
    image.folder.chmod(0o755)
    image.at("/var").mkdir()
    before = image.etc()
    script = (
        "import os, subprocess, sys, tempfile\n"
        "from sampan.linux import syscalls\n"
        "from sampan.doors.oci.setup import actions\n"
        "from sampan.doors.oci.setup.records import Options\n"
        "syscalls.load(); os.chdir(sys.argv[1])\n"
        "os.geteuid() or (os.setgroups([]), os.setuid(65534))\n"
        "report = actions.install(['docker'], Options(root='.', runtime_path=sys.argv[2]))[0]\n"
        "print(report.outcome, report.messages[0])"
    )
    image.at("/var").chmod(0o555)
    done = subprocess.run(
        [sys.executable, "-c", script, str(image.folder), RUNTIME], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.startswith("failed "), done.stderr
    assert "ermission" in done.stdout
    assert image.etc() == before


@pytest.mark.parametrize("existed", [True, False])
def test_a_failed_write_leaves_neither_backup_nor_memory(image, monkeypatch, existed):
    path, data = FILES["docker"]
    if existed:
        image.write(path, data)
    before = image.etc()
    write = Root.write

    def refuse(self, name, *rest):
        if name == path:
            os.mkdir(image.at(path).parent) if not existed else None
            raise Denied(f"cannot write {name!r}: Read-only file system")
        return write(self, name, *rest)

    monkeypatch.setattr(Root, "write", refuse)
    (report,) = install(["docker"], image.options)
    assert (report.outcome, "Read-only" in report.messages[0]) == ("failed", True)
    assert image.etc() == before
    assert only(uninstall(["docker"], image.options)).outcome == "not installed"


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts need root")
def test_a_read_only_etc_is_said(image):
    image.write(*FILES["containerd"])
    script = (
        "import sys\nfrom sampan.doors.oci.setup import actions, tool\n"
        "from sampan.doors.oci.setup.records import Options\n"
        "for name in actions.TOOLS:\n"
        "    report = actions.install([name], Options(root=sys.argv[1], runtime_path=sys.argv[2]))[0]\n"
        "    print(report.outcome, report.messages[0])"
    )
    etc = image.at("/etc")
    mount = f"mount --bind {etc} {etc} && mount -o remount,bind,ro {etc}"
    before = image.etc()
    inside = [sys.executable, "-c", script, str(image.folder), RUNTIME]
    words = ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *inside]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    lines = done.stdout.splitlines()
    assert len(lines) == 4, done.stderr
    assert all(line.startswith("failed ") and "Read-only file system" in line for line in lines), lines
    assert image.etc() == before
    assert os.listdir(image.at("/var/lib/sampan/setup")) == ["lock"]


@pytest.mark.parametrize("name", ["", "-a", "a-", "A", "a.b", "a/b", "a b", "runc", "crun", "é", "x" * 64])
def test_impossible_names_are_refused(image, name):
    with pytest.raises(Invalid, match="name"):
        install(["docker"], image.options.replace(name=name))
    with pytest.raises(Invalid, match="name"):
        uninstall(["docker"], image.options.replace(name=name))


def test_the_runtime_must_be_there(image):
    with pytest.raises(NotFound, match="/nowhere"):
        install(["docker"], image.options.replace(runtime_path="/nowhere"))
    with pytest.raises(NotFound):
        install(["docker"], image.options.replace(runtime_path="/etc"))
    with pytest.raises(Invalid, match="absolute"):
        install(["docker"], image.options.replace(runtime_path="sampan-oci"))


def test_unknown_tools_and_roots_are_refused(image):
    with pytest.raises(Invalid, match="rkt"):
        install(["docker", "rkt"], image.options)
    assert not image.at("/etc/docker").exists()
    with pytest.raises(SampanError):
        install(["docker"], image.options.replace(root="/nowhere/at/all"))


def test_tools_are_found_in_the_root(image):
    assert detect_tools(image.options) == []
    image.write("/usr/sbin/dockerd", b"", 0o755)
    image.write("/usr/bin/crio", b"", 0o755)
    image.write("/usr/bin/podman", b"", 0o644)
    assert detect_tools(image.options) == ["docker", "crio"]


def test_a_daemon_that_does_not_come_back_gets_its_old_file(image, monkeypatch):
    image.write(*FILES["containerd"])
    before = image.etc()
    seen = []

    def reload(self, root, options):
        seen.append(root.read("/etc/containerd/config.toml").data)
        if RUNTIME.encode() in seen[-1]:
            raise actions.Precondition("containerd did not come back")
        return "told"

    monkeypatch.setattr(type(TOOLS["containerd"]), "reload", reload)
    report = only(install(["containerd"], image.options.replace(reload=True)))
    assert report.messages == ["containerd did not come back; the change was undone"]
    assert seen[-1] == FILES["containerd"][1]
    assert image.etc() == before
