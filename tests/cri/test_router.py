"""Who answers which call, by real gRPC in front and behind."""

from __future__ import annotations

import threading

import grpc
import pytest

from sampan.core.errors import Exists
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.routing.methods import LISTS, METHODS
from tests.scenarios.conftest import until

from .peers import always, each, eventually, refusal

UNAVAILABLE, NOT_FOUND = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.NOT_FOUND
UNIMPLEMENTED = grpc.StatusCode.UNIMPLEMENTED


def run_request(handler: str) -> api.RunPodSandboxRequest:
    return api.RunPodSandboxRequest(runtime_handler=handler)


def test_the_handler_decides_where_a_sandbox_is_made(peers):
    behind = peers.behind(RunPodSandbox=always(api.RunPodSandboxResponse(pod_sandbox_id="theirs")))
    front = peers.front(
        behind.address, RunPodSandbox=always(api.RunPodSandboxResponse(pod_sandbox_id="ours"))
    )
    assert front("RunPodSandbox", run_request("wasm")).pod_sandbox_id == "ours"
    for handler in ("", "runc", "wasm2"):
        assert front("RunPodSandbox", run_request(handler)).pod_sandbox_id == "theirs"


def test_K6_an_unknown_handler_is_not_found_and_the_known_ones_are_named(peers):
    front = peers.front()
    code, words = refusal(lambda: front("RunPodSandbox", run_request("runc")))
    assert code is NOT_FOUND and words == "there is no runtime handler 'runc', only wasm"


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if "container_id" in m.input_type.fields_by_name]
)
def test_what_is_about_a_container_follows_its_id(peers, name):
    kind, empty = (getattr(api, getattr(METHODS[name], side).name) for side in ("input_type", "output_type"))
    asked = []

    def answer(request, context):
        asked.append(request.container_id)
        return empty()

    behind = peers.behind(**{name: always(empty())})
    front = peers.front(behind.address, **{name: answer})
    front(name, kind(container_id="c-ours1"))
    assert asked == ["c-ours1"] and behind.calls == []
    front(name, kind(container_id="c-theirs"))
    assert asked == ["c-ours1"] and behind.calls == [name]


@pytest.mark.parametrize(
    "name", [n for n, m in METHODS.items() if "pod_sandbox_id" in m.input_type.fields_by_name]
)
def test_what_is_about_a_pod_follows_its_id(peers, name):
    kind, empty = (getattr(api, getattr(METHODS[name], side).name) for side in ("input_type", "output_type"))
    asked = []

    def answer(request, context):
        asked.append(request.pod_sandbox_id)
        return empty()

    behind = peers.behind(**{name: always(empty())})
    front = peers.front(behind.address, **{name: answer})
    front(name, kind(pod_sandbox_id="ours1"))
    front(name, kind(pod_sandbox_id="theirs"))
    assert asked == ["ours1"] and behind.calls == [name]


def test_a_pull_goes_where_its_handler_or_its_sandbox_says(peers):
    behind = peers.behind(PullImage=always(api.PullImageResponse(image_ref="theirs")))
    front = peers.front(behind.address, PullImage=always(api.PullImageResponse(image_ref="ours")))

    def pulled(handler: str = "", pod: str = "") -> str:
        config = api.PodSandboxConfig(metadata=api.PodSandboxMetadata(name=pod)) if pod else None
        image = api.ImageSpec(image="x", runtime_handler=handler)
        return front("PullImage", api.PullImageRequest(image=image, sandbox_config=config)).image_ref

    assert pulled("wasm") == pulled(pod="ours") == "ours"
    assert pulled() == pulled("runc") == pulled("runc", "ours") == pulled(pod="theirs") == "theirs"
    assert peers.front(PullImage=always(api.PullImageResponse(image_ref="ours")))(
        "PullImage", api.PullImageRequest()
    )


def test_lists_are_of_both(peers):
    behind = peers.behind(ListContainers=always(containers("theirs")))
    front = peers.front(behind.address, ListContainers=always(containers("c-ours")))
    assert ids(front("ListContainers", api.ListContainersRequest())) == ["c-ours", "theirs"]


