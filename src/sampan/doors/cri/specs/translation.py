"""From CRI's `ContainerConfig` to a container of ours and its OCI spec, for WebAssembly and for Linux programs.

Nothing is started here, and what is made (a folder that a mount names, the pod's files) may stay. Each refusal names
the field of the API.
"""

from __future__ import annotations

import os
import resource
import time
from hashlib import sha256
from typing import TYPE_CHECKING

from sampan.container.bundle import check_spec
from sampan.container.delegate import linux_runtime
from sampan.container.environment import PATH, merge
from sampan.container.finding import is_linux
from sampan.container.linuxdefaults import OCI_VERSION as LINUX_VERSION
from sampan.container.linuxdefaults import UMASK
from sampan.container.linuxseccomp import default_profile
from sampan.container.podshm import hold as hold_shm
from sampan.container.records import Container
from sampan.container.users import home_of
from sampan.core.errors import Invalid
from sampan.core.signals import number_of
from sampan.core.spec.checks import check_common, check_path, check_text
from sampan.core.spec.linuxchecks import check_linux
from sampan.core.spec.runtime import (
    OCI_VERSION,
    Linux,
    Mount,
    Process,
    Resources,
    Rlimit,
    Root,
    Seccomp,
    Spec,
    User,
)
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import pods_folder, spaces_folder
from sampan.doors.cri.network.attaching import check_network
from sampan.doors.cri.specs import devices, exports, mounts, resources, security, stopsignals
from sampan.engine import plugins
from sampan.engine.grants import Limits, Network

if TYPE_CHECKING:
    from sampan.core.roots import Roots
    from sampan.doors.cri.documents import Pod
    from sampan.doors.cri.images.documents import ImageForPod

OPEN_FILES = 1 << 16
MOST_HOSTNAME = 64
MOST_NAME = 255
_NAME_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.+-")
_CONTAINER_TYPE = "io.kubernetes.cri.container-type"


def check_pod(config: api.PodSandboxConfig) -> None:
    """Refuses a sandbox's configuration that no container could be made in.

    Raises:
        Invalid, Unimplemented: names the field.
    """
    check_text(config.hostname, "hostname")
    if len(config.hostname.encode()) > MOST_HOSTNAME:
        raise Invalid(f"hostname is longer than the {MOST_HOSTNAME} bytes that Linux allows")
    if config.hostname and (
        config.hostname.split() != [config.hostname] or not config.hostname.isprintable()
    ):
        raise Invalid(f"hostname {config.hostname!r} is not one word, so it cannot be written to /etc/hosts")
    check_network(config)
    mounts.check_resolver(config.dns_config)
    resources.cgroups_path_of(config.linux.cgroup_parent, "")
    options = config.linux.security_context.namespace_options
    security.check_namespace_options(options, "linux.security_context.namespace_options")


def make_container(
    pod: Pod,
    config: api.ContainerConfig,
    image: ImageForPod,
    container_id: str,
    roots: Roots,
) -> tuple[Container, Spec]:
    """The container of a pod that a `ContainerConfig` describes, and its spec.

    Images that are mounted are unpacked: hold `Snapshots.hold()` until the container is on record.

    Raises:
        Invalid: a value that means nothing or cannot be followed. Unimplemented: what a pod of ours cannot have.
        NotFound: a user or an image that is not there. SampanError: what else stops it.
    """
    context = config.linux.security_context
    security.check_namespace_options(context.namespace_options, f"{security.WHERE}.namespace_options")
    security.check_privileged(context, pod)
    plain = Spec(OCI_VERSION, _process(pod, config, image), Root("rootfs", context.readonly_rootfs))
    for_linux = _is_linux(plain, config, image)
    mounts.check_wishes(config.mounts, linux=for_linux)
    devices.check_devices(config, linux=for_linux)
    cgroup = resources.cgroups_path_of(pod.cgroup_parent, container_id)
    spec = _with_wishes(plain.replace(annotations=_annotations(pod, config, image)), config, cgroup, roots)
    mounts.write_pod_files(_files_of(pod, roots), pod.config)
    if for_linux:
        spec = _for_linux(spec, pod, config, roots)
    else:
        spec = exports.with_export(_for_wasm(spec, pod, config, roots), list(config.command), image)
    _check(spec, linux=for_linux)
    return _container(pod, config, image, container_id, linux=for_linux), spec


