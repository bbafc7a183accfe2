"""Two runtimes' answers as one: pure functions of messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from sampan.doors.cri.api import runtime_pb2 as api

MOST_ITEMS = 256  # of one message of a stream
RUNTIME_READY, NETWORK_READY, UPSTREAM_READY = "RuntimeReady", "NetworkReady", "UpstreamReady"


def lists(name: str, ours: Message, theirs: bytes) -> bytes:
    """The answer to the list call `name`: lists on the wire are joined by joining their bytes."""
    if name == "ListImages":
        return _images(ours, theirs).SerializeToString()
    if name == "ListMetricDescriptors":
        return _descriptors(ours, theirs).SerializeToString()
    if name == "ImageFsInfo":  # the kubelet looks at the first one
        return theirs + ours.SerializeToString()
    return ours.SerializeToString() + theirs


def pieces(answer: Message) -> Iterator[bytes]:
    """The answer to a list call as messages of the stream call beside it, which have the same one field."""
    field = type(answer).DESCRIPTOR.fields[0].name
    items = getattr(answer, field)
    for start in range(0, len(items), MOST_ITEMS):
        yield type(answer)(**{field: items[start : start + MOST_ITEMS]}).SerializeToString()


def _images(ours: Message, theirs: bytes) -> api.ListImagesResponse:
    """An image that both have is listed once, with the names that either has for it."""
    found: dict[str, api.Image] = {}
    other = api.ListImagesResponse.FromString(theirs)
    for image in [*_items(ours, "images"), *other.images]:
        if image.id in found:
            add_names(found[image.id], image)
        else:
            found[image.id] = image
    return api.ListImagesResponse(images=found.values())


def add_names(image: api.Image, other: api.Image) -> None:
    """Adds the names of the same image elsewhere."""
    image.repo_tags.extend(tag for tag in other.repo_tags if tag not in image.repo_tags)
    image.repo_digests.extend(name for name in other.repo_digests if name not in image.repo_digests)
    image.pinned = image.pinned or other.pinned


def _descriptors(ours: Message, theirs: bytes) -> api.ListMetricDescriptorsResponse:
    """A metric that both have is described once."""
    other = api.ListMetricDescriptorsResponse.FromString(theirs)
    found = {item.name: item for item in [*other.descriptors, *_items(ours, "descriptors")]}
    return api.ListMetricDescriptorsResponse(descriptors=found.values())


def _items(answer: Message, field: str) -> list[Any]:
    return list(getattr(answer, field))


def status(ours: api.StatusResponse, theirs: api.StatusResponse | None, trouble: str) -> api.StatusResponse:
    """Our status with what the runtime behind us says.

    Args:
        theirs: None where it did not answer. trouble: why not.
    """
    answer = api.StatusResponse()
    answer.CopyFrom(ours)
    if theirs is None:
        answer.status.conditions.add(
            type=UPSTREAM_READY, status=False, reason="UpstreamUnavailable", message=trouble
        )
        return answer
    conditions = {condition.type: condition for condition in theirs.status.conditions}
    runtime = conditions.pop(RUNTIME_READY, api.RuntimeCondition())
    answer.status.conditions.add(
        type=UPSTREAM_READY, status=runtime.status, reason=runtime.reason, message=runtime.message
    )
    network = conditions.pop(NETWORK_READY, None)
    for condition in answer.status.conditions:
        if condition.type == NETWORK_READY and condition.status and network is not None:
            condition.CopyFrom(network)
    answer.status.conditions.extend(conditions.values())
    known = {handler.name for handler in answer.runtime_handlers}
    answer.runtime_handlers.extend(h for h in theirs.runtime_handlers if h.name not in known)
    # features are the node's: what only one has, it has not
    for feature in api.RuntimeFeatures.DESCRIPTOR.fields_by_name:
        both = getattr(ours.features, feature) and getattr(theirs.features, feature)
        setattr(answer.features, feature, both)
    for key, text in theirs.info.items():
        if key not in answer.info:
            answer.info[key] = text
    return answer
