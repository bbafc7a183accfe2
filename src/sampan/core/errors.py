"""The one error tree: every failure that a user can meet is a `SampanError` of one of these kinds.

A class is a *condition that a caller reacts to* (the set is containerd's), never a place in the code.
Each door has one table from kind to its wire's code; the command line's is `exit_code` here, with
Docker's meanings: 125 our own failure, 126 found but cannot be run, 127 not found.
"""

from __future__ import annotations

MAX_TEXT = 1024


class SampanError(Exception):
    """A failure with a kind, one clear sentence naming the thing, and the fix.

    Args:
        message: one sentence that names the thing; control bytes are escaped when shown.
        fix: what to do about it, as a short imperative; shown after the message.
        exit_code: the command line's exit status where it is not the kind's default (126, 127).
    """

    kind = "INTERNAL"

    def __init__(self, message: str, *, fix: str = "", exit_code: int = 125) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        self.exit_code = exit_code

    def __str__(self) -> str:
        """The message and the fix on one line of at most 1 KiB, without control characters."""
        text = f"{self.message}; {self.fix}" if self.fix else self.message
        return printable(text)


class Invalid(SampanError):
    """Raised when an input is malformed, whoever wrote it."""

    kind = "INVALID"


class NotFound(SampanError):
    """Raised when the named thing is not there."""

    kind = "NOT_FOUND"


class Exists(SampanError):
    """Raised when the name is taken."""

    kind = "EXISTS"


class Precondition(SampanError):
    """Raised when the thing is there but in a state that does not allow the call."""

    kind = "PRECONDITION"


class Exhausted(SampanError):
    """Raised when a limit (space, memory, descriptors, size) is reached."""

    kind = "EXHAUSTED"


class Unavailable(SampanError):
    """Raised when a peer cannot be reached now; trying again may help."""

    kind = "UNAVAILABLE"


class DataLoss(SampanError):
    """Raised when stored or received bytes are not what they should be."""

    kind = "DATA_LOSS"


class Denied(SampanError):
    """Raised when policy or permissions forbid the call."""

    kind = "DENIED"


class Unauthenticated(SampanError):
    """Raised when credentials are missing or not accepted."""

    kind = "UNAUTHENTICATED"


class TimedOut(SampanError):
    """Raised when a bounded call reached its bound."""

    kind = "TIMEOUT"


class Unimplemented(SampanError):
    """Raised when what is asked for is understood and cannot be had here."""

    kind = "UNIMPLEMENTED"


class Internal(SampanError):
    """Raised in place of a foreign exception at the outermost edge: a fault of ours."""

    kind = "INTERNAL"


KINDS: dict[str, type[SampanError]] = {
    cls.kind: cls
    for cls in (
        Invalid,
        NotFound,
        Exists,
        Precondition,
        Exhausted,
        Unavailable,
        DataLoss,
        Denied,
        Unauthenticated,
        TimedOut,
        Unimplemented,
        Internal,
    )
}


def printable(text: str) -> str:
    """`text` on one line: control characters and lone surrogates escaped, cut at 1 KiB."""
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= MAX_TEXT else safe[: MAX_TEXT - 1] + "…"


def from_os_error(error: OSError, doing: str) -> SampanError:
    """The `SampanError` for a failed system call while `doing` ("write the image index")."""
    from errno import (
        E2BIG,
        EACCES,
        EAGAIN,
        EDQUOT,
        EEXIST,
        EIO,
        EISDIR,
        EMFILE,
        ENAMETOOLONG,
        ENFILE,
        ENOENT,
        ENOMEM,
        ENOSPC,
        ENOTDIR,
        EPERM,
        EROFS,
    )

    what = f"cannot {doing}: {error.strerror or error}"
    if error.filename is not None:
        name = error.filename
        shown = name.decode(errors="backslashreplace") if isinstance(name, bytes) else name
        what += f" ({shown})"
    match error.errno:
        case e if e in (ENOSPC, EDQUOT):
            return Exhausted(what, fix="free some space and try again")
        case e if e in (EMFILE, ENFILE):
            return Exhausted(what, fix="raise the limit on open files (ulimit -n)")
        case e if e in (ENOMEM, EAGAIN):
            return Exhausted(what)
        case e if e in (EACCES, EPERM, EROFS):
            return Denied(what)
        case e if e == ENOENT:
            return NotFound(what)
        case e if e == EEXIST:
            return Exists(what)
        case e if e == EIO:
            return DataLoss(what, fix="check the disk")
        case e if e in (EISDIR, ENOTDIR, ENAMETOOLONG, E2BIG):
            return Invalid(what)
        case _:
            return Internal(what)
