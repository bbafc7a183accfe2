"""How callers name images: references, references with digests, and ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sampan.core.errors import Invalid
from sampan.core.reference import parse_reference

if TYPE_CHECKING:
    from sampan.core.reference import Reference
    from sampan.doors.cri.api import runtime_pb2 as api

_HEX = frozenset("0123456789abcdef")


def is_id(text: str) -> bool:
    """Whether a text is an image's id: 64 hex digits, mostly behind `sha256:`. By its letters it may be a name, too."""
    digits = text.removeprefix("sha256:")
    return len(digits) == 64 and _HEX.issuperset(digits)


def pulled_name(text: str) -> Reference:
    """The name that a pull gives an image. With a digest the tag says nothing, and is left out, as containerd does.

    Raises:
        Invalid: an id, or not a reference.
    """
    if is_id(text):
        raise Invalid(f"{text} is an image's id, and images are pulled by name")
    reference = parse_reference(text)
    return reference.replace(tag="") if reference.digest else reference.tagged()


def names_of(spec: api.ImageSpec) -> list[str]:
    """The full references that an ImageSpec has, the user's own first; none where it has an id only."""
    names = []
    for text in (spec.user_specified_image, spec.image):
        try:
            names.append(str(pulled_name(text)))
        except Invalid:
            continue
    return names
