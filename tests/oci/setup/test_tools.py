"""The real tools accept what is written for them, and know the runtime by its name then."""

import json
import os
import subprocess
import sys
import tomllib

import pytest

from sampan.core.errors import Unavailable
from sampan.doors.oci.setup import tool as tool_module
from sampan.doors.oci.setup.actions import TOOLS, install, uninstall
from sampan.doors.oci.setup.files import Root
from sampan.doors.oci.setup.records import Options
from tests.oci.setup.conftest import RUNTIME

CONFIG = "/etc/containerd/config.toml"


def done(reports):
    (report,) = reports
    assert report.outcome in ("installed", "removed"), report
    return " ".join(report.messages)


def dumped(path):
    answer = subprocess.run(
        ["containerd", "--config", path, "config", "dump"], capture_output=True, check=True, timeout=60
    )
    return tomllib.loads(answer.stdout.decode())["plugins"]


@pytest.mark.parametrize(("version", "given"), [(1, True), (2, True), (2, False)])
def test_containerd_knows_the_runtime(image, need, version, given):
    need("containerd")
    plugin = {1: "cri", 2: "io.containerd.grpc.v1.cri"}[version]
    if given:
        header = f"version = {version}\n" if version > 1 else ""
        runc = f'[plugins."{plugin}".containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
        options = f'[plugins."{plugin}".containerd.runtimes.runc.options]\nSystemdCgroup = true\n'
        image.write(CONFIG, (header + runc + options).encode())
    assert "not checked" not in done(install(["containerd"], image.options))
    runtimes = dumped(image.at(CONFIG))["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    assert runtimes["sampan"]["runtime_type"] == "io.containerd.runc.v2"
    assert runtimes["sampan"]["options"]["BinaryName"] == RUNTIME
    assert runtimes["sampan"]["options"].get("SystemdCgroup", False) is given
    assert runtimes["sampan"]["pod_annotations"] == ["module.wasm.image/*", "run.oci.handler"]
    assert "runc" in runtimes
    done(uninstall(["containerd"], image.options))
    assert image.at(CONFIG).exists() == given


def test_containerd_with_its_whole_default_configuration(image, need):
    need("containerd")
    default = subprocess.run(
        ["containerd", "config", "default"], capture_output=True, check=True, timeout=60
    ).stdout
    image.write(CONFIG, default)
    done(install(["containerd"], image.options))
    assert "sampan" in dumped(image.at(CONFIG))["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    done(uninstall(["containerd"], image.options))
    assert image.read(CONFIG) == default


def test_the_cri_plugin_starts_with_the_written_file(image, need):
    """`config dump` takes a file whose default runtime is nowhere; the plugin does not, and then the node has none."""
    need("containerd")
    if os.geteuid() != 0:
        pytest.skip("containerd needs root")
    done(install(["containerd"], image.options))
    words = ["unshare", "-m", "containerd", "--config", str(image.at(CONFIG)), "--root", f"{image.folder}/r",
             "--state", f"{image.folder}/s", "--address", f"{image.folder}/a"]  # fmt: skip
    daemon = subprocess.Popen(words, stderr=subprocess.PIPE, text=True)
    try:
        said = next(
            line
            for line in daemon.stderr
            if "cri plugin" in line or "failed to load plugin io.containerd.grpc.v1.cri" in line
        )
    finally:
        daemon.terminate()
        daemon.wait(30)
        daemon.stderr.close()
    assert "Start cri plugin with config" in said
    assert RUNTIME in said


def test_a_default_runtime_that_is_nowhere_is_found_out(image, need):
    need("containerd")
    other = (
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.kata]\nruntime_type = "x"\n'
    )
    image.write(CONFIG, other)
    (report,) = install(["containerd"], image.options)
    assert "default_runtime_name" in report.messages[0]
    assert image.read(CONFIG) == other


def test_containerd_imports_that_hide_the_runtime_are_found_out(image, need):
    need("containerd")
    image.write(CONFIG, b'version = 2\nimports = ["more.toml"]\n')
    image.write(
        "/etc/containerd/more.toml",
        b'version = 2\n[plugins."io.containerd.grpc.v1.cri"]\nsandbox_image = "x"\n',
    )
    before = image.etc()
    (report,) = install(["containerd"], image.options)
    assert report.outcome == "failed"
    assert "imports" in report.messages[0]
    assert image.etc() == before


def test_what_containerd_does_not_accept_is_not_written(image, need):
    need("containerd")
    image.write(CONFIG, b'version = 2\noom_score = "high"\n')
    before = image.etc()
    (report,) = install(["containerd"], image.options)
    assert report.outcome == "failed"
    assert "containerd does not accept" in report.messages[0]
    assert image.etc() == before


def test_a_disabled_cri_plugin_is_said(image, need):
    need("containerd")
    image.write(CONFIG, b'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n')
    assert "Kubernetes will not see" in done(install(["containerd"], image.options))


@pytest.mark.parametrize(("says", "version"), [("v1.7.2", 2), ("1.6.20~ds1", 2), ("v2.0.1", 3), ("", 2)])
def test_a_new_file_has_the_version_of_the_installed_containerd(image, fake_tool, says, version):
    dump = 'for a; do case $a in /proc/*) cat $a;; esac; done; [ -e "$2" ] && cat $2; exit 0'
    fake_tool(
        "containerd",
        f'[ "$1" = --version ] && echo "containerd github.com/containerd/containerd {says} abc" && exit\n{dump}',
    )
    done(install(["containerd"], image.options))
    written = tomllib.loads(image.read(CONFIG).decode())
    assert written["version"] == version
    plugin = {2: "io.containerd.grpc.v1.cri", 3: "io.containerd.cri.v1.runtime"}[version]
    assert written["plugins"][plugin]["containerd"]["runtimes"]["sampan"]["options"] == {
        "BinaryName": RUNTIME
    }


def test_version_3_is_written_where_containerd_2_reads_it(image, no_tools):
    image.write(
        CONFIG,
        b"version = 3\n[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]\n"
        b"SystemdCgroup = true\n",
    )
    done(install(["containerd"], image.options))
    plugins = tomllib.loads(image.read(CONFIG).decode())["plugins"]
    assert list(plugins) == ["io.containerd.cri.v1.runtime"]
    runtime = plugins["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]["sampan"]
    assert runtime["options"] == {"BinaryName": RUNTIME, "SystemdCgroup": True}


def test_podman_knows_the_runtime(image, need, tmp_path):
    """With the file in the place where podman looks for it: in a mount namespace, over the host's /etc/containers."""
    need("podman")
    if os.geteuid() != 0:
        pytest.skip("mounts need root")
    assert "podman read the file" in done(install(["podman"], image.options.replace(runtime_path=RUNTIME)))
    fake = tmp_path / "sampan-oci"
    fake.write_text("#!/bin/sh\necho sampan-oci version 1\n")
    fake.chmod(0o755)
    drop_in = image.at("/etc/containers/containers.conf.d/sampan.conf")
    drop_in.write_text(drop_in.read_text().replace(RUNTIME, str(fake)))
    script = (
        f"mount --bind {image.at('/etc/containers')} /etc/containers\nmount -t tmpfs none /mnt\n"
        "podman --root /mnt/r --runroot /mnt/rr --tmpdir /mnt/t --storage-driver vfs --runtime sampan "
        "info --format '{{.Host.OCIRuntime.Path}}'"
    )
    words = ["unshare", "-m", "sh", "-ec", script]
    shown = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert shown.stdout.strip() == str(fake), shown.stderr


def test_podman_is_asked_by_name_where_the_root_is_this_one(need, tmp_path):
    need("podman")
    fake = tmp_path / "sampan-oci"
    fake.write_text("#!/bin/sh\nexit 0\n")
    fake.chmod(0o755)
    staged = tmp_path / "staged.conf"
    podman = TOOLS["podman"]
    staged.write_text(f'[engine.runtimes]\nsampan = ["{fake}"]\n')
    assert podman.check(str(staged), Options(runtime_path=str(fake)), present=True) == ""
    staged.write_text(f'[engine.runtimes]\nother = ["{fake}"]\n')
    with pytest.raises(Exception, match="podman does not accept"):
        podman.check(str(staged), Options(runtime_path=str(fake)), present=True)
    staged.write_text("[engine.runtimes]\nsampan = 3\n")
    with pytest.raises(Exception, match="podman does not accept"):
        podman.check(str(staged), Options(root="/x", runtime_path=str(fake)), present=True)


def test_dockerd_20_has_no_validation_and_it_is_said(image, fake_tool):
    fake_tool("dockerd", "[ $1 = --help ] && echo usage && exit; exit 1")
    assert "not validated" in done(install(["docker"], image.options))


def test_dockerd_that_can_validate_is_asked(image, fake_tool):
    fake_tool(
        "dockerd",
        '[ $1 = --help ] && echo "  --validate  x" && exit\n'
        '[ "$1 $2" = "--validate --config-file" ] && grep -q sampan "$3" || exit 3\n'
        'grep -q bad "$3" && echo "unable to configure: bad" >&2 && exit 1\necho configuration OK',
    )
    assert "validated" not in done(install(["docker"], image.options))
    uninstall(["docker"], image.options)
    image.write("/etc/docker/daemon.json", b'{"bad": 1}')
    (report,) = install(["docker"], image.options)
    assert report.messages == ["dockerd does not accept the changed configuration: unable to configure: bad"]
    assert image.read("/etc/docker/daemon.json") == b'{"bad": 1}'


def test_dockerd_starts_with_the_written_file(image, need):
    """Up to the point where it says what it has read: a runtime that it does not take ends it before."""
    need("dockerd")
    if os.geteuid() != 0:
        pytest.skip("dockerd needs root")
    image.write("/etc/docker/daemon.json", b'{"debug": true, "pidfile": "/proc/nowhere/pid"}')
    done(install(["docker"], image.options))
    state = image.folder / "state"
    words = [
        "unshare",
        "-m",
        "dockerd",
        "--config-file",
        str(image.at("/etc/docker/daemon.json")),
        "--data-root",
        f"{state}/data",
        "--exec-root",
        f"{state}/exec",
        "-H",
        f"unix://{state}/socket",
    ]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert "/proc/nowhere" in ended.stderr  # made after the configuration is read, and cannot be made
    image.write("/etc/docker/daemon.json", json.dumps({"runtimes": {"sampan": RUNTIME}}).encode())
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60)
    assert "cannot unmarshal" in ended.stderr


@pytest.mark.parametrize(
    ("says", "allowed"),
    [
        ("1.24.6", None),
        ("1.30.9", None),
        ("1.31.0", ["module.wasm.image/variant"]),
        ("2.0.0", ["module.wasm.image/variant"]),
    ],
)
def test_crio_gets_only_annotations_that_its_version_knows(image, fake_tool, says, allowed):
    fake_tool("crio", f'[ "$1" = --version ] && printf "crio version {says}\\nVersion: {says}\\n" && exit\n'
              '[ "$1 $3 $5" = "--config --config-dir config" ] && cat "$2"')  # fmt: skip
    assert "not checked" not in done(install(["crio"], image.options))
    written = tomllib.loads(image.read("/etc/crio/crio.conf.d/50-sampan.conf").decode())
    runtime = written["crio"]["runtime"]["runtimes"]["sampan"]
    assert runtime.pop("allowed_annotations", None) == allowed
    assert runtime == {"runtime_path": RUNTIME, "runtime_type": "oci", "runtime_root": "/run/sampan-oci"}


def test_what_crio_does_not_accept_is_not_written(image, fake_tool):
    fake_tool("crio", 'echo "level=fatal validating: no" >&2; exit 1')
    (report,) = install(["crio"], image.options)
    assert "crio does not accept" in report.messages[0]
    assert not image.at("/etc/crio").exists()


def test_dockerd_is_told_by_its_pid_file(image, tmp_path):
    fake = tmp_path / "dockerd"
    script = (
        "import signal, sys; open('/proc/self/comm', 'w').write('dockerd')\n"
        "signal.signal(1, lambda *_: sys.exit(7)); print('ready', flush=True); signal.pause()"
    )
    fake.write_text(script)
    child = subprocess.Popen([sys.executable, str(fake)], stdout=subprocess.PIPE)
    try:
        assert child.stdout.readline() == b"ready\n"
        image.write("/run/docker.pid", b"%d\n" % child.pid)
        with Root(image.options.root) as root:
            assert str(child.pid) in TOOLS["docker"].reload(root, image.options)
        assert child.wait(30) == 7
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def test_another_process_is_never_signalled(image):
    image.write("/run/docker.pid", b"%d" % os.getpid())
    with Root(image.options.root) as root, pytest.raises(Unavailable, match="does not run"):
        TOOLS["docker"].reload(root, image.options)


@pytest.mark.parametrize("tool", ["containerd", "crio"])
def test_services_of_this_host_are_left_alone_for_another_root(image, tool):
    with Root(image.options.root) as root, pytest.raises(Unavailable, match="cannot be told"):
        TOOLS[tool].reload(root, image.options)


def test_a_tool_that_hangs_is_given_up(monkeypatch, fake_tool, image):
    fake_tool("crio", "exec sleep 60")
    monkeypatch.setattr(tool_module, "TIMEOUT", 0.2)
    (report,) = install(["crio"], image.options)
    assert "did not answer" in report.messages[0]
    assert not image.at("/etc/crio").exists()
