"""Who answers a call: we, the runtime behind us, or both.

The handler decides where a sandbox is made; every later call follows the id in it. What lists things asks both and
gives one answer. Where the runtime behind us is away, its own calls are UNAVAILABLE, its pods and containers are
listed as they last were, and all other lists are of what is ours.

Which call is of which kind is read from the messages: one with a `runtime_handler` makes a sandbox, one with a
`container_id` is about a container.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any, Protocol

import grpc
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

import sampan
from sampan.core.errors import NotFound, Unimplemented
from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.errors import MISSING, Refused
from sampan.doors.cri.routing import merging
from sampan.doors.cri.routing.eventstream import merged
from sampan.doors.cri.routing.images_behind import create_behind
from sampan.doors.cri.routing.lastlists import LastLists
from sampan.doors.cri.routing.methods import LISTS, METHODS, full_name
from sampan.doors.cri.routing.upstream import Answer, Upstream

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds for a runtime behind us to say its part of an answer that is ours, too: it may be frozen."""

NO_ERROR = frozenset(
    {"StopPodSandbox", "RemovePodSandbox", "StopContainer", "RemoveContainer", "RemoveImage"}
)
"""Calls that must not fail where there is nothing to be stopped or removed, as CRI has it; containerd 1.6 does."""

Local = Callable[[Any, grpc.ServicerContext], Any]
"""A call as we answer it: a message and its context to a message, or to an iterator of them."""


class Known(Protocol):
    """What is ours. An id may be the beginning of one, where no other begins so."""

    def has_pod(self, pod_id: str) -> bool: ...

    def has_container(self, container_id: str) -> bool: ...

    def has_pod_like(self, metadata: api.PodSandboxMetadata) -> bool:
        """Whether a sandbox of this name, namespace and uid is ours, in whatever attempt."""


