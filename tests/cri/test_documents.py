"""Documents of pods and containers: written and read again, whatever their callers sent; row F10."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sampan.core.errors import DataLoss, NotFound, SampanError
from sampan.core.roots import Roots
from sampan.doors.cri import documents
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import Pod, PodContainer, encode

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SAME_FOLDER = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def roots(tmp_path: Path) -> Roots:
    (tmp_path / "pods/p").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    return Roots(str(tmp_path), str(tmp_path / "run"))


def pod(config: api.PodSandboxConfig, **fields: object) -> Pod:
    return Pod("p", documents.READY, 1, "boot", "wasm", "", encode(config), **fields)


@given(name=TEXT, labels=st.dictionaries(TEXT, TEXT), ips=st.lists(TEXT), data=st.binary(max_size=64))
@SAME_FOLDER
def test_a_pod_is_read_as_it_was_written(roots: Roots, name: str, labels, ips, data: bytes) -> None:
    config = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name=name, uid="u"), labels=labels)
    written = pod(config, ips=ips, spaces={"net": "/run/net"})
    documents.save_pod(roots, written)
    read = documents.load_pod(roots, "p")
    assert read == written
    assert read.config == config


def test_a_container_is_read_as_it_was_written_with_fields_that_are_not_known(roots: Roots) -> None:
    config = api.ContainerConfig.FromString(
        api.ContainerConfig(args=["a", "ä"], envs=[api.KeyValue(key="K", value=b"\xff")]).SerializeToString()
        + b"\xfa\x3f\x03new"
    )
    folder = f"{roots.data}/c"
    written = PodContainer("c", "p", 7, encode(config), user=3, groups=[4])
    documents.save_pod_container(folder, written)
    read = documents.load_pod_container(folder)
    assert read == written
    assert read.config.SerializeToString() == config.SerializeToString()


@given(
    data=st.binary(max_size=300) | st.builds(lambda n, b: (n, b), st.integers(0, 10**6), st.integers(0, 7))
)
@SAME_FOLDER
def test_F10_whatever_is_in_a_file_is_a_document_or_an_error_that_names_it(roots: Roots, data) -> None:
    path = Path(f"{roots.data}/pods/p/pod.json")
    config = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name="web"), labels={"a": "b"})
    documents.save_pod(roots, pod(config))
    if isinstance(data, tuple):  # one bit of a good one
        place, bit = data
        content = bytearray(path.read_bytes())
        content[place % len(content)] ^= 1 << bit
        data = bytes(content)
    path.write_bytes(data)
    try:
        documents.load_pod(roots, "p").config.SerializeToString()
    except DataLoss as error:
        assert str(path) in str(error)


def test_a_folder_without_a_document_and_the_document_of_another_are_told_apart(roots: Roots) -> None:
    with pytest.raises(NotFound):
        documents.load_pod(roots, "p")
    os.mkdir(f"{roots.data}/pods/q")
    documents.save_pod(roots, pod(api.PodSandboxConfig()))
    os.rename(f"{roots.data}/pods/p/pod.json", f"{roots.data}/pods/q/pod.json")
    with pytest.raises(DataLoss, match="another pod"):
        documents.load_pod(roots, "q")
    os.unlink(f"{roots.data}/pods/q/pod.json")
    os.mkdir(f"{roots.data}/pods/q/pod.json")
    with pytest.raises(SampanError):
        documents.load_pod(roots, "q")


def test_names_of_pods_differ_in_each_part() -> None:
    def name(**fields: object) -> str:
        whole = {"name": "n", "namespace": "s", "uid": "u", "attempt": 0, **fields}
        return documents.pod_name(api.PodSandboxMetadata(**whole))  # type: ignore[arg-type]

    assert len({name(), name(name="m"), name(namespace="t"), name(uid="v"), name(attempt=1)}) == 5
