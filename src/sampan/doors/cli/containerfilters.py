"""What `sampan ps -f KEY=VALUE` and `container prune` ask of a container."""

from __future__ import annotations

from sampan.core.errors import Invalid, SampanError
from sampan.doors.cli.containerrows import mount_name, mounts_of
from sampan.doors.cli.output import has_labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.container.records import State
    from sampan.container.store import Containers, Entry
    from sampan.doors.cli.context import Context

STATUSES = ("created", "restarting", "running", "removing", "paused", "exited", "dead", "unknown")


class Filters:
    """The filters of one command line; values of one key are alternatives, keys must all fit.

    Raises:
        Invalid: a value that makes no sense. NotFound: `before` or `since` name no container.
    """

    def __init__(self, context: Context, containers: Containers, wanted: dict[str, list[str]]) -> None:
        self._volumes = f"{context.roots.data}/volumes"
        self._wanted = wanted
        self._codes = [_code(text) for text in wanted.get("exited", [])]
        self._names = [_pattern(text) for text in wanted.get("name", [])]
        self._before = [containers.find(text).container.created for text in wanted.get("before", [])]
        self._since = [containers.find(text).container.created for text in wanted.get("since", [])]
        for text in wanted.get("status", []):
            if text not in STATUSES:
                raise Invalid(f"{text[:40]!r} is not a status", fix=f"there are: {', '.join(STATUSES)}")

    def fit(self, entry: Entry, state: State) -> bool:
        """Whether the container is one that is asked for."""
        container, wanted = entry.container, self._wanted
        tests: dict[str, Callable[[], bool]] = {
            "ancestor": lambda: any(_is_ancestor(text, container.image, container.image_id)
                                    for text in wanted["ancestor"]),
            "before": lambda: all(container.created < moment for moment in self._before),
            "exited": lambda: state.exit is not None and state.exit.code in self._codes,
            "id": lambda: any(container.id.startswith(text) for text in wanted["id"]),
            "label": lambda: has_labels(container.labels, wanted["label"]),
            "name": lambda: any(matches(container.name) for matches in self._names),
            "since": lambda: all(container.created > moment for moment in self._since),
            "status": lambda: state.status in wanted["status"],
            "volume": lambda: self._has_volume(entry, wanted["volume"]),
        }  # fmt: skip
        return all(tests[key]() for key in wanted)

    def _has_volume(self, entry: Entry, texts: list[str]) -> bool:
        try:
            mounts = mounts_of(entry.spec)
        except SampanError:  # `ps` warns of it
            return False
        return any(
            text in (mount_name(mount, self._volumes), mount.source, mount.destination)
            for mount in mounts
            for text in texts
        )


def _code(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 4):
        raise Invalid(f"{text[:40]!r} is not an exit code")
    return int(text)


def _pattern(text: str) -> Callable[[str], object]:
    """Docker's name filter is a regular expression that may fit anywhere; a leading slash means the beginning."""
    import re

    try:
        return re.compile(text.replace("^/", "^").lstrip("/")).search
    except re.error as error:
        raise Invalid(f"the filter name={text[:60]!r} is not a regular expression: {error}") from None


def _is_ancestor(text: str, image: str, image_id: str) -> bool:
    """Whether `text` names a container's image: as it is shown, with or without its tag, or by its id."""
    from sampan.core.reference import parse_reference

    if text == image or (
        image_id and text and image_id.partition(":")[2].startswith(text.removeprefix("sha256:"))
    ):
        return True
    try:
        return parse_reference(text).tagged() == parse_reference(image).tagged()
    except Invalid:
        return False
