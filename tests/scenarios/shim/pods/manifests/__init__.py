"""The manifests that people apply, unchanged, and a reader of as much YAML as they have in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


def read(name: str) -> list[dict[str, Any]]:
    """The documents of a manifest."""
    documents = []
    for text in (FOLDER / name).read_text().split("\n---\n"):
        lines = [line.split(" #")[0].rstrip() for line in text.splitlines() if not line.startswith("#")]
        documents.append(_node([(len(line) - len(line.lstrip()), line.lstrip()) for line in lines if line]))
    return documents


def _node(lines: list[tuple[int, str]]) -> Any:
    """Takes one list or mapping off the lines, which are an indentation and a text each."""
    indent, text = lines[0]
    return _list(lines, indent) if text.startswith("- ") else _mapping(lines, indent)


def _list(lines: list[tuple[int, str]], indent: int) -> list[Any]:
    items = []
    while lines and lines[0][0] == indent and lines[0][1].startswith("- "):
        lines[0] = (indent + 2, lines[0][1][2:])
        items.append(_node(lines))
    return items


def _mapping(lines: list[tuple[int, str]], indent: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while lines and lines[0][0] == indent and not lines[0][1].startswith("- "):
        key, _, value = lines.pop(0)[1].partition(":")
        found[_scalar(key)] = _scalar(value.strip()) if value else _node(lines)
    return found


def _scalar(text: str) -> Any:
    return json.loads(text) if text[0] in '"[' else text
