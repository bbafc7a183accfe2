"""Sandboxes: made, stopped and removed, once, twice and sixteen times at once; rows K2, K3, K4, K5, K6, X10."""

from __future__ import annotations

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from sampan.container import podspaces
from sampan.core.errors import Exhausted, Exists, Invalid, NotFound, Precondition, SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.linux import mounts

from .conftest import PodWorld

NO_NETWORK = api.LinuxPodSandboxConfig(
    security_context=api.LinuxSandboxSecurityContext(
        namespace_options=api.NamespaceOption(network=api.NODE, ipc=api.NODE)
    )
)


def at_once(function, count=16):
    """What `function` gives, or its error, from so many threads at the same time."""

    def call(_):
        try:
            return function()
        except SampanError as error:
            return error

    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(call, range(count)))


def test_a_sandbox_is_ready_with_its_address_and_its_own_namespaces(world: PodWorld) -> None:
    pod_id = world.run_pod(annotations={"a": "b"})
    status = world.pod_status(pod_id)
    assert status.state == api.SANDBOX_READY
    assert status.metadata.name == "web"
    assert (dict(status.labels), dict(status.annotations)) == ({"app": "web"}, {"a": "b"})
    assert status.runtime_handler == "wasm"
    assert status.created_at > 0
    assert (status.network.ip, [ip.ip for ip in status.network.additional_ips]) == ("10.9.0.1", ["fd00::1"])
    pod = world.runtime.pods.index.get(pod_id).pod
    assert sorted(pod.spaces) == ["ipc", "net", "uts"]
    name = subprocess.check_output(["nsenter", f"--uts={pod.spaces['uts']}", "hostname"], text=True)
    assert name.strip() == "web"


def test_K1_a_config_that_could_be_kept_but_not_read_again_is_refused(world: PodWorld) -> None:
    pod_id = world.run_pod("kept", annotations={"a": "x" * (1 << 20)})
    too_much = {"a": "x" * (4 << 20)}
    with pytest.raises(Exhausted, match="pod sandbox takes"):
        world.run_pod(annotations=too_much)
    with pytest.raises(Exhausted, match="container takes"):
        world.create(pod_id, annotations=too_much)
    with pytest.raises(Exhausted, match=r"config\.json of the container takes"):
        world.create(pod_id, *["\1" * 100_000] * 10)  # each character takes six in JSON
    assert [item.id for item in world.runtime.list_pod_sandbox(api.ListPodSandboxRequest()).items] == [pod_id]
    assert os.listdir(f"{world.roots.data}/pods") == [pod_id]
    world.start_new(pod_id, "echo")


def test_a_sandbox_in_the_nodes_namespaces_has_none_and_no_address(world: PodWorld) -> None:
    pod_id = world.run_pod(linux=NO_NETWORK)
    status = world.pod_status(pod_id)
    assert status.state == api.SANDBOX_READY
    assert status.network.ip == ""
    assert status.linux.namespaces.options.network == api.NODE
    assert world.network.attached == []
    world.stop_pod(pod_id)
    assert world.pod_status(pod_id).state == api.SANDBOX_NOTREADY


def test_its_sysctls_are_set_in_it_alone(world: PodWorld) -> None:
    pod_id = world.run_pod(linux=api.LinuxPodSandboxConfig(sysctls={"net.ipv4.ip_forward": "1"}))
    pod = world.runtime.pods.index.get(pod_id).pod
    read = ["nsenter", f"--net={pod.netns}", "cat", "/proc/sys/net/ipv4/ip_forward"]
    assert subprocess.check_output(read) == b"1\n"


def test_a_sysctl_of_the_host_is_refused_and_leaves_nothing(world: PodWorld) -> None:
    with pytest.raises(Invalid, match=r"vm\.swappiness"):
        world.run_pod(linux=api.LinuxPodSandboxConfig(sysctls={"vm.swappiness": "1"}))
    assert world.left() == []


def test_without_metadata_it_is_refused(world: PodWorld) -> None:
    with pytest.raises(Invalid, match="metadata"):
        world.runtime.run_pod_sandbox(api.RunPodSandboxRequest(runtime_handler="wasm"))


