"""From a `ContainerConfig` to a container and its spec, for WebAssembly and for Linux programs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from google.protobuf import descriptor, json_format
from google.protobuf.message import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.container import podshm
from sampan.container.bundle import check_spec
from sampan.core.errors import Invalid, SampanError, Unimplemented
from sampan.core.spec.checks import check_common
from sampan.core.spec.image import ContainerConfig
from sampan.core.spec.linuxchecks import check_linux
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import encode
from sampan.doors.cri.specs.translation import check_pod, make_container
from sampan.engine.code import wat_to_wasm

from .messages import CONTAINER_ID, HELLO, POD_ID, make_image, make_pod, make_rootfs, make_roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sampan.container.records import Container
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec

    from .conftest import PodWorld

BUSYBOX, RUNC = shutil.which("busybox"), shutil.which("runc")
NEEDS_LINUX = pytest.mark.skipif(
    os.geteuid() != 0 or not (RUNC and BUSYBOX), reason="needs root, runc and busybox"
)
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
GREET = (
    b'(module (func (export "greet") (param i32) (result i32) (local.get 0)) (memory (export "memory") 1))'
)
SANDBOX = {
    "metadata": {
        "name": "podsandbox12",
        "uid": "redhat-test-crio",
        "namespace": "redhat.test.crio",
        "attempt": 1,
    },
    "hostname": "crictl_host",
    "dns_config": {"searches": ["8.8.8.8"]},
    "linux": {
        "cgroup_parent": "pod_123-456.slice",
        "security_context": {
            "namespace_options": {"network": 0, "pid": 1, "ipc": 0},
            "selinux_options": {"user": "system_u", "type": "svirt_lxc_net_t"},
        },
    },
}
WASI = {
    "metadata": {"name": "podsandbox1-wasm-wasi"},
    "image": {"image": "hydai/wasm-wasi-example:latest"},
    "args": ["/wasi_example_main.wasm", "50000000"],
    "working_dir": "/",
    "labels": {"tier": "backend"},
    "linux": {
        "resources": {"memory_limit_in_bytes": 209715200, "cpu_period": 10000, "cpu_quota": 20000, "cpu_shares": 512,
                      "oom_score_adj": 30, "cpuset_cpus": "0", "cpuset_mems": "0"},
        "security_context": {"namespace_options": {"pid": 1}, "capabilities": {"add_capabilities": ["sys_admin"]}},
    },
}  # fmt: skip


class Maker:
    """Makes containers of one image in one pod."""

    def __init__(self, folder: Path) -> None:
        self.roots: Roots = make_roots(folder)
        self.rootfs = make_rootfs(folder)
        self.image = make_image(self.rootfs)
        self.pod = make_pod(self.roots)

    def set_image(self, config: ContainerConfig, *modules: str) -> None:
        self.image = make_image(self.rootfs, config, modules)

    def make(self, config: api.ContainerConfig | None = None, **fields: object) -> tuple[Container, Spec]:
        if config is None:
            metadata = api.ContainerMetadata(name="main")
            config = api.ContainerConfig(metadata=metadata, image={"image": "hello"}, **fields)  # type: ignore[arg-type]
        return make_container(self.pod, config, self.image, CONTAINER_ID, self.roots)

    def args(self, **fields: object) -> list[str]:
        process = self.make(**fields)[1].process
        assert process is not None
        return process.args

    def env(self, **fields: object) -> list[str]:
        process = self.make(**fields)[1].process
        assert process is not None
        return process.env


@pytest.fixture
def maker(tmp_path: Path) -> Iterator[Maker]:
    yield Maker(tmp_path)
    podshm.release(f"{tmp_path}/run/pods/{POD_ID}")


def test_S12_the_two_files_of_crictl(maker: Maker) -> None:
    Path(maker.rootfs, "wasi_example_main.wasm").write_bytes(wat_to_wasm(HELLO))
    maker.set_image(ContainerConfig(cmd=["/wasi_example_main.wasm"]))
    maker.pod = make_pod(maker.roots, json_format.ParseDict(SANDBOX, api.PodSandboxConfig()))
    container, spec = maker.make(json_format.ParseDict(WASI, api.ContainerConfig()))
    process, linux = spec.process, spec.linux
    assert process is not None and linux is not None and linux.resources is not None
    assert process.args == ["/wasi_example_main.wasm", "50000000"]
    assert process.env[1:] == ["HOME=/root", "HOSTNAME=crictl_host"]
    assert process.env[0].startswith("PATH=/")
    assert spec.hostname == "crictl_host"
    assert process.oom_score_adj == 30
    assert process.no_new_privileges
    assert linux.cgroups_path == f"/pod_123-456.slice/{CONTAINER_ID}"
    assert linux.resources.memory is not None and linux.resources.memory.limit == 209715200
    assert container.name == "k8s_podsandbox1-wasm-wasi_podsandbox12_redhat.test.crio_redhat-test-crio_1_0"
    assert (container.pod, container.linux_runtime, container.engine) == (POD_ID, "", "")
    assert container.labels == {"tier": "backend"}
    assert Path(f"{maker.roots.data}/pods/{POD_ID}/resolv.conf").read_text() == "search 8.8.8.8\n"


@pytest.mark.parametrize(
    ("command", "args", "words"),
    [
        ([], [], ["/entry.wasm", "cmd"]),
        ([], ["a", "b"], ["/entry.wasm", "a", "b"]),
        (["/hello.wasm"], [], ["/hello.wasm"]),
        (["/hello.wasm", "x"], ["a"], ["/hello.wasm", "x", "a"]),
    ],
)
def test_command_and_args_by_kubernetes_table(
    maker: Maker, command: list[str], args: list[str], words: list[str]
) -> None:
    maker.set_image(ContainerConfig(entrypoint=["/entry.wasm"], cmd=["cmd"]))
    assert maker.args(command=command, args=args) == words


def test_without_any_command_there_is_nothing_to_run(maker: Maker) -> None:
    maker.set_image(ContainerConfig())
    with pytest.raises(Invalid, match="no command"):
        maker.make()


def test_S13_a_command_that_names_a_function_of_the_only_module(maker: Maker) -> None:
    Path(maker.rootfs, "hello.wasm").write_bytes(wat_to_wasm(GREET))
    for config, modules in (
        (ContainerConfig(), ()),  # the only Wasm file of the image
        (ContainerConfig(cmd=["hello.wasm"], working_dir="/"), ()),
        (ContainerConfig(), ("/hello.wasm",)),
    ):
        maker.set_image(config, *modules)
        words = maker.args(command=["greet"], args=["5"])
        assert [words[0].lstrip("/"), *words[1:]] == ["hello.wasm#greet", "5"]


def test_S13_a_file_of_that_name_comes_first(maker: Maker) -> None:
    Path(maker.rootfs, "hello.wasm").write_bytes(wat_to_wasm(GREET))
    Path(maker.rootfs, "greet").write_bytes(wat_to_wasm(HELLO))
    maker.set_image(ContainerConfig(cmd=["/hello.wasm"]))
    assert maker.args(command=["greet"], args=["5"]) == ["greet", "5"]


@pytest.mark.parametrize("command", ["wave", "/greet", "memory", "./greet"])
def test_S13_what_is_no_function_stays_a_file_that_is_not_there(maker: Maker, command: str) -> None:
    Path(maker.rootfs, "hello.wasm").write_bytes(wat_to_wasm(GREET))
    assert maker.args(command=[command]) == [command]


def test_S13_of_two_modules_neither_is_the_only_one(maker: Maker) -> None:
    Path(maker.rootfs, "hello.wasm").write_bytes(wat_to_wasm(GREET))
    Path(maker.rootfs, "other.wasm").write_bytes(wat_to_wasm(GREET))
    maker.set_image(ContainerConfig())
    assert maker.args(command=["greet"]) == ["greet"]
    maker.set_image(ContainerConfig(entrypoint=["/other.wasm"]))
    assert maker.args(command=["greet"]) == ["/other.wasm#greet"]


def test_a_damaged_module_exports_nothing(maker: Maker) -> None:
    Path(maker.rootfs, "hello.wasm").write_bytes(wat_to_wasm(GREET)[:-20])
    assert maker.args(command=["greet"]) == ["greet"]


def test_the_last_value_of_a_variable_wins(maker: Maker) -> None:
    maker.set_image(ContainerConfig(cmd=["/hello.wasm"], env=["A=image", "HOME=/image", "HOSTNAME=image"]))
    envs = [{"key": "B", "value": b"1"}, {"key": "A", "value": b"pod"}, {"key": "B", "value": b"2"}]
    found = dict(entry.split("=", 1) for entry in maker.env(envs=envs))
    assert (found["A"], found["B"], found["HOME"]) == ("pod", "2", "/image")
    assert found["HOSTNAME"] == "crictl_host"
    assert "TERM" not in found
    assert "TERM=xterm" in maker.env(tty=True)
    assert "HOSTNAME=own" in maker.env(envs=[{"key": "HOSTNAME", "value": b"own"}])


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"command": ["a\0b"]}, r"command\[0\]"),
        ({"args": ["a", "b\0"]}, r"args\[1\]"),
        ({"envs": [{"key": "", "value": b""}]}, r"envs\[0\]\.key"),
        ({"envs": [{"key": "A=B", "value": b""}]}, r"envs\[0\]\.key"),
        ({"envs": [{"key": "A", "value": b"\xff"}]}, r"envs\[0\]\.value"),
        ({"envs": [{"key": "A", "value": b"\0"}]}, r"envs\[0\]\.value"),
        ({"working_dir": "relative"}, "working_dir"),
        ({"working_dir": "/\0"}, "working_dir"),
        ({"stop_signal": 4711}, "stop_signal"),
        ({"mounts": [{"container_path": "x"}]}, r"mounts\[0\]"),
        ({"linux": {"resources": {"cpu_quota": -5}}}, "cpu_quota"),
        ({"linux": {"security_context": {"run_as_user": {"value": -1}}}}, "run_as_user"),
        ({"linux": {"security_context": {"privileged": True}}}, "privileged"),
    ],
)
def test_a_value_that_means_nothing_is_refused_by_its_fields_name(
    maker: Maker, fields: dict[str, object], field: str
) -> None:
    with pytest.raises(Invalid, match=field):
        maker.make(**fields)


def test_a_wasm_workload_has_no_devices(maker: Maker) -> None:
    wish = {"container_path": "/dev/null", "host_path": "/dev/null", "permissions": "rw"}
    with pytest.raises(Unimplemented, match="devices"):
        maker.make(devices=[wish])
    with pytest.raises(Unimplemented, match="CDI"):
        maker.make(CDI_devices=[{"name": "vendor.com/gpu=0"}])


@pytest.mark.parametrize(
    ("of_pod", "of_image", "signal"),
    [
        (api.SIGNAL_RUNTIME_DEFAULT, "", 15),
        (api.SIGNAL_RUNTIME_DEFAULT, "SIGQUIT", 3),
        (api.SIGNAL_SIGUSR1, "SIGQUIT", 10),
        (api.SIGNAL_SIGRTMAXMINUS1, "", 63),
    ],
)
def test_the_stop_signal_is_the_pods_then_the_images(
    maker: Maker, of_pod: api.Signal, of_image: str, signal: int
) -> None:
    from sampan.core.signals import number_of

    maker.set_image(ContainerConfig(cmd=["/hello.wasm"], stop_signal=of_image))
    assert number_of(maker.make(stop_signal=of_pod)[0].stop_signal) == signal


def test_a_name_that_is_too_long_or_none_is_made_one(maker: Maker) -> None:
    def name_of(name: str) -> str:
        config = api.ContainerConfig(metadata={"name": name}, image={"image": "x"})
        return maker.make(config)[0].name

    long, longer = name_of("n" * 300), name_of("n" * 301)
    assert len(long) == len(longer) == 255
    assert long != longer
    assert name_of("a/b") != name_of("a-b")
    assert "/" not in name_of("a/b")


def test_a_module_gets_a_profile_of_the_node_and_no_other(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"defaultAction": "SCMP_ACT_ALLOW"}')
    for kind, path, action in ((0, "", ""), (1, "", ""), (2, f"{tmp_path}/p.json", "SCMP_ACT_ALLOW")):
        profile = {"profile_type": kind, "localhost_ref": path}
        _, spec = maker.make(linux={"security_context": {"seccomp": profile}})
        seccomp = spec.linux.seccomp if spec.linux is not None else None
        assert (seccomp.default_action if seccomp is not None else "") == action


@NEEDS_ROOT
def test_S15_a_linux_program_gets_what_containerd_gives_it(maker: Maker) -> None:
    context = {
        "seccomp": {"profile_type": 0},
        "no_new_privs": True,
        "masked_paths": ["/proc/kcore"],
        "readonly_rootfs": True,
    }
    container, spec = maker.make(command=["/bin/tool"], linux={"security_context": context})
    process, linux = spec.process, spec.linux
    assert process is not None and linux is not None
    assert container.linux_runtime
    assert container.engine == ""
    places = [mount.destination for mount in spec.mounts]
    assert {"/proc", "/sys", "/dev", "/dev/pts", "/dev/shm", "/etc/hosts"} <= set(places)
    assert places == sorted(places, key=lambda place: place.count("/"))
    shm = next(mount for mount in spec.mounts if mount.destination == "/dev/shm")
    assert os.path.ismount(shm.source)
    assert shm.source.startswith(f"{maker.roots.run}/pods/{POD_ID}/")
    assert process.no_new_privileges
    assert spec.root is not None and spec.root.readonly
    assert linux.masked_paths == ["/proc/kcore"]
    assert linux.seccomp is not None and linux.seccomp.default_action == "SCMP_ACT_ERRNO"
    allowed = {
        name for rule in linux.seccomp.syscalls if rule.action == "SCMP_ACT_ALLOW" for name in rule.names
    }
    assert "openat" in allowed
    assert not {"mount", "bpf", "kexec_load", "init_module", "reboot", "swapon", "setns"} & allowed
    assert linux.resources is not None and not linux.resources.devices[0].allow


@NEEDS_ROOT
def test_a_privileged_linux_program_has_the_hosts_devices_and_all_rights(maker: Maker) -> None:
    maker.pod = make_pod(maker.roots, api.PodSandboxConfig(linux={"security_context": {"privileged": True}}))
    _, spec = maker.make(command=["/bin/tool"], linux={"security_context": {"privileged": True}})
    process, linux = spec.process, spec.linux
    assert process is not None and process.capabilities is not None and linux is not None
    assert "CAP_SYS_ADMIN" in process.capabilities.effective
    assert linux.seccomp is None
    assert linux.resources is not None and linux.resources.devices[0].allow
    assert "/dev/null" in [device.path for device in linux.devices]


@NEEDS_ROOT
def test_a_linux_program_gets_a_device_where_it_wants_it(maker: Maker) -> None:
    wish = {"container_path": "/dev/mine", "host_path": "/dev/null", "permissions": "rw"}
    _, spec = maker.make(command=["/bin/tool"], devices=[wish])
    linux = spec.linux
    assert linux is not None and linux.resources is not None
    assert [(d.path, d.type, d.major, d.minor) for d in linux.devices] == [("/dev/mine", "c", 1, 3)]
    rule = linux.resources.devices[1]
    assert (rule.allow, rule.major, rule.minor, rule.access) == (True, 1, 3, "rw")
    for path in ("/etc/passwd", "/nowhere"):
        with pytest.raises(Invalid, match=r"devices\[0\]"):
            maker.make(command=["/bin/tool"], devices=[{**wish, "host_path": path}])
    with pytest.raises(Invalid, match="permissions"):
        maker.make(command=["/bin/tool"], devices=[{**wish, "permissions": "x"}])


@NEEDS_ROOT
def test_a_program_in_a_volume_is_told_from_a_module_there(maker: Maker, tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    (tmp_path / "volume" / "run").write_text("#!/bin/sh\n")
    (tmp_path / "volume" / "app").write_bytes(wat_to_wasm(HELLO))
    wish = {"container_path": "/v", "host_path": f"{tmp_path}/volume"}
    assert maker.make(command=["/v/run"], mounts=[wish])[0].linux_runtime
    assert not maker.make(command=["/v/app"], mounts=[wish])[0].linux_runtime


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"hostname": "h" * 65}, "hostname"),
        ({"hostname": "a\0"}, "hostname"),
        ({"hostname": "a\n127.0.0.1 b"}, "hostname"),
        ({"metadata": {"name": "a;b"}}, "K8S_POD_NAME"),
        ({"metadata": {"name": "a", "uid": "\0"}}, "K8S_POD_UID"),
        ({"port_mappings": [{"host_port": 80, "container_port": -1}]}, r"port_mappings\[0\]\.container_port"),
        ({"port_mappings": [{"host_port": 1 << 16, "container_port": 1}]}, r"port_mappings\[0\]\.host_port"),
        ({"port_mappings": [{"host_port": 1, "container_port": 1, "protocol": 9}]}, "protocol"),
        ({"port_mappings": [{"host_port": 1, "container_port": 1, "host_ip": "x"}]}, "host_ip"),
        ({"dns_config": {"searches": ["a b"]}}, "dns_config.searches"),
        ({"linux": {"cgroup_parent": "../.."}}, "cgroup_parent"),
        ({"linux": {"security_context": {"namespace_options": {"network": 7}}}}, "namespace_options.network"),
    ],
)
def test_a_sandbox_that_could_have_no_container_is_refused(config: dict[str, object], field: str) -> None:
    with pytest.raises(Invalid, match=field):
        check_pod(api.PodSandboxConfig(**config))  # type: ignore[arg-type]
    check_pod(json_format.ParseDict(SANDBOX, api.PodSandboxConfig()))


@NEEDS_ROOT
def test_S13_the_functions_result_is_in_the_log(
    world: PodWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = make_image(make_rootfs(tmp_path, {"hello.wasm": wat_to_wasm(GREET)}))
    monkeypatch.setattr(world.images, "resolve_for_container", lambda spec: image)
    pod_id = world.run_pod()
    container_id = world.start_new(pod_id, "4711", command=["greet"])
    status = world.ended(container_id)
    assert (status.exit_code, status.reason) == (0, "Completed")
    assert Path(status.log_path).read_text().endswith("stdout F 4711\n")
    refused = world.start_new(pod_id, "duizhangwww", command=["greet"], name="text")
    assert world.ended(refused).exit_code == 126


@pytest.fixture
def busybox(world: PodWorld, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PodWorld:
    """A node whose only image is a Linux one."""
    rootfs = tmp_path / "busybox"
    (rootfs / "bin").mkdir(parents=True)
    shutil.copy(str(BUSYBOX), rootfs / "bin" / "sh")
    for name in ("cat", "grep", "hostname", "id", "mkdir", "mount", "sleep", "tail"):
        os.link(rootfs / "bin" / "sh", rootfs / "bin" / name)
    image = make_image(str(rootfs), ContainerConfig(entrypoint=["/bin/sh", "-c"]))
    monkeypatch.setattr(world.images, "resolve_for_container", lambda spec: image)
    return world


def run_linux(
    world: PodWorld, pod_id: str, script: str, name: str, **fields: object
) -> tuple[api.ContainerStatus, str]:
    """The end of a Linux container, and what it printed."""
    container_id = world.start_new(pod_id, script, name=name, **fields)
    status = world.ended(container_id)
    lines = Path(status.log_path).read_text().splitlines()
    return status, "".join(f"{line.split(' ', 3)[3]}\n" for line in lines)


@NEEDS_LINUX
def test_S15_linux_containers_share_what_the_pod_has(busybox: PodWorld) -> None:
    world, pod_id = busybox, busybox.run_pod(hostname="crictl_host", dns_config={"servers": ["10.0.0.53"]})
    said = run_linux(world, pod_id, "hostname; cat /etc/hostname /etc/resolv.conf; echo $HOSTNAME", "a")[1]
    assert said == "crictl_host\ncrictl_host\nnameserver 10.0.0.53\ncrictl_host\n"
    world.start_new(pod_id, "echo shared > /dev/shm/x; sleep 60", name="b")
    script = "until cat /dev/shm/x 2>/dev/null; do sleep 0.02; done"
    assert run_linux(world, pod_id, script, "c")[1] == "shared\n"


@NEEDS_LINUX
def test_S15_a_linux_container_is_held_by_its_security_context(busybox: PodWorld) -> None:
    world, pod_id = busybox, busybox.run_pod()
    context = {
        "run_as_user": {"value": 1000},
        "run_as_group": {"value": 7},
        "supplemental_groups": [5],
        "readonly_rootfs": True,
        "no_new_privs": True,
        "seccomp": {"profile_type": 0},
        "capabilities": {"drop_capabilities": ["ALL"]},
    }
    script = "id; mkdir /new; grep -E 'CapBnd|NoNewPrivs|Seccomp:' /proc/self/status"
    said = run_linux(world, pod_id, script, "a", linux={"security_context": context})[1]
    assert "uid=1000 gid=7 groups=7,5" in said or "uid=1000 gid=7 groups=5" in said
    assert "Read-only file system" in said
    facts = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    assert (int(facts["CapBnd"], 16), facts["NoNewPrivs"], facts["Seccomp"]) == (0, "1", "2")


@NEEDS_LINUX
def test_what_a_privileged_container_mounts_is_on_the_host_where_that_is_asked_for(
    busybox: PodWorld, tmp_path: Path
) -> None:
    shared = tmp_path / "shared"
    (shared / "sub").mkdir(parents=True)
    subprocess.run(["mount", "--bind", shared, shared], check=True)
    try:
        subprocess.run(["mount", "--make-shared", shared], check=True)
        pod_id = busybox.run_pod(linux={"security_context": {"privileged": True}})
        wish = {
            "container_path": "/data",
            "host_path": str(shared),
            "propagation": api.PROPAGATION_BIDIRECTIONAL,
        }
        script = "mount -t tmpfs none /data/sub && echo here > /data/sub/file"
        context = {"security_context": {"privileged": True}}
        status, said = run_linux(busybox, pod_id, script, "a", mounts=[wish], linux=context)
        assert (status.exit_code, said) == (0, "")
        assert (shared / "sub" / "file").read_text() == "here\n"
    finally:
        subprocess.run(["umount", "-R", "-l", shared], check=True)


@NEEDS_LINUX
def test_S15_a_debugging_container_sees_its_target(busybox: PodWorld) -> None:
    world, pod_id = busybox, busybox.run_pod()
    target = world.start_new(pod_id, "exec sleep 4711", name="target")
    options = {"pid": api.TARGET, "target_id": target}
    said = run_linux(
        world,
        pod_id,
        "cat /proc/1/cmdline",
        "debug",
        linux={"security_context": {"namespace_options": options}},
    )[1]
    assert "4711" in said


@NEEDS_LINUX
def test_F15_a_linux_container_in_a_pods_cgroup_that_runs_out_of_memory_is_told_as_such(
    busybox: PodWorld,
) -> None:
    world = busybox
    parent = f"sampan_test_oom-{os.getpid()}"
    pod_id = world.run_pod(linux={"cgroup_parent": parent})
    limits = {"resources": {"memory_limit_in_bytes": 24 << 20}}
    status = run_linux(world, pod_id, "tail /dev/zero", "eater", linux=limits)[0]
    assert (status.exit_code, status.reason) == (137, "OOMKilled")
    world.remove_pod(pod_id)
    assert not [
        folder for folder in os.scandir("/sys/fs/cgroup") if os.path.exists(f"{folder.path}/{parent}")
    ]


TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["", "/", "..", "a\0b", "/hello.wasm", "/bin/tool", "greet", "ALL", "web", "x" * 5000, "0-1"]
    ),
)
NUMBERS = st.one_of(
    st.integers(-3, 3), st.sampled_from([-(1 << 63), (1 << 63) - 1, 1 << 31, 1 << 20, 512, 100000])
)


def messages(kind: descriptor.Descriptor, place: str) -> st.SearchStrategy[dict[str, object]]:
    """Any message of a kind, as json_format reads it; paths of the host stay in a folder of the test's own."""
    fields = {field.name: value(field, place) for field in kind.fields}
    return st.fixed_dictionaries({}, optional=fields)


