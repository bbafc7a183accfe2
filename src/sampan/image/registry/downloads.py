"""Blobs from a registry into the content store: streamed, capped, resumed by Range where a connection broke.

The store hashes what arrives and shows nothing before all of it is right, so a part that an earlier process or
another mirror left is gone on with; if the whole is wrong then, it is fetched once more from the start.
"""

from __future__ import annotations

import time

from sampan.core.errors import DataLoss, Denied, NotFound, TimedOut, Unavailable
from sampan.image.registry.client import pull_scope
from sampan.image.registry.retry import Attempts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from sampan.core.spec.image import Descriptor
    from sampan.image.ingest import Ingest
    from sampan.image.registry.answer import Answer
    from sampan.image.registry.client import Client
    from sampan.image.store import ContentStore

    Advance = Callable[[int], None]

REAL_PROGRESS = 16 << 10  # a connection that brought so much does not count as a failed attempt


def fetch_blob(
    client: Client, repository: str, descriptor: Descriptor, store: ContentStore, advance: Advance
) -> bool:
    """Put a blob into the store; false if it was, or meanwhile is, there.

    Args:
        advance: is told how many bytes are there.

    Raises:
        DataLoss: longer or shorter than the descriptor says, or another digest; nothing is kept.
        NotFound: the registry does not have it.
        Denied: it has only a foreign URL for it, or we may not see it.
        TimedOut, Unavailable: it did not come in time, or broke off too often; what came is kept for the next try.
    """
    for last in (False, True):
        with store.ingest(descriptor) as ingest:
            if ingest.complete:
                return False
            in_one_piece = True
            try:
                in_one_piece = _fill(client, repository, descriptor, ingest, advance)
                ingest.commit()
                return True
            except DataLoss:
                ingest.discard()
                if in_one_piece or last:
                    raise
    raise AssertionError("unreachable")


def _fill(client: Client, repository: str, descriptor: Descriptor, ingest: Ingest, advance: Advance) -> bool:
    """Fetch what is missing; true if all of it came in one answer."""
    deadline = time.monotonic() + client.patience.deadline
    attempts = Attempts(client.patience, deadline)
    in_one_piece, ranged = ingest.offset == 0, True
    while ingest.offset < descriptor.size:
        before = ingest.offset
        in_one_piece &= before == 0
        try:
            ranged = _fetch(client, repository, descriptor, ingest, advance, deadline, ranged)
        except (Unavailable, TimedOut) as error:
            if ingest.offset - before >= REAL_PROGRESS:
                attempts.progress()
            attempts.failed(error)
        except NotFound as error:
            if not descriptor.urls:
                raise
            raise Denied(
                f"the layer {descriptor.digest} is only to be had at a foreign URL",
                fix="push an image that has the layer itself to your registry",
            ) from error
    return in_one_piece


def _fetch(
    client: Client,
    repository: str,
    descriptor: Descriptor,
    ingest: Ingest,
    advance: Advance,
    deadline: float,
    ranged: bool,
) -> bool:
    """One request for the rest of the blob; false if the server refuses ranges."""
    url = f"{client.base}/v2/{repository}/blobs/{descriptor.digest}"
    offset = ingest.offset
    headers = {"Range": f"bytes={offset}-"} if offset and ranged else {}
    what = f"blob {descriptor.digest[:19]}"
    with client.call("GET", url, pull_scope(repository), headers, repository=repository) as answer:
        if answer.status == 416 and headers:
            return False
        skip = _check_head(answer, descriptor, offset, bool(headers), what)
        for piece in answer.pieces(deadline):
            if skip >= len(piece):
                skip -= len(piece)
                continue
            ingest.write(piece[skip:] if skip else piece)
            skip = 0
            advance(ingest.offset)
        if ingest.offset < descriptor.size:
            text = f"{what} ends after {ingest.offset} of {descriptor.size} bytes"
            if answer.header("transfer-encoding"):  # said to be complete; else the connection just closed
                raise DataLoss(text)
            raise Unavailable(text)
    return ranged


def _check_head(answer: Answer, descriptor: Descriptor, offset: int, ranged: bool, what: str) -> int:
    """How many bytes of the body we have already; refuses an answer that cannot be right."""
    if answer.status == 206 and ranged:
        span, _, total = answer.header("content-range").removeprefix("bytes ").partition("/")
        if not span.startswith(f"{offset}-") or total not in ("*", str(descriptor.size)):
            raise DataLoss(f"{what}: the registry sends another range than asked for")
        expected, skip = descriptor.size - offset, 0
    elif answer.status == 200:
        expected, skip = descriptor.size, offset
    else:
        raise answer.failure(what)
    length = answer.header("content-length")
    if length and length != str(expected):
        raise DataLoss(f"{what}: the registry has {length[:20]} bytes of it, not {expected}")
    return skip
