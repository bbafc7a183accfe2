"""Content digests, as the OCI image specification writes them (descriptor.md, "Digests")."""

from __future__ import annotations

from sampan.core.errors import Invalid

HEX_LENGTH = {"sha256": 64, "sha512": 128}
_HEX = frozenset("0123456789abcdef")


class Digest(str):
    """A checked `algorithm:hex` string: sha256 or sha512, lower case, of the right length."""

    __slots__ = ()

    @property
    def algorithm(self) -> str:
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as tables show them."""
        return self.hex[:12]


def parse_digest(text: str) -> Digest:
    """The digest that `text` spells.

    Raises:
        Invalid: another algorithm than sha256 or sha512, a wrong length, or anything but lower-case hex.
    """
    algorithm, colon, digits = text.partition(":")
    wanted = HEX_LENGTH.get(algorithm)
    if not colon or wanted is None:
        raise Invalid(f"{text[:80]!r} is not a digest", fix="sha256:HEX or sha512:HEX is")
    if len(digits) != wanted or not _HEX.issuperset(digits):
        raise Invalid(f"the digest {text[:80]!r} needs {wanted} lower-case hex digits")
    return Digest(text)


def digest_of(data: bytes, algorithm: str = "sha256") -> Digest:
    """The digest of some bytes in memory."""
    import hashlib

    return Digest(f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}")
