"""Puts the record of a container into containerd, for images of which `ctr` makes none: ADDRESS NAMESPACE ID IMAGE."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "src"))

from sampan.doors.shim.layers_containerd import Containerd
from sampan.doors.shim.messages import Any
from sampan.wire.protobuf import STRING, Message, field, message


class Runtime(Message):
    name: str = field(1, STRING)


class Container(Message):
    id: str = field(1, STRING)
    image: str = field(3, STRING)
    runtime: Runtime | None = field(4, message(Runtime))
    spec: Any | None = field(5, message(Any))


class CreateRequest(Message):
    container: Container | None = field(1, message(Container))


address, namespace, container_id, image = sys.argv[1:]
spec = Any("types.containerd.io/opencontainers/runtime-spec/1/Spec", b"{}")
record = Container(container_id, image, Runtime("io.containerd.sampan.v1"), spec)
with Containerd(address, namespace) as containerd:
    containerd._call("containers.v1.Containers/Create", CreateRequest(record), container_id)
