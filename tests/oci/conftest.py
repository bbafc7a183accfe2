"""The real `sampan-oci`, started as its launcher does it, with a state root of its own and bundles to use."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.doors.oci.template import default_document

TOOLBOX = Path(__file__).parents[2] / "examples" / "05-toolbox" / "toolbox.wasm"
START = Path(__file__).parents[2] / "src" / "sampan" / "doors" / "oci" / "__main__.py"
PROGRAMS = ("/bin/sh", "/bin/sleep", "/bin/cat")
FOREVER = ("/app.wasm", "sleep", "100000")
_numbers = itertools.count()


class Done:
    """How a command line ended, and what it printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err


class Runtime:
    """`sampan-oci` with one state root.

    What a container prints goes where its `create` printed to, which are files: a pipe would be open for as long as
    the container runs.
    """

    def __init__(self, folder: Path, code: Path) -> None:
        self.folder = folder
        self.root = folder / "state"
        self.log = folder / "log.json"
        self.env = {"PATH": os.environ["PATH"], "SAMPAN_ROOT": str(folder / "data")}
        (folder / "data").mkdir(mode=0o700)
        (folder / "data" / "code").symlink_to(code)

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        options = ["--root", str(self.root), "--log", str(self.log), "--log-format", "json"]
        return [sys.executable, "-I", "-S", str(START), *options, *words]

    def start(self, *words: str, stdin: bytes | int = b"", cwd: Path | None = None) -> Callable[[], Done]:
        """Starts a command line, its input these bytes or a descriptor; what is returned waits for its end."""
        base = self.folder / f"call-{next(_numbers)}"
        base.with_suffix(".in").write_bytes(stdin if isinstance(stdin, bytes) else b"")
        out, err = base.with_suffix(".out"), base.with_suffix(".err")
        with base.with_suffix(".in").open("rb") as file, out.open("wb") as first, err.open("wb") as second:
            source = file if isinstance(stdin, bytes) else stdin
            process = subprocess.Popen(
                self.command(*words), stdin=source, stdout=first, stderr=second, env=self.env, cwd=cwd
            )

        def wait() -> Done:
            try:
                code = process.wait(timeout=60)
            except BaseException:
                process.kill()
                process.wait()
                raise
            done = Done(
                code, out.read_bytes().decode(errors="replace"), err.read_bytes().decode(errors="replace")
            )
            assert "Traceback" not in done.err, done.err
            return done

        return wait

    def __call__(self, *words: str, stdin: bytes | int = b"", cwd: Path | None = None) -> Done:
        return self.start(*words, stdin=stdin, cwd=cwd)()

    def ok(self, *words: str, stdin: bytes | int = b"") -> str:
        """What it prints, when it must go well."""
        done = self(*words, stdin=stdin)
        assert done.code == 0, done.err
        return done.out

    def refused(self, *words: str, code: int = 1) -> str:
        """The sentence that it prints, when it must be refused."""
        done = self(*words)
        assert done.code == code, (done.code, done.err)
        assert done.err.count("\n") == 1 and done.err.startswith("sampan-oci")
        return done.err

    def new_id(self) -> str:
        """An id that no other container of this machine has: it is the name of its cgroup, too."""
        return f"t{os.getpid()}-{next(_numbers)}"

    def bundle(self, *args: str, change: Callable[[dict[str, Any]], object] | None = None) -> Path:
        """A bundle with the toolbox at /app.wasm; `change` may edit its document."""
        folder = self.folder / f"bundle-{next(_numbers)}"
        (folder / "rootfs").mkdir(parents=True)
        shutil.copy(TOOLBOX, folder / "rootfs" / "app.wasm")
        document = default_document(rootless=os.geteuid() != 0)
        document["process"]["args"] = list(args or FOREVER)
        if change is not None:
            change(document)
        (folder / "config.json").write_text(json.dumps(document))
        return folder

    def linux_bundle(self, *args: str) -> Path:
        """A bundle of the host's own shell and what it needs."""
        folder = self.bundle(*args)
        for program in PROGRAMS:
            words = subprocess.run(
                ["ldd", program], capture_output=True, text=True, check=True
            ).stdout.split()
            for path in [program, *(word for word in words if word.startswith("/"))]:
                copy = folder / "rootfs" / path[1:]
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(os.path.realpath(path), copy)
        return folder

    def created(self, *args: str, change: Callable[[dict[str, Any]], object] | None = None) -> str:
        """The id of a container that was created."""
        container_id = self.new_id()
        self.ok("create", "-b", str(self.bundle(*args, change=change)), container_id)
        return container_id

    def running(self, *args: str) -> str:
        """The id of a container that runs."""
        container_id = self.created(*args)
        self.ok("start", container_id)
        return container_id

    def stopped(self) -> str:
        """The id of a container that has ended by itself."""
        container_id = self.running("/app.wasm", "echo")
        self.wait_for(container_id, "stopped")
        return container_id

    def state(self, container_id: str) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self.ok("state", container_id))
        return state

    def wait_for(self, container_id: str, status: str) -> None:
        """Waits until the container has this status; the test's own limit is the longest wait."""
        while self.state(container_id)["status"] != status:
            time.sleep(0.01)

    def logged(self) -> list[dict[str, str]]:
        """The lines of the log."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def remove_all(self) -> None:
        for container_id in self.ok("list", "-q").split():
            self.ok("delete", "--force", container_id)


@pytest.fixture(scope="session")
def shared_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code that the tests share, as containers of one machine do."""
    return tmp_path_factory.mktemp("code")


@pytest.fixture
def oci(tmp_path: Path, shared_code: Path) -> Iterator[Runtime]:
    runtime = Runtime(tmp_path, shared_code)
    yield runtime
    runtime.remove_all()
    assert not runtime.root.exists() or list(runtime.root.iterdir()) == []