@pytest.mark.parametrize("name", sorted({*LISTS.values(), "ListMetricDescriptors"}))
def test_the_runtime_behind_that_is_away_or_older_has_nothing_in_lists(peers, name):
    kind, empty = (getattr(api, getattr(METHODS[name], side).name) for side in ("input_type", "output_type"))
    behind = peers.behind()
    front = peers.front(behind.address, **{name: always(empty())})
    assert front(name, kind()) == empty() and behind.calls == [name]
    behind.stop()
    assert front(name, kind()) == empty()


def test_a_runtime_behind_that_is_frozen_holds_no_list_up(peers, monkeypatch):
    thawed = threading.Event()

    def frozen(request, context):
        thawed.wait(30)
        return api.ListPodSandboxResponse()

    monkeypatch.setattr("sampan.doors.cri.routing.router.PATIENCE", 0.1)
    ours = api.ListPodSandboxResponse(items=[api.PodSandbox(id="ours")])
    behind = peers.behind(ListPodSandbox=frozen, Status=frozen)
    front = peers.front(behind.address, ListPodSandbox=always(ours), Status=always(api.StatusResponse()))
    try:
        assert front("ListPodSandbox", api.ListPodSandboxRequest()) == ours
        conditions = front("Status", api.StatusRequest()).status.conditions
        trouble = [each.message for each in conditions if each.type == "UpstreamReady"]
        assert trouble == [f"the runtime at {behind.address} did not answer within 0.1 seconds"]
    finally:
        thawed.set()


def test_pods_of_the_runtime_that_is_away_stay_listed_as_they_were(peers):
    def container(name: str, state: int, app: str) -> api.Container:
        return api.Container(id=name, pod_sandbox_id=f"p{name}", state=state, labels={"app": app})

    running, exited = api.CONTAINER_RUNNING, api.CONTAINER_EXITED
    items = [container("a1", running, "x"), container("a2", exited, "x"), container("b", running, "y")]
    behind = peers.behind(ListContainers=always(api.ListContainersResponse(containers=items)))
    front = peers.front(behind.address, ListContainers=always(containers("c-ours")))

    def listed(**wanted: object) -> list[str]:
        request = api.ListContainersRequest(filter=api.ContainerFilter(**wanted))
        return ids(front("ListContainers", request))

    assert listed() == ["c-ours", "a1", "a2", "b"]
    behind.stop()
    assert listed() == ["c-ours", "a1", "a2", "b"]
    assert listed(id="a") == ["c-ours", "a1", "a2"]
    assert listed(state=api.ContainerStateValue(state=running)) == ["c-ours", "a1", "b"]
    assert listed(pod_sandbox_id="pb") == ["c-ours", "b"]
    assert listed(label_selector={"app": "x"}) == ["c-ours", "a1", "a2"]
    behind.answers["ListContainers"] = always(api.ListContainersResponse())
    behind.start()
    assert until(lambda: listed() == ["c-ours"])


@pytest.mark.parametrize("name", ["ListPodSandbox", "StreamPodSandboxes"])
def test_sandboxes_of_the_runtime_that_is_away_stay_listed_however_they_are_asked_for(peers, name):
    pods = [api.PodSandbox(id="a", labels={"app": "x"}), api.PodSandbox(id="b", state=api.SANDBOX_NOTREADY)]
    behind = peers.behind(
        ListPodSandbox=always(api.ListPodSandboxResponse(items=pods)),
        StreamPodSandboxes=each(*[api.StreamPodSandboxesResponse(pod_sandboxes=[pod]) for pod in pods]),
    )
    front = peers.front(behind.address, ListPodSandbox=always(api.ListPodSandboxResponse()))

    def listed(**wanted: object) -> list[str]:
        request = getattr(api, METHODS[name].input_type.name)(filter=api.PodSandboxFilter(**wanted))
        if name in LISTS:
            return [pod.id for piece in front.stream(name, request) for pod in piece.pod_sandboxes]
        return [pod.id for pod in front(name, request).items]

    assert listed() == ["a", "b"]
    behind.stop()
    assert listed() == ["a", "b"] and listed(label_selector={"app": "x"}) == ["a"]
    assert listed(state=api.PodSandboxStateValue(state=api.SANDBOX_NOTREADY)) == ["b"]


