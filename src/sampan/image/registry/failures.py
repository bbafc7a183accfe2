"""What can go wrong with one HTTP exchange, as our errors: statuses, broken connections, TLS.

Errors name the server and the path, never a user, a password or a query (signed URLs are secrets).
"""

from __future__ import annotations

from sampan.core.errors import (
    Denied,
    Exhausted,
    Invalid,
    NotFound,
    SampanError,
    TimedOut,
    Unauthenticated,
    Unavailable,
    Unimplemented,
)
from sampan.image.registry.redirects import origin, shown
from sampan.image.registry.settings import registry_name


class Busy(Unavailable):
    """Raised for 429 and 5xx answers; `after` is what `Retry-After` says, in seconds."""

    after: float = 0.0


class Untrusted(Denied):
    """Raised when a server's certificate is not one that we trust."""


def status_failure(status: int, url: str, what: str, said: str, retry_after: str) -> SampanError:
    """The error that a status outside what was hoped for stands for.

    Args:
        what: what was being done, or to what.
        said: the registry's own words.
        retry_after: the header.
    """
    text = f"{what}: {origin(url)[1]} answers {status}" + (f" ({said})" if said else "")
    match status:
        case 401:
            return Unauthenticated(text, fix=f"log in with: sampan login {registry_name(url)}")
        case 403:
            return Denied(text)
        case 404:
            return NotFound(text)
        case 408 | 429 | 500 | 502 | 503 | 504:
            busy = Busy(text)
            busy.after = _seconds(retry_after)
            return busy
        case 405 | 501:
            return Unimplemented(text)
        case 413:
            return Exhausted(text)
        case _ if 500 <= status < 600:
            return Unavailable(text)
        case _:
            return Invalid(text)


class mapped:  # noqa: N801 - used like a function
    """Turns what the HTTP library raises into our errors, naming the URL without its secrets."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if error is None or isinstance(error, SampanError) or not isinstance(error, Exception):
            return
        import ssl

        import httpx2

        where, reason = shown(self._url), _root(error)
        if isinstance(reason, ssl.SSLError) and not isinstance(reason, ssl.SSLEOFError):
            raise _tls_failure(where, reason) from error
        if isinstance(error, httpx2.TimeoutException):
            raise TimedOut(f"{where} does not answer in time") from error
        if isinstance(error, (httpx2.InvalidURL, httpx2.UnsupportedProtocol)):
            raise Invalid(f"{where!r} is not a URL") from error
        # RuntimeError and ValueError: the connections were closed by another thread
        if isinstance(error, (httpx2.HTTPError, OSError, RuntimeError, ValueError)):
            said = reason.strerror if isinstance(reason, OSError) else str(reason)
            raise Unavailable(f"cannot reach {where}: {said or type(error).__name__}") from error


def _root(error: BaseException) -> BaseException:
    """The first cause of an error, which says what happened."""
    for _ in range(8):
        before = error.__cause__ or error.__context__
        if before is None:
            break
        error = before
    return error


def _tls_failure(where: str, reason: OSError) -> Denied:
    import ssl

    if isinstance(reason, ssl.SSLCertVerificationError):
        return Untrusted(
            f"{where} has a certificate that is not trusted: {reason.verify_message}",
            fix="put its CA into /etc/docker/certs.d/HOST/ca.crt, or set `ca` in registries.toml",
        )
    return Denied(
        f"{where} does not speak TLS as it should: {getattr(reason, 'reason', None) or reason}",
        fix="set plain_http in registries.toml if it speaks plain http",
    )


def _seconds(text: str) -> float:
    """`Retry-After` in seconds; a date counts as none."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
