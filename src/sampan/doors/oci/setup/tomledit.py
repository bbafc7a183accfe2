"""One entry put into a TOML file or taken out of it, and every other byte left as it is.

The entry is appended as tables of its own, which is the smallest change there is. Where that cannot be (its parent is
an inline table, or somebody has reworked our lines since), tomlkit edits the document and keeps its style.
"""

from __future__ import annotations

import json
import tomllib

from sampan.core.errors import Invalid, Precondition
from sampan.doors.oci.setup.entries import is_same, lookup, with_entry, without_entry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

REMARK = "# Added by `sampan-oci install`; `sampan-oci uninstall` takes it out again.\n"


def parse(text: str, what: str) -> dict[str, Any]:
    """The document that `text` is.

    Raises:
        Invalid: it is not TOML; `what` is named.
    """
    try:
        return tomllib.loads(text, parse_float=str)  # as text, a NaN equals itself
    except tomllib.TOMLDecodeError as error:
        raise Invalid(f"{what} is not valid TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise Invalid(f"{what} is not valid TOML: nested too deeply, or a number is too long") from error


def add(text: str, keys: list[str], value: Any, what: str) -> str:
    """`text` with `value` at `keys`, where nothing is yet.

    Raises:
        Invalid: `text` is broken. Precondition: it is written in a way that cannot be added to.
    """
    document = parse(text, what)
    lookup(document, keys, what)
    expected = with_entry(document, keys, value)
    separator = "" if not text else "\n" if text.endswith("\n") else "\n\n"
    appended = text + separator + _block(keys, value)
    return appended if _says(appended, expected) else _edited(text, keys, value, expected, what)


def remove(text: str, keys: list[str], what: str) -> str:
    """`text` with nothing at `keys`.

    Raises:
        Invalid: `text` is broken. Precondition: it is written in a way that cannot be taken from.
    """
    document = parse(text, what)
    value = lookup(document, keys, what)
    if value is None:
        return text
    expected = without_entry(document, keys)
    block = _block(keys, value)
    for ours in ("\n" + block, block):
        before, found, after = text.rpartition(ours)
        if found and _says(before + after, expected):
            return before + after
    return _edited(text, keys, None, expected, what)


def _says(text: str, expected: dict[str, Any]) -> bool:
    try:
        return is_same(parse(text, "it"), expected)
    except Invalid:
        return False


def _edited(text: str, keys: list[str], value: Any, expected: dict[str, Any], what: str) -> str:
    """The same edit by tomlkit; believed only if the outcome says what it should."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    *parents, name = keys
    try:
        document = tomlkit.parse(text)
        table: Any = document
        for key in parents:
            if key not in table:
                table[key] = tomlkit.table(is_super_table=True) if table is document else {}
            table = table[key]
        if value is None:
            del table[name]
        else:
            table[name] = value
        edited = tomlkit.dumps(document)
    except (TOMLKitError, KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError):
        edited = text
    if not _says(edited, expected):
        doing = "taken out of" if value is None else "added to"
        raise Precondition(
            f"the runtime cannot be {doing} {what} without changing more than its own entry",
            fix=f"do it by hand: [{_path(keys)}]",
        )
    return edited


def _block(keys: list[str], value: Any) -> str:
    """The entry as lines of TOML."""
    if isinstance(value, dict):
        return REMARK + "\n".join(_tables(keys, value))
    return f"{REMARK}[{_path(keys[:-1])}]\n{_key(keys[-1])} = {_value(value)}\n"


def _tables(keys: list[str], table: dict[str, Any]) -> list[str]:
    plain = [f"{_key(k)} = {_value(v)}\n" for k, v in table.items() if not isinstance(v, dict)]
    blocks = [f"[{_path(keys)}]\n{''.join(plain)}"]
    for key, value in table.items():
        if isinstance(value, dict):
            blocks += _tables([*keys, key], value)
    return blocks


def _path(keys: list[str]) -> str:
    return ".".join(map(_key, keys))


def _key(key: str) -> str:
    bare = key and key.isascii() and key.replace("-", "").replace("_", "").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    """A string, a list or a truth value; a TOML string of one line is a JSON string that escapes DEL too."""
    return json.dumps(value, ensure_ascii=False, default=str).replace("\x7f", "\\u007f")
