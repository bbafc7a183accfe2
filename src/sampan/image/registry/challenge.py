"""Authentication challenges: the `WWW-Authenticate` header (RFC 9110, section 11.6.1).

One header may carry several challenges, and parameters may be tokens or quoted strings in which commas and
escaped quotes stand. What does not follow the grammar is refused as a whole: guessing here sends passwords.
"""

from __future__ import annotations

from sampan.core.errors import Unauthenticated
from sampan.core.record import Record

MAX_LENGTH = 8192
_TOKEN = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_TOKEN68 = _TOKEN | frozenset("/=")


class Challenge(Record):
    """One challenge; `scheme` and the parameters' names are in lower case."""

    scheme: str
    parameters: dict[str, str] = {}


def parse_challenges(header: str) -> list[Challenge]:
    """The challenges of a `WWW-Authenticate` header, in order.

    Raises:
        Unauthenticated: not by the grammar, a parameter twice in one challenge, a control character, or too long.
    """
    if len(header) > MAX_LENGTH or not header.isascii() or not header.replace("\t", " ").isprintable():
        raise Unauthenticated("the registry's authentication challenge is too long or has control characters")
    return _Reader(header).challenges()


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def challenges(self) -> list[Challenge]:
        found: list[Challenge] = []
        while self._skip(" \t,"):
            name = self._take(_TOKEN)
            if not name:
                raise self._refusal()
            if self._equals():
                if not found or name.lower() in found[-1].parameters:
                    raise self._refusal()
                found[-1].parameters[name.lower()] = self._value()
            else:
                found.append(Challenge(name.lower()))
                self._token68()
        return found

    def _skip(self, characters: str) -> bool:
        """Pass over `characters`; true while something is left."""
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1
        return self.at < len(self.text)

    def _take(self, characters: frozenset[str]) -> str:
        start = self.at
        while self.at < len(self.text) and self.text[self.at] in characters:
            self.at += 1
        return self.text[start : self.at]

    def _equals(self) -> bool:
        """Pass over ` = ` if it is next."""
        start = self.at
        if self._skip(" \t") and self.text[self.at] == "=":
            self.at += 1
            self._skip(" \t")
            return True
        self.at = start
        return False

    def _value(self) -> str:
        if self.text[self.at : self.at + 1] != '"':
            value = self._take(_TOKEN)
            if not value:
                raise self._refusal()
            return value
        self.at += 1
        characters: list[str] = []
        while self.at < len(self.text):
            char = self.text[self.at]
            self.at += 1
            if char == '"':
                return "".join(characters)
            if char == "\\":
                char = self.text[self.at : self.at + 1]
                self.at += 1
            characters.append(char)
        raise self._refusal()

    def _token68(self) -> None:
        """Pass over credentials such as Negotiate's, which stand alone after a scheme and mean nothing to us."""
        start = self.at
        self._skip(" \t")
        word = self._take(_TOKEN68)
        self._skip(" \t")
        ended = self.at == len(self.text) or self.text[self.at] == ","
        if not (word and ended and "=" not in word.rstrip("=")):
            self.at = start

    def _refusal(self) -> Unauthenticated:
        return Unauthenticated(f"the registry's authentication challenge is malformed at character {self.at}")
