"""What the runtime behind us listed last, for the time that it is away.

A kubelet takes a pod that is not listed for one that is gone: it would fail a Job's pod because containerd is started
anew. So Linux pods stay listed as they were; every other call on them says that their runtime does not answer.
"""

from __future__ import annotations

import threading
from typing import Any

from google.protobuf.message import Message

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.filters import selects_container, selects_pod

NAMES = frozenset({"ListPodSandbox", "ListContainers"})


class LastLists:
    """The last whole list of each kind, with what lists of a part have told since; for any number of threads.

    A kubelet asks for one pod when it has changed something there: the whole list may be older than that pod.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[str, bytes | dict[str, Any]] = {}  # bytes until somebody needs to look into them

    def remember(self, name: str, request: Any, answer: bytes) -> None:
        """Takes note of the answer to a list call."""
        if name not in NAMES:
            return
        with self._lock:
            if not request.filter.ByteSize():
                self._last[name] = answer
            elif (known := self._items(name)) is not None:
                if not request.filter.HasField("state"):  # else it may be there, in another state
                    for item in [item for item in known.values() if _is_wanted(item, request.filter)]:
                        del known[item.id]
                known.update(_parsed(name, answer))

    def recall(self, name: str, request: Any) -> Message | None:
        """What the answer to a list call would have been then; None where it is not known."""
        with self._lock:
            known = self._items(name)
            if known is None:
                return None
            wanted = [item for item in known.values() if _is_wanted(item, request.filter)]
        if name == "ListPodSandbox":
            return api.ListPodSandboxResponse(items=wanted)
        return api.ListContainersResponse(containers=wanted)

    def _items(self, name: str) -> dict[str, Any] | None:
        last = self._last.get(name)
        if isinstance(last, bytes):
            last = self._last[name] = _parsed(name, last)
        return last


def _parsed(name: str, answer: bytes) -> dict[str, Any]:
    """The items of a list by their ids."""
    if name == "ListPodSandbox":
        return {pod.id: pod for pod in api.ListPodSandboxResponse.FromString(answer).items}
    return {each.id: each for each in api.ListContainersResponse.FromString(answer).containers}


def _is_wanted(item: Any, wanted: Any) -> bool:
    if wanted.HasField("state") and item.state != wanted.state.state:
        return False
    return selects_pod(wanted, item) if isinstance(item, api.PodSandbox) else selects_container(wanted, item)
