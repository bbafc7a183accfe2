"""What the room costs a command that does not use it: C modules, our own, and no ctypes before the first call."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
MODULES = [path.stem for path in sorted((SOURCE / "sampan/linux").glob("[a-z]*.py"))]
HEAVY = {
    "ctypes", "dataclasses", "typing", "json", "re", "argparse", "socket", "subprocess", "enum", "signal", "threading",
    "pathlib", "tempfile", "shutil", "logging", "asyncio", "contextlib",
}  # fmt: skip


def test_no_module_of_the_room_imports_anything_heavy():
    program = f"import sys; sys.path.insert(0, {str(SOURCE)!r})\n"
    program += "".join(f"import sampan.linux.{name}\n" for name in MODULES) + "print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert {"sampan.linux.durable", "sampan.linux.seccomp"} <= loaded
    assert loaded & HEAVY == set()
