"""The images that critest makes containers of, with WebAssembly in them: one program of many names, as busybox is."""

from __future__ import annotations

from pathlib import Path

from .critest_images import E2E, PAUSE, STAGING, Files, Registry

APPLETS = Path(__file__).parent / "guests" / "applets.wasm"
NAMES = ("cat", "dd", "echo", "false", "hostname", "ls", "pgrep", "sleep", "top", "touch", "true")
USERS = {
    "user-uid": "1002",
    "user-username": "www-data",
    "user-uid-group": "1003:1004",
    "user-username-group": "www-data:1004",
}


def applets() -> bytes:
    """A layer with the program under each of its names."""
    files = Files()
    files.add("bin/sh", APPLETS.read_bytes(), 0o755)
    for name in NAMES:
        files.link(f"bin/{name}", "bin/sh")
    for name in ("nginx", "httpd"):
        files.link(f"usr/sbin/{name}", "bin/sh")
    files.add("etc/passwd", "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\n")
    files.folder("tmp", 0o1777)
    return files.layer()


class WasmRegistry(Registry):
    """The registry whose images have Wasm where those that critest names have Linux programs."""

    def fill(self) -> None:
        """Pushes all the images that the specs for Wasm name."""
        layer = applets()
        self._push(f"{E2E}/busybox:1.29-2", layer, Cmd=["sh"])
        for name in (PAUSE, "k8s.gcr.io/pause:3.9"):
            self._push(name, layer, Entrypoint=["/bin/sleep", "1000000"])
        for name, server, port in (
            (f"{E2E}/nginx:1.14-2", "nginx", 80),
            (f"{E2E}/httpd:2.4.39-4", "httpd", 80),
            (f"{STAGING}/hostnet-nginx-amd64:latest", "nginx", 12003),
        ):
            self._push(name, layer, Cmd=[f"/usr/sbin/{server}"], Env=["PATH=/bin", f"PORT={port}"])
        for name, user in USERS.items():
            self._push(f"{STAGING}/test-image-{name}:latest", layer, User=user, Cmd=["sh"])
        for name in ("latest:latest", "tag:test", "tag:all", "1:latest", "2:latest", "3:latest"):
            self._push(f"{STAGING}/test-image-{name}", layer, Cmd=["sh"], Labels={"name": name})
        for number in "123":
            self._push(f"{STAGING}/test-image-tags:{number}", layer, Cmd=["sh"], Labels={"name": "tags"})
