"""Images as `docker save` writes them, which containerd, dockerd and podman all load: one layer, made of files."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def archive(
    path: Path, name: str, files: Mapping[str, bytes | Path], *, mode: int = 0o644, **config: Any
) -> Path:
    """Writes an image into the archive `path`.

    Args:
        files: path in the image -> its content, or a file to copy.
        mode: of every file; a folder on the way to one is 0755.
        config: the image's configuration, as `Cmd=["/app.wasm"]`.
    """
    layer = _layer(files, mode)
    document = {
        "architecture": "amd64",
        "os": "linux",
        "config": config,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        "history": [{"created_by": "COPY"}],
    }
    manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
    with tarfile.open(path, "w") as tar:
        _add(tar, "layer.tar", layer)
        _add(tar, "config.json", json.dumps(document).encode())
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return path


def _layer(files: Mapping[str, bytes | Path], mode: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for folder in sorted({str(p) for name in files for p in Path(name).parents} - {".", "/"}):
            entry = tarfile.TarInfo(folder.lstrip("/"))
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in files.items():
            data = content.read_bytes() if isinstance(content, Path) else content
            _add(tar, name.lstrip("/"), data, mode)
    return buffer.getvalue()


def _add(tar: tarfile.TarFile, name: str, data: bytes, mode: int = 0o644) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), mode
    tar.addfile(entry, io.BytesIO(data))
