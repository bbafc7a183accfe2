"""`config.json` from strangers: read only as what it should be, and refused by the name of the field."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.container import bundle
from sampan.container.bundle import check_spec, read_annotation, read_bundle
from sampan.core.errors import Denied, Exhausted, Invalid, NotFound, SampanError
from sampan.core.spec.runtime import Spec

WHOLE = {
    "ociVersion": "1.0.2-dev",
    "process": {
        "args": ["/app.wasm", "serve"],
        "cwd": "/",
        "env": ["PATH=/bin", "EMPTY="],
        "user": {"uid": 1000, "gid": 1000, "umask": 18, "additionalGids": [5]},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 1024, "hard": 1024}],
        "capabilities": {"effective": ["CAP_OF_THE_FUTURE"]},
        "oomScoreAdj": -998,
        "consoleSize": {"height": 24, "width": 80},
    },
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
    "hooks": {"prestart": [{"path": "/bin/true", "timeout": 1}]},
    "annotations": {"io.kubernetes.cri.sandbox-id": "x"},
    "linux": {
        "namespaces": [{"type": t} for t in ("pid", "network", "ipc", "uts", "mount", "user")],
        "uidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
        "gidMappings": [{"containerID": 0, "hostID": 100000, "size": 65536}],
        "devices": [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 8630}],
        "cgroupsPath": "/docker/abc",
        "sysctl": {"net.ipv4.ip_forward": "1"},
        "resources": {
            "devices": [{"allow": False, "access": "rwm"}],
            "memory": {"limit": 1 << 28, "swap": 1 << 29},
            "cpu": {"shares": 1024, "quota": -1, "period": 100000, "cpus": "0-1,3"},
            "pids": {"limit": -1},
            "blockIO": {"weight": 0, "weightDevice": [{"major": 8, "minor": 0, "weight": 500}],
                        "throttleReadIOPSDevice": [{"major": 8, "minor": 0, "rate": 100}]},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}],
            "unified": {"memory.high": "max"},
        },
        "seccomp": {"defaultAction": "SCMP_ACT_ALLOW"},
        "maskedPaths": ["/proc/kcore"],
        "rootfsPropagation": "rslave",
    },
}  # fmt: skip


def changed(path, value):
    """The whole spec with one field set, or, for `...`, left out; numbers of lists are parts of the path."""
    document = json.loads(json.dumps(WHOLE))
    *above, last = path.split(".")
    at = document
    for part in above:
        at = at[int(part)] if part.isdigit() else at[part]
    key = int(last) if last.isdigit() and isinstance(at, list) else last
    if value is ...:
        del at[key]
    else:
        at[key] = value
    return document


def write(folder, document):
    (folder / "config.json").write_text(json.dumps(document))
    return str(folder)


def test_a_whole_spec_is_read_and_taken(tmp_path):
    spec = read_bundle(write(tmp_path, WHOLE))
    check_spec(spec)
    assert spec == Spec.from_json(WHOLE)


def test_the_least_spec_is_taken():
    check_spec(
        Spec.from_json({"ociVersion": "1.0.0", "process": {"args": ["a"], "cwd": "/"}, "root": {"path": "r"}})
    )


def test_C1_no_bundle_and_no_config(tmp_path):
    with pytest.raises(NotFound, match=r"specification file config\.json not found"):
        read_bundle(str(tmp_path))
    with pytest.raises(NotFound, match="no bundle"):
        read_bundle(str(tmp_path / "missing"))
    (tmp_path / "file").touch()
    with pytest.raises(Invalid, match="not a folder"):
        read_bundle(str(tmp_path / "file"))
    with pytest.raises(Invalid, match="NUL"):
        read_bundle("a\0b")


def test_C1_a_folder_a_fifo_a_socketless_device_and_a_link(tmp_path):
    for number, make in enumerate((
        os.mkdir, os.mkfifo, lambda path: os.symlink("/etc/passwd", path), lambda path: os.symlink("other", path),
    )):  # fmt: skip
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "other").write_text(json.dumps(WHOLE))
        make(folder / "config.json")
        with pytest.raises(Invalid, match=r"regular file|symbolic link"):
            read_bundle(str(folder))


def test_C1_too_large_empty_and_no_json(tmp_path):
    config = tmp_path / "config.json"
    with open(config, "wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(Exhausted, match="more than 4194304 bytes"):
        read_bundle(str(tmp_path))
    for text in (
        "",
        "{",
        "[]",
        '{"ociVersion": "1.0.0", "ociVersion": "1.0.0"}',
        '{"ociVersion": 1}',
        "{}",
        "\ufeff{}",
    ):
        config.write_text(text)
        with pytest.raises(Invalid, match=r"config\.json"):
            read_bundle(str(tmp_path))


def test_C1_a_config_that_may_not_be_read(tmp_path, monkeypatch):
    monkeypatch.setattr(
        os, "open", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "Permission denied"))
    )
    with pytest.raises(Denied):
        read_bundle(str(tmp_path))


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.1.0-rc.1", "1.2.0", "1.3.0+build.5"])
def test_C2_versions_that_are_read(version):
    check_spec(Spec.from_json(changed("ociVersion", version)))


REFUSED = {
    "C2": [
        *(("ociVersion", v) for v in ("2.0.0", "0.9.0", "", "1", "1.0", "1.0.0.0", "x", "1.x.0", "v1.0.0", "1.0.²")),
        ("ociVersion", "-1.0.0"), ("process", ...), ("root", ...), ("root.path", ""), ("root.path", "a\0b"),
    ],
    "C3": [("process.args", None), ("process.args", []), ("process.args", [""])],
    "C5": [
        ("process.args.1", "a\0b"), ("process.env.0", "A=a\0b"), ("process.cwd", "/a\0b"), ("process.args.1", "\ud800"),
        ("process.env.0", "A=\udfff"), ("hostname", "a\0b"), ("hostname", "h" * 65),
    ],
    "C6": [
        ("process.env.0", "NAME"), ("process.env.0", "=x"), ("process.env.0", ""),
        ("process.env", ["A=" + "x" * (2 << 20)]), ("process.env", ["AB=C"] * 1_000_000),
        ("process.args.1", "x" * (129 << 10)),
    ],
    "C11": [
        *(("mounts.0.destination", d) for d in ("/", "//", "/.", "/..", "/a/../..", "..", "a/b", "", "/a\0b")),
        ("mounts.0.destination", "/" + "a" * 5000),
        ("mounts", [{"destination": "/a"}] * 4097), ("mounts.0.source", "a\0b"), ("mounts.0.options", ["ro\0"]),
    ],
    "C14": [("process.cwd", c) for c in ("", "a", "./a", "/proc/self/fd/3", "/proc", "//proc/1", "/a/../../proc/1")],
    "C15": [
        ("hooks.prestart.0.path", "bin/true"), ("hooks.prestart.0.path", ""), ("hooks.prestart.0.timeout", 0),
        ("hooks.prestart.0.timeout", -1), ("hooks.prestart.0.args", ["a\0"]), ("hooks.prestart.0.env", ["a\0"]),
    ],
    "C16": [
        ("linux.cgroupsPath", "../x"), ("linux.cgroupsPath", "/a/../../b"), ("linux.cgroupsPath", "/" + "a" * 300),
        ("linux.cgroupsPath", "a\0"), *(("linux.resources.memory.limit", n) for n in (-2, 2**63, 10**100)),
        ("linux.resources.memory.swap", 1), ("linux.resources.cpu.shares", -1), ("linux.resources.cpu.quota", -2),
        ("linux.resources.cpu.period", 2**64), ("linux.resources.cpu.idle", 2), ("linux.resources.pids.limit", -2),
        *(("linux.resources.cpu.cpus", c) for c in ("a", "0-", "-1", "3-1", "0,,1", "0\n", "٣", "9" * 5000)),
        ("linux.resources.blockIO.weight", 9), ("linux.resources.blockIO.weight", 1001),
        ("linux.resources.blockIO.weightDevice.0.weight", -5), ("linux.resources.blockIO.weightDevice.0.major", -1),
        ("linux.resources.blockIO.throttleReadIOPSDevice.0.rate", -1),
        *(("linux.resources.hugepageLimits.0.pageSize", s) for s in ("", "2", "MB", "2XB", "../2MB", "2.MB")),
        *(("linux.resources.unified", {k: "1"}) for k in ("", "a/b", "..", ".x", "a\nb", "a\0")),
        ("linux.resources.devices.0.access", "rx"), ("linux.resources.devices.0.type", "p"),
        ("linux.resources.devices.0.major", -2), ("linux.resources.memory.limit", "max"),
    ],
    "C17": [("linux.seccomp.defaultAction", "SCMP_ACT_FOO")],
    "C18": [
        ("process.user.uid", -1), ("process.user.uid", 2**32 - 1), ("process.user.gid", 2**32),
        ("process.user.umask", 9999), ("process.user.umask", -1), ("process.user.additionalGids", [1] * 70_000),
        ("process.user.additionalGids", [-1]),
        ("process.rlimits.0.soft", 2048), ("process.rlimits.0.soft", -1), ("process.rlimits.0.hard", 2**64),
        ("process.rlimits.0.type", "RLIMIT_FOO"), ("process.rlimits.0.type", "NOFILE"),
        ("process.rlimits", WHOLE["process"]["rlimits"] * 2), ("process.oomScoreAdj", 1001),
        ("linux.uidMappings.0.size", 0), ("linux.gidMappings", WHOLE["linux"]["gidMappings"] * 2),
    ],
    "C19": [
        ("linux.namespaces.0.type", "pids"), ("linux.namespaces.0.type", "ipc"), ("linux.namespaces.0.path", "ns/pid"),
        ("linux.namespaces.0.path", "/a\0"), ("linux.uidMappings", ...), ("linux.gidMappings", []),
        ("linux.namespaces", [{"type": "uts"}]), ("linux.namespaces", []), ("linux.sysctl", {"vm.swappiness": "1"}),
    ],
    "C20": [("annotations", {"a": "x" * (1 << 20)}), ("annotations", {"": "x"}), ("annotations", {"a": "b\0"})],
    "C21": [("process.consoleSize.height", -1), ("process.consoleSize.width", 65536)],
    "others": [
        ("linux.devices.0.path", "dev/null"), ("linux.devices.0.type", "x"), ("linux.devices.0.minor", 2**20),
        ("linux.devices.0.uid", -1), ("linux.devices.0.fileMode", -1), ("linux.maskedPaths", ["proc"]),
        ("linux.readonlyPaths", [""]), ("linux.rootfsPropagation", "loud"), ("linux.mountLabel", "a\0"),
    ],
}  # fmt: skip
CASES = [pytest.param(path, value, id=f"{row}-{path}-{number}") for row, cases in REFUSED.items() for number, (path, value) in enumerate(cases)]  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("path", "value"), CASES)
def test_C2_C3_C5_C6_C11_C14_C15_C16_C17_C18_C19_C20_C21_is_refused_by_its_field(path, value):
    """Each refusal has the section, or the field's own name, in it."""
    with pytest.raises((Invalid, Exhausted)) as caught:
        check_spec(Spec.from_json(changed(path, value)))
    fields = [part for part in path.split(".") if not part.isdigit()]
    other = {"namespaces": "hostname uidMappings namespace", "sysctl": "sysctl", "swap": "swap"}
    assert any(
        name in str(caught.value) for name in (fields[-1], *other.get(fields[-1], "").split(), *fields[1:2])
    )


