"""`.dockerignore`: which paths of a build context are left out, by Docker's pattern rules.

Patterns are relative to the context; `*`, `?`, `[a-z]` stay within a name, `**` crosses names, `!` takes back,
the last rule that matches decides, and a rule for a folder counts for what is in it.
"""

from __future__ import annotations

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_RULES = 10_000


class Ignore:
    """The rules of one `.dockerignore`."""

    def __init__(self, text: str = "", what: str = ".dockerignore") -> None:
        self._rules: list[tuple[bool, list[str]]] = []
        for line in text.removeprefix("\ufeff").splitlines():
            rule = line.strip()
            if line.startswith("#") or not rule:
                continue
            keeps = rule.startswith("!")
            parts = clean_parts(rule.removeprefix("!").strip())
            if keeps and not rule[1:].strip():
                raise Invalid(f"{what} has a '!' without a pattern")
            if parts:
                self._rules.append((keeps, parts))
        if len(self._rules) > MAX_RULES:
            raise Invalid(f"{what} has more than {MAX_RULES} rules")

    def leaves_out(self, path: str) -> bool:
        """Whether the file or folder `path` (`a/b`, relative) is not part of the context."""
        parts = path.split("/")
        out = False
        for keeps, pattern in self._rules:
            if out == keeps and any(match_parts(pattern, parts[:n]) for n in range(1, len(parts) + 1)):
                out = not keeps
        return out

    @property
    def has_exceptions(self) -> bool:
        """Whether a left-out folder may still hold files that are kept."""
        return any(keeps for keeps, _ in self._rules)


def clean_parts(pattern: str) -> list[str]:
    """The names of a path pattern: `./a//b/` gives a, b; `..` goes up, not above the root."""
    parts: list[str] = []
    for part in pattern.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    return parts


def match_parts(pattern: list[str], parts: list[str]) -> bool:
    """Whether the whole path matches; `**` stands for any number of names, also none."""
    reachable = {0}  # positions in `pattern` that the path so far can have reached
    for part in parts:
        reachable = {n for at in _past_stars(pattern, reachable) for n in _step(pattern, at, part)}
        if not reachable:
            return False
    return len(pattern) in _past_stars(pattern, reachable)


def _past_stars(pattern: list[str], positions: Iterable[int]) -> set[int]:
    out: set[int] = set()
    for start in positions:
        end = start
        while end < len(pattern) and pattern[end] == "**":
            end += 1
        out.update(range(start, end + 1))
    return out


def _step(pattern: list[str], at: int, part: str) -> tuple[int, ...]:
    if at >= len(pattern):
        return ()
    if pattern[at] == "**":
        return (at,)
    return (at + 1,) if match_name(pattern[at], part) else ()


def match_name(pattern: str, name: str) -> bool:
    """Go's `path.Match` for one name: `*`, `?`, `[a-z]`, `[^a]` and `\\` before a character.

    Raises:
        Invalid: an unclosed `[` or a trailing `\\`.
    """
    tokens = _tokens(pattern)
    reachable = {0}
    for char in name:
        after: set[int] = set()
        for at in _past_any(tokens, reachable):
            if at == len(tokens):
                continue
            if tokens[at] is None:
                after.add(at)
            elif _matches(tokens[at] or "", char):
                after.add(at + 1)
        reachable = after
    return len(tokens) in _past_any(tokens, reachable)


def _past_any(tokens: list[str | None], positions: set[int]) -> set[int]:
    out: set[int] = set()
    for start in positions:
        end = start
        while end < len(tokens) and tokens[end] is None:
            end += 1
        out.update(range(start, end + 1))
    return out


def _tokens(pattern: str) -> list[str | None]:
    """None for `*`, else `?`, `[...]` or `=c` for the character c."""
    tokens: list[str | None] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            tokens.append(None)
        elif char == "?":
            tokens.append("?")
        elif char == "[":
            end = pattern.find("]", at + 2)
            if end < 0:
                raise Invalid(f"the pattern {pattern[:80]!r} has a '[' that is not closed")
            tokens.append(pattern[at:end])
            at = end
        elif char == "\\":
            at += 1
            if at == len(pattern):
                raise Invalid(f"the pattern {pattern[:80]!r} ends with '\\'")
            tokens.append("=" + pattern[at])
        else:
            tokens.append("=" + char)
        at += 1
    return tokens


def _matches(kind: str, char: str) -> bool:
    if kind == "?":
        return True
    if kind[0] == "=":
        return kind[1:] == char
    body = kind[1:]
    negated = body[:1] in ("^", "!")
    body = body[1:] if negated else body
    found, at = False, 0
    while at < len(body):
        low = body[at]
        high = low
        if body[at + 1 : at + 2] == "-" and at + 2 < len(body):
            high = body[at + 2]
            at += 2
        found = found or low <= char <= high
        at += 1
    return found != negated
