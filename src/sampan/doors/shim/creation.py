"""From a bundle to a container: what is in it, and which kind of container that makes."""

from __future__ import annotations

import os
import time
from binascii import crc32

from sampan.container.bundle import check_spec, read_bundle
from sampan.container.delegate import linux_runtime
from sampan.container.finding import verdict_of
from sampan.container.inits import without_init
from sampan.container.lifecycle import abandon
from sampan.container.records import Container as ContainerRecord
from sampan.container.records import check_name
from sampan.core.detect import SANDBOX_KEYS
from sampan.core.errors import Invalid, Unimplemented
from sampan.core.spec.runtime import Linux
from sampan.doors.shim import rootfs
from sampan.doors.shim.containers import Container, LinuxContainer
from sampan.doors.shim.options import read_options
from sampan.engine.grants import Network

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.core.spec.runtime import Spec
    from sampan.doors.shim.messages import CreateRequest
    from sampan.doors.shim.options import Options
    from sampan.doors.shim.pod import Pod


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
    entry = pod.states.create(record, spec)
    try:
        rootfs.make(request.bundle, request.rootfs)
        return _of_its_kind(pod, entry, options)
    except BaseException:
        rootfs.remove(request.bundle)
        abandon(entry, pod.states)
        raise


def _of_its_kind(pod: Pod, entry: Entry, options: Options) -> Container:
    spec, bundle, record = entry.spec, entry.container.bundle, entry.container
    if any(spec.annotations.get(key) == value for key, value in SANDBOX_KEYS.items()):
        record.sandbox = True
        pod.log(bundle, "debug", "a pod's sandbox: a process that holds its namespaces")
    else:
        verdict = verdict_of(spec, bundle)
        pod.log(bundle, "debug", f"{verdict.kind}: {'; '.join(verdict.evidence)}")
        if not verdict.is_wasm:
            record.linux_runtime = options.binary_name or linux_runtime(os.environ)
            entry.save()
            return LinuxContainer(pod, entry)
        if pod.wish.runtime not in ("sampan", "wasmtime"):
            pod.log(
                bundle, "info", f"{pod.wish.runtime} is asked for; wasmtime runs it, with WasmEdge's sockets"
            )
    check_spec(spec)
    if record.sandbox:
        entry.save()
    return Container(pod, entry)


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
