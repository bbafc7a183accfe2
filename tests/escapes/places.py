"""What surrounds the guests of the escape suites: a root filesystem full of ways out, and a folder of the host with
a secret that nobody was given. What was there before must be there, unchanged, after.
"""

from __future__ import annotations

import hashlib
import os
import socket
import stat
from pathlib import Path

GUESTS = Path(__file__).parent / "guests"
SECRET = "the secret of the host\n"
NODES = {
    "null": (stat.S_IFCHR, 1, 3), "zero": (stat.S_IFCHR, 1, 5), "mem": (stat.S_IFCHR, 1, 1),
    "kmsg": (stat.S_IFCHR, 1, 11), "tty": (stat.S_IFCHR, 5, 0), "fuse": (stat.S_IFCHR, 10, 229),
    "disk": (stat.S_IFBLK, 7, 0),
}  # fmt: skip
KERNEL = {
    "p": ("/proc", "bind"), "pp": ("/proc", "rbind"), "s": ("/sys", "bind"), "ss": ("/sys", "rbind"),
    "c": ("/sys/fs/cgroup", "rbind"), "d": ("/dev", "bind"), "dd": ("/dev", "rbind"), "ns": ("/proc/self/ns", "bind"),
}  # fmt: skip
"""Where the guest finds what the kernel shows, under other names."""


class Places:
    """Folders of one test.

    Attributes:
        outside: the host's own. rootfs: for a bundle. rw, ro: volumes of the container.
    """

    def __init__(self, folder: Path) -> None:
        self.outside = folder / "outside"
        self.rootfs = folder / "rootfs"
        self.rw, self.ro = folder / "rw", folder / "ro"
        for each in (self.outside, self.rootfs, self.rw, self.ro):
            each.mkdir()
        (self.outside / "secret").write_text(SECRET)
        _fill(self.rootfs, self.outside)
        for volume in (self.rw, self.ro):
            (volume / "file").write_text("of a volume\n")
            _links(volume, self.outside)
        os.mknod(self.rw / "node", stat.S_IFCHR | 0o666, os.makedev(1, 5))
        (self.rw / "set-id").write_text("#!/bin/true\n")
        (self.rw / "set-id").chmod(0o6755)
        self._before = self._census()

    def prepared(self) -> None:
        """What is there now is what must be there in the end."""
        self._before = self._census()

    def _census(self) -> dict[str, tuple[object, ...]]:
        """Everything that no guest may change, with what it is."""
        return {str(path): _look(path) for top in (self.outside, self.ro, self.rootfs) for path in _all(top)}

    def assert_untouched(self) -> None:
        """Nothing but the volume that may be written has changed."""
        now = self._census()
        changed = {
            name for name in now.keys() | self._before.keys() if now.get(name) != self._before.get(name)
        }
        assert not changed

    def mounts(self, *, recursive: bool = False) -> list[dict[str, object]]:
        """The mounts of a bundle: the volumes, and the kernel's own file systems under other names.

        Args:
            recursive: whether all of these are bound with what is mounted below, as a user namespace wants it.
        """
        volumes = [("rw", self.rw, ["bind", "rw", "dev", "suid"]), ("ro", self.ro, ["rbind", "ro"])]
        kernel = [
            (name, Path(source), ["rbind" if recursive else kind]) for name, (source, kind) in KERNEL.items()
        ]
        kernel.append(("environ-of-1", Path("/proc/1/environ"), ["bind"]))
        return [
            {"destination": f"/{name}", "type": "bind", "source": str(source), "options": options}
            for name, source, options in [*volumes, *kernel]
        ]


def _fill(root: Path, outside: Path) -> None:
    (root / "environ-of-1").write_text("")
    (root / "inside").write_text("of the image\n")
    (root / "link-inside").symlink_to("inside")
    for name in ("rw", "ro", "nodes", "masked", "fixed", "etc", *KERNEL):
        (root / name).mkdir()
    (root / "masked" / "secret").write_text(SECRET)
    (root / "masked-file").write_text(SECRET)
    (root / "fixed" / "file").write_text("of the image\n")
    _links(root, outside)
    for name, (kind, major, minor) in NODES.items():
        os.mknod(root / "nodes" / name, kind | 0o666, os.makedev(major, minor))
    os.mkfifo(root / "fifo")
    here = os.getcwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(root)  # the path of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(here)


def _links(folder: Path, outside: Path) -> None:
    up = "../" * 30
    for name, target in {
        "link-absolute": f"{outside}/secret", "link-relative": f"{up}{outside}/secret", "link-folder": f"{outside}",
        "chain-1": f"{up}{outside}/secret", "chain-2": "chain-1", "chain-3": "./chain-2", "link-up": "..",
        "link-root": "/", "link-proc": "/proc/self/mem", "link-proc-root": "/proc/self/root", "link-loop": "link-loop",
        "link-dev": "/dev/null", "link-fd": "/proc/self/fd", "link-new": f"{outside}/new",
    }.items():  # fmt: skip
        (folder / name).symlink_to(target)


def _all(top: Path) -> list[Path]:
    return [top, *(Path(folder) / name for folder, dirs, files in os.walk(top) for name in (*dirs, *files))]


def _look(path: Path) -> tuple[object, ...]:
    state = path.lstat()
    link = os.readlink(path) if stat.S_ISLNK(state.st_mode) else ""
    data = hashlib.sha256(path.read_bytes()).hexdigest() if stat.S_ISREG(state.st_mode) else ""
    return state.st_mode, state.st_uid, state.st_nlink, state.st_size, state.st_mtime_ns, link, data


def verdicts(output: str) -> dict[str, list[str]]:
    """A guest's lines by their first word."""
    found: dict[str, list[str]] = {"refused": [], "escaped": [], "works": [], "broken": [], "end": []}
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        found[word].append(rest)
    return found