def test_an_error_of_a_list_behind_is_told(peers):
    def fail(request, context):
        context.abort(grpc.StatusCode.INTERNAL, "the disk is gone")

    front = peers.front(peers.behind(ListContainers=fail).address, ListContainers=always(containers()))
    assert refusal(lambda: front("ListContainers", api.ListContainersRequest())) == (
        grpc.StatusCode.INTERNAL,
        "the disk is gone",
    )


def test_an_image_of_both_is_listed_once_with_all_its_names(peers):
    theirs = [api.Image(id="1", repo_tags=["a:1", "b:1"]), api.Image(id="2")]
    ours = [api.Image(id="1", repo_tags=["a:1", "c:1"]), api.Image(id="3")]
    behind = peers.behind(ListImages=always(api.ListImagesResponse(images=theirs)))
    front = peers.front(behind.address, ListImages=always(api.ListImagesResponse(images=ours)))
    images = {i.id: list(i.repo_tags) for i in front("ListImages", api.ListImagesRequest()).images}
    assert images == {"1": ["a:1", "c:1", "b:1"], "2": [], "3": []}


@pytest.mark.parametrize("name", sorted(LISTS))
def test_a_stream_is_asked_for_as_a_list_where_there_is_none(peers, name):
    method, listing = METHODS[name], METHODS[LISTS[name]]
    list_kind, piece_kind = (getattr(api, m.output_type.name) for m in (listing, method))
    field, piece_field = list_kind.DESCRIPTOR.fields[0], piece_kind.DESCRIPTOR.fields[0]
    item = getattr(api, field.message_type.name)
    ours, theirs = list_kind(**{field.name: [item()] * 300}), list_kind(**{field.name: [item()]})
    behind = peers.behind(**{LISTS[name]: always(theirs)})
    front = peers.front(behind.address, **{LISTS[name]: always(ours)})
    request = getattr(api, method.input_type.name)()
    assert [len(getattr(piece, piece_field.name)) for piece in front.stream(name, request)] == [256, 44, 1]
    behind.answers[name] = each(*[piece_kind(**{piece_field.name: [item()]})] * 2)
    assert [len(getattr(piece, piece_field.name)) for piece in front.stream(name, request)] == [256, 44, 1, 1]


def test_the_runtime_behind_that_is_away_is_an_error_for_its_own(peers):
    behind = peers.behind()
    behind.stop()
    front = peers.front(behind.address, ContainerStatus=always(api.ContainerStatusResponse()))
    assert front("ContainerStatus", api.ContainerStatusRequest(container_id="c-ours"))
    code, words = refusal(lambda: front("ContainerStatus", api.ContainerStatusRequest(container_id="other")))
    assert code is UNAVAILABLE and words.startswith(f"the runtime at {behind.address} does not answer")
    behind.answers["ContainerStatus"] = always(api.ContainerStatusResponse())
    behind.start()
    request = api.ContainerStatusRequest(container_id="other")
    assert eventually(lambda: front("ContainerStatus", request)) == api.ContainerStatusResponse()


def test_without_a_runtime_behind_us_all_is_ours(peers):
    def refuse(request, context):
        raise Exists(f"{request.pod_sandbox_id} is there")

    front = peers.front(StopPodSandbox=refuse)
    code, words = refusal(lambda: front("StopPodSandbox", api.StopPodSandboxRequest(pod_sandbox_id="any")))
    assert (code, words) == (grpc.StatusCode.ALREADY_EXISTS, "any is there")


def test_what_pods_of_ours_cannot_have_is_unimplemented(peers):
    code, words = refusal(lambda: peers.front()("CheckpointPod", api.CheckpointPodRequest()))
    assert code is UNIMPLEMENTED and words == "CheckpointPod cannot be had of pods with a handler of ours"


def test_the_version_is_ours_and_the_cgroup_driver_that_of_the_runtime_behind(peers):
    systemd = api.RuntimeConfigResponse(linux=api.LinuxRuntimeConfiguration(cgroup_driver=api.SYSTEMD))
    behind = peers.behind(RuntimeConfig=always(systemd))
    front, alone = peers.front(behind.address), peers.front()
    assert front("Version", api.VersionRequest()).runtime_name == "sampan"
    assert front("RuntimeConfig", api.RuntimeConfigRequest()).linux.cgroup_driver == api.SYSTEMD
    assert alone("RuntimeConfig", api.RuntimeConfigRequest()).linux.cgroup_driver == api.CGROUPFS
    behind.answers.clear()
    assert refusal(lambda: front("RuntimeConfig", api.RuntimeConfigRequest()))[0] is UNIMPLEMENTED


