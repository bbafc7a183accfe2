"""Platforms: parsing `os/arch[/variant]`, and choosing one manifest of an index (image-index.md).

A Wasm module runs on every host, so a platform never blocks a Wasm image: its entries are taken whatever
the host is. Nothing here looks at content.
"""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, NotFound
from sampan.core.spec.image import Platform

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.image import Descriptor, Index

_MACHINES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "armhf": "arm",
    "i386": "386",
    "i686": "386",
}
_LETTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def parse_platform(text: str) -> Platform:
    """The platform that `wasi/wasm`, `linux/arm64/v8`, `linux` or `arm64` spells.

    Raises:
        Invalid: empty parts, more than three, or strange characters.
    """
    parts = text.split("/")
    if len(parts) > 3 or not all(p and _LETTERS.issuperset(p) for p in parts):
        raise Invalid(f"{text[:60]!r} is not a platform", fix="write it like wasi/wasm or linux/arm64/v8")
    parts = [p.lower() for p in parts]
    if len(parts) == 1:
        os_only = parts[0] in ("linux", "windows", "darwin", "freebsd") or parts[0].startswith("wasi")
        parts = [parts[0], host_architecture()] if os_only else ["linux", parts[0]]
    system, machine = parts[0], _MACHINES.get(parts[1], parts[1])
    if system.startswith("wasi") and not machine.startswith("wasm"):
        machine = "wasm"
    return Platform(machine, system, "", [], parts[2] if len(parts) == 3 else "")


def host_architecture() -> str:
    """This machine's architecture in the specification's (Go's) words."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def host_platform() -> Platform:
    """`linux/amd64` or what this machine is."""
    return Platform(host_architecture(), "linux")


def is_wasm(platform: Platform | None) -> bool:
    """Whether the platform says Wasm: os `wasi`, `wasip1`, `wasip2`, or architecture `wasm`, `wasm32`."""
    return platform is not None and (
        platform.os.startswith("wasi") or platform.architecture.startswith("wasm")
    )


def choose_platform(index: Index, wanted: Platform | None, what: str = "the image index") -> Descriptor:
    """The entry of `index` to use.

    In this order: the platform asked for, a Wasm entry, this host's; the only entry where none was asked for.

    Raises:
        NotFound: none fits; the message lists the platforms on offer.
    """
    entries = [d for d in index.manifests if not _is_attestation(d)]
    tests: list[Callable[[Platform | None], bool]] = [is_wasm]
    if wanted is not None:
        asked = wanted
        tests.insert(0, lambda p: _matches(p, asked))
    else:
        tests.append(lambda p: _matches(p, host_platform()))
    for fits in tests:
        for descriptor in entries:
            if fits(descriptor.platform):
                return descriptor
    if wanted is None and len(entries) == 1:
        return entries[0]
    offers = sorted({str(d.platform) if d.platform else "(not said)" for d in entries})
    raise NotFound(
        f"{what} has nothing for {wanted or host_platform()}; it offers {', '.join(offers) or 'nothing'}",
        fix="choose one of these with --platform" if offers else "",
    )


def _matches(given: Platform | None, wanted: Platform) -> bool:
    if given is None:
        return False
    if is_wasm(wanted):
        return is_wasm(given) and wanted.os in ("wasi", given.os)
    machine = _MACHINES.get(given.architecture, given.architecture)
    if given.os != wanted.os or machine != wanted.architecture:
        return False
    return not wanted.variant or wanted.variant == (given.variant or {"arm64": "v8"}.get(machine, ""))


def _is_attestation(descriptor: Descriptor) -> bool:
    """Build provenance that docker buildx stores beside the images of an index."""
    return descriptor.annotations.get("vnd.docker.reference.type") == "attestation-manifest"