class Router:
    """
    Args:
        handlers: the names of our runtime handlers. calls: our own answers, by the names of the calls; all but
            GetContainerEvents and the Stream calls give one message.
        upstream: None where there is no runtime behind us; then all is ours.
    """

    def __init__(
        self, handlers: Collection[str], known: Known, calls: Mapping[str, Local], upstream: Upstream | None
    ) -> None:
        self._handlers = handlers
        self._known = known
        self._calls = calls
        self._upstream = upstream
        self._last = LastLists()
        self._special: dict[str, Callable[[Any, bytes, grpc.ServicerContext], bytes]] = {
            "Version": self._version,
            "Status": self._status,
            "RuntimeConfig": self._runtime_config,
            "UpdateRuntimeConfig": self._at_both,
            "RemoveImage": self._at_both,
            "ImageStatus": self._image_status,
        }

    def answer(self, name: str, raw: bytes, context: grpc.ServicerContext) -> bytes:
        """The answer to a call with one answer.

        Raises:
            Refused: the runtime behind us refused it.
            SampanError: we do.
            DecodeError: it is no such message.
        """
        try:
            return self._answer(name, self._parsed(name, raw), raw, context)
        except Refused as refusal:
            if name in NO_ERROR and refusal.code is grpc.StatusCode.NOT_FOUND:
                return b""
            raise

    def stream(self, name: str, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        """The answers to a call with many; raises as `answer` does."""
        request = self._parsed(name, raw)
        if name == "GetContainerEvents":
            ours = self._ours(name, request, context)
            yield from merged(ours, self._upstream, full_name(name), raw, context)
            return
        yield from merging.pieces(self._ours(LISTS[name], _as_list(name, raw), context))
        if self._upstream is not None:
            yield from self._their_pieces(name, raw, context)

    def pass_on(
        self, method: str, requests: Iterator[bytes], context: grpc.ServicerContext
    ) -> Iterator[bytes]:
        """A call that our messages do not know, to the runtime behind us."""
        if self._upstream is None:
            raise Unimplemented(f"there is no call {method}")
        return self._upstream.stream(method, requests, context)

    def _answer(self, name: str, request: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        if name in self._special:
            return self._special[name](request, raw, context)
        if name.startswith("List") or name == "ImageFsInfo":
            return self._list(name, request, raw, context)
        if self._is_ours(name, request):
            answer: Message = self._ours(name, request, context)
            return answer.SerializeToString()
        assert self._upstream is not None
        if name == "CreateContainer":
            return create_behind(self._upstream, request, raw, context)
        return self._upstream.call(full_name(name), raw, context)

    def _parsed(self, name: str, raw: bytes) -> Any:
        return GetMessageClass(METHODS[name].input_type).FromString(raw)

    def _ours(self, name: str, request: Message, context: grpc.ServicerContext) -> Any:
        if name not in self._calls:
            raise Unimplemented(f"{name} cannot be had of pods with a handler of ours")
        return self._calls[name](request, context)

    def _is_ours(self, name: str, request: Any) -> bool:
        fields = METHODS[name].input_type.fields_by_name
        if name == "PullImage":
            return self._pulls_for_us(request)
        if "runtime_handler" in fields:
            return self._makes_ours(request.runtime_handler)
        if self._upstream is None:
            return True
        if "container_id" in fields:
            return self._known.has_container(request.container_id)
        return self._known.has_pod(request.pod_sandbox_id)

    def _makes_ours(self, handler: str) -> bool:
        if handler in self._handlers or (not handler and self._upstream is None):
            return True
        if self._upstream is None:
            known = ", ".join(sorted(filter(None, self._handlers)))
            raise NotFound(f"there is no runtime handler {handler!r}, only {known}")
        return False

    def _pulls_for_us(self, request: api.PullImageRequest) -> bool:
        if self._upstream is None or request.image.runtime_handler in self._handlers:
            return True
        if request.image.runtime_handler or not request.HasField("sandbox_config"):
            return False
        return self._known.has_pod_like(request.sandbox_config.metadata)

    def _list(self, name: str, request: Message, raw: bytes, context: grpc.ServicerContext) -> bytes:
        theirs = self._begin(name, raw, context)
        ours = self._ours(name, request, context)
        answer = self._listed(name, request, theirs)
        return ours.SerializeToString() if answer is None else merging.lists(name, ours, answer)

    def _listed(self, name: str, request: Message, theirs: Answer | None) -> bytes | None:
        """Their list, or the last one that is known where they are away; None without any."""
        answer = self._what_there_is(name, theirs)
        if answer is not None:
            self._last.remember(name, request, answer)
        elif theirs is not None and (last := self._last.recall(name, request)) is not None:
            return last.SerializeToString()
        return answer

    def _their_pieces(self, name: str, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        assert self._upstream is not None
        request, pieces = _as_list(name, raw), []
        try:
            for piece in self._upstream.stream(full_name(name), [raw], context):
                pieces.append(piece)
                yield piece
            self._last.remember(LISTS[name], request, b"".join(pieces))
        except Refused as refusal:
            if refusal.code not in MISSING or pieces:
                raise
            answer = self._listed(LISTS[name], request, self._begin(LISTS[name], raw, context))
            if answer:
                yield answer

    def _begin(self, name: str, raw: bytes, context: grpc.ServicerContext) -> Answer | None:
        return None if self._upstream is None else self._upstream.begin(full_name(name), raw, context)

    def _what_there_is(self, name: str, theirs: Answer | None) -> bytes | None:
        """The runtime's answer, None where it has none."""
        if theirs is None:
            return None
        try:
            return theirs.get(PATIENCE)
        except Refused as refusal:
            if refusal.code not in MISSING:
                raise
            if refusal.code is grpc.StatusCode.UNAVAILABLE:
                log.warning("%s knows nothing new of other pods: %s", name, refusal.details)
            return None

    def _version(self, request: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        return api.VersionResponse(
            version="0.1.0",  # of the kubelet's own API, which every runtime gives so
            runtime_name="sampan",
            runtime_version=sampan.__version__,
            runtime_api_version="v1",
        ).SerializeToString()

    def _status(self, request: api.StatusRequest, raw: bytes, context: grpc.ServicerContext) -> bytes:
        answer = self._begin("Status", raw, context)
        ours: api.StatusResponse = self._ours("Status", request, context)
        if answer is None:
            return ours.SerializeToString()
        try:
            theirs, trouble = api.StatusResponse.FromString(answer.get(PATIENCE)), ""
        except Refused as refusal:
            theirs, trouble = None, refusal.details
        return merging.status(ours, theirs, trouble).SerializeToString()

    def _runtime_config(self, request: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        """The runtime behind us decides who makes cgroups; a wrong answer would have two do it."""
        if self._upstream is not None:
            return self._upstream.call(full_name("RuntimeConfig"), raw, context)
        linux = api.LinuxRuntimeConfiguration(cgroup_driver=api.CGROUPFS)
        return api.RuntimeConfigResponse(linux=linux).SerializeToString()

    def _at_both(self, request: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        name = "RemoveImage" if isinstance(request, api.RemoveImageRequest) else "UpdateRuntimeConfig"
        theirs = self._begin(name, raw, context)
        ours = self._ours(name, request, context)
        return ours.SerializeToString() if theirs is None else theirs.get()

    def _image_status(self, request: Any, raw: bytes, context: grpc.ServicerContext) -> bytes:
        ours: api.ImageStatusResponse = self._ours("ImageStatus", request, context)
        if request.image.runtime_handler in self._handlers:
            return ours.SerializeToString()
        answer = self._what_there_is("ImageStatus", self._begin("ImageStatus", raw, context))
        if answer is None:
            return ours.SerializeToString()
        theirs = api.ImageStatusResponse.FromString(answer)
        if not theirs.HasField("image"):
            return ours.SerializeToString()
        if ours.image.id == theirs.image.id:
            merging.add_names(theirs.image, ours.image)
        return theirs.SerializeToString()


def _as_list(name: str, raw: bytes) -> Any:
    """The request of a stream call as that of its list call: the same field in another message."""
    return GetMessageClass(METHODS[LISTS[name]].input_type).FromString(raw)