def _container(
    pod: Pod,
    config: api.ContainerConfig,
    image: ImageForPod,
    container_id: str,
    *,
    linux: bool,
) -> Container:
    return Container(
        container_id,
        _name(pod, config),
        image.name,
        time.time_ns(),
        image_id=image.id,
        lower=image.rootfs,
        labels={**image.labels, **config.labels},
        network=Network("host"),  # whatever its network namespace has
        limits=Limits(),
        stop_signal=_stop_signal(config, image),
        keep_stdin=config.stdin,
        systemd_cgroup=resources.is_systemds(pod.cgroup_parent),
        linux_runtime=linux_runtime(os.environ) if linux else "",
        engine="" if linux or pod.engine == plugins.OWN else pod.engine,
        pod=pod.id,
    )


def _is_linux(spec: Spec, config: api.ContainerConfig, image: ImageForPod) -> bool:
    """Whether what it would run is a Linux program, in the image or in what is mounted on it."""
    seen = [Mount(wish.container_path, "bind", wish.host_path) for wish in config.mounts]
    return is_linux(spec.replace(mounts=seen), image.rootfs, image.platform, image.media_type)


def _with_wishes(spec: Spec, config: api.ContainerConfig, cgroup: str, roots: Roots) -> Spec:
    """The spec with what a caller asks for whatever the program is: limits, mounts, hidden paths."""
    limits = resources.resources_of(config.linux.resources)
    masked, read_only = security.hidden_paths(config.linux.security_context)
    return spec.replace(
        mounts=mounts.wished_mounts(config.mounts, roots),
        linux=Linux(
            limits,
            cgroup,
            masked_paths=masked,
            readonly_paths=read_only,
            rootfs_propagation=mounts.propagation_of(config.mounts),
        ),
    )


def _for_wasm(spec: Spec, pod: Pod, config: api.ContainerConfig, roots: Roots) -> Spec:
    """What stands around a Wasm process is ours: of the security context it gets what a Wasm process can use."""
    context = config.linux.security_context
    profile = security.seccomp_profile(context)
    process, linux = spec.process or Process(), spec.linux or Linux()
    pod_files = mounts.pod_mounts(_files_of(pod, roots), read_only=True)
    return spec.replace(
        hostname=pod.hostname,
        process=process.replace(no_new_privileges=True, rlimits=_rlimits()),
        mounts=mounts.arranged(pod_files, spec.mounts),
        linux=linux.replace(
            namespaces=security.wasm_namespaces(pod),
            seccomp=security.read_seccomp(profile.name) if profile.kind == "localhost" else None,
        ),
    )


def _for_linux(spec: Spec, pod: Pod, config: api.ContainerConfig, roots: Roots) -> Spec:
    """What a Linux program expects, as containerd gives it."""
    context = config.linux.security_context
    privileged = context.privileged
    process, linux = spec.process or Process(), spec.linux or Linux()
    user = process.user or User()
    namespaces = security.linux_namespaces(context, pod, security.target_pids(context, pod, roots))
    kinds = {namespace.type for namespace in namespaces}
    shm = hold_shm(spaces_folder(roots, pod.id)) if "ipc" in kinds else "/dev/shm"  # noqa: S108 - the host's
    defaults = mounts.linux_mounts(shm, privileged=privileged)
    pod_files = mounts.pod_mounts(_files_of(pod, roots), read_only=context.readonly_rootfs)
    found, rules = devices.devices_of(config.devices, privileged=privileged)
    limits = linux.resources or Resources()
    return spec.replace(
        oci_version=LINUX_VERSION,
        hostname=pod.hostname if "uts" in kinds else "",
        process=process.replace(
            user=user.replace(umask=UMASK), no_new_privileges=context.no_new_privs and not privileged
        ),
        mounts=mounts.arranged([*defaults, *pod_files], spec.mounts),
        linux=linux.replace(
            resources=limits.replace(devices=rules),
            namespaces=namespaces,
            devices=found,
            seccomp=None if privileged else _linux_seccomp(context, process),
        ),
    )


def _linux_seccomp(context: api.LinuxContainerSecurityContext, process: Process) -> Seccomp | None:
    profile = security.seccomp_profile(context)
    if profile.kind == "localhost":
        return security.read_seccomp(profile.name)
    capabilities = process.capabilities.bounding if process.capabilities is not None else []
    return default_profile(capabilities) if profile.kind == "default" else None


def _process(pod: Pod, config: api.ContainerConfig, image: ImageForPod) -> Process:
    context = config.linux.security_context
    user = security.user_of(context, image.config.user, image.rootfs)
    cwd = config.working_dir or "/" + image.config.working_dir.lstrip("/")
    check_path(cwd, "working_dir")
    return Process(
        _command(config, image),
        cwd,
        _environment(pod, config, image, user),
        config.tty,
        user=user,
        capabilities=security.capabilities_of(context),
        apparmor_profile="" if context.privileged else security.apparmor_of(context),
        oom_score_adj=resources.oom_score_adj_of(config.linux.resources),
    )