def test_what_is_told_to_the_node_is_told_to_both(peers):
    told = []

    def hear(request, context):
        told.append(request.runtime_config.network_config.pod_cidr)
        return api.UpdateRuntimeConfigResponse()

    front = peers.front(peers.behind(UpdateRuntimeConfig=hear).address, UpdateRuntimeConfig=hear)
    network = api.NetworkConfig(pod_cidr="10.0.0.0/8")
    front("UpdateRuntimeConfig", api.UpdateRuntimeConfigRequest(runtime_config={"network_config": network}))
    assert told == ["10.0.0.0/8"] * 2


def test_the_status_of_an_image_is_that_of_whoever_has_it(peers):
    def status(image: api.Image | None) -> api.ImageStatusResponse:
        return api.ImageStatusResponse(image=image)

    behind = peers.behind(ImageStatus=always(status(api.Image(id="1", repo_tags=["b"]))))
    front = peers.front(behind.address, ImageStatus=always(status(api.Image(id="1", repo_tags=["a"]))))
    assert list(front("ImageStatus", api.ImageStatusRequest()).image.repo_tags) == ["b", "a"]
    ours_only = api.ImageStatusRequest(image=api.ImageSpec(runtime_handler="wasm"))
    assert list(front("ImageStatus", ours_only).image.repo_tags) == ["a"]
    behind.answers["ImageStatus"] = always(status(None))
    assert list(front("ImageStatus", api.ImageStatusRequest()).image.repo_tags) == ["a"]


@pytest.mark.parametrize("code", [NOT_FOUND, grpc.StatusCode.INTERNAL])
@pytest.mark.parametrize(
    "name", ["StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer", "RemoveImage"]
)
def test_K2_what_is_not_there_is_stopped_and_removed_whatever_the_runtime_behind_says(peers, name, code):
    def fail(request, context):
        context.abort(code, "there is no such thing")

    request, empty = (getattr(api, f"{name}{side}") for side in ("Request", "Response"))
    front = peers.front(peers.behind(**{name: fail}).address, RemoveImage=always(api.RemoveImageResponse()))
    if code is NOT_FOUND:
        assert front(name, request()) == empty()
    else:
        assert refusal(lambda: front(name, request())) == (code, "there is no such thing")


def test_an_image_that_only_we_have_is_pulled_by_the_runtime_behind(peers):
    pulled = []

    def pull(request, context):
        pulled.append(request.image.image)
        return api.PullImageResponse(image_ref="sha256:theirs")

    def create(request, context):
        if not pulled:
            context.abort(NOT_FOUND, "there is no such image")
        return api.CreateContainerResponse(container_id=request.config.image.image)

    behind = peers.behind(
        PullImage=pull, CreateContainer=create, ImageStatus=always(api.ImageStatusResponse())
    )
    front = peers.front(behind.address)
    image = api.ImageSpec(image="sha256:ours", user_specified_image="nginx:1")
    request = api.CreateContainerRequest(pod_sandbox_id="theirs", config=api.ContainerConfig(image=image))
    assert front("CreateContainer", request).container_id == "sha256:theirs" and pulled == ["nginx:1"]


def test_a_sandbox_that_the_runtime_behind_has_not_is_no_reason_to_pull(peers):
    def create(request, context):
        context.abort(NOT_FOUND, "there is no such sandbox")

    status = api.ImageStatusResponse(image=api.Image(id="1"))
    behind = peers.behind(CreateContainer=create, ImageStatus=always(status))
    request = api.CreateContainerRequest(pod_sandbox_id="theirs")
    told = refusal(lambda: peers.front(behind.address)("CreateContainer", request))
    assert told == (NOT_FOUND, "there is no such sandbox") and "PullImage" not in behind.calls


def containers(*names: str) -> api.ListContainersResponse:
    return api.ListContainersResponse(containers=[api.Container(id=name) for name in names])


def ids(answer: api.ListContainersResponse) -> list[str]:
    return [container.id for container in answer.containers]
