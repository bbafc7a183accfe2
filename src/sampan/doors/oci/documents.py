"""What `state` and `list` print: the OCI state with the fields that runc adds, which its callers parse."""

from __future__ import annotations

from sampan.container import status
from sampan.core import strictjson
from sampan.core.record import Record
from sampan.core.spec.runtime import OCI_VERSION
from sampan.core.units import rfc3339

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.container.store import Entry


class Document(Record):
    """`pid` is 0 for a stopped container; `created` is in RFC 3339; `owner` is a user's name, for `list` alone."""

    oci_version: str
    id: str
    pid: int
    status: str
    bundle: str
    rootfs: str
    created: str
    owner: str
    annotations: dict[str, str] = {}


def state_of(entry: Entry) -> Document:
    """What can be said of a container now."""
    state = status.oci_state(entry)
    return describe(entry, state.status, state.pid)


def describe(entry: Entry, state: str, pid: int) -> Document:
    """What is said of a container in this state."""
    container = entry.container
    return Document(
        OCI_VERSION,
        container.id,
        pid,
        state,
        container.bundle,
        status.rootfs_path(entry),
        rfc3339(container.created),
        "",
        entry.spec.annotations,
    )


def indented(document: Record, indent: str = "  ") -> str:
    """A flat document as runc prints it; `json` would cost more than the whole command."""
    lines = []
    for name, value in document.to_json().items():
        text = strictjson.dumps(value).decode()
        lines.append(f'{indent}"{name}": {text}')
    return "{\n" + ",\n".join(lines) + "\n}"
