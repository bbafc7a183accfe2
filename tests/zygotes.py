"""A zygote that a test starts itself, as its child: the first one there is for these roots."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from sampan.container.starting import _ZYGOTE

SOURCE = Path(__file__).parents[1] / "src"


def start_zygote(
    data: str, run: Path, env: Mapping[str, str], before: Callable[[], None] | None = None
) -> subprocess.Popen[bytes]:
    """Starts it and waits until it serves; kill it in the end.

    Args:
        before: called in its process, before anything of it.
    """
    run.mkdir(mode=0o700, exist_ok=True)
    ready, write = os.pipe()
    command = [sys.executable, "-I", "-S", "-c", _ZYGOTE, data, str(run), str(write), str(SOURCE), *sys.path]
    zygote = subprocess.Popen(command, env=env, pass_fds=[write], preexec_fn=before)
    os.close(write)
    assert os.read(ready, 1) == b"!"
    os.close(ready)
    return zygote