CHOSEN = {
    "container_path": ["/data", "/data/in", "/", "/proc", "/dev/log", "/etc/hosts", "rel", "/a/..", "/x\0"],
    "working_dir": ["", "/", "/data", "/", "relative"],
    "command": ["/bin/tool", "/bin/tool", "/hello.wasm", "greet", "\0"],
    "key": ["A", "B", "HOME", "a.b", "", "A=B"],
    "permissions": ["rwm", "r", ""],
    "servers": ["10.0.0.1", "fd00::1", "a b"],
    "searches": ["svc", "svc.cluster", ""],
    "options": ["ndots:5", "a\nb"],
    "cgroup_parent": ["", "/kubepods/pod1", "pod.slice", "../x"],
    "drop_capabilities": ["ALL", "chown", "nothing"],
    "add_capabilities": ["ALL", "cap_SYS_ADMIN", "NET_RAW", "x"],
}
"""Values of fields that are more often good than texts at random would be."""


def value(field: descriptor.FieldDescriptor, place: str) -> st.SearchStrategy[object]:
    if field.name in ("host_path", "localhost_ref"):
        one: st.SearchStrategy[object] = st.sampled_from(
            [f"{place}/new", f"{place}/file", "rel", "", "/\0", "/dev/null"]
        )
    elif field.name in CHOSEN:
        one = st.sampled_from(CHOSEN[field.name])
    elif field.message_type is not None:
        if field.message_type.GetOptions().map_entry:
            return st.dictionaries(TEXTS, TEXTS, max_size=2)
        one = messages(field.message_type, place)
    elif field.enum_type is not None:
        one = st.integers(-1, 4)
    elif field.cpp_type == field.CPPTYPE_BOOL:
        one = st.booleans()
    elif field.cpp_type == field.CPPTYPE_STRING:
        one = TEXTS if field.type == field.TYPE_STRING else st.sampled_from(["", "AAAA", "/w=="])
    elif field.cpp_type in (field.CPPTYPE_INT32, field.CPPTYPE_UINT32):
        one = st.integers(0, (1 << 31) - 1)
    elif field.cpp_type == field.CPPTYPE_UINT64:
        one = st.integers(0, (1 << 64) - 1)
    else:
        one = NUMBERS
    return st.lists(one, max_size=3) if field.is_repeated else one


def without_surrogates(given: object) -> bool:
    try:
        json.dumps(given, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


@NEEDS_ROOT
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_config_gives_a_spec_that_can_be_followed_or_an_error_that_says_why(
    data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("any")
    (folder / "file").write_text("")
    maker = Maker(folder)
    config = parsed(data, api.ContainerConfig(), str(folder))
    sandbox = parsed(data, api.PodSandboxConfig(), str(folder))
    try:
        check_pod(sandbox)
        maker.pod = maker.pod.replace(config_bytes=encode(sandbox))
        container, spec = maker.make(config)
    except SampanError as error:
        assert error.message
    else:
        if container.linux_runtime:
            check_common(spec)
            check_linux(spec)
        else:
            check_spec(spec)
    finally:
        podshm.release(f"{folder}/run/pods/{POD_ID}")


def parsed(data: st.DataObject, message: Message, place: str) -> Message:
    given = data.draw(messages(message.DESCRIPTOR, place).filter(without_surrogates))
    return json_format.ParseDict(given, message)
