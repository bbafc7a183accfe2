"""Environments and labels: `-e`, `--env-file`, `--label`, `--label-file`, `--annotation`, by Docker's rules.

A file has one `NAME=VALUE` a line, taken literally: no quotes, no expansion; lines that start with `#` are remarks.
"""

from __future__ import annotations

from sampan.core.errors import Exhausted, Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FILE = 1 << 20


def read_environment(files: list[str], texts: list[str], own: Mapping[str, str]) -> list[str]:
    """`NAME=VALUE` entries: those of files first, then those of flags, the last of a name wins.

    A name without `=` takes its value from `own`, the environment of this process, and is left out where it has none.

    Raises:
        Invalid: a name is empty, has a space in it, a NUL byte is somewhere, or a value is not UTF-8.
    """
    entries: dict[str, str] = {}
    for name, value in [
        *_of_files(files, "variable"),
        *(_split(text, "--env", "variable") for text in texts),
    ]:
        given = own.get(name) if value is None else value
        if given is not None:
            _check_text(name, given)
            entries.pop(name, None)
            entries[name] = given
    return [f"{name}={value}" for name, value in entries.items()]


def _check_text(name: str, value: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(
            f"the value of the variable {name[:60]!r} is not UTF-8, and a container's can only be that"
        ) from None


def read_labels(files: list[str], texts: list[str]) -> dict[str, str]:
    """Labels of files and flags; one without `=` is empty.

    Raises:
        Invalid: a name is empty, or has a space in it.
    """
    pairs = [*_of_files(files, "label"), *(_split(text, "--label", "label") for text in texts)]
    return {name: value or "" for name, value in pairs}


def read_annotations(texts: list[str]) -> dict[str, str]:
    """Annotations of `KEY=VALUE`.

    Raises:
        Invalid: a key is empty, or there is no `=`.
    """
    pairs = dict(_split(text, "--annotation", "annotation") for text in texts)
    for name, value in pairs.items():
        if value is None:
            raise Invalid(f"--annotation {name[:60]!r} is not KEY=VALUE")
    return {name: value or "" for name, value in pairs.items()}


def _split(text: str, where: str, what: str) -> tuple[str, str | None]:
    name, equals, value = text.partition("=")
    if not name:
        raise Invalid(f"{where}: a {what} has no name in {text[:60]!r}")
    if "\0" in text:
        raise Invalid(f"{where}: the {what} {name[:60]!r} has a NUL byte")
    return name, value if equals else None


def _of_files(paths: list[str], what: str) -> list[tuple[str, str | None]]:
    return [pair for path in paths for pair in _of_file(path, what)]


def _of_file(path: str, what: str) -> list[tuple[str, str | None]]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise from_os_error(error, f"read the {what}s") from error
    if len(data) > MAX_FILE:
        raise Exhausted(f"{path} has more than {MAX_FILE} bytes of {what}s")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8") from None
    pairs = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.removesuffix("\r").lstrip(" \t")
        if not line or line.startswith("#"):
            continue
        name, value = _split(line, f"{path}, line {number}", what)
        if any(c.isspace() for c in name):
            raise Invalid(f"{path}, line {number}: the {what} {name[:60]!r} has a space in its name")
        pairs.append((name, value))
    return pairs
