"""From a bundle to a container: what is in it, and which kind of container that makes."""

from __future__ import annotations

import os
import time
from binascii import crc32

from sampan.container.bundle import check_spec, read_bundle
from sampan.container.delegate import linux_runtime
from sampan.container.finding import open_in_bundle, verdict_of
from sampan.container.inits import without_init
from sampan.container.records import Container as ContainerRecord
from sampan.container.records import check_name
from sampan.core.detect import SANDBOX_KEYS
from sampan.core.errors import Invalid, Unimplemented
from sampan.core.spec.runtime import Linux, Process
from sampan.doors.shim import layers, rootfs
from sampan.doors.shim.containers import Container, LinuxContainer
from sampan.doors.shim.options import read_options
from sampan.engine import plugins
from sampan.engine.grants import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Spec
    from sampan.doors.shim.layers import Layer
    from sampan.doors.shim.messages import CreateRequest
    from sampan.doors.shim.options import Options
    from sampan.doors.shim.pod import Pod

OWN_RUNTIMES = ("sampan", "wasmtime")


def make(pod: Pod, request: CreateRequest) -> Container:
    """The record of a new container, with its root filesystem mounted; nothing runs yet.

    Raises:
        Exists: the id is taken. SampanError: what is wrong with the bundle; nothing is left then.
    """
    if request.checkpoint:
        raise Unimplemented("a container cannot be restored from a checkpoint")
    check_name(request.id, "container id")
    _check_bundle(request.bundle)
    options = read_options(request.options)
    spec = without_init(read_bundle(request.bundle))
    if request.terminal != (spec.process is not None and spec.process.terminal):
        raise Invalid("the request and the bundle's process.terminal do not agree on a terminal")
    _settle_paths(pod, spec, request.bundle, request.id, options)
    record = ContainerRecord(
        id=request.id,
        name=request.id,
        image="",
        created=time.time_ns(),
        bundle=request.bundle,
        network=Network("host"),  # whatever its network namespace has
        keep_stdin=True,
        systemd_cgroup=options.systemd_cgroup,
    )
    rootfs.make(request.bundle, request.rootfs)
    try:
        _decide(pod, record, spec, options)
        entry = pod.states.create(record, spec)
    except BaseException:
        rootfs.remove(request.bundle)
        raise
    return kind_of(record)(pod, entry)


def kind_of(record: ContainerRecord) -> type[Container]:
    """The class of a container with this record."""
    return LinuxContainer if record.linux_runtime else Container


def _decide(pod: Pod, record: ContainerRecord, spec: Spec, options: Options) -> None:
    """Decides what kind of container it is: a pod's sandbox, Wasm, or Linux.

    Raises:
        SampanError: it cannot be any.
    """
    bundle = record.bundle
    if any(spec.annotations.get(key) == value for key, value in SANDBOX_KEYS.items()):
        record.sandbox = True
        evidence = "a pod's sandbox: a process that holds its namespaces"
    elif _runs_in_its_engine(pod, spec, bundle):
        record.engine = pod.wish.runtime
        evidence = f"the engine {record.engine} runs it"
    elif layers.wanted(spec, bundle) and (layer := _layer_of(pod, record, spec)) is not None:
        record.module = layer.path
        _apply(layer, spec)
        evidence = f"a layer of the image {layer.image}, of type {layer.media_type}"
    else:
        verdict = verdict_of(spec, bundle)
        evidence = f"{verdict.kind}: {'; '.join(verdict.evidence)}"
        if not verdict.is_wasm:
            record.linux_runtime = options.binary_name or linux_runtime(os.environ)
    pod.log(bundle, "debug", evidence)
    if record.linux_runtime:
        return
    check_spec(spec)
    if not (record.sandbox or record.engine) and pod.wish.runtime not in OWN_RUNTIMES:
        pod.log(bundle, "info", f"{pod.wish.runtime} is asked for; wasmtime runs it, with WasmEdge's sockets")


def _runs_in_its_engine(pod: Pod, spec: Spec, bundle: str) -> bool:
    """Whether the runtime's name is that of another package's engine, and the workload is one for it."""
    if pod.wish.runtime in OWN_RUNTIMES or pod.wish.runtime not in plugins.names():
        return False
    fd = open_in_bundle(spec, bundle)
    if fd < 0:
        return False
    try:
        plugins.check_handles(pod.wish.runtime, fd, spec.process.args[0] if spec.process else "")
    except Unimplemented:
        return False
    finally:
        os.close(fd)
    return True


def _layer_of(pod: Pod, record: ContainerRecord, spec: Spec) -> Layer | None:
    return layers.resolve(pod.wish.address, pod.wish.namespace, record.id, spec, pod.roots)


def _apply(layer: Layer, spec: Spec) -> None:
    """Gives the spec what its image asks for, where containerd could not read it there."""
    process = spec.process or Process()
    process.args = process.args or layer.command or [layer.name]
    process.env = [*layer.env, *process.env]
    if layer.working_dir and process.cwd in ("", "/"):
        process.cwd = layer.working_dir
    spec.process = process


def _check_bundle(bundle: str) -> None:
    if not bundle.startswith("/") or ".." in bundle.split("/") or "\0" in bundle:
        raise Invalid(f"the bundle {bundle[:80]!r} is not an absolute path without '..'")


def _settle_paths(pod: Pod, spec: Spec, bundle: str, container_id: str, options: Options) -> None:
    """Makes what is relative absolute: the spec is read from another folder, and by another runtime too."""
    if spec.root is not None and not spec.root.path.startswith("/"):
        spec.root.path = f"{bundle}/{spec.root.path}"
    if spec.linux is None:
        spec.linux = Linux()
    path = spec.linux.cgroups_path
    if not options.systemd_cgroup and not path.startswith("/"):
        unique = f"{container_id}-{crc32(pod.folder.encode()):08x}"
        spec.linux.cgroups_path = f"/sampan/{path.strip('/') or unique}"
