"""The Dockerfile parser: text to instructions, with the line of each, by Docker's lexical rules.

Directives (`# escape=`), comments, continued lines, here-documents, flags and the JSON form are handled
here; what an instruction means is `builder`'s. RUN and whatever needs a Linux container is refused with its
line. (docs.docker.com, "Dockerfile reference".)
"""

from __future__ import annotations

from sampan.core import strictjson
from sampan.core.errors import Exhausted, Invalid, SampanError, Unimplemented
from sampan.core.record import Record
from sampan.image.build.variables import split_words

MAX_BYTES = 1 << 20
_KNOWN = (
    *("ADD", "ARG", "CMD", "COPY", "ENTRYPOINT", "ENV", "EXPOSE", "FROM"),
    *("LABEL", "SHELL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR"),
)
_UNSUPPORTED = {
    "RUN": "it runs a command in a Linux container",
    "HEALTHCHECK": "a Wasm image has no shell to check with",
    "ONBUILD": "triggers belong to Docker's builder",
    "MAINTAINER": "Docker has retired it",
}
_JSON_FORM = frozenset(("ADD", "COPY", "CMD", "ENTRYPOINT", "SHELL", "VOLUME"))
_FLAGS = {
    "ADD": ("chmod", "chown"),
    "COPY": ("chmod", "chown", "from", "link"),
    "FROM": ("platform",),
}


class HereDocument(Record):
    """The body of `<<NAME`; `expand` is false where NAME stood in quotes."""

    name: str
    body: str
    expand: bool


class Instruction(Record):
    """One instruction: upper-case name, `--flag=value`s, then the rest as text and, if JSON, as words."""

    line: int
    name: str
    text: str
    flags: dict[str, str] = {}
    words: list[str] = []
    is_json: bool = False
    documents: list[HereDocument] = []


class Dockerfile(Record):
    """A parsed file; `path` is how errors name it."""

    path: str
    escape: str
    instructions: list[Instruction]


class _Line(Record):
    number: int
    text: str


def parse_dockerfile(text: str, path: str = "Dockerfile") -> Dockerfile:
    """The instructions of a Dockerfile.

    Raises:
        Exhausted: more than 1 MiB.
        Invalid: not a Dockerfile; the message begins with `path:line`.
        Unimplemented: an instruction that needs a running Linux container.
    """
    if len(text) > MAX_BYTES:
        raise Exhausted(f"{path} has more than {MAX_BYTES} bytes")
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").split("\n")
    escape, at = _directives(lines, path)
    instructions: list[Instruction] = []
    while at < len(lines):
        line, at = _logical_line(lines, at, escape)
        if line is None:
            continue
        with located(path, line.number):
            instruction = _instruction(line, escape)
            at = _read_documents(instruction, lines, at)
        instructions.append(instruction)
    if not instructions:
        raise Invalid(f"{path} has no instructions", fix="begin it with FROM")
    return Dockerfile(path, escape, instructions)


class located:  # noqa: N801 - reads as a word in `with`
    """Gives errors of the block `path:line: ` before their message, unless an inner block has done so."""

    def __init__(self, path: str, line: int) -> None:
        self._path = path
        self._line = line

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, SampanError) and not error.message.startswith(f"{self._path}:"):
            message = f"{self._path}:{self._line}: {error.message}"
            raise type(error)(message, fix=error.fix, exit_code=error.exit_code) from error


def _directives(lines: list[str], path: str) -> tuple[str, int]:
    """The escape character, and where the directives end: `# key=value` lines before anything else."""
    escape, seen = "\\", set()
    for at, line in enumerate(lines):
        body = line.strip()
        key, equals, value = (p.strip() for p in body.removeprefix("#").partition("="))
        if not body.startswith("#") or not equals or not key.isalpha():
            return escape, at
        key = key.lower()
        if key not in ("escape", "syntax", "check"):
            return escape, at
        if key in seen:
            raise Invalid(f"{path}:{at + 1}: the directive {key!r} stands twice")
        seen.add(key)
        if key == "escape":
            if value not in ("\\", "`"):
                raise Invalid(f"{path}:{at + 1}: the escape character may be \\ or `, not {value[:20]!r}")
            escape = value
    return escape, len(lines)


