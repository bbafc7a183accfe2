"""GetContainerEvents: what happens to our pods and containers, told to whoever listens, and nobody else's memory.

That a container has stopped is noticed by the kernel's word, a pidfd of its process, whoever started it and however it
ended; a server that was started anew watches again what `recovery` gives it. Events are news, not a record: a kubelet
that was away lists everything when it is back. A listener that does not read is dropped with an error.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from sampan.container.records import RECORD_SECONDS
from sampan.core.errors import Exhausted, SampanError
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.linux import processes

if TYPE_CHECKING:
    from collections.abc import Callable

    import grpc

    from sampan.container.store import Entry

    Description = tuple[api.PodSandboxStatus, list[api.ContainerStatus]]
    Describe = Callable[[str], Description]

log = logging.getLogger(__name__)

CREATED = api.CONTAINER_CREATED_EVENT
STARTED = api.CONTAINER_STARTED_EVENT
STOPPED = api.CONTAINER_STOPPED_EVENT
DELETED = api.CONTAINER_DELETED_EVENT
MOST_WAITING = 1000
RECORD_POLL = 0.01


class Subscription:
    """One listener: an iterator of events, from now on until `close`.

    Args:
        most: how many events wait for it.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._events: deque[api.ContainerEventResponse] = deque()
        self._is_slow = False
        self.is_ended = False

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> api.ContainerEventResponse:
        """
        Raises:
            Exhausted: it did not read in time; no more events come.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._events or self.is_ended)
            if self._is_slow:
                self._is_slow = False
                raise Exhausted(f"{self._most} events were not read in time", fix="subscribe again")
            if self.is_ended:
                raise StopIteration
            return self._events.popleft()

    def offer(self, event: api.ContainerEventResponse) -> None:
        """Hands it an event, without waiting for it."""
        with self._changed:
            if self.is_ended:
                return
            if len(self._events) >= self._most:
                self._is_slow = self.is_ended = True
                self._events.clear()
            else:
                self._events.append(event)
            self._changed.notify_all()

    def close(self) -> None:
        """Ends it, from any thread."""
        with self._changed:
            self.is_ended = True
            self._events.clear()
            self._changed.notify_all()


class Events:
    """The events of what is ours. `close` ends its thread.

    Args:
        describe: a pod's status and those of its containers, by the pod's id, as they are now.
        most: how many events wait for a listener before it is dropped.
    """

    def __init__(self, describe: Describe, most: int = MOST_WAITING) -> None:
        self._describe = describe
        self._most = most
        self._lock = threading.Lock()
        self._subscriptions: list[Subscription] = []
        self._watched: dict[str, _Watched] = {}
        self._epoll = select.epoll()
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll.register(self._wake, select.EPOLLIN)
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)
        self._is_closed = False
        self._thread.start()

    def close(self) -> None:
        """Ends all subscriptions, and what watches."""
        self._is_closed = True
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        with self._lock:
            for watched in self._watched.values():
                os.close(watched.pidfd)
            self._watched.clear()
            for subscription in self._subscriptions:
                subscription.close()
        self._epoll.close()
        os.close(self._wake)

    def get_container_events(self, _: api.GetEventsRequest, context: grpc.ServicerContext) -> Subscription:
        """The events from now on, until the caller is gone."""
        subscription = self.subscribe()
        if not context.add_callback(subscription.close):
            subscription.close()
        return subscription

    def subscribe(self) -> Subscription:
        """A listener from now on; close it."""
        subscription = Subscription(self._most)
        with self._lock:
            self._subscriptions.append(subscription)
        return subscription

    def publish(
        self,
        kind: api.ContainerEventType,
        container_id: str,
        pod_id: str,
        description: Description | None = None,
    ) -> None:
        """Tells who listens what happened to a container; of a pod itself, with its id as both.

        Args:
            description: of a pod that `describe` does not know any more.
        """
        with self._lock:
            self._subscriptions = [each for each in self._subscriptions if not each.is_ended]
            listeners = list(self._subscriptions)
        if not listeners:
            return
        try:
            pod, containers = description or self._describe(pod_id)
        except SampanError as error:  # without the pod's metadata a kubelet cannot use the event
            log.info("an event of %s is left out: %s", container_id, error)
            return
        event = api.ContainerEventResponse(
            container_id=container_id,
            container_event_type=kind,
            created_at=time.time_ns(),
            pod_sandbox_status=pod,
            containers_statuses=containers,
        )
        for listener in listeners:
            listener.offer(event)

    def watch(self, entry: Entry, pod_id: str) -> None:
        """Will publish that a running container has stopped, once. Publish STARTED before.

        One that has ended already is published soon; one that never ran, never.
        """
        run = entry.running
        if run is None:
            return
        try:
            pidfd = processes.open_pidfd(run.pid)
        except SampanError:  # it is gone
            pidfd = -1
        if pidfd >= 0 and not entry.is_alive():  # a zombie, or another one has its pid
            os.close(pidfd)
            pidfd = -1
        if pidfd < 0:
            pidfd = os.eventfd(1, os.EFD_CLOEXEC)  # readable at once
        with self._lock:
            if entry.container.id in self._watched or self._is_closed:
                os.close(pidfd)
                return
            self._watched[entry.container.id] = _Watched(pidfd, entry, pod_id)
            self._epoll.register(pidfd, select.EPOLLIN)

    def stopped(self, container_id: str, description: Description | None = None) -> None:
        """Publishes now that a container has stopped, unless it was told; `description` as for `publish`."""
        with self._lock:
            watched = self._watched.pop(container_id, None)
        if watched is not None:
            os.close(watched.pidfd)  # which takes it out of the epoll, too
            self.publish(STOPPED, container_id, watched.pod_id, description)

    def _run(self) -> None:
        ended: dict[str, float] = {}
        while not self._is_closed:
            for fd, _ in self._epoll.poll(RECORD_POLL if ended else None):
                container_id = self._ended_with(fd)
                if container_id:
                    ended[container_id] = time.monotonic() + RECORD_SECONDS
            for container_id, deadline in list(ended.items()):
                watched = self._watched.get(container_id)
                if watched is None or watched.is_recorded() or time.monotonic() > deadline:
                    del ended[container_id]
                    self._tell(container_id)

    def _ended_with(self, fd: int) -> str:
        """The container whose pidfd says that it has ended; it is not waited for any more."""
        with self._lock:
            for container_id, watched in self._watched.items():
                # asked again: the number may have been given to another since
                if watched.pidfd == fd and processes.wait_ended(fd, 0):
                    self._epoll.unregister(fd)
                    return container_id
        return ""

    def _tell(self, container_id: str) -> None:
        try:
            self.stopped(container_id)
        except Exception:  # one event that cannot be told must not end all others
            log.exception("the end of container %s cannot be told", container_id)


class _Watched:
    def __init__(self, pidfd: int, entry: Entry, pod_id: str) -> None:
        self.pidfd = pidfd
        self.entry = entry
        self.pod_id = pod_id

    def is_recorded(self) -> bool:
        """Whether it is written down how it ended; also where the container is gone."""
        try:
            return self.entry.has_exit_record() or not os.path.exists(self.entry.folder)
        except SampanError:
            return True
