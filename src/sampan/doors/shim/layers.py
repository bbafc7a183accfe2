"""Workloads that are layers of their image, not files in a root filesystem: where containerd keeps their bytes.

Wasm artifacts (CNCF's, wasm-to-oci's, runwasi's layers) have no root filesystem, so a bundle of theirs names a file
that is not there. Then containerd is asked for the container's image, over gRPC. What that takes (HTTP/2, the image
formats) must not be in a process that forks containers, nor may that wait for containerd: a child that lives for one
question asks (`layers_lookup`). Nothing here decides what a container runs; an ordinary image costs no more than the
look at its root filesystem (`wanted`).
"""

from __future__ import annotations

import os
import sys
from _signal import pidfd_send_signal
from select import POLLIN, poll
from time import monotonic

from sampan.core import strictjson
from sampan.core.detect import SANDBOX_KEYS
from sampan.core.errors import KINDS, Internal, TimedOut, from_os_error
from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Process, Spec

SECONDS = 60.0
ASKED_IMAGE = "io.kubernetes.cri.image-name"
_SOURCE = __file__.rsplit("/", 4)[0] or "."
_START = (
    "import sys; sys.path.append(sys.argv.pop(1)); from sampan.launcher import start; "
    "start('sampan.doors.shim.layers_lookup')"
)


class Layer(Record):
    """A workload that is a layer.

    Attributes:
        path: a file of this host with its bytes, which were checked against `digest`.
        name: the file's name in its image, without a slash before it. image: the image's name in containerd.
        command: the image's own words: entry point and arguments, with a `#function` where the image has one.
        env, working_dir: what the image asks for and containerd could not know; empty where it has applied them.
    """

    path: str
    digest: str
    media_type: str
    name: str
    image: str
    command: list[str] = []
    env: list[str] = []
    working_dir: str = ""


class Answer(Record):
    """What `layers_lookup` prints: the layer, or an error's kind, message and fix; neither for an ordinary image."""

    layer: Layer | None = None
    error: list[str] = []


def wanted(spec: Spec, bundle: str) -> bool:
    """Whether a bundle's workload may be a layer: no file of its root filesystem, which is mounted, is called so."""
    from sampan.container.finding import open_in_bundle

    if spec.process is None or any(spec.annotations.get(key) == value for key, value in SANDBOX_KEYS.items()):
        return False
    fd = open_in_bundle(spec, bundle)
    if fd >= 0:
        os.close(fd)
    return fd < 0


def resolve(address: str, namespace: str, container_id: str, spec: Spec, roots: Roots) -> Layer | None:
    """The layer that a container of containerd runs; None when its image is an ordinary one, or it has none.

    Args:
        address: of containerd's socket. spec: the bundle's; where an image has several modules, `args[0]` chooses.

    Raises:
        SampanError: as `Question.answer`.
    """
    return ask(address, namespace, container_id, spec, roots).answer()


def ask(address: str, namespace: str, container_id: str, spec: Spec, roots: Roots) -> Question:
    """Begins to resolve; the answer can be waited for with the rest of what a server waits for.

    Raises:
        Exhausted, Internal: no process can be had for it.
    """
    image = spec.annotations.get(ASKED_IMAGE, "")
    command = [sys.executable, "-I", "-S", "-c", _START, _SOURCE]
    command += [address, namespace, container_id, image, roots.data, roots.run, *_names(spec.process)]
    try:
        reader, writer = os.pipe()
        try:
            pid = os.posix_spawn(
                sys.executable,
                command,
                {},
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_DUP2, writer, 1),
                    (os.POSIX_SPAWN_OPEN, 2, "/dev/null", os.O_WRONLY, 0),
                ],
                setsigmask=[],
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
    except OSError as error:
        raise from_os_error(error, "start a process that asks containerd for the image's layers") from error
    except ValueError as error:
        raise Internal(f"a NUL byte is in the names of container {container_id[:60]!r}") from error
    return Question(os.pidfd_open(pid), reader, container_id)


def _names(process: Process | None) -> list[str]:
    """What the file of a command may be called."""
    from sampan.container.finding import candidates, parse_entrypoint

    if process is None or not process.args:
        return []
    return candidates(parse_entrypoint(process.args[0]).path, process)


class Question:
    """One that was asked. Readable (`fileno`) when there is something to do; `answer` or `cancel` ends it.

    `deadline` is on the monotonic clock, in seconds: a server that waits by itself cancels it then.
    """

    def __init__(self, process: int, fd: int, container_id: str) -> None:
        self._process = process  # a descriptor: the server's own reaping may be faster than ours
        self._fd = fd
        self._what = f"the image of container {container_id[:80]}"
        self.deadline = monotonic() + SECONDS
        self._read = b""

    def fileno(self) -> int:
        return self._fd

    def advance(self) -> bool:
        """Takes what has come, without waiting once the descriptor is readable; true when `answer` will not wait."""
        piece = os.read(self._fd, 65536)
        self._read += piece
        return not piece or len(self._read) > strictjson.MAX_BYTES

    def answer(self) -> Layer | None:
        """Waits for the layer, and ends the question.

        Raises:
            Unavailable: containerd does not answer. NotFound: it has no such container or image, or not its content.
            DataLoss: bytes that are not those of their digest. Exhausted: too large a layer.
            Invalid, Unimplemented: an artifact that cannot be run; the message names what it is made of.
            TimedOut: it takes more than a minute.
        """
        try:
            poller = poll()
            poller.register(self._fd, POLLIN)
            while poller.poll(max(0.0, self.deadline - monotonic()) * 1000):
                if self.advance():
                    return _read_answer(self._read, self._what)
            raise TimedOut(f"containerd has not handed out {self._what} within {SECONDS:.0f} s")
        finally:
            self.cancel()

    def cancel(self) -> None:
        """Ends the question, answered or not; its process is gone afterwards."""
        if self._fd < 0:
            return
        os.close(self._fd)
        self._fd = -1
        try:
            pidfd_send_signal(self._process, 9)  # it has answered, or nobody waits for it any more
        except ProcessLookupError:
            pass
        try:
            os.waitid(os.P_PIDFD, self._process, os.WEXITED)
        except ChildProcessError:  # it was reaped
            pass
        os.close(self._process)


def _read_answer(data: bytes, what: str) -> Layer | None:
    if not data:
        raise Internal(f"the process that asks containerd for {what} ended without an answer")
    name = f"the answer on {what}"
    answer = Answer.from_json(strictjson.loads(data, what=name), name)
    if answer.error:
        kind, message, fix = answer.error
        raise KINDS[kind](message, fix=fix)
    return answer.layer