def test_K6_an_unknown_handler_is_told_which_ones_there_are(world: PodWorld) -> None:
    request = api.RunPodSandboxRequest(config=world.pod_config(), runtime_handler="kata")
    with pytest.raises(NotFound, match=r"kata.*known handlers: wasm"):
        world.runtime.run_pod_sandbox(request)


def test_no_handler_is_the_default_one(world: PodWorld) -> None:
    request = api.RunPodSandboxRequest(config=world.pod_config())
    pod_id = world.runtime.run_pod_sandbox(request).pod_sandbox_id
    assert world.runtime.pods.index.get(pod_id).pod.engine == "wasmtime"
    assert world.pod_status(pod_id).runtime_handler == ""


def test_K4_the_same_metadata_twice_names_the_one_that_is_there(world: PodWorld) -> None:
    pod_id = world.run_pod()
    with pytest.raises(Exists, match=pod_id):
        world.run_pod()
    world.remove_pod(pod_id)
    assert world.run_pod() != pod_id


def test_K4_sixteen_at_once_make_one_sandbox(world: PodWorld) -> None:
    answers = at_once(world.run_pod)
    made = [answer for answer in answers if isinstance(answer, str)]
    refused = [answer for answer in answers if isinstance(answer, Exists)]
    assert (len(made), len(refused)) == (1, 15)
    assert all(made[0] in str(error) for error in refused)
    assert [pod.id for pod in world.pods()] == made
    assert world.network.attached == made


@pytest.mark.parametrize("times", [2, 16])
def test_K2_stopping_again_is_no_error(world: PodWorld, times: int) -> None:
    pod_id = world.run_pod()
    world.start_new(pod_id, "sleep", "100")
    assert at_once(lambda: world.stop_pod(pod_id), times) == [None] * times
    world.stop_pod(pod_id)
    assert world.pod_status(pod_id).state == api.SANDBOX_NOTREADY
    assert world.network.attached == []
    assert [c.state for c in world.listed()] == [api.CONTAINER_EXITED]


@pytest.mark.parametrize("times", [2, 16])
def test_K2_removing_again_is_no_error_and_leaves_nothing(world: PodWorld, times: int) -> None:
    pod_id = world.run_pod()
    world.start_new(pod_id, "sleep", "100")
    world.create(pod_id, "echo", name="other")
    assert at_once(lambda: world.remove_pod(pod_id), times) == [None] * times
    world.remove_pod(pod_id)
    assert world.left() == []
    assert (world.pods(), world.listed()) == ([], [])


def test_K2_stop_and_remove_of_unknown_are_no_error(world: PodWorld) -> None:
    world.stop_pod("f" * 64)
    world.remove_pod("f" * 64)


def test_K3_status_of_unknown_is_not_found(world: PodWorld) -> None:
    for pod_id in ("f" * 64, ""):
        with pytest.raises(NotFound):
            world.pod_status(pod_id)


def test_a_network_that_fails_leaves_nothing(world: PodWorld) -> None:
    world.network.error = Exhausted("no addresses are left")
    with pytest.raises(Exhausted, match="no addresses"):
        world.run_pod()
    assert world.left() == []
    world.network.error = None
    world.run_pod()


def test_what_cannot_be_given_back_stays_until_it_can(world: PodWorld) -> None:
    world.network.error = world.network.detach_error = Exhausted("the plugin is gone")
    with pytest.raises(Exhausted):
        world.run_pod()
    (pod,) = world.pods()
    assert pod.state == api.SANDBOX_NOTREADY
    with pytest.raises(Exists, match=pod.id):
        world.run_pod()
    with pytest.raises(Exhausted):
        world.stop_pod(pod.id)
    world.network.error = world.network.detach_error = None
    world.stop_pod(pod.id)
    world.remove_pod(pod.id)
    assert world.left() == []


