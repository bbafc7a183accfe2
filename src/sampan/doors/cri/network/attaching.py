"""The network of pods: CNI plugins attach a pod's network namespace, and detach it whatever became of the pod.

What is needed to undo an attachment is on disk before the first plugin is called. All plugins of a pod hold a lock on
its folder until they end: a server that was killed and came back does not detach while one still attaches.
"""

from __future__ import annotations

import fcntl
import ipaddress
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sampan.container import podspaces
from sampan.core import strictjson
from sampan.core.errors import Invalid, NotFound, SampanError, Unavailable, from_os_error
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import Pod
from sampan.doors.cri.network.bandwidth import bandwidth_of
from sampan.doors.cri.network.cniplugins import call
from sampan.linux import cni, durable
from sampan.linux.files import read_file

log = logging.getLogger(__name__)

RECORD = "cni.json"
SECONDS = 60.0
STATUS_SECONDS = 10.0
MOST_PORT = (1 << 16) - 1
_PROTOCOLS = {api.TCP: "tcp", api.UDP: "udp", api.SCTP: "sctp"}


class Network:
    """The networks of pods that have one of their own.

    Args:
        conf_dir: the folder of CNI configurations; read anew each time. bin_dirs: of the plugins' programs.
        cache_folder: each pod has a folder here, named by its id. seconds: the most that one plugin may take.
    """

    def __init__(
        self, conf_dir: str, bin_dirs: list[str], cache_folder: str, seconds: float = SECONDS
    ) -> None:
        self._conf_dir = conf_dir
        self._bin_dirs = bin_dirs
        self._cache_folder = cache_folder
        self._seconds = seconds

    def attach(self, pod: Pod) -> list[str]:
        """Connects a pod's network namespace; its addresses, the first one first, those of IPv4 before others.

        A pod in the host's network has none of its own. What was done of an attachment that fails is undone.

        Raises:
            NotFound: there is no network, or no such plugin. SampanError: what a plugin says went wrong.
        """
        if not pod.netns:
            return []
        attachment = _attachment(cni.load(self._conf_dir), pod)
        with self._locked(pod.id) as lock:
            if os.path.lexists(self._record(pod.id)):
                self._undo(pod, lock)
            self._save(attachment)
            try:
                for plugin in attachment.network.plugins:
                    out = self._call(cni.ADD, attachment, plugin, attachment.result, lock)
                    attachment.result = cni.read_result(out, plugin.type)
                ips = cni.addresses(attachment.result or {}, attachment.interface)
                if not ips:
                    raise Unavailable(
                        f"the CNI network {attachment.network.name!r} gave pod {pod.id} no address"
                    )
                self._save(attachment)
            except BaseException:
                self._try_undo(pod, lock)
                raise
        return ips

    def detach(self, pod: Pod) -> None:
        """Undoes `attach`, whether that came to its end or not, and whether the namespace is there or not.

        Raises:
            SampanError: what a plugin says went wrong; the others have done their part, and this can be called again.
        """
        if not pod.netns:
            return
        try:
            with self._locked(pod.id) as lock:
                self._undo(pod, lock)
        except NotFound:
            if os.path.isdir(f"{self._cache_folder}/{pod.id}"):
                raise

    def check(self, pod: Pod) -> None:
        """Has the plugins look whether the attachment is as they made it.

        Raises:
            NotFound: the pod is not attached. SampanError: what a plugin says is wrong.
        """
        with self._locked(pod.id) as lock:
            attachment = self._load(pod)
            if attachment is None or attachment.result is None:
                raise NotFound(f"pod {pod.id} is not attached to a network")
            if attachment.network.speaks(cni.CHECK):
                for plugin in attachment.network.plugins:
                    self._call(cni.CHECK, attachment, plugin, attachment.result, lock)

    def status(self) -> tuple[bool, str]:
        """Whether pods can be attached now; if not, why."""
        try:
            network = cni.load(self._conf_dir)
            for plugin in network.plugins:
                cni.find_program(plugin.type, self._bin_dirs)
            if network.speaks(cni.STATUS):
                self._ask_plugins(network)
        except SampanError as error:
            return False, str(error)
        return True, ""

    def _ask_plugins(self, network: cni.Network) -> None:
        attachment = cni.Attachment(network, "", "", "")
        with open("/dev/null", "rb") as nothing:
            for plugin in network.plugins:
                self._call(cni.STATUS, attachment, plugin, None, nothing.fileno(), STATUS_SECONDS)

    def _undo(self, pod: Pod, lock: int) -> None:
        attachment = self._load(pod)
        is_known = attachment is not None
        if attachment is None:
            try:
                attachment = _attachment(cni.load(self._conf_dir), pod)
            except SampanError:  # no network, nothing to undo
                return
        failure: SampanError | None = None
        for plugin in reversed(attachment.network.plugins):
            try:
                self._call(cni.DEL, attachment, plugin, attachment.result, lock)
            except SampanError as error:
                log.warning("pod sandbox %s: %s", pod.id, error)
                failure = failure or error
        if failure is not None and is_known:
            raise failure
        durable.remove_file(self._record(pod.id))

    def _try_undo(self, pod: Pod, lock: int) -> None:
        try:
            self._undo(pod, lock)
        except SampanError as error:  # the record stays, so `detach` tries again
            log.warning("pod sandbox %s cannot be detached now: %s", pod.id, error)

    def _call(
        self,
        command: str,
        attachment: cni.Attachment,
        plugin: cni.Plugin,
        previous: dict[str, object] | None,
        lock: int,
        seconds: float = 0.0,
    ) -> bytes:
        if attachment.netns and not podspaces.is_held(attachment.netns):
            # as for one that a reboot took: what is elsewhere is undone
            attachment = attachment.replace(netns="")
        return call(
            command,
            attachment,
            plugin,
            previous,
            folders=self._bin_dirs,
            seconds=seconds or self._seconds,
            inherited=lock,
        )

    @contextmanager
    def _locked(self, pod_id: str) -> Iterator[int]:
        """A descriptor of the pod's folder, locked; plugins of an earlier server are waited for."""
        try:
            fd = os.open(f"{self._cache_folder}/{pod_id}", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise from_os_error(error, "open the pod's folder") from error
        try:
            end = time.monotonic() + self._seconds
            while not _try_lock(fd):
                if time.monotonic() > end:  # it is something that a plugin left running
                    log.warning("pod sandbox %s: a CNI plugin of an earlier call does not end", pod_id)
                    break
                time.sleep(0.02)
            yield fd
        finally:
            os.close(fd)

    def _record(self, pod_id: str) -> str:
        return f"{self._cache_folder}/{pod_id}/{RECORD}"

    def _save(self, attachment: cni.Attachment) -> None:
        data = strictjson.document(attachment, "what plugins are told of the pod sandbox")
        durable.write_file(self._record(attachment.container_id), data, lasting=False)

    def _load(self, pod: Pod) -> cni.Attachment | None:
        """The record of a pod's attachment; None where there is none that can be read."""
        path = self._record(pod.id)
        try:
            return cni.read_attachment(read_file(path, strictjson.MAX_BYTES), path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise from_os_error(error, "read the record of a pod's network") from error
        except SampanError as error:
            log.error("pod sandbox %s: %s", pod.id, error)
            return None


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def check_network(config: api.PodSandboxConfig) -> None:
    """Refuses what plugins cannot be told: they would fail to undo it, too, and the sandbox could never be removed.

    Raises:
        Invalid: names the field.
    """
    cni.check_args(_args(config.metadata, pod_id=""))
    for number, port in enumerate(config.port_mappings):
        where = f"port_mappings[{number}]"
        if port.host_port <= 0:  # nothing is asked for, as with other runtimes
            continue
        for field in ("host_port", "container_port"):
            if not 0 < getattr(port, field) <= MOST_PORT:
                raise Invalid(f"{where}.{field} {getattr(port, field)} is not a port")
        if port.protocol not in _PROTOCOLS:
            raise Invalid(f"{where}.protocol {port.protocol} is not known")
        if port.host_ip and not _is_address(port.host_ip):
            raise Invalid(f"{where}.host_ip {port.host_ip[:60]!r} is not an address")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _attachment(network: cni.Network, pod: Pod) -> cni.Attachment:
    """A pod's wish, as plugins are told it."""
    config = pod.config
    args = _args(config.metadata, pod.id)
    return cni.Attachment(network, pod.id, pod.netns, args=args, capabilities=_capabilities(config))


def _args(metadata: api.PodSandboxMetadata, pod_id: str) -> dict[str, str]:
    """Who a pod is; the names are those that all runtimes under a kubelet use."""
    return {
        "IgnoreUnknown": "1",
        "K8S_POD_NAMESPACE": metadata.namespace,
        "K8S_POD_NAME": metadata.name,
        "K8S_POD_INFRA_CONTAINER_ID": pod_id,
        "K8S_POD_UID": metadata.uid,
    }


def _capabilities(config: api.PodSandboxConfig) -> dict[str, object]:
    """What a pod wants of plugins that can do it (the conventions of CNI, "Dynamic plugin specific fields")."""
    found: dict[str, object] = {"io.kubernetes.cri.pod-annotations": dict(config.annotations)}
    ports = [
        {
            "hostPort": port.host_port,
            "containerPort": port.container_port,
            "protocol": _PROTOCOLS[port.protocol],
            "hostIP": port.host_ip,
        }
        for port in config.port_mappings
        if port.host_port > 0
    ]
    if ports:
        found["portMappings"] = ports
    dns = config.dns_config
    if dns.servers or dns.searches or dns.options:
        found["dns"] = {
            "servers": list(dns.servers),
            "searches": list(dns.searches),
            "options": list(dns.options),
        }
    if config.linux.cgroup_parent:
        found["cgroupPath"] = config.linux.cgroup_parent
    bandwidth = bandwidth_of(config.annotations)
    if bandwidth:
        found["bandwidth"] = bandwidth
    return found
