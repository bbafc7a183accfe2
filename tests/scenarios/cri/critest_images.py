"""The images that critest asks registries for, made again of busybox and of two small programs, in a registry here."""

from __future__ import annotations

import io
import json
import shutil
import socket
import subprocess
import tarfile
from hashlib import sha256
from pathlib import Path

from tests.scenarios.conftest import Daemon, free_port

E2E, STAGING = "registry.k8s.io/e2e-test-images", "gcr.io/k8s-staging-cri-tools"
PAUSE = "registry.k8s.io/pause:3.9"
HOSTS = ("registry.k8s.io", "gcr.io", "k8s.gcr.io")
PASSWD = (
    "root:x:0:0::/root:/bin/sh\nwww-data:x:33:33::/:/bin/false\nnobody:x:65534:65534::/:/bin/false\n"
    "default-user:x:1000:1000::/:/bin/sh\n"
)
GROUP = "root:x:0:\nwww-data:x:33:\ndefault-user:x:1000:\ngroup-defined-in-image:x:50000:default-user\n"
SCRIPTS = {"pgrep": '#!/bin/sh\nexec pidof "$1"\n', "ipcs": "#!/bin/sh\nexec cat /proc/sysvipc/shm\n"}
SERVER = r"""
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <netinet/in.h>
#include <sys/socket.h>

int main(int argc, char **argv) {
    if (strcmp(argv[0], "nginx: master process")) {
        execl("/proc/self/exe", "nginx: master process", argv[1], (char *)0);
        return 1;
    }
    FILE *file = fopen("/var/run/nginx.pid", "w");
    if (file) fprintf(file, "%d\n", getpid()), fclose(file);
    static const char page[] = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nOK\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    int listener = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 16)) return perror("httpd"), 1;
    fprintf(stderr, "httpd listens\n");
    for (;;) {
        int client = accept(listener, 0, 0);
        char request[4096];
        if (read(client, request, sizeof request) > 0) write(client, page, sizeof page - 1);
        close(client);
    }
}
"""
PRIVILEGES = r"""
#include <stdio.h>
#include <unistd.h>

int main(void) { return printf("Effective uid: %d\n", geteuid()) < 0; }
"""