def test_X10_a_sandbox_without_its_namespace_is_not_ready_and_can_be_removed(world: PodWorld) -> None:
    pod_id = world.run_pod()
    container_id = world.create(pod_id, "echo")
    mounts.unmount(world.runtime.pods.index.get(pod_id).pod.netns, detach=True)
    assert world.pod_status(pod_id).state == api.SANDBOX_NOTREADY
    with pytest.raises(Precondition, match=pod_id):
        world.create(pod_id, "echo", name="late")
    with pytest.raises(Precondition, match=pod_id):
        world.runtime.start_container(api.StartContainerRequest(container_id=container_id))
    world.stop_pod(pod_id)
    world.remove_pod(pod_id)
    assert world.left() == []


def test_X10_the_run_folder_may_be_gone(world: PodWorld) -> None:
    pod_id = world.run_pod()
    podspaces.release(f"{world.roots.run}/pods/{pod_id}")
    world.remove_pod(pod_id)
    assert world.left() == []


def test_lists_are_filtered_by_id_state_and_labels(world: PodWorld) -> None:
    first, second = world.run_pod("web"), world.run_pod("db", labels={"app": "db", "tier": "back"})
    world.stop_pod(first)
    assert [pod.id for pod in world.pods()] == [second, first]
    assert [pod.id for pod in world.pods(id=first)] == [first]
    assert [pod.id for pod in world.pods(id=first[:13])] == [first]
    assert world.pods(id="nothing") == []
    ready = api.PodSandboxStateValue(state=api.SANDBOX_READY)
    assert [pod.id for pod in world.pods(state=ready)] == [second]
    assert [pod.id for pod in world.pods(label_selector={"tier": "back", "app": "db"})] == [second]
    assert world.pods(label_selector={"tier": "back", "app": "web"}) == []


def test_an_id_may_be_cut_short_where_only_one_begins_so(world: PodWorld) -> None:
    pods = [world.run_pod(f"p{number}") for number in range(17)]  # two of these begin alike
    assert world.pod_status(pods[0][:20]).id == pods[0]
    first = [pod[0] for pod in pods]
    shared = next(digit for digit in first if first.count(digit) > 1)
    with pytest.raises(Invalid, match="beginning of"):
        world.pod_status(shared)
    assert world.runtime.has_pod(shared)
    assert world.runtime.has_pod(pods[3][:20])
    assert not world.runtime.has_pod("x")


def test_pods_are_known_in_whatever_attempt(world: PodWorld) -> None:
    world.run_pod()
    later = api.PodSandboxMetadata(name="web", namespace="default", uid="uid-web", attempt=3)
    assert world.runtime.has_pod_like(later)
    assert not world.runtime.has_pod_like(
        api.PodSandboxMetadata(name="web", namespace="other", uid="uid-web")
    )


def test_verbose_status_tells_what_holds_it(world: PodWorld) -> None:
    pod_id = world.run_pod()
    request = api.PodSandboxStatusRequest(pod_sandbox_id=pod_id, verbose=True)
    info = world.runtime.pod_sandbox_status(request).info["info"]
    assert world.runtime.pods.index.get(pod_id).pod.netns in info


def test_resources_of_a_pod_are_noted(world: PodWorld) -> None:
    pod_id = world.run_pod()
    resources = api.LinuxContainerResources(cpu_shares=512)
    request = api.UpdatePodSandboxResourcesRequest(pod_sandbox_id=pod_id, resources=resources)
    world.runtime.update_pod_sandbox_resources(request)
    world.restart()
    assert world.runtime.pods.index.get(pod_id).pod.config.linux.resources.cpu_shares == 512
    world.stop_pod(pod_id)
    with pytest.raises(Precondition):
        world.runtime.update_pod_sandbox_resources(request)


def test_a_parent_cgroup_that_was_made_for_a_sandbox_goes_with_it(world: PodWorld) -> None:
    parent = f"sampan-test-{os.getpid()}.slice"
    linux = api.LinuxPodSandboxConfig(cgroup_parent=parent)
    pod_id = world.run_pod(linux=linux)
    world.start_new(pod_id, "sleep", "100")
    assert os.path.isdir(f"/sys/fs/cgroup/memory/{parent}") or os.path.isdir(f"/sys/fs/cgroup/{parent}")
    world.remove_pod(pod_id)
    assert not [base for base, folders, _ in os.walk("/sys/fs/cgroup") if parent in folders]
