"""An image that only our store has, where the runtime behind us needs it."""

from __future__ import annotations

import logging

import grpc

from sampan.doors.cri.api import runtime_pb2 as api
from sampan.doors.cri.errors import Refused
from sampan.doors.cri.routing.methods import full_name
from sampan.doors.cri.routing.upstream import Upstream

log = logging.getLogger(__name__)


def create_behind(
    upstream: Upstream, request: api.CreateContainerRequest, raw: bytes, context: grpc.ServicerContext
) -> bytes:
    """CreateContainer by the runtime behind us, which pulls the image first where only we have it.

    The kubelet asked whether the image is on the node, and it is: so it pulls nothing, and knows of one store only.
    """
    try:
        return upstream.call(full_name("CreateContainer"), raw, context)
    except Refused as refusal:
        image = request.config.image
        if refusal.code is not grpc.StatusCode.NOT_FOUND or _is_there(upstream, image, context):
            raise
        name = image.user_specified_image or image.image
        log.info("the runtime behind us pulls %s, which only we have", name)
        wish = api.PullImageRequest(image=api.ImageSpec(image=name), sandbox_config=request.sandbox_config)
        pulled = upstream.call(full_name("PullImage"), wish.SerializeToString(), context)
        image.image = api.PullImageResponse.FromString(pulled).image_ref
        return upstream.call(full_name("CreateContainer"), request.SerializeToString(), context)


def _is_there(upstream: Upstream, image: api.ImageSpec, context: grpc.ServicerContext) -> bool:
    question = api.ImageStatusRequest(image=image).SerializeToString()
    answer = upstream.call(full_name("ImageStatus"), question, context)
    return api.ImageStatusResponse.FromString(answer).HasField("image")
