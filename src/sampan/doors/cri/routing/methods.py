"""The calls of CRI v1 by their names, as the messages' own descriptors have them."""

from __future__ import annotations

import re

from sampan.doors.cri.api import runtime_pb2 as api

METHODS = {
    method.name: method for service in api.DESCRIPTOR.services_by_name.values() for method in service.methods
}
LISTS = {
    name: name.replace("Stream", "List", 1).replace("Sandboxes", "Sandbox")
    for name in METHODS
    if name.startswith("Stream")
}
"""A call with a stream of lists -> the call with one list."""


def full_name(name: str) -> str:
    """`/runtime.v1.ImageService/PullImage` of `PullImage`."""
    return f"/{METHODS[name].containing_service.full_name}/{name}"


def snake(name: str) -> str:
    """`run_pod_sandbox` of `RunPodSandbox`."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
