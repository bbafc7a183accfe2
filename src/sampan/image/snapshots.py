"""Unpacked root filesystems: one flat folder a chain id, shared by all containers of the image.

A snapshot is unpacked under a temporary name, brought to the disk with everything in it, and only then given
its name: a snapshot that is there is whole, also after a power cut. One process unpacks a chain id, others that
want it wait. Containers never write into a snapshot; what they write goes on top.
"""

from __future__ import annotations

import fcntl
import os

from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, from_os_error
from sampan.core.record import Record
from sampan.core.spec.image import WASM_LAYERS
from sampan.image.ingest import is_at, try_lock
from sampan.image.layerstream import CHUNK, Limits
from sampan.image.leases import list_folder
from sampan.linux.durable import TEMPORARY, make_dir, move, remove_tree, sync_filesystem
from sampan.linux.locks import FileLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from sampan.image.layers import Rootfs, RootfsFile
    from sampan.image.store import ContentStore

WASM_HEADERS = (b"\0asm\x01\0\0\0", b"\0asm\x0d\0\x01\0")


class Snapshot(Record):
    """An unpacked root filesystem; `path` is the folder."""

    chain_id: str
    path: str


class Snapshots:
    """All snapshots of one user, below one folder (mode 0700), which is made at the first use."""

    def __init__(self, folder: str, limits: Limits | None = None) -> None:
        self.folder = os.path.abspath(folder)
        self._limits = limits or Limits()

    def path(self, chain_id: str) -> str:
        """Where the snapshot is, or would be.

        Raises:
            Invalid: not a chain id.
        """
        digest = parse_digest(chain_id)
        return f"{self.folder}/{digest.algorithm}-{digest.hex}"

    def prepare(self, store: ContentStore, image: Rootfs, warn: Callable[[str], None] | None = None) -> str:
        """The image's root filesystem, unpacked if it is not yet; the folder. Hold `hold()` meanwhile.

        Args:
            warn: is told, in a sentence each, what was left out.

        Raises:
            NotFound: a blob is missing.
            Invalid, Denied, DataLoss, Exhausted: as `Unpacker.apply`; nothing is left of the attempt.
        """
        target = self.path(image.chain_id)
        make_dir(self.folder)
        work = f"{self.folder}/{TEMPORARY}{os.path.basename(target)}"
        while not os.path.isdir(target):
            lock = _lock_folder(work)
            try:
                if os.path.isdir(target) or not is_at(lock, work):
                    continue
                if os.listdir(lock):  # a killed process left it
                    remove_tree(work)
                    continue
                self._unpack(store, image, work, warn)
                sync_filesystem(work)
                move(work, target)
            except OSError as error:
                remove_tree(work)
                raise from_os_error(error, "unpack the image") from error
            except BaseException:
                remove_tree(work)
                raise
            finally:
                os.close(lock)
        return target

    def hold(self) -> FileLock:
        """A lock to hold from `prepare` until the container that uses the snapshot is on record."""
        make_dir(self.folder)
        return FileLock(f"{self.folder}/lock", shared=True)

    def all(self) -> list[Snapshot]:
        """All complete snapshots."""
        found = []
        for name in list_folder(self.folder):
            algorithm, dash, digits = name.partition("-")
            if dash and not name.startswith("."):
                found.append(Snapshot(f"{algorithm}:{digits}", f"{self.folder}/{name}"))
        return found

    def size(self, chain_id: str) -> int:
        """The bytes on the disk, hard links once.

        Raises:
            NotFound: no such snapshot.
        """
        path = self.path(chain_id)
        if not os.path.isdir(path):
            raise NotFound(f"there is no snapshot {chain_id}")
        from sampan.linux.diskusage import bytes_in

        return bytes_in(path)

    def remove(self, chain_id: str, in_use: Callable[[], Iterable[str]] = tuple) -> None:
        """Remove a snapshot; it is unpacked again when it is wanted again.

        Args:
            in_use: tells the chain ids that containers use, asked when no container can begin to use one.

        Raises:
            Precondition: it is in use.
        """
        path = self.path(chain_id)
        if not os.path.isdir(path):
            return
        with FileLock(f"{self.folder}/lock"):
            if chain_id in set(in_use()):
                raise Precondition(
                    f"the snapshot {chain_id} is used by a container", fix="remove the container"
                )
            remove_tree(path)

    def prune(self, keep: Iterable[str], in_use: Callable[[], Iterable[str]] = tuple) -> list[str]:
        """Remove all snapshots but those of images (`keep`) and containers (`in_use`), and what was left half done.

        Returns:
            The chain ids that were removed.
        """
        if not os.path.isdir(self.folder):
            return []
        removed = []
        with FileLock(f"{self.folder}/lock"):
            wanted = {*keep, *in_use()}
            for name in list_folder(self.folder):
                if name.startswith(TEMPORARY):
                    _remove_if_abandoned(f"{self.folder}/{name}")
            for snapshot in self.all():
                if snapshot.chain_id not in wanted:
                    remove_tree(snapshot.path)
                    removed.append(snapshot.chain_id)
        return removed

    def _unpack(
        self, store: ContentStore, image: Rootfs, work: str, warn: Callable[[str], None] | None
    ) -> None:
        from sampan.image.unpack import Unpacker

        with Unpacker(work, self._limits, set_ids=image.set_ids) as unpacker:
            for layer in image.rootfs_layers:
                with store.open(layer.descriptor.digest) as blob:
                    unpacker.apply(blob, layer.descriptor.size, layer.diff_id)
            for file in image.files:
                with store.open(file.descriptor.digest) as blob:
                    unpacker.write_file(file.path, _verified(blob, file))
            unpacker.finish()
            if warn is not None:
                for warning in unpacker.warnings:
                    warn(warning)


def _lock_folder(path: str) -> int:
    """The open folder, made if it is not there, locked; waits."""
    while True:
        try:
            make_dir(path)
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:  # removed in between
            continue
        except OSError as error:
            raise from_os_error(error, "begin a snapshot") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            return fd
        except BaseException:
            os.close(fd)
            raise


def _remove_if_abandoned(path: str) -> None:
    lock = try_lock(path)
    if lock is not None:
        try:
            remove_tree(path)
        finally:
            os.close(lock)


def _verified(blob: BinaryIO, file: RootfsFile) -> Iterator[bytes]:
    """The pieces of a blob; an error at the end if they are not what the descriptor describes."""
    import hashlib

    digest = parse_digest(file.descriptor.digest)
    state = hashlib.new(digest.algorithm)
    is_wasm = file.descriptor.media_type in WASM_LAYERS
    while piece := blob.read(CHUNK):
        if is_wasm and not piece.startswith(WASM_HEADERS):
            raise Invalid(f"the layer {digest} is no WebAssembly module or component", exit_code=126)
        is_wasm = False
        state.update(piece)
        yield piece
    if is_wasm:
        raise Invalid(f"the layer {digest} is empty, not WebAssembly", exit_code=126)
    if state.hexdigest() != digest.hex:
        raise DataLoss(f"the stored blob {digest} is damaged", fix="run: sampan system fsck --deep")
