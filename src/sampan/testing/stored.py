"""Small images put straight into a content store, for tests of what holds them."""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.spec.image import OCI_CONFIG, OCI_INDEX, OCI_LAYER, OCI_MANIFEST, Descriptor, Index, Manifest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.image.store import ContentStore


def put_image(store: ContentStore, layer: bytes = b"layer") -> Descriptor:
    """An image of one layer (any bytes) and an empty configuration."""
    stored, config = store.put(layer, OCI_LAYER), store.put(b"{}", OCI_CONFIG)
    return store.put(strictjson.dumps(Manifest(2, config, [stored], OCI_MANIFEST)), OCI_MANIFEST)


def put_index(store: ContentStore, *manifests: Descriptor) -> Descriptor:
    """An index of these, which need not be there."""
    return store.put(strictjson.dumps(Index(2, list(manifests), OCI_INDEX)), OCI_INDEX)
