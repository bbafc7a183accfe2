"""Status as far as it is ours: whether pods of our handlers can be run now, and what they can have."""

from __future__ import annotations

from collections.abc import Iterable

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.routing.merging import NETWORK_READY, RUNTIME_READY


def node_status(handlers: Iterable[str], is_ready: bool, trouble: str) -> api.StatusResponse:
    """The status of a node that runs pods of these handlers.

    Args:
        is_ready: whether pods can have a network now. trouble: why not, as a sentence.
    """
    network = api.RuntimeCondition(type=NETWORK_READY, status=is_ready, message=trouble)
    network.reason = "" if is_ready else "NetworkPluginNotReady"
    features = api.RuntimeHandlerFeatures(recursive_read_only_mounts=True)
    return api.StatusResponse(
        status=api.RuntimeStatus(conditions=[api.RuntimeCondition(type=RUNTIME_READY, status=True), network]),
        runtime_handlers=[api.RuntimeHandler(name=name, features=features) for name in handlers],
        features=api.RuntimeFeatures(supplemental_groups_policy=True, mount_options=True),
    )
