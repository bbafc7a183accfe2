"""Image references: `[registry/]repository[:tag][@digest]`, by Docker's grammar (distribution/reference)."""

from __future__ import annotations

from sampan.core.digest import parse_digest
from sampan.core.errors import Invalid
from sampan.core.record import Record

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"
MAX_NAME = 255
_LOWER = frozenset("abcdefghijklmnopqrstuvwxyz0123456789")
_WORD = _LOWER | frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_TAG = _WORD | frozenset(".-")
_HOST = _WORD - {"_"} | frozenset(".-")


class Reference(Record):
    """A checked reference; `tag` and `digest` are empty where the text had none."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        """The whole reference: `docker.io/library/hello:latest`."""
        return self.name + self._suffix()

    @property
    def name(self) -> str:
        """Registry and repository: `docker.io/library/hello`."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """The name as Docker's tables show it: `hello` for `docker.io/library/hello`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def familiar(self) -> str:
        """The whole reference as people type it."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        return (f":{self.tag}" if self.tag else "") + (f"@{self.digest}" if self.digest else "")

    def tagged(self) -> Reference:
        """This reference, with `:latest` where it has neither tag nor digest."""
        return self if self.tag or self.digest else self.replace(tag=DEFAULT_TAG)


def parse_reference(text: str) -> Reference:
    """The reference that `text` spells, with `docker.io` and `library/` filled in.

    Raises:
        Invalid: not a reference by the grammar; the message says which part.
    """

    def refuse(why: str) -> Invalid:
        return Invalid(f"{text[:120]!r} is not an image reference: {why}")

    rest, at, digest_text = text.partition("@")
    digest: str = parse_digest(digest_text) if at else ""
    name, colon, tag = rest.rpartition(":")
    if not colon or "/" in tag:
        name, tag, colon = rest, "", ""
    if colon and (not tag or len(tag) > 128 or tag[0] in ".-" or not _TAG.issuperset(tag)):
        raise refuse(f"the tag {tag[:40]!r} may have letters, digits, '_', '.' and '-'")
    if not name:
        raise refuse("it has no name")
    first, slash, remainder = name.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost"):
        registry, repository = first, remainder
        _check_registry(registry, refuse)
    else:
        registry, repository = DEFAULT_REGISTRY, name
    if registry in ("index.docker.io", "registry-1.docker.io"):
        registry = DEFAULT_REGISTRY
    if registry == DEFAULT_REGISTRY and "/" not in repository:
        if len(repository) == 64 and set(repository) <= set("0123456789abcdef"):
            raise refuse("64 hex digits are an image id")
        repository = f"library/{repository}"
    if len(registry) + 1 + len(repository) > MAX_NAME:
        raise refuse(f"the name is longer than {MAX_NAME} characters")
    for component in repository.split("/"):
        _check_component(component, refuse)
    return Reference(registry, repository, tag, digest)


def _check_registry(host: str, refuse: object) -> None:
    assert callable(refuse)
    if host.startswith("["):
        address, bracket, port = host[1:].partition("]")
        if not bracket or not address or not set(address) <= set("0123456789abcdefABCDEF:."):
            raise refuse(f"the registry {host[:60]!r} is not a host")
        port = port.removeprefix(":") if port.startswith(":") else port
    else:
        address, colon, port = host.partition(":")
        labels = address.split(".")
        if any(not lb or lb[0] == "-" or lb[-1] == "-" or not _HOST.issuperset(lb) for lb in labels):
            raise refuse(f"the registry {host[:60]!r} is not a host")
        if colon and not port:
            raise refuse("the registry's port is empty")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise refuse(f"the registry's port {port[:20]!r} is not a port")


def _check_component(component: str, refuse: object) -> None:
    """`[a-z0-9]+` parts joined by one '.', one or two '_', or any number of '-'."""
    assert callable(refuse)
    if not component:
        raise refuse("a part of the repository is empty")
    bad = refuse(f"the part {component[:60]!r} of the repository needs lower-case letters and digits, "
                 "joined by '.', '_', '__' or '-'")  # fmt: skip
    separator = "."
    for char in component:
        if char in _LOWER:
            separator = ""
            continue
        if char not in "._-":
            raise bad
        if separator and (separator[-1] != char or char == "." or separator == "__"):
            raise bad
        separator += char
    if separator:
        raise bad
