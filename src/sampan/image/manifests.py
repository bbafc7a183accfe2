"""From what a name points at to one manifest: indexes are followed, by platform, without going in circles.

The documents themselves are read by `registry.documents`; whether a manifest can be run is decided in
`formats`. Follows image-spec image-index.md.
"""

from __future__ import annotations

from sampan.core.errors import Exhausted, Invalid
from sampan.core.record import Record
from sampan.core.spec.image import Descriptor, Manifest
from sampan.core.strictjson import MAX_BYTES
from sampan.image.platforms import choose_platform
from sampan.image.registry.documents import MAX_DEPTH, parse_document

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.image import Platform


class Resolved(Record):
    """One manifest: where it is, its bytes as stored, and what they say."""

    descriptor: Descriptor
    raw: bytes
    manifest: Manifest


def resolve_manifest(
    read: Callable[[Descriptor], bytes],
    descriptor: Descriptor,
    wanted: Platform | None = None,
    what: str = "the image",
) -> Resolved:
    """Follow indexes from `descriptor` to one manifest.

    Args:
        read: gives the verified bytes of a descriptor (from the store or a registry).
        wanted: the platform asked for; None for whatever runs here.
        what: how errors name the image.

    Raises:
        Exhausted: a document of more than 4 MiB.
        Invalid: deeper than 4 indexes, an index that leads back to itself, or a document that is none.
        NotFound: no entry for the platform; the message lists those on offer.
    """
    seen: set[str] = set()
    for _ in range(MAX_DEPTH + 1):
        if descriptor.size > MAX_BYTES:
            raise Exhausted(
                f"a manifest of {what} has {descriptor.size} bytes, more than the {MAX_BYTES} allowed"
            )
        if descriptor.digest in seen:
            raise Invalid(f"the index of {what} leads back to itself")
        seen.add(descriptor.digest)
        raw = read(descriptor)
        document = parse_document(raw, descriptor.media_type, f"the manifest of {what}")
        if isinstance(document, Manifest):
            return Resolved(descriptor, raw, document)
        descriptor = choose_platform(document, wanted, what)
    raise Invalid(f"{what} has indexes nested deeper than {MAX_DEPTH}")
