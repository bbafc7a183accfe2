"""`index.json` of an OCI image layout: which names there are, and what each leads to (image-layout.md).

A name is a full reference, kept in the two annotations that other tools read. Entries that carry no name (other
tools write such) are kept as they are. Reading takes no lock, for the file is replaced whole; who changes it
holds the store's lock.
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Invalid, from_os_error
from sampan.core.spec.image import (
    ANNOTATION_CONTAINERD_NAME,
    ANNOTATION_REF_NAME,
    OCI_INDEX,
    Descriptor,
    Index,
)
from sampan.linux.durable import write_file

LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
MAX_INDEX = 64 << 20
EMPTY = Index(2, [], OCI_INDEX)


def read_index(path: str) -> Index:
    """The index in the file; an empty one if there is no file.

    Raises:
        DataLoss: the file is damaged; `fsck` puts it aside and rebuilds it.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_INDEX + 1)
    except FileNotFoundError:
        return EMPTY.replace()
    except OSError as error:
        raise from_os_error(error, "read the index of the image store") from error
    try:
        index = Index.from_json(strictjson.loads(data, what="the image index", limit=MAX_INDEX))
        for entry in index.manifests:
            parse_digest(entry.digest)
    except Invalid as error:
        raise DataLoss(
            f"the index of the image store is damaged ({error.message})", fix="run: sampan system fsck"
        ) from error
    return index


def write_index(path: str, index: Index) -> None:
    """Replace the file, durably."""
    write_file(path, strictjson.dumps(index))


def name_of(entry: Descriptor) -> str:
    """The name that an entry carries, or nothing."""
    return entry.annotations.get(ANNOTATION_REF_NAME, "")


def named(entry: Descriptor, name: str) -> Descriptor:
    """The entry with a name on it."""
    labels = {ANNOTATION_REF_NAME: name, ANNOTATION_CONTAINERD_NAME: name}
    return entry.replace(annotations={**entry.annotations, **labels})


def nameless(entry: Descriptor) -> Descriptor:
    """The descriptor as it was given to `tag`."""
    kept = dict(entry.annotations)
    for key in (ANNOTATION_REF_NAME, ANNOTATION_CONTAINERD_NAME):
        kept.pop(key, None)
    return entry.replace(annotations=kept)
