"""Variables in a Dockerfile: `$X`, `${X:-d}`, `${X:+a}`, `${X:?e}`, quotes and escapes, as Docker expands them.

Shell features that Docker added later (`${X#pattern}`, `${X/a/b}`) are refused, not passed through.
"""

from __future__ import annotations

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_")


def expand(text: str, values: Mapping[str, str], escape: str = "\\", *, keep_quotes: bool = False) -> str:
    """`text` with its variables replaced, and its quotes and escapes removed.

    Args:
        values: the variables; a missing one is empty.
        escape: the Dockerfile's escape character.
        keep_quotes: leave quotes and other escapes as they are (the body of a here-document).

    Raises:
        Invalid: an unclosed quote or brace, an unsupported modifier, or `${X:?e}` without X.
    """
    return _Expansion(text, values, escape, keep_quotes).run()


class _Expansion:
    """One left-to-right walk over a word."""

    def __init__(self, text: str, values: Mapping[str, str], escape: str, keep_quotes: bool) -> None:
        self.text = text
        self.values = values
        self.escape = escape
        self.keep_quotes = keep_quotes
        self.at = 0

    def run(self) -> str:
        out = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            if char == "'" and not self.keep_quotes:
                end = self.text.find("'", self.at + 1)
                if end < 0:
                    raise self._refuse("a ' is not closed")
                out += self.text[self.at + 1 : end]
                self.at = end + 1
            elif char == '"' and not self.keep_quotes:
                self.at += 1
                out += self._double_quoted()
            else:
                out += self._plain(char)
        return out

    def _plain(self, char: str) -> str:
        if char == "$":
            return self._variable()
        following = self.text[self.at + 1 : self.at + 2]
        if char == self.escape and (not self.keep_quotes or following in ("$", self.escape)):
            self.at += 2
            return following
        self.at += 1
        return char

    def _double_quoted(self) -> str:
        out = ""
        while self.at < len(self.text):
            char = self.text[self.at]
            following = self.text[self.at + 1 : self.at + 2]
            if char == '"':
                self.at += 1
                return out
            if char == "$":
                out += self._variable()
            elif char == self.escape and following and following in f'"${self.escape}':
                out += following
                self.at += 2
            else:
                out += char
                self.at += 1
        raise self._refuse('a " is not closed')

    def _variable(self) -> str:
        self.at += 1
        if self.text[self.at : self.at + 1] == "{":
            return self._braced()
        name = self._name()
        return self.values.get(name, "") if name else "$"

    def _name(self) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in _NAME:
            self.at += 1
            if self.text[start].isdigit():
                break
        return self.text[start : self.at]

    def _braced(self) -> str:
        end = _closing_brace(self.text, self.at)
        if end < 0:
            raise self._refuse("a ${ is not closed")
        self.at += 1
        name = self._name()
        rest = self.text[self.at : end]
        self.at = end + 1
        if not name:
            raise self._refuse("${ needs a name")
        value = self.values.get(name)
        if not rest:
            return value or ""
        absent = value is None or (rest[0] == ":" and not value)
        operator, word = rest.lstrip(":")[:1], rest.removeprefix(":")[1:]
        if rest.startswith("::") or not operator or operator not in "-+?":
            raise self._refuse(f"${{{name}{rest}}} is not supported")
        if operator == "+":
            return "" if absent else self._word(word)
        if not absent:
            return value or ""
        if operator == "-":
            return self._word(word)
        raise self._refuse(f"{name}: {self._word(word) or 'is not set'}")

    def _word(self, text: str) -> str:
        return _Expansion(text, self.values, self.escape, self.keep_quotes).run()

    def _refuse(self, why: str) -> Invalid:
        return Invalid(f"cannot expand {self.text[:80]!r}: {why}")


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for at in range(start, len(text)):
        if text[at] == "{":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    return -1


def split_words(text: str, escape: str = "\\") -> list[str]:
    """The words of `text` between blanks; quotes and escapes keep a blank in a word and stay in it."""
    words: list[str] = []
    word, quote, inside, at = "", "", False, 0
    while at < len(text):
        char = text[at]
        if not quote and char in " \t":
            if inside:
                words.append(word)
            word, inside = "", False
        else:
            word, inside = word + char, True
            if char == escape and quote != "'" and at + 1 < len(text):
                at += 1
                word += text[at]
            elif quote:
                quote = "" if char == quote else quote
            elif char in "'\"":
                quote = char
        at += 1
    return [*words, word] if inside else words


def check_name(name: str) -> None:
    """Refuse what cannot be a variable's name."""
    if not name or any(c in name for c in "=\0 \t'\"$"):
        raise Invalid(f"{name[:40]!r} is not a variable's name")
