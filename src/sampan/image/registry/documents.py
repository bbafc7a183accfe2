"""Manifests and indexes as registries send them: one meaning each, or refused (image specification, manifest.md).

A document that is a manifest to one reader and an index to another is an attack (GHSA-5j5w); so are two equal
keys, and a media type that differs from what the header said.
"""

from __future__ import annotations

from sampan.core.digest import digest_of, parse_digest
from sampan.core.errors import DataLoss, Exhausted, Invalid, Unimplemented
from sampan.core.spec.image import (
    DOCKER_MANIFEST,
    INDEXES,
    MANIFESTS,
    OCI_INDEX,
    OCI_MANIFEST,
    Descriptor,
    Index,
    Manifest,
)
from sampan.core.strictjson import loads

MAX_LAYERS = 512
MAX_CHILDREN = 1024
MAX_DEPTH = 4
KNOWN = (*MANIFESTS, *INDEXES)
ACCEPT = ", ".join(KNOWN)
_VAGUE = ("", "application/json", "application/octet-stream", "text/plain")
_OLD = "application/vnd.docker.distribution.manifest.v1"


def parse_document(data: bytes, media_type: str = "", what: str = "the manifest") -> Manifest | Index:
    """The manifest or index that `data` holds.

    Args:
        media_type: what the sender says it is; a `Content-Type` that says nothing is as good as none.
        what: how errors name it.

    Raises:
        Invalid: not one document of one kind, or a descriptor in it is not one.
        Exhausted: more than 4 MiB, 512 layers or 1024 manifests.
        Unimplemented: a media type that is not known.
    """
    said = media_type.partition(";")[0].strip().lower()
    document = loads(data, what=what)
    if not isinstance(document, dict):
        raise Invalid(f"{what} is not a JSON object")
    own = document.get("mediaType") or ""
    if said.startswith(_OLD) or "fsLayers" in document:
        raise Unimplemented(
            f"{what} is in Docker's old format, schema 1", fix="push it again with a current tool"
        )
    if own and said not in (*_VAGUE, own):
        raise Invalid(f"{what} says that it is {own!r}, its sender that it is {said!r}")
    is_index, is_manifest = "manifests" in document, "layers" in document or "config" in document
    if is_index == is_manifest:
        raise Invalid(
            f"{what} is " + ("a manifest and an index in one" if is_index else "no manifest and no index")
        )
    kind = own or (said if said not in _VAGUE else "") or (OCI_INDEX if is_index else OCI_MANIFEST)
    if kind not in KNOWN:
        raise Unimplemented(f"{what} has the media type {str(kind)[:80]!r}", fix=f"these are known: {ACCEPT}")
    if document.get("schemaVersion") != 2:
        raise Unimplemented(f"{what} has the schema version {document.get('schemaVersion')!r}, not 2")
    if (kind in INDEXES) != is_index:
        raise Invalid(f"{what} does not have the shape of its media type {kind}")
    return _checked_index(document, what) if is_index else _checked_manifest(document, what)


def media_type_of(data: bytes, said: str, what: str) -> str:
    """The media type of a document, from itself, its sender or its shape; checks it as `parse_document` does."""
    document = parse_document(data, said, what)
    plain = said.partition(";")[0].strip().lower()
    if document.media_type or plain not in _VAGUE:
        return document.media_type or plain
    if isinstance(document, Index):
        return OCI_INDEX
    of_docker = document.config.media_type.startswith("application/vnd.docker.")
    return DOCKER_MANIFEST if of_docker else OCI_MANIFEST


def verify(data: bytes, digest: str, what: str) -> None:
    """Refuse bytes that do not have the digest.

    Raises:
        DataLoss: they do not.
    """
    wanted = parse_digest(digest)
    found = digest_of(data, wanted.algorithm)
    if found != wanted:
        raise DataLoss(f"{what} has the digest {found}, not {wanted}")


def check_descriptor(descriptor: Descriptor, what: str) -> None:
    """Refuse a descriptor whose digest or size cannot be.

    Raises:
        Invalid: an unknown or malformed digest, or a size below 0 or from 2^63 on.
    """
    parse_digest(descriptor.digest)
    if not 0 <= descriptor.size < 1 << 63:
        raise Invalid(f"{what} lists {descriptor.digest[:80]} with the size {descriptor.size}")


def _checked_manifest(document: dict[str, object], what: str) -> Manifest:
    _cap(document.get("layers"), MAX_LAYERS, "layers", what)
    manifest = Manifest.from_json(document, what)
    for descriptor in (manifest.config, *manifest.layers):
        check_descriptor(descriptor, what)
    return manifest


def _checked_index(document: dict[str, object], what: str) -> Index:
    _cap(document.get("manifests"), MAX_CHILDREN, "manifests", what)
    index = Index.from_json(document, what)
    for descriptor in index.manifests:
        check_descriptor(descriptor, what)
    return index


def _cap(items: object, limit: int, field: str, what: str) -> None:
    if isinstance(items, list) and len(items) > limit:
        raise Exhausted(f"{what} has {len(items)} {field}, more than the {limit} allowed")