def test_C18_the_place_in_a_list_is_named():
    document = changed(
        "process.rlimits", [{"type": f"RLIMIT_{n}", "soft": 1, "hard": 1} for n in ("CPU", "AS", "CPU")]
    )
    with pytest.raises(Invalid, match=r"process\.rlimits\[2\]"):
        check_spec(Spec.from_json(document))


def test_C19_a_sysctl_of_a_namespace_that_is_joined_and_is_the_hosts(tmp_path):
    for path, taken in ((f"/proc/{os.getpid()}/ns/net", False), (f"/proc/{os.getpid()}/ns/uts", True)):
        spec = Spec.from_json(changed("linux.namespaces.1.path", path))
        if taken:
            check_spec(spec)  # another namespace: that it is of the wrong kind comes out when it is entered
            continue
        with pytest.raises(Invalid, match="host's network namespace"):
            check_spec(spec)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
paths = st.sampled_from(sorted({path for cases in REFUSED.values() for path, _ in cases}))


@given(paths, json_values)
@settings(max_examples=300)
def test_no_value_in_any_field_raises_anything_else(tmp_path_factory, path, value):
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    try:
        check_spec(read_bundle(write(folder, changed(path, value))))
    except SampanError as error:
        assert str(error)


@given(json_values | st.binary().map(lambda b: b.decode("latin-1")))
def test_no_document_raises_anything_else(tmp_path_factory, value):
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    text = value if isinstance(value, str) else json.dumps(value)
    (folder / bundle.CONFIG).write_text(text)
    with pytest.raises(SampanError):
        read_bundle(str(folder))


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ({"annotations": {"a": "b"}}, "b"),
        ({"annotations": {"a": 1}}, ""),
        ({"annotations": ["a"]}, ""),
        ({"annotations": {}}, ""),
        ({}, ""),
        ([], ""),
    ],
)
def test_one_annotation_of_whatever_there_is(tmp_path, document, value):
    (tmp_path / "config.json").write_text(json.dumps(document))
    assert read_annotation(str(tmp_path), "a") == value


def test_an_annotation_of_no_document_is_an_error(tmp_path):
    with pytest.raises(NotFound):
        read_annotation(str(tmp_path), "a")
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(Invalid):
        read_annotation(str(tmp_path), "a")
