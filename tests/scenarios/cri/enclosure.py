"""A place of its own for a node: a network and a mount namespace, and a cgroup, that end with all that is in them.

The node's ports can be the well-known ones, its address is on its own loopback interface, and what its daemons write to
`/run`, `/var/lib` and `/var/log` is in memory. They see kernel settings as a kubelet wants them, so that it changes
none.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SETTINGS = {
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
}
SECONDS = 30  # in which killed processes must have ended
IN_MEMORY = ("/run", "/var/lib", "/var/log")


class Enclosure:
    """
    Attributes:
        name: of the cgroup. address: the node's.
    """

    def __init__(self, folder: Path, address: str) -> None:
        """
        Args:
            folder: where files may be put; its name becomes that of the cgroup.
        """
        self.name = folder.name
        self.address = address
        script = "echo here; exec sleep infinity"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", script],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == "here\n"
        self._mounts = os.readlink(f"/proc/{self._holder.pid}/ns/mnt")
        self._groups = [path / self.name for path in CGROUPS.iterdir() if path.is_dir()]
        for group in self._groups:
            group.mkdir()
        self.run("ip", "link", "set", "lo", "up")
        self.run("ip", "address", "add", f"{address}/32", "dev", "lo")
        for place in IN_MEMORY:
            self.run("mount", "-t", "tmpfs", "tmpfs", place)
        (folder / "settings").mkdir()
        for setting, value in SETTINGS.items():
            file = folder / "settings" / setting.replace("/", ".")
            file.write_text(f"{value}\n")
            self.run("mount", "--bind", str(file), f"/proc/sys/{setting}")

    def command(self, *words: str) -> list[str]:
        """The command line that runs a program inside, with the same pid."""
        return [
            "nsenter",
            f"--mount=/proc/{self._holder.pid}/ns/mnt",
            f"--net=/proc/{self._holder.pid}/ns/net",
            *words,
        ]

    def run(self, *words: str) -> str:
        return subprocess.run(
            self.command(*words), check=True, capture_output=True, text=True, timeout=60
        ).stdout

    def cgroups(self, below: str) -> list[Path]:
        """The groups below one of the node's, in all hierarchies, the innermost first."""
        return [
            Path(path, name)
            for group in self._groups
            for path, names, _ in os.walk(group / below, topdown=False)
            for name in names
        ]

    def mounts(self, below: str) -> list[str]:
        """The mounts inside whose place is below a folder."""
        lines = Path(f"/proc/{self._holder.pid}/mountinfo").read_text().splitlines()
        return [line.split()[4] for line in lines if line.split()[4].startswith(f"{below}/")]

    def processes(self) -> list[int]:
        """Who is inside: by the mount namespace, or by the cgroup."""
        found = set()
        for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                if os.readlink(f"/proc/{pid}/ns/mnt") == self._mounts and pid != self._holder.pid:
                    found.add(pid)
            except OSError:  # it has ended
                continue
        for group in self.cgroups(""):
            found.update(map(int, (group / "cgroup.procs").read_text().split()))
        return sorted(found)

    def close(self) -> None:
        """Ends who is still inside, and the place itself."""
        end = time.monotonic() + SECONDS
        while not self._is_empty():
            assert time.monotonic() < end, f"still inside: {self.processes()}"
            time.sleep(0.05)
        for group in [*self.cgroups(""), *self._groups]:
            group.rmdir()
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()

    def _is_empty(self) -> bool:
        inside = self.processes()
        for pid in inside:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:  # it has just ended
                pass
        return not inside
