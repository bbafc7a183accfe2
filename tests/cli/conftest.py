"""The real command, run as its launcher runs it: an interpreter with -I -S and the package's start file."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..waiting import until

TOOLBOX = Path(__file__).parents[2] / "examples" / "05-toolbox" / "toolbox.wasm"
START = Path(__file__).parents[2] / "src" / "sampan" / "__main__.py"


class Sampan:
    """Runs `sampan …` with roots of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "SAMPAN_ROOT": str(folder / "data"),
            "SAMPAN_RUN_ROOT": str(folder / "run"),
        }

    def command(self, *words: str) -> list[str]:
        """The whole command line."""
        return [sys.executable, "-I", "-S", str(START), *words]

    def __call__(
        self, *words: str, stdin: bytes = b"", env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            self.command(*words),
            input=stdin,
            capture_output=True,
            env=self.env | (env or {}),
            cwd=self.folder,
            timeout=60,
        )
        out, err = done.stdout.decode(), done.stderr.decode()
        assert "Traceback" not in err, err
        return subprocess.CompletedProcess(done.args, done.returncode, out, err)

    def ok(self, *words: str, stdin: bytes = b"") -> str:
        """What it prints, when it must go well."""
        done = self(*words, stdin=stdin)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def sampan(tmp_path: Path) -> Sampan:
    return Sampan(tmp_path)


class Harbour(Sampan):
    """Real containers: of an image `toolbox` with one file, /toolbox.wasm, or of that file itself."""

    def __init__(self, folder: Path, code: Path) -> None:
        super().__init__(folder)
        self.env["SAMPAN_ZYGOTE_IDLE"] = "0.5"
        (folder / "data").mkdir(mode=0o700)
        (folder / "data" / "code").symlink_to(code)
        self._has_image = False

    def image(self) -> str:
        if not self._has_image:
            self.ok("build", "-q", "-t", "toolbox", str(TOOLBOX))
            self._has_image = True
        return "toolbox"

    def start(self, name: str, *words: str, flags: tuple[str, ...] = ()) -> str:
        """A container of the image in the background; its id."""
        return self.ok("run", "-d", "--name", name, *flags, self.image(), *words).strip()

    def start_file(self, name: str, *words: str, flags: tuple[str, ...] = ()) -> str:
        """A container of the plain file in the background; its id."""
        return self.ok("run", "-d", "--name", name, *flags, str(TOOLBOX), *words).strip()

    def folder_of(self, container_id: str) -> Path:
        return self.folder / "data" / "containers" / container_id

    def spawn(self, *words: str, **options: object) -> subprocess.Popen[bytes]:
        """The command, running beside the test, with pipes."""
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(self.command(*words), env=self.env, cwd=self.folder, **pipes | options)  # type: ignore[call-overload, no-any-return]

    def close(self) -> None:
        """Removes every container; nothing of them is left on the machine."""
        left = [p.name for p in (self.folder / "data" / "containers").glob("[!.]*")]
        if left:
            self("rm", "-f", *left)
        assert str(self.folder) not in Path("/proc/self/mounts").read_text()


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, sampan: Sampan, *words: str) -> None:
        self.shown = b""
        self._pid, self._fd = pty.fork()
        if self._pid == 0:
            try:
                os.chdir(sampan.folder)
                command = sampan.command(*words)
                os.execve(command[0], command, sampan.env | {"TERM": "xterm"})
            finally:
                os._exit(127)

    def type(self, data: bytes) -> None:
        os.write(self._fd, data)

    def until_raw(self) -> None:
        """Waits until the command passes every key on: what was typed before that is lost."""
        until(lambda: not termios.tcgetattr(self._fd)[3] & termios.ECHO)

    def until(self, text: bytes, seconds: float = 20) -> None:
        """Waits until `text` was shown."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert time.monotonic() < end, self.shown
            assert self._read(0.1), self.shown

    def end(self) -> int:
        """Waits until the command has ended; its exit code."""
        while self._read(20):
            pass
        os.close(self._fd)
        return os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])

    def _read(self, seconds: float) -> bool:
        if not select.select([self._fd], [], [], seconds)[0]:
            return seconds < 1
        try:
            data = os.read(self._fd, 65536)
        except OSError:  # EIO: the other end is closed
            return False
        self.shown += data
        return bool(data)


@pytest.fixture(scope="session")
def shared_code(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code that the tests of this process share, as containers of one machine do."""
    return tmp_path_factory.mktemp("code")


@pytest.fixture
def harbour(tmp_path: Path, shared_code: Path) -> Iterator[Harbour]:
    harbour = Harbour(tmp_path, shared_code)
    yield harbour
    harbour.close()
