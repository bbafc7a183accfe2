"""Pods on real CNI plugins, in a network namespace that stands for the host's; and plugins that misbehave.

Rows F5, F10, X9, X10, X11. Debian's plugins run as they are, from a folder of small scripts that put each into that
namespace.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys
import threading
import time

import pytest

from sampan.container import podspaces
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError, TimedOut, Unavailable
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import MAKING, Pod, encode
from sampan.doors.cri.network import cniplugins
from sampan.doors.cri.network.attaching import RECORD, Network
from sampan.linux.processes import boot_id

from ..waiting import until

PLUGINS = "/usr/lib/cni"
SOURCE = pathlib.Path(__file__).parents[2] / "src"
TRACE = "echo $CNI_COMMAND-$(basename $0) >> {trace}\n"

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to make namespaces"),
    pytest.mark.skipif(not os.path.exists(f"{PLUGINS}/bridge"), reason="needs the CNI plugins"),
]


class Host:
    """A network namespace that stands for the host's, with plugins, a configuration and pods of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.conf, self.bin, self.pods = folder / "net.d", folder / "bin", folder / "pods"
        for name in (self.conf, self.bin, self.pods):
            name.mkdir()
        self.trace = folder / "trace"
        podspaces.make(str(folder / "host"), ["net"], {}, "")
        self.made = [str(folder / "host")]
        self.network = self.another()

    def another(self, **options):
        return Network(str(self.conf), [str(self.bin)], str(self.pods), **options)

    def install(self, *names):
        """Real plugins, which run in the host's namespace and find each other there; each call leaves a line."""
        for name in names:
            self.fake(name, f"exec nsenter --net={self.folder}/host/net {PLUGINS}/{name}")

    def fake(self, name, script):
        path = self.bin / name
        path.write_text("#!/bin/sh\n" + TRACE.format(trace=self.trace) + script + "\n")
        path.chmod(0o755)

    def configure(self, *plugins, version="1.0.0", **more):
        value = {"cniVersion": version, "name": "pods", "plugins": list(plugins), **more}
        (self.conf / "10-pods.conflist").write_text(json.dumps(value))

    def bridge(self, *more, **options):
        """The network that most hosts have."""
        self.install("bridge", "host-local", *(plugin["type"] for plugin in more))
        ipam = {
            "type": "host-local",
            "dataDir": str(self.folder / "leases"),
            "ranges": [[{"subnet": subnet}] for subnet in ("10.199.0.0/24", "fd99::/64")],
            "routes": [{"dst": "0.0.0.0/0"}],
        }
        plugin = {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": False, "ipam": ipam}
        self.configure(plugin, *more, **options)

    def pod(self, name="web", **fields):
        """A pod with a network namespace, not attached yet."""
        metadata = api.PodSandboxMetadata(name=name, namespace="default", uid=f"uid-{name}")
        config = api.PodSandboxConfig(metadata=metadata, **fields)
        pod_id = os.urandom(32).hex()
        spaces = podspaces.make(str(self.folder / "run" / pod_id), ["net"], {}, "")
        self.made.append(str(self.folder / "run" / pod_id))
        (self.pods / pod_id).mkdir()
        return Pod(pod_id, MAKING, time.time_ns(), boot_id(), "wasm", "", encode(config), spaces)

    def inside(self, *command, pod=None):
        path = pod.netns if pod is not None else f"{self.folder}/host/net"
        done = subprocess.run(
            ["nsenter", f"--net={path}", *command], capture_output=True, text=True, check=True
        )
        return done.stdout

    def links(self):
        """The names of the host's interfaces, but for the loopback."""
        return {link["ifname"] for link in json.loads(self.inside("ip", "-j", "link"))} - {"lo"}

    def leases(self):
        folder = self.folder / "leases" / "pods"
        names = os.listdir(folder) if folder.exists() else []
        return [name for name in names if name[0].isdigit() or ":" in name]

    def calls(self):
        """What was called since the last look: ADD-bridge, ..."""
        said = self.trace.read_text().split() if self.trace.exists() else []
        self.trace.write_text("")
        return said

    def close(self):
        for folder in self.made:
            podspaces.release(folder)


@pytest.fixture
def host(tmp_path):
    host = Host(tmp_path)
    yield host
    host.close()


# -- real plugins


def test_a_pod_has_addresses_which_are_given_back(host):
    host.bridge()
    pod = host.pod()
    ips = host.network.attach(pod)
    assert ips[0].startswith("10.199.0.") and ips[1].startswith("fd99::") and len(ips) == 2
    shown = json.loads(host.inside("ip", "-j", "addr", "show", "eth0", pod=pod))[0]
    assert {ip["local"] for ip in shown["addr_info"]} >= set(ips)
    host.network.check(pod)
    host.network.detach(pod)
    assert host.leases() == []
    assert host.links() == {"cni0"}
    assert "eth0" not in host.inside("ip", "link", pod=pod)
    assert not (host.pods / pod.id / RECORD).exists()


def test_pods_reach_each_other(host):
    host.bridge()
    first, second = host.pod("first"), host.pod("second")
    address = host.network.attach(first)[0]
    host.network.attach(second)
    server = subprocess.Popen(
        ["nsenter", f"--net={first.netns}", sys.executable, "-c", f"""
import socket
server = socket.create_server(("{address}", 8080))
print("listens", flush=True)
server.accept()[0].sendall(b"ahoy")
"""], stdout=subprocess.PIPE)  # fmt: skip
    try:
        assert server.stdout.readline() == b"listens\n"
        client = f"import socket; print(socket.create_connection(('{address}', 8080), 10).recv(9).decode())"
        assert host.inside(sys.executable, "-c", client, pod=second) == "ahoy\n"
    finally:
        server.kill()
        server.communicate()
    for pod in (first, second):
        host.network.detach(pod)
    assert host.leases() == []


def test_a_host_port_leads_to_the_pod_and_is_given_back(host):
    host.bridge({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    port = api.PortMapping(container_port=80, host_port=18080, protocol=api.TCP)
    unmapped = api.PortMapping(container_port=81)
    pod = host.pod(port_mappings=[port, unmapped])
    address = host.network.attach(pod)[0]
    rules = host.inside("iptables-save", "-t", "nat")
    assert f"--dport 18080 -j DNAT --to-destination {address}:80" in rules
    assert ":81" not in rules
    host.network.detach(pod)
    assert "18080" not in host.inside("iptables-save", "-t", "nat")
    assert host.leases() == []


def test_a_limit_of_bandwidth_is_set_on_the_hosts_side(host):
    host.bridge({"type": "bandwidth", "capabilities": {"bandwidth": True}})
    pod = host.pod(
        annotations={"kubernetes.io/ingress-bandwidth": "10M", "kubernetes.io/egress-bandwidth": "5M"}
    )
    host.network.attach(pod)
    shapers = host.inside("tc", "qdisc")
    assert "tbf" in shapers and "rate 10Mbit" in shapers and "rate 5Mbit" in shapers
    host.network.detach(pod)
    assert "tbf" not in host.inside("tc", "qdisc")
    assert host.links() == {"cni0"}


@pytest.mark.parametrize("version", ["0.3.1", "0.4.0", "1.0.0"])
def test_every_version_that_the_plugins_speak(host, version):
    host.bridge({"type": "tuning", "mtu": 1400}, version=version)
    pod = host.pod()
    assert len(host.network.attach(pod)) == 2
    assert "mtu 1400" in host.inside("ip", "link", "show", "eth0", pod=pod)
    host.network.check(pod)
    host.network.detach(pod)
    assert (host.leases(), host.links()) == ([], {"cni0"})


def test_a_single_plugin_in_a_conf_file(host):
    host.install("ptp", "host-local")
    ipam = {"type": "host-local", "dataDir": f"{host.folder}/leases", "subnet": "10.198.0.0/24"}
    value = {"cniVersion": "0.3.1", "name": "pods", "type": "ptp", "ipam": ipam}
    (host.conf / "10-ptp.conf").write_text(json.dumps(value))
    pod = host.pod()
    assert host.network.attach(pod) == ["10.198.0.2"]
    host.network.detach(pod)
    assert (host.leases(), host.links()) == ([], set())


def test_many_pods_at_once_have_different_addresses(host):
    host.bridge()
    pods = [host.pod(f"p{number}") for number in range(12)]
    found = {}
    threads = [
        threading.Thread(target=lambda pod=pod: found.update({pod.id: host.network.attach(pod)}))
        for pod in pods
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({ips[0] for ips in found.values()}) == len(pods)
    for pod in pods:
        host.network.detach(pod)
    assert (host.leases(), host.links()) == ([], {"cni0"})


# -- what can be undone


def test_detach_may_be_repeated_and_come_first(host):
    host.bridge()
    pod = host.pod()
    host.network.detach(pod)
    host.network.attach(pod)
    for _ in range(3):
        host.network.detach(pod)
    assert host.leases() == []


def test_X10_a_namespace_that_is_gone_costs_no_address(host):
    host.bridge({"type": "portmap", "capabilities": {"portMappings": True}})
    pod = host.pod(port_mappings=[api.PortMapping(container_port=80, host_port=18082)])
    host.network.attach(pod)
    podspaces.release(os.path.dirname(pod.netns))
    host.network.detach(pod)
    assert host.leases() == []
    assert "18082" not in host.inside("iptables-save", "-t", "nat")


def test_X9_after_a_reboot_the_address_is_given_back(host):
    host.bridge()
    pod = host.pod()
    host.network.attach(pod)
    podspaces.release(os.path.dirname(pod.netns))
    os.makedirs(os.path.dirname(pod.netns))
    pathlib.Path(pod.netns).touch()  # a file that nothing is mounted on any more
    host.another().detach(pod)
    assert host.leases() == []


def test_a_configuration_that_changed_does_not_matter_to_what_is_attached(host):
    host.bridge()
    pod = host.pod()
    host.network.attach(pod)
    (host.conf / "10-pods.conflist").unlink()
    host.network.detach(pod)
    assert host.leases() == []


def test_attaching_again_gives_the_first_address_back(host):
    host.bridge()
    pod = host.pod()
    host.network.attach(pod)
    assert len(host.another().attach(pod)) == 2
    assert len(host.leases()) == 2
    host.network.detach(pod)
    assert host.leases() == []


def test_a_failure_further_on_undoes_what_was_done(host):
    host.bridge({"type": "portmap"})
    host.fake("portmap", 'echo \'{"code": 999, "msg": "no iptables"}\'; exit 1')
    pod = host.pod()
    with pytest.raises(Unavailable, match=r"'portmap' of network 'pods' failed \(ADD\): no iptables"):
        host.network.attach(pod)
    called = [call for call in host.calls() if "host-local" not in call]
    assert called == ["ADD-bridge", "ADD-portmap", "DEL-portmap", "DEL-bridge"]
    assert (host.leases(), host.links()) == ([], {"cni0"})
    assert (host.pods / pod.id / RECORD).exists()  # one DEL failed: it is tried again
    host.install("portmap")
    host.network.detach(pod)
    assert not (host.pods / pod.id / RECORD).exists()


def test_a_detach_that_fails_does_all_the_rest_and_is_tried_again(host, caplog):
    host.bridge({"type": "portmap"})
    pod = host.pod()
    host.network.attach(pod)
    host.fake("portmap", 'echo \'{"code": 11, "msg": "locked"}\'; exit 1')
    with caplog.at_level(logging.WARNING), pytest.raises(Unavailable, match="locked"):
        host.network.detach(pod)
    assert "locked" in caplog.text
    assert host.leases() == []
    host.install("portmap")
    host.network.detach(pod)
    assert not (host.pods / pod.id / RECORD).exists()


def test_F5_a_server_killed_while_it_attaches_leaves_nothing_after_detach(host):
    host.bridge()
    host.fake("slow", f"cat > /dev/null; sleep 1; cat {host.folder}/late >> {host.folder}/done; echo '{{}}'")
    (host.folder / "late").write_text("x")
    host.bridge({"type": "slow"})
    host.fake(
        "slow", f"sleep 1; [ $CNI_COMMAND = DEL ] && rm -f {host.folder}/done || touch {host.folder}/done"
    )
    pod = host.pod()
    program = f"""
import sys
sys.path.insert(0, {str(SOURCE)!r})
from sampan.core import strictjson
from sampan.doors.cri.documents import Pod
from sampan.doors.cri.network.attaching import Network
pod = Pod.from_json(strictjson.loads(sys.stdin.read()))
Network({str(host.conf)!r}, [{str(host.bin)!r}], {str(host.pods)!r}).attach(pod)
"""
    server = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE)
    server.stdin.write(json.dumps(pod.to_json()).encode())
    server.stdin.close()
    until(lambda: "ADD-slow" in (host.trace.read_text() if host.trace.exists() else ""))
    server.kill()
    server.wait()
    assert not (host.folder / "done").exists()  # the plugin still runs
    host.network.detach(pod)
    assert not (host.folder / "done").exists()
    assert (host.leases(), host.links()) == ([], {"cni0"})


@pytest.mark.parametrize("damage", [b"", b"{", b'{"network": {}}', b"\xff"])
def test_F10_a_damaged_record_is_told_and_the_present_network_is_tried(host, damage, caplog):
    host.bridge()
    pod = host.pod()
    host.network.attach(pod)
    (host.pods / pod.id / RECORD).write_bytes(damage)
    host.network.detach(pod)
    assert pod.id in caplog.text
    assert host.leases() == []


def test_a_pod_in_the_hosts_network_has_no_address_of_its_own(host):
    host.bridge()
    pod = host.pod().replace(spaces={})
    assert host.network.attach(pod) == []
    host.network.detach(pod)
    assert host.calls() == []


def test_a_pod_without_a_folder_is_nowhere_attached(host):
    host.bridge()
    pod = host.pod()
    (host.pods / pod.id).rmdir()
    host.network.detach(pod)
    with pytest.raises(NotFound):
        host.network.attach(pod)
    assert host.calls() == []


# -- what plugins are told


def test_plugins_are_told_whose_network_it_is(host):
    said = {"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/24"}], "mine": {"kept": [1]}}
    kept = f"env > {host.folder}/$CNI_COMMAND.env; cat > {host.folder}/$CNI_COMMAND.in"
    host.fake("spy", f"{kept}; echo '{json.dumps(said)}'")
    every = {"portMappings": True, "dns": True, "bandwidth": True, "cgroupPath": True, "mac": True}
    host.configure({"type": "spy", "capabilities": every, "own": "word"})
    pod = host.pod(
        port_mappings=[
            api.PortMapping(container_port=53, host_port=5353, protocol=api.UDP, host_ip="127.0.0.1")
        ],
        dns_config=api.DNSConfig(servers=["10.0.0.10"], searches=["svc.cluster.local"], options=["ndots:5"]),
        annotations={"kubernetes.io/egress-bandwidth": "1M"},
        linux=api.LinuxPodSandboxConfig(cgroup_parent="/kubepods/pod1"),
    )
    assert host.network.attach(pod) == ["10.1.2.3"]
    host.network.check(pod)
    host.network.detach(pod)
    told = dict(
        line.split("=", 1) for line in (host.folder / "ADD.env").read_text().splitlines() if "=" in line
    )
    assert told["CNI_ARGS"] == (
        "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web;"
        f"K8S_POD_INFRA_CONTAINER_ID={pod.id};K8S_POD_UID=uid-web"
    )
    assert (told["CNI_CONTAINERID"], told["CNI_NETNS"], told["CNI_IFNAME"]) == (pod.id, pod.netns, "eth0")
    sent = json.loads((host.folder / "ADD.in").read_text())
    assert sent == {
        "cniVersion": "1.0.0",
        "name": "pods",
        "type": "spy",
        "own": "word",
        "runtimeConfig": {
            "portMappings": [
                {"hostPort": 5353, "containerPort": 53, "protocol": "udp", "hostIP": "127.0.0.1"}
            ],
            "dns": {"servers": ["10.0.0.10"], "searches": ["svc.cluster.local"], "options": ["ndots:5"]},
            "bandwidth": {"egressRate": 1_000_000, "egressBurst": (1 << 32) - 1},
            "cgroupPath": "/kubepods/pod1",
        },
    }
    for command in ("CHECK", "DEL"):
        later = json.loads((host.folder / f"{command}.in").read_text())
        assert later.pop("prevResult")["mine"] == {"kept": [1]}
        assert later == sent


def test_a_pods_name_makes_no_argument(host):
    host.bridge()
    pod = host.pod("web;K8S_POD_NAMESPACE=kube-system")
    with pytest.raises(Invalid, match="K8S_POD_NAME"):
        host.network.attach(pod)
    assert host.calls() == []


# -- plugins that misbehave


def running(host):
    """The processes that the test's plugins left."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if f"{host.folder}".encode() in pathlib.Path(f"/proc/{pid}/environ").read_bytes():
                found.append(int(pid))
        except OSError:
            continue
    return found


def test_X11_a_plugin_that_hangs_is_killed_with_all_that_it_started(host):
    host.fake("hang", "sleep 1000 & sleep 1000")
    host.configure({"type": "hang"})
    pod = host.pod()
    network = host.another(seconds=0.3)
    with pytest.raises(TimedOut, match=r"'hang' of network 'pods' did not end in 0.3 s \(ADD\)"):
        network.attach(pod)
    until(lambda: running(host) == [])


def test_a_child_that_a_plugin_leaves_keeps_nobody_waiting(host):
    said = json.dumps({"ips": [{"address": "10.1.2.3/24"}]})
    host.fake("leaves", f"sleep 1000 &\necho $! >> {host.folder}/left\necho '{said}'")
    host.configure({"type": "leaves"})
    pod = host.pod()
    network = host.another(seconds=1)
    try:
        assert network.attach(pod) == ["10.1.2.3"]
        network.detach(pod)
    finally:
        for pid in (host.folder / "left").read_text().split():
            os.kill(int(pid), 9)


def test_a_flood_ends_and_costs_no_memory(host):
    host.fake("flood", "yes '{\"a\": 1}'")
    host.configure({"type": "flood"})
    with pytest.raises(SampanError, match="'flood'"):
        host.network.attach(host.pod())


@pytest.mark.parametrize(
    ("script", "error", "words"),
    [
        ("echo hello", DataLoss, "printed no result"),
        ("true", DataLoss, "printed no result"),
        ("echo '{}'", Unavailable, "gave pod .* no address"),
        ('echo \'{"ips": [{"address": "x"}]}\'', DataLoss, "printed no result"),
        ("echo oops >&2; exit 3", Unavailable, "exit code 3, oops"),
        ("kill -9 $$", Unavailable, "signal 9"),
        ('echo \'{"code": 7, "msg": "bad mtu"}\'; exit 1', Precondition, "bad mtu"),
    ],
)
def test_garbage_is_an_error_that_names_the_plugin(host, script, error, words):
    host.fake("odd", script)
    host.configure({"type": "odd"})
    with pytest.raises(error, match=words) as raised:
        host.network.attach(host.pod())
    assert "odd" in str(raised.value) or "pods" in str(raised.value)


def test_a_program_that_cannot_be_run_is_named(host):
    (host.bin / "broken").write_bytes(b"\x7fELF rubbish")
    (host.bin / "broken").chmod(0o755)
    host.configure({"type": "broken"})
    with pytest.raises(SampanError, match="'broken'"):
        host.network.attach(host.pod())


def test_its_output_is_bounded(host):
    limit = cniplugins.MAX_OUTPUT
    host.fake("large", f"head -c {limit + 10} /dev/zero | tr '\\0' x; exit 1")
    host.configure({"type": "large"})
    with pytest.raises(Unavailable) as raised:
        host.network.attach(host.pod())
    assert len(raised.value.message) < 1000


# -- status


def test_without_a_network_it_is_not_ready_and_says_why(host):
    ready, why = host.network.status()
    assert not ready
    assert "no CNI network is configured in" in why and str(host.conf) in why
    with pytest.raises(NotFound, match="no CNI network"):
        host.network.attach(host.pod())


def test_without_its_plugins_it_is_not_ready(host):
    host.configure({"type": "bridge"})
    ready, why = host.network.status()
    assert (ready, "'bridge' is not in" in why) == (False, True)
    host.install("bridge")
    assert host.network.status() == (True, "")


def test_a_broken_configuration_is_named(host):
    (host.conf / "10-x.conflist").write_text("{")
    ready, why = host.network.status()
    assert (ready, "10-x.conflist" in why) == (False, True)


def test_since_1_1_the_plugins_are_asked(host):
    down = json.dumps({"code": 50, "msg": "no leases"})
    host.fake(
        "cloud", f"[ $CNI_COMMAND != STATUS ] || [ -e {host.folder}/up ] && exit 0\necho '{down}'; exit 1"
    )
    host.configure({"type": "cloud"}, version="1.1.0")
    ready, why = host.network.status()
    assert (ready, "no leases" in why) == (False, True)
    (host.folder / "up").touch()
    assert host.network.status() == (True, "")
    host.configure({"type": "cloud"}, version="1.0.0")
    host.calls()
    host.network.status()
    assert host.calls() == []


def test_check_finds_what_somebody_took_away(host):
    host.bridge()
    pod = host.pod()
    with pytest.raises(NotFound, match="not attached"):
        host.network.check(pod)
    host.network.attach(pod)
    host.inside("ip", "link", "del", "eth0", pod=pod)
    with pytest.raises(Unavailable, match=r"'bridge' of network 'pods' failed \(CHECK\)"):
        host.network.check(pod)
    host.network.detach(pod)
    assert host.leases() == []