def _command(config: api.ContainerConfig, image: ImageForPod) -> list[str]:
    """Kubernetes' table: `command` replaces entry point and command of the image, `args` its command alone."""
    for field in ("command", "args"):
        for number, word in enumerate(getattr(config, field)):
            check_text(word, f"{field}[{number}]")
    own = [*image.entrypoint, *(config.args or image.command)]
    words = [*config.command, *config.args] if config.command else own
    if not words or not words[0]:
        raise Invalid(
            f"the container has no command, and the image {image.name[:80]} brings none",
            fix="give the container a command",
        )
    return words


def _environment(pod: Pod, config: api.ContainerConfig, image: ImageForPod, user: User) -> list[str]:
    """PATH and HOME, the image's, HOSTNAME, and the caller's: the last value of a name wins."""
    given = []
    for number, variable in enumerate(config.envs):
        where = f"envs[{number}]"
        check_text(variable.key, f"{where}.key")
        try:
            value = variable.value.decode()
        except UnicodeDecodeError:
            raise Invalid(f"{where}.value is not UTF-8, and a container's can only be that") from None
        check_text(value, f"{where}.value")
        if not variable.key or "=" in variable.key:
            raise Invalid(f"{where}.key {variable.key[:60]!r} is not a name")
        given.append(f"{variable.key}={value}")
    home = "/root" if user.uid == 0 else home_of(user.uid, image.rootfs)
    hostname = pod.hostname or os.uname().nodename
    terminal = ["TERM=xterm"] if config.tty else []
    return merge([PATH, f"HOME={home}", *terminal], image.config.env, [f"HOSTNAME={hostname}"], given)


def _annotations(pod: Pod, config: api.ContainerConfig, image: ImageForPod) -> dict[str, str]:
    """The image's and those by which hooks and tools find the pod; the caller's are no business of ours."""
    metadata = pod.config.metadata
    return {
        **image.annotations,
        _CONTAINER_TYPE: "container",
        "io.kubernetes.cri.sandbox-id": pod.id,
        "io.kubernetes.cri.sandbox-name": metadata.name,
        "io.kubernetes.cri.sandbox-namespace": metadata.namespace,
        "io.kubernetes.cri.sandbox-uid": metadata.uid,
        "io.kubernetes.cri.container-name": config.metadata.name,
        "io.kubernetes.cri.image-name": image.name,
    }


def _name(pod: Pod, config: api.ContainerConfig) -> str:
    """`k8s_CONTAINER_POD_NAMESPACE_UID_ATTEMPT`, before the last the pod's own attempt if that is not its first.

    What is no name of ours, or too long, is made one, with a digest at its end.
    """
    own, of_pod = config.metadata, pod.config.metadata
    attempts = [of_pod.attempt, own.attempt] if of_pod.attempt else [own.attempt]
    parts = ["k8s", own.name, of_pod.name, of_pod.namespace, of_pod.uid, *(str(n) for n in attempts)]
    full = "_".join(parts)
    name = "".join(letter if letter in _NAME_LETTERS else "-" for letter in full)
    if name == full and len(name) <= MOST_NAME:
        return name
    digest = sha256(full.encode(errors="replace")).hexdigest()[:16]
    return f"{name[: MOST_NAME - len(digest) - 1]}_{digest}"


def _stop_signal(config: api.ContainerConfig, image: ImageForPod) -> str:
    if config.stop_signal not in api.Signal.values():
        raise Invalid(f"stop_signal {config.stop_signal} is not known")
    text = stopsignals.spelled(config.stop_signal) or image.config.stop_signal or "SIGTERM"
    number_of(text)
    return text


def _rlimits() -> list[Rlimit]:
    """No core files, and many open files where this process may have as many itself."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = OPEN_FILES if most == resource.RLIM_INFINITY else min(OPEN_FILES, most)
    return [Rlimit("RLIMIT_NOFILE", files, files), Rlimit("RLIMIT_CORE", 0, 0)]


def _files_of(pod: Pod, roots: Roots) -> str:
    """The folder with the pod's own /etc/hosts and its like; it goes with the pod's record."""
    return f"{pods_folder(roots)}/{pod.id}"


def _check(spec: Spec, *, linux: bool) -> None:
    """The last word: what no field of the API was asked for by its own name."""
    if not linux:
        check_spec(spec)
        return
    check_common(spec)
    check_linux(spec)
