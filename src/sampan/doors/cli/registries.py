"""Registries as the commands use them: this user's settings and credentials, warnings on standard error."""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.core.reference import DEFAULT_REGISTRY, Reference, parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context
    from sampan.image.registry.transfer import Registry


def open_registry(context: Context) -> Registry:
    """A connection to registries, to be used in a `with` block.

    Raises:
        Invalid: a file with settings is wrong.
    """
    from sampan.image.registry.credentials import Credentials, default_files
    from sampan.image.registry.settings import load_settings
    from sampan.image.registry.transfer import Registry

    settings = load_settings(context.env)
    return Registry(settings, Credentials(default_files(context.env), context.warn))


def registry_name(text: str) -> str:
    """The registry that a person means by `text`: a host, a URL of one, or nothing for Docker's.

    Raises:
        Invalid: it cannot be a registry's name.
    """
    name = text.removeprefix("https://").removeprefix("http://").rstrip("/")
    if name in ("", "index.docker.io/v1", "index.docker.io", "registry-1.docker.io"):
        return DEFAULT_REGISTRY
    host = name.partition("/")[0]
    if "." in host or ":" in host or host == "localhost":
        return parse_reference(f"{host}/x").registry
    raise Invalid(f"{text[:80]!r} is not a registry", fix="name it like registry.example:5000")


def with_default_tag(reference: Reference) -> Reference:
    """`reference` with a tag or digest; says so where it had neither, as Docker does."""
    if not reference.tag and not reference.digest:
        print("Using default tag: latest", flush=True)
    return reference.tagged()
