"""`delete`: what containerd runs to have a container gone, and all there is to run when its server was killed.

On the normal path the server has removed everything, and the answer is an empty one.
"""

from __future__ import annotations

import os
import time

from sampan.container.broken import remove as remove_broken
from sampan.container.bundle import read_bundle
from sampan.container.records import Exit
from sampan.core.errors import DataLoss, NotFound, SampanError
from sampan.doors.shim import rootfs
from sampan.doors.shim.creation import kind_of
from sampan.doors.shim.messages import DeleteResponse, Timestamp
from sampan.doors.shim.pod import ADDRESS, FOLDER, SANDBOX_ID, SOCKET, Pod, folder_of, has_tasks
from sampan.doors.shim.server import try_lock
from sampan.linux import durable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry
    from sampan.doors.shim.pod import Wish

SIGKILL = 9
LEAVING_SECONDS = 0.5


def delete(wish: Wish) -> DeleteResponse:
    """Ends and removes whatever there is of a container, and of its pod if nothing else is left there.

    Raises:
        SampanError: something is stuck in the kernel.
    """
    folder = _folder_of(wish)
    pod = Pod(wish, folder)
    try:
        entry = pod.states.find(wish.id)
    except NotFound:
        rootfs.remove(wish.bundle)
        _forget_pod(folder)
        return DeleteResponse()
    except DataLoss:
        remove_broken(wish.id, pod.states)
        rootfs.remove(wish.bundle)
        return DeleteResponse(0, 128 + SIGKILL, Timestamp.of(time.time_ns()))
    record = _ending_of(entry)
    run = entry.running
    try:
        kind_of(entry.container)(pod, entry).remove()
    finally:
        rootfs.remove(wish.bundle)
    _forget_pod(folder)
    pid = run.target[0] if run is not None else 0
    return DeleteResponse(pid, record.code, Timestamp.of(record.finished))


def _folder_of(wish: Wish) -> str:
    """The folder of the container's server: the bundle says it, or what is in the bundle."""
    base = f"{wish.run}/{FOLDER}/"
    try:
        with open(f"{wish.bundle}/{ADDRESS}") as file:
            folder = file.read(256).removeprefix("unix://").removesuffix(f"/{SOCKET}")
        if folder.startswith(base) and folder[len(base) :].isalnum():
            return folder
    except (OSError, ValueError):
        pass
    try:
        group = read_bundle(wish.bundle).annotations.get(SANDBOX_ID) or wish.id
    except SampanError:  # it came not that far
        group = wish.id
    return folder_of(wish, group)


def _ending_of(entry: Entry) -> Exit:
    """How it ended, by its own word; what still runs is killed now."""
    record = entry.exit()
    if record is None or entry.is_alive():
        return Exit(128 + SIGKILL, "killed", time.time_ns())
    return record


def _forget_pod(folder: str) -> None:
    """Removes the folder of a pod whose server was killed, with its last task."""
    if not os.path.isdir(folder) or has_tasks(folder):
        return
    end = time.monotonic() + LEAVING_SECONDS
    while (
        lock := try_lock(folder)
    ) is None:  # it is served, or what a killed server has just forked still has it
        if time.monotonic() > end:
            return
        time.sleep(0.005)
    try:
        durable.remove_tree(folder, lasting=False)
    finally:
        lock.release()
