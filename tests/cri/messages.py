"""Pods, images and messages for the tests of what a container is made of."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from sampan.core.roots import Roots
from sampan.core.spec.image import ContainerConfig, Platform
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.documents import Pod, encode
from sampan.doors.cri.images.documents import ImageForPod
from sampan.engine.code import wat_to_wasm

if TYPE_CHECKING:
    from pathlib import Path

POD_ID = "a" * 64
CONTAINER_ID = "b" * 64
HELLO = b'(module (func (export "_start")))'
PASSWD = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:Web:/home/web:/bin/sh\n"
GROUP = "root:x:0:\nweb:x:1001:\nstaff:x:50:root,web\nmail:x:8:web\n"


def make_roots(folder: Path) -> Roots:
    roots = Roots(f"{folder}/data", f"{folder}/run")
    os.makedirs(f"{roots.data}/pods/{POD_ID}")
    os.makedirs(f"{roots.run}/pods/{POD_ID}")
    return roots


def make_pod(roots: Roots, config: api.PodSandboxConfig | None = None, engine: str = "") -> Pod:
    """A pod with namespaces of its own, as far as its record tells."""
    config = config or api.PodSandboxConfig(
        metadata=api.PodSandboxMetadata(name="web", namespace="shop", uid="u1"), hostname="crictl_host"
    )
    spaces = {kind: f"{roots.run}/pods/{POD_ID}/{kind}" for kind in ("net", "ipc", "uts")}
    if config.linux.security_context.namespace_options.network == api.NODE:
        del spaces["net"], spaces["uts"]
    return Pod(POD_ID, "ready", 1, "boot", "wasm", engine, encode(config), spaces)


def make_rootfs(folder: Path, files: dict[str, bytes] | None = None) -> str:
    """An unpacked image: a module, a Linux script, users and groups."""
    contents = {
        "hello.wasm": wat_to_wasm(HELLO),
        "bin/tool": b"#!/bin/sh\n",
        "etc/passwd": PASSWD.encode(),
        "etc/group": GROUP.encode(),
        **(files or {}),
    }
    for name, data in contents.items():
        path = folder / "rootfs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return str(folder / "rootfs")


def make_image(
    rootfs: str, config: ContainerConfig | None = None, modules: tuple[str, ...] = ()
) -> ImageForPod:
    config = config or ContainerConfig(cmd=["/hello.wasm"])
    return ImageForPod(
        "sha256:" + "c" * 64,
        "example.org/hello:1",
        "example.org/hello@sha256:" + "d" * 64,
        rootfs,
        config,
        config.entrypoint,
        config.cmd,
        list(modules),
        "application/vnd.oci.image.manifest.v1+json",
        Platform("wasm" if modules else "amd64", "wasi" if modules else "linux"),
    )