class Files:
    """A layer. Folders are made as they are needed."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._tar = tarfile.open(fileobj=self._buffer, mode="w")
        self._folders: set[str] = set()

    def add(self, path: str, content: bytes | str, mode: int = 0o644) -> None:
        """Adds a file with a content."""
        self._add_folders(path)
        data = content.encode() if isinstance(content, str) else content
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(data), mode
        self._tar.addfile(entry, io.BytesIO(data))

    def link(self, path: str, target: str) -> None:
        """Adds another name of a file."""
        self._add_folders(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.linkname, entry.mode = tarfile.LNKTYPE, target, 0o755
        self._tar.addfile(entry)

    def folder(self, path: str, mode: int = 0o755) -> None:
        """Adds a folder."""
        self._folders.add(path)
        entry = tarfile.TarInfo(path)
        entry.type, entry.mode = tarfile.DIRTYPE, mode
        self._tar.addfile(entry)

    def layer(self) -> bytes:
        """The archive."""
        self._tar.close()
        return self._buffer.getvalue()

    def _add_folders(self, path: str) -> None:
        for folder in sorted(map(str, Path(path).parents))[1:]:
            if folder not in self._folders:
                self.folder(folder)


def busybox() -> Files:
    """A small Linux, with an applet under each of its names."""
    program = Path(shutil.which("busybox") or "/bin/busybox")
    applets = subprocess.run([program, "--list"], capture_output=True, text=True, check=True).stdout.split()
    files = Files()
    files.add("bin/busybox", program.read_bytes(), 0o755)
    for applet in sorted({*applets} - {"busybox", *SCRIPTS}):
        files.link(f"bin/{applet}", "bin/busybox")
    for name, script in SCRIPTS.items():
        files.add(f"bin/{name}", script, 0o755)
    files.add("etc/passwd", PASSWD)
    files.add("etc/group", GROUP)
    for folder in ("tmp", "var", "var/run", "root", "proc", "sys", "dev"):
        files.folder(folder, 0o1777 if folder == "tmp" else 0o755)
    return files


def compiled(folder: Path, source: str) -> bytes:
    """A program that needs no libraries."""
    program = folder / "program"
    command = ["gcc", "-static", "-O1", "-w", "-x", "c", "-", "-o", str(program)]
    subprocess.run(command, input=source, text=True, check=True)
    return program.read_bytes()


class Registry:
    """A registry on this machine that stands for all that critest names, with its images.

    Attributes:
        hosts: a folder in the form of containerd's `certs.d` that says so.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._host = f"127.0.0.1:{free_port()}"
        self.hosts = folder / "certs.d"
        for name in HOSTS:
            (self.hosts / name).mkdir(parents=True)
            (self.hosts / name / "hosts.toml").write_text(f'[host."http://{self._host}"]\n')
        config = folder / "registry.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error}\n"
            f"storage: {{filesystem: {{rootdirectory: {folder}/registry}}}}\n"
            f"http: {{addr: '{self._host}', secret: s}}\n"
        )
        self._daemon = Daemon(folder, ["docker-registry", "serve", str(config)])
        self._daemon.wait_for(self._answers)

    def _answers(self) -> bool:
        host, _, port = self._host.partition(":")
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    def close(self) -> None:
        self._daemon.end()

    def fill(self) -> None:
        """Pushes all the images."""
        server = compiled(self._folder, SERVER)
        small = busybox().layer()
        web = busybox()
        web.add("usr/sbin/nginx", server, 0o755)
        web_layer = web.layer()
        privileges = Files()
        privileges.add("nnp", compiled(self._folder, PRIVILEGES), 0o4755)
        self._push(f"{E2E}/busybox:1.29-2", small, Cmd=["sh"])
        self._push(PAUSE, small, Entrypoint=["/bin/tail", "-f", "/dev/null"])
        self._push("k8s.gcr.io/pause:3.9", small, Entrypoint=["/bin/tail", "-f", "/dev/null"])
        self._push(f"{E2E}/nonewprivs:1.3", privileges.layer(), Cmd=["/nnp"])
        for name, port in (
            (f"{E2E}/nginx:1.14-2", 80),
            (f"{E2E}/httpd:2.4.39-4", 80),
            (f"{STAGING}/hostnet-nginx-amd64:latest", 12003),
        ):
            self._push(name, web_layer, Cmd=["/usr/sbin/nginx", str(port)])
        for name, user in {
            "user-uid": "1002",
            "user-username": "www-data",
            "user-uid-group": "1003:1004",
            "user-username-group": "www-data:1004",
            "predefined-group": "1000",
        }.items():
            self._push(f"{STAGING}/test-image-{name}:latest", small, User=user, Cmd=["sh"])
        for name in ("latest:latest", "tag:test", "tag:all", "1:latest", "2:latest", "3:latest"):
            self._push(f"{STAGING}/test-image-{name}", small, Cmd=["sh"], Labels={"name": name})
        for number in "123":
            self._push(f"{STAGING}/test-image-tags:{number}", small, Cmd=["sh"], Labels={"name": "tags"})

    def _push(self, name: str, layer: bytes, **config: object) -> None:
        document = {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Env": ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"], **config},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{sha256(layer).hexdigest()}"]},
        }
        files = Files()
        files.add("layer.tar", layer)
        files.add("config.json", json.dumps(document))
        manifest = [{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}]
        files.add("manifest.json", json.dumps(manifest))
        archive = self._folder / "image.tar"
        archive.write_bytes(files.layer())
        target = f"docker://{self._host}/{name.partition('/')[2]}"
        command = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"docker-archive:{archive}", target]
        subprocess.run(command, check=True)
