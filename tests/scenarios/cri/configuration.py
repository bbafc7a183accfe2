"""What the daemons of a cluster of the tests are told: their files, and their command lines' options."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PLUGINS = "/usr/lib/cni"  # Debian's
NODE, ADDRESS = "sampan-node", "192.168.213.1"
REGISTRY = "127.0.0.1:5000"
REGISTRIES = ("docker.io", "harbor.domain.dev", "registry.k8s.io")
PAUSE = "registry.k8s.io/pause:3.10"
LABELS = "app=wasmrun,wasm=wasmtime"  # what the manifests' RuntimeClasses select


def network(folder: Path) -> None:
    """A bridge for pods, and ports of the node that lead to them."""
    address = {"type": "host-local", "dataDir": f"{folder}/ipam", "ranges": [[{"subnet": "10.213.0.0/16"}]]}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isDefaultGateway": True,
        "hairpinMode": True,
        "ipam": address,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    (folder / "cni").mkdir()
    (folder / "cni" / "10-pods.conflist").write_text(
        json.dumps({"cniVersion": "0.4.0", "name": "pods", "plugins": [bridge, ports]})
    )


def registry(folder: Path) -> str:
    """The registry that stands for all others, and the mirror entries for it."""
    (folder / "registry.yml").write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\nhttp: {{addr: '{REGISTRY}', secret: s}}\n"
    )
    entries = [f'[registries."{name}"]\nmirrors = ["{REGISTRY}"]\n' for name in REGISTRIES]
    (folder / "registries.toml").write_text(
        "".join(entries) + f'[registries."{REGISTRY}"]\nplain_http = true\n'
    )
    for name in REGISTRIES:
        (folder / "certs.d" / name).mkdir(parents=True)
        (folder / "certs.d" / name / "hosts.toml").write_text(f'[host."http://{REGISTRY}"]\n')
    return str(folder / "registry.yml")


def containerd(folder: Path) -> str:
    cri = 'plugins."io.containerd.grpc.v1.cri"'
    address = f"{folder}/containerd.sock"
    (folder / "containerd.toml").write_text(
        f'version = 2\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'[grpc]\naddress = "{address}"\n[ttrpc]\naddress = "{address}.ttrpc"\n[debug]\naddress = "{folder}/d.sock"\n'
        f'[{cri}]\nsandbox_image = "{PAUSE}"\nrestrict_oom_score_adj = true\nnetns_mounts_under_state_dir = true\n'
        f'[{cri}.cni]\nbin_dir = "{PLUGINS}"\nconf_dir = "{folder}/cni"\n'
        f'[{cri}.registry]\nconfig_path = "{folder}/certs.d"\n'
        f'[{cri}.containerd]\ndefault_runtime_name = "runc"\n'
        f'[{cri}.containerd.runtimes.runc]\nruntime_type = "io.containerd.runc.v2"\n'
    )
    return str(folder / "containerd.toml")


def etcd(folder: Path) -> list[str]:
    return ["--data-dir", f"{folder}/etcd", "--log-level", "error", "--unsafe-no-fsync"]


def apiserver(folder: Path) -> list[str]:
    options = {
        "etcd-servers": "http://127.0.0.1:2379",
        "bind-address": "127.0.0.1",
        "advertise-address": ADDRESS,
        "tls-cert-file": f"{folder}/api.crt",
        "tls-private-key-file": f"{folder}/api.key",
        "cert-dir": f"{folder}/certs",
        "token-auth-file": f"{folder}/tokens.csv",
        "authorization-mode": "AlwaysAllow",
        "service-cluster-ip-range": "10.96.0.0/24",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-account-key-file": f"{folder}/accounts.key",
        "service-account-signing-key-file": f"{folder}/accounts.key",
        "kubelet-preferred-address-types": "InternalIP",
    }
    return _options(options)


def controllers(folder: Path) -> list[str]:
    options = {
        "service-account-private-key-file": f"{folder}/accounts.key",
        "root-ca-file": f"{folder}/ca.crt",
    }
    return [*scheduler(folder), *_options(options)]


def scheduler(folder: Path) -> list[str]:
    options = {
        "kubeconfig": f"{folder}/kubeconfig",
        "cert-dir": f"{folder}/certs",
        "leader-elect": "false",
    }
    return _options(options)


def kubelet(folder: Path, endpoint: str, cgroup: str, gates: tuple[str, ...]) -> list[str]:
    """
    Args:
        endpoint: of the runtime. cgroup: the one below which all pods go. gates: features to turn on.
    """
    settings: dict[str, Any] = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": endpoint,
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "featureGates": dict.fromkeys(gates, True),
        "failCgroupV1": False,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cgroup}",
        "enforceNodeAllocatable": [],
        "makeIPTablesUtilChains": False,
        "oomScoreAdj": 0,
        "failSwapOn": False,
        "evictionHard": {f"{name}.available": "0%" for name in ("memory", "nodefs", "imagefs")},
        "resolvConf": "",
        "clusterDNS": ["10.96.0.10"],
        "clusterDomain": "cluster.local",
        "podLogsDir": f"{folder}/logs",
        "volumePluginDir": f"{folder}/volume-plugins",
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "5s",
        "healthzPort": 0,
    }
    (folder / "kubelet.json").write_text(json.dumps(settings))
    options = {
        "config": f"{folder}/kubelet.json",
        "kubeconfig": f"{folder}/kubeconfig",
        "root-dir": f"{folder}/kubelet",
        "cert-dir": f"{folder}/certs",
        "hostname-override": NODE,
        "node-ip": ADDRESS,
        "node-labels": LABELS,
    }
    return _options(options)


def _options(options: dict[str, str]) -> list[str]:
    return [f"--{name}={value}" for name, value in options.items()]
