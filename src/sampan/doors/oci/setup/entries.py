"""Looking into a parsed configuration: tables by their keys, and what it must be after an edit.

Every edit of text is proved by this: the new text, parsed again, must say exactly the old plus (or less) our entry.
"""

from __future__ import annotations

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def lookup(document: dict[str, Any], keys: list[str], what: str = "the configuration") -> Any:
    """The value at these keys, or None.

    Raises:
        Invalid: there is something else than a table on the way; `what` is named.
    """
    value: Any = document
    for depth, key in enumerate(keys):
        if not isinstance(value, dict):
            raise Invalid(f"{'.'.join(keys[:depth])} in {what} is not a table")
        value = value.get(key)
        if value is None:
            return None
    return value


def with_entry(document: dict[str, Any], keys: list[str], value: Any) -> dict[str, Any]:
    """A copy that has `value` at `keys`."""
    key, *rest = keys
    copy = dict(document)
    copy[key] = with_entry(copy.get(key) or {}, rest, value) if rest else value
    return copy


def without_entry(document: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    """A copy that has nothing at `keys`."""
    key, *rest = keys
    copy = dict(document)
    if not rest:
        copy.pop(key, None)
    elif isinstance(copy.get(key), dict):
        copy[key] = without_entry(copy[key], rest)
    return copy


def is_same(one: Any, other: Any) -> bool:
    """Whether two configurations say the same; tables without content do not count."""
    return bool(_pruned(one) == _pruned(other))


def _pruned(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {k: p for k, v in value.items() if (p := _pruned(v)) != {}}
