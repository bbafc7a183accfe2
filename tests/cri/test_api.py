"""The generated messages are those of `runtime.proto`, and speak CRI's package name."""

import subprocess
import sys
from pathlib import Path

from sampan.doors.cri.api import runtime_pb2 as api

SOURCE = Path(__file__).parents[2] / "src"
PROTO = "sampan/doors/cri/api/runtime.proto"


def test_the_committed_messages_are_what_the_proto_file_says(tmp_path):
    options = [f"-I{SOURCE}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *options, PROTO], check=True)
    made = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    assert [path.name for path in made] == ["runtime_pb2.py", "runtime_pb2.pyi"]
    for path in made:
        assert path.read_text() == (SOURCE / path.relative_to(tmp_path)).read_text(), "run: make proto"


def test_each_call_has_messages_of_its_own():
    services = api.DESCRIPTOR.services_by_name
    assert sorted(service.full_name for service in services.values()) == [
        "runtime.v1.ImageService",
        "runtime.v1.RuntimeService",
    ]
    assert len(services["RuntimeService"].methods) == 37
    assert len(services["ImageService"].methods) == 6
    for service in services.values():
        for method in service.methods:
            assert hasattr(api, method.input_type.name) and hasattr(api, method.output_type.name)


def test_a_message_is_read_back_as_it_was_written():
    config = api.ContainerConfig(
        metadata=api.ContainerMetadata(name="c", attempt=2),
        envs=[api.KeyValue(key="A", value=b"\xff")],
        labels={"a": "b"},
        stop_signal=api.SIGNAL_SIGRTMINPLUS2,
    )
    wire = b"\n\x05\n\x01c\x10\x022\x06\n\x01A\x12\x01\xffJ\x06\n\x01a\x12\x01b\x90\x01%"
    assert config.SerializeToString() == wire
    assert api.ContainerConfig.FromString(config.SerializeToString()) == config