def _logical_line(lines: list[str], at: int, escape: str) -> tuple[_Line | None, int]:
    """The next instruction with its continuations joined; None for a blank line or a comment."""
    first = lines[at].strip()
    number = at + 1
    if not first or first.startswith("#"):
        return None, at + 1
    text, more = _continued(lines[at].lstrip(), escape)
    at += 1
    while more and at < len(lines):
        line = lines[at]
        at += 1
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        part, more = _continued(line, escape)
        text += part
    text = text.strip()
    return (_Line(number, text) if text else None), at


def _continued(line: str, escape: str) -> tuple[str, bool]:
    bare = line.rstrip(" \t")
    return (bare[:-1], True) if bare.endswith(escape) else (line, False)


def _instruction(line: _Line, escape: str) -> Instruction:
    word = line.text.split(maxsplit=1)[0]
    rest = line.text[len(word) :]
    name = word.upper()
    if name in _UNSUPPORTED:
        raise Unimplemented(
            f"{name} cannot be built: {_UNSUPPORTED[name]}",
            fix="build this image with buildah or docker"
            if name in ("RUN", "ONBUILD")
            else "remove the line",
        )
    if name not in _KNOWN:
        raise Invalid(f"{word[:40]!r} is not an instruction", fix="RUN and others need buildah or docker")
    flags, rest = _split_flags(name, rest.strip())
    if not rest:
        raise Invalid(f"{name} needs an argument")
    instruction = Instruction(line.number, name, rest, flags)
    if name in _JSON_FORM and rest.startswith("["):
        words = _json_words(rest)
        if words is not None:
            instruction.words, instruction.is_json = words, True
    if not instruction.is_json:
        instruction.words = split_words(rest, escape)
    return instruction


def _split_flags(name: str, rest: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while rest.startswith("--"):
        flag, _, rest = rest.partition(" ")
        rest = rest.lstrip()
        if flag == "--":
            break
        key, equals, value = flag[2:].partition("=")
        known = _FLAGS.get(name, ())
        if key not in known:
            allowed = ", ".join(f"--{k}" for k in known) or "none"
            raise Unimplemented(f"{name} has no --{key[:40]} here", fix=f"it takes {allowed}")
        if key in flags:
            raise Invalid(f"--{key} stands twice")
        if not equals and key != "link":
            raise Invalid(f"--{key} needs a value", fix=f"write --{key}=VALUE")
        flags[key] = value
    return flags, rest


def _json_words(text: str) -> list[str] | None:
    """The strings of a JSON array; None where it is none (Docker then reads the line as plain text)."""
    try:
        words = strictjson.loads(text)
    except Invalid:
        return None
    return words if isinstance(words, list) and all(isinstance(w, str) for w in words) else None


def _read_documents(instruction: Instruction, lines: list[str], at: int) -> int:
    """Take the here-documents that a COPY or ADD names from the lines that follow."""
    if instruction.name not in ("COPY", "ADD") or instruction.is_json:
        return at
    for word in instruction.words:
        if not word.startswith("<<"):
            continue
        name = word[2:]
        strip_tabs = name.startswith("-")
        name = name.removeprefix("-")
        bare = name.strip("'\"")
        if not bare or not bare.replace("_", "a").replace(".", "a").isalnum():
            raise Invalid(f"{word[:40]!r} does not name a here-document")
        body: list[str] = []
        while True:
            if at >= len(lines):
                raise Invalid(f"the here-document {bare!r} is not closed", fix=f"end it with a line {bare}")
            line = lines[at].lstrip("\t") if strip_tabs else lines[at]
            at += 1
            if line == bare:
                break
            body.append(line + "\n")
        instruction.documents.append(HereDocument(bare, "".join(body), bare == name))
    return at
