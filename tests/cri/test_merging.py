"""Two runtimes' answers as one."""

from __future__ import annotations

import pytest

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.routing import merging
from sampan.doors.cri.routing.nodestatus import node_status


def theirs(*, runtime: bool = True, network: bool = True) -> api.StatusResponse:
    conditions = [
        api.RuntimeCondition(type="RuntimeReady", status=runtime),
        api.RuntimeCondition(type="NetworkReady", status=network, reason="" if network else "Theirs"),
        api.RuntimeCondition(type="ContainerdHasNoDeprecationWarnings", status=True),
    ]
    return api.StatusResponse(
        status=api.RuntimeStatus(conditions=conditions),
        runtime_handlers=[api.RuntimeHandler(name=""), api.RuntimeHandler(name="wasm")],
        features=api.RuntimeFeatures(supplemental_groups_policy=True),
        info={"config": "{}"},
    )


def conditions(status: api.StatusResponse) -> dict[str, bool]:
    names = [condition.type for condition in status.status.conditions]
    assert len(names) == len(set(names))
    return {condition.type: condition.status for condition in status.status.conditions}


@pytest.mark.parametrize("ours", [True, False])
@pytest.mark.parametrize("behind", [True, False])
def test_pods_have_a_network_where_both_have_one(ours, behind):
    status = merging.status(node_status(["wasm"], ours, "no file"), theirs(network=behind), "")
    assert conditions(status)["NetworkReady"] is (ours and behind)


def test_the_runtime_behind_that_is_not_ready_is_told_beside_our_own_condition():
    status = conditions(merging.status(node_status(["wasm"], True, ""), theirs(runtime=False), ""))
    assert status["RuntimeReady"] and not status["UpstreamReady"]
    assert status["ContainerdHasNoDeprecationWarnings"]
    away = merging.status(node_status(["wasm"], True, ""), None, "nobody answers")
    assert conditions(away) == {"RuntimeReady": True, "NetworkReady": True, "UpstreamReady": False}
    assert away.status.conditions[2].message == "nobody answers"


def test_handlers_are_those_of_both_and_features_those_that_both_have():
    status = merging.status(node_status(["wasm"], True, ""), theirs(), "")
    assert [handler.name for handler in status.runtime_handlers] == ["wasm", ""]
    ours = api.RuntimeHandlerFeatures(
        recursive_read_only_mounts=True
    )  # and no user namespaces, which are refused
    assert status.runtime_handlers[0].features == ours
    assert status.features == api.RuntimeFeatures(supplemental_groups_policy=True)
    assert dict(status.info) == {"config": "{}"}


def test_a_metric_of_both_is_described_once():
    both = api.ListMetricDescriptorsResponse(descriptors=[api.MetricDescriptor(name="a")])
    more = api.ListMetricDescriptorsResponse(descriptors=[*both.descriptors, api.MetricDescriptor(name="b")])
    raw = merging.lists("ListMetricDescriptors", both, more.SerializeToString())
    found = api.ListMetricDescriptorsResponse.FromString(raw)
    assert [descriptor.name for descriptor in found.descriptors] == ["a", "b"]


def test_the_file_system_that_a_kubelet_looks_at_is_that_of_the_runtime_behind():
    def info(path: str) -> api.ImageFsInfoResponse:
        usage = api.FilesystemUsage(fs_id=api.FilesystemIdentifier(mountpoint=path))
        return api.ImageFsInfoResponse(image_filesystems=[usage])

    raw = merging.lists("ImageFsInfo", info("/ours"), info("/theirs").SerializeToString())
    found = api.ImageFsInfoResponse.FromString(raw).image_filesystems
    assert [usage.fs_id.mountpoint for usage in found] == ["/theirs", "/ours"]
