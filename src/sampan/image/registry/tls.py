"""Which certificates a registry's server may show, and which we show it."""

from __future__ import annotations

from sampan.core.errors import Invalid, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ssl import SSLContext

    from sampan.image.registry.settings import Settings


def tls_context(settings: Settings, scheme: str, host: str, port: int) -> SSLContext:
    """The system's authorities and those that the user named for this server; nothing for plain http.

    Raises:
        Invalid: a certificate file is not one.
        NotFound, Denied: it cannot be read.
    """
    import ssl

    if scheme == "http":
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust = settings.trust(host, port)
    context = ssl.create_default_context()
    if trust.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for path in trust.authorities:
        with _reading(path):
            context.load_verify_locations(path)
    for stem in trust.clients:
        with _reading(f"{stem}.cert"):
            context.load_cert_chain(f"{stem}.cert", f"{stem}.key")
    return context


class _reading:  # noqa: N801 - used like a function
    """Turns what goes wrong with a certificate file into our errors, naming it."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        import ssl

        if isinstance(error, ssl.SSLError):
            raise Invalid(f"the certificate {self._path} cannot be read: {error.reason}") from error
        if isinstance(error, OSError):
            raise from_os_error(error, f"read the certificate {self._path}") from error
