"""The containers on this machine, as folders; what is known of each is read from disk and from the kernel.

A door holds no truth of its own: every answer here is made anew from `container.json`, `running.json`,
`exit.json` and /proc, so any process of the same user sees the same, after any crash.
"""

from __future__ import annotations

import os
import time
from errno import EEXIST, ENOTEMPTY

from sampan.container.names import Names
from sampan.container.records import Container, Exit, Restarts, Running, State, check_name
from sampan.core import strictjson
from sampan.core.errors import DataLoss, Exists, Invalid, NotFound, SampanError, from_os_error
from sampan.core.spec.runtime import Spec
from sampan.linux import durable
from sampan.linux.files import read_file
from sampan.linux.locks import FileLock
from sampan.linux.processes import boot_id, is_same

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TypeVar

    from sampan.core.record import Record
    from sampan.core.roots import Roots

    R = TypeVar("R", bound=Record)

CREATED, RUNNING, EXITED = "created", "running", "exited"
RECORD = "container.json"
RECORD_SPACE = 8 << 10


class Entry:
    """One container: its folder, what `create` wrote, and what can be said of it now."""

    def __init__(self, folder: str, container: Container, spec: Spec | None = None) -> None:
        self.folder = folder
        self.container = container
        self._spec = spec

    @property
    def spec(self) -> Spec:
        """The OCI spec of the bundle, which no run changes; to be read only."""
        if self._spec is None:
            self._spec = _load(f"{self.folder}/config.json", Spec)
        return self._spec

    @property
    def lasting(self) -> bool:
        """Whether the container is there after a reboot: one of the OCI door is not."""
        return not self.container.bundle

    @property
    def running(self) -> Running | None:
        """The process of the last run, dead or alive."""
        return _load_if_there(f"{self.folder}/running.json", Running)

    @property
    def restarts(self) -> Restarts:
        return _load_if_there(f"{self.folder}/restarts.json", Restarts) or Restarts()

    def is_alive(self) -> bool:
        """Whether the process of the last run is still there: same pid, same start time, same boot."""
        run = self.running
        return run is not None and _is_there(run)

    def state(self) -> State:
        """Everything that is known of it now, all of one moment.

        A process that is gone without a record was killed: that is what is reported, as 137.
        """
        while True:
            run = self.running
            if run is not None and _is_there(run):
                return State(RUNNING, run)
            record = self._exit_record()
            if record is not None:
                return State(EXITED, run, record)
            if run is None:
                return State(CREATED)
            if self.running == run:
                reason = "killed" if run.boot_id == boot_id() else "lost"
                gone = Exit(137, reason, run.started, "its process is gone and left no record")
                return State(EXITED, run, gone)
            # else a new run began while we looked at what the last one left

    def exit(self) -> Exit | None:
        """How the last run ended; None before it did."""
        return self.state().exit

    def has_exit_record(self) -> bool:
        """Whether the end of the last run is written down."""
        return self._exit_record() is not None

    def _exit_record(self) -> Exit | None:
        try:
            return _load_if_there(f"{self.folder}/exit.json", Exit)
        except DataLoss:  # blank at the start, filled at the end: a kill in between leaves it so
            return None

    def status(self) -> str:
        """created, running or exited."""
        return self.state().status

    def lock(self) -> FileLock:
        """The lock that every change of the container's state holds."""
        return FileLock(f"{self.folder}/lock")

    def open_running(self) -> int:
        """A descriptor of this run's record of its process, empty until that stands."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(f"{self.folder}/running.json", flags, 0o600)

    def save(self) -> None:
        """Writes `container.json` again (rename, update)."""
        _save(f"{self.folder}/{RECORD}", self.container)

    def save_restarts(self, restarts: Restarts) -> None:
        _save(f"{self.folder}/restarts.json", restarts)

    def forget_restarts(self) -> None:
        """A person starts it: nothing is counted yet."""
        durable.remove_file(f"{self.folder}/restarts.json")

    def save_exit(self, record: Exit) -> None:
        """What the one who reaped it knows; a record that the container wrote itself stays."""
        if self._exit_record() is None:
            _save(f"{self.folder}/exit.json", record, lasting=self.lasting)

    def open_exit(self) -> int:
        """A descriptor of this run's exit record, blank: a jailed process can write it, not open it.

        It has its space from the start, so that a disk that is full at the end does not cost the record.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f"{self.folder}/exit.json", flags, 0o600)
        left = RECORD_SPACE
        while left:
            left -= os.write(fd, b" " * left)
        return fd

    def open_begun(self) -> int:
        """A descriptor of an empty file that the container process writes to when its workload begins."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(f"{self.folder}/begun", flags, 0o600)

    def has_begun(self) -> bool:
        """Whether a workload that waited for its start has begun."""
        try:
            return os.stat(f"{self.folder}/begun").st_size > 0
        except FileNotFoundError:
            return False

    def claim_cgroup(self, path: str) -> None:
        """Notes that the cgroup `path` is the container's own, so that it goes with the container."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        fd = os.open(f"{self.folder}/cgroup", flags, 0o600)
        try:
            os.write(fd, os.fsencode(path))
        finally:
            os.close(fd)

    def claimed_cgroup(self) -> str:
        """The cgroup that the container's process made, below the hierarchies; "" when it did not come that far."""
        try:
            with open(f"{self.folder}/cgroup", "rb") as file:
                return os.fsdecode(file.read(4096))
        except FileNotFoundError:
            return ""

    def open_record(self) -> int:
        """A descriptor of the record of the last run's end, to be read by `read_exit`; -1 if there was none."""
        try:
            return os.open(f"{self.folder}/exit.json", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return -1

    def begin_run(self) -> None:
        """Forgets the last run, before a new one."""
        for name in ("exit.json", "running.json"):
            durable.remove_file(f"{self.folder}/{name}")


class Containers:
    """All containers below one data root."""

    def __init__(self, roots: Roots) -> None:
        self.roots = roots
        self.folder = roots.containers
        self._names = Names(lambda container_id: f"{self.folder}/{container_id}/{RECORD}", self._name_of)

    def create(self, container: Container, spec: Spec, documents: dict[str, Record] | None = None) -> Entry:
        """A new container in state `created`.

        Args:
            documents: a door's own, by file name, to be in its folder from the first moment.

        Raises:
            Exists: its name or id is taken.
        """
        check_name(container.id, "container id")
        check_name(container.name)
        folder = f"{self.folder}/{container.id}"
        durable.make_dir(self.folder)
        with FileLock(f"{self.folder}/.lock"):
            self._check_free(container.name)
            temporary = f"{self.folder}/.new-{os.urandom(8).hex()}"
            try:
                os.mkdir(temporary, 0o700)
                for name in ("upper", "work", "rootfs"):
                    os.mkdir(f"{temporary}/{name}", 0o755 if name == "upper" else 0o700)
                _save(f"{temporary}/config.json", spec)
                _save(f"{temporary}/{RECORD}", container)
                for name, document in (documents or {}).items():
                    _save(f"{temporary}/{name}", document)
                os.rename(temporary, folder)
                durable.sync_dir(self.folder)
            except BaseException as error:
                durable.remove_tree(temporary)
                if not isinstance(error, OSError):
                    raise
                if error.errno in (EEXIST, ENOTEMPTY):
                    raise Exists(f"the container id {container.id!r} is in use") from None
                raise from_os_error(error, "make the container's folder") from error
        return Entry(folder, container)

    def all(self) -> list[Entry]:
        """Every container that can be read, newest first; a broken folder is left out (see `broken`)."""
        return self.survey()[0]

    def broken(self) -> list[tuple[str, SampanError]]:
        """The ids whose documents cannot be read, each with why: `rm -f ID` removes them."""
        return self.survey()[1]

    def survey(self) -> tuple[list[Entry], list[tuple[str, SampanError]]]:
        """What `all` and `broken` say, in one look."""
        entries, broken = [], []
        for found in self._entries():
            if isinstance(found, Entry):
                entries.append(found)
            else:
                broken.append(found)
        return sorted(entries, key=lambda e: -e.container.created), broken

    def find(self, text: str) -> Entry:
        """The container of this name, id or unique beginning of an id.

        Raises:
            NotFound: none.
            Invalid: several.
        """
        if text and "/" not in text and not text.startswith("."):
            folder = f"{self.folder}/{text}"
            if os.path.isfile(f"{folder}/{RECORD}"):
                return read_entry(folder)
        by_name = self._by_name(text)
        if by_name is not None:
            return by_name
        return read_entry(f"{self.folder}/{self.find_id(text)}")

    def find_id(self, text: str) -> str:
        """The id that `text` is or begins, whether the container can be read or not.

        Raises:
            NotFound: none.
            Invalid: several.
        """
        known = self._ids()
        ids = [text] if text in known else [i for i in known if text and i.startswith(text)]
        if len(ids) > 1:
            raise Invalid(f"{text!r} is the beginning of {len(ids)} container ids", fix="give more of it")
        if not ids:
            raise NotFound(f"no such container: {text}", fix="sampan ps -a lists them")
        return ids[0]

    def rename(self, entry: Entry, name: str) -> None:
        """Gives a container another name.

        Raises:
            Invalid: it is no name. Exists: it is taken.
        """
        check_name(name)
        with FileLock(f"{self.folder}/.lock"):
            self._check_free(name)
            entry.container.name = name
            entry.save()

    def remove(self, container_id: str) -> None:
        """Forgets a container: the folder vanishes from the list first, then its bytes go."""
        folder = f"{self.folder}/{container_id}"
        doomed = f"{self.folder}/.gone-{container_id}-{time.time_ns()}"
        try:
            os.rename(folder, doomed)
        except FileNotFoundError:
            raise NotFound(f"no such container: {container_id}") from None
        durable.remove_tree(doomed)

    def sweep(self) -> int:
        """Removes what a killed `create` or `remove` left; the number of folders."""
        with FileLock(f"{self.folder}/.lock"):
            left = [
                n for n in os.listdir(self.folder) if n.startswith((".new-", ".gone-", durable.TEMPORARY))
            ]
            for name in left:
                durable.remove_tree(f"{self.folder}/{name}")
        return len(left)

    def _ids(self) -> list[str]:
        try:
            return [n for n in os.listdir(self.folder) if not n.startswith(".")]
        except FileNotFoundError:
            return []

    def _entries(self) -> Iterator[Entry | tuple[str, SampanError]]:
        for container_id in self._ids():
            try:
                yield read_entry(f"{self.folder}/{container_id}")
            except NotFound as error:
                if os.path.isdir(f"{self.folder}/{container_id}"):  # else removed while we looked
                    yield container_id, error
            except SampanError as error:
                yield container_id, error

    def _check_free(self, name: str) -> None:
        taken = self._by_name(name)
        if taken is not None:
            raise Exists(
                f"the name {name!r} is in use by container {taken.container.short_id}",
                fix=f"choose another, or remove it: sampan rm {name}",
            )

    def _by_name(self, name: str) -> Entry | None:
        container_id = self._names.find(name, self._ids())
        try:
            return read_entry(f"{self.folder}/{container_id}") if container_id else None
        except SampanError:  # just removed
            return None

    def _name_of(self, container_id: str) -> str:
        return read_entry(f"{self.folder}/{container_id}").container.name


def read_entry(folder: str) -> Entry:
    """The container of a folder.

    Raises:
        NotFound: it has no record. DataLoss: the record cannot be read.
    """
    return Entry(folder, _load(f"{folder}/{RECORD}", Container))


def read_exit(record: int) -> Exit | None:
    """The exit record in an open file; None where it holds none, or for -1."""
    try:
        data = os.pread(record, strictjson.MAX_BYTES, 0) if record >= 0 else b""
        return Exit.from_json(strictjson.loads(data, what="the exit record")) if data else None
    except (OSError, Invalid):
        return None


def _is_there(run: Running) -> bool:
    return run.boot_id == boot_id() and is_same(run.pid, run.start_time)


def new_id() -> str:
    """64 hex digits, as Docker's."""
    return os.urandom(32).hex()


def _load(path: str, kind: type[R]) -> R:
    try:
        data = read_file(path, strictjson.MAX_BYTES)
    except FileNotFoundError:
        raise NotFound(f"{path} is missing") from None
    try:
        return kind.from_json(strictjson.loads(data, what=path))
    except Invalid as error:
        raise DataLoss(f"{path} cannot be read: {error.message}") from error


def _load_if_there(path: str, kind: type[R]) -> R | None:
    try:
        return _load(path, kind)
    except NotFound:
        return None
    except DataLoss:
        if os.path.getsize(path) == 0:  # opened, and not written yet
            return None
        raise


def _save(path: str, record: Record, *, lasting: bool = True) -> None:
    data = strictjson.document(record, f"{os.path.basename(path)} of the container")
    if rb"\ud" in data:  # maybe a path of other bytes: that could be written, but never read again
        try:
            strictjson.loads(data)
        except Invalid as error:
            raise Invalid("a path or a value of the container is not UTF-8, and only that is kept") from error
    durable.write_file(path, data, lasting=lasting)
