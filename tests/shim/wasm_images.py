"""Images of any shape, as archives that containerd imports."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"


class Layout:
    """An OCI image layout that is written as it is told, whether it makes sense or not."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, data: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        """A blob; its descriptor."""
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data), **more}

    def manifest(self, config: dict[str, Any], *layers: dict[str, Any], **more: Any) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}
        return self.put(json.dumps(document).encode(), MANIFEST, **more)

    def index(self, *manifests: dict[str, Any]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}
        return self.put(json.dumps(document).encode(), INDEX)

    def write(self, path: Path, name: str, descriptor: dict[str, Any]) -> Path:
        """The archive of an image called `name`."""
        named = {**descriptor, "annotations": {"io.containerd.image.name": name}}
        with tarfile.open(path, "w") as tar:
            _add(tar, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(tar, "index.json", json.dumps({"schemaVersion": 2, "manifests": [named]}).encode())
            for digest, data in self.blobs.items():
                _add(tar, f"blobs/sha256/{digest}", data)
        return path


def linux(layout: Layout) -> dict[str, Any]:
    """An ordinary image for this host's platform, with one empty layer."""
    tar = bytes(10240)
    diff = f"sha256:{hashlib.sha256(tar).hexdigest()}"
    document = {"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": [diff]}}
    config = layout.put(json.dumps(document).encode(), CONFIG)
    layer = layout.put(tar, "application/vnd.oci.image.layer.v1.tar")
    return layout.manifest(config, layer, platform={"os": "linux", "architecture": "amd64"})


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
