"""Whole images between a registry and the content store: pull, push, and the small questions beside them.

A pull asks once what a tag stands for; everything after that goes by digest. Nothing gets a name before all its
content is checked and on the disk, and a lease keeps it meanwhile. Mirrors are asked in order, then the registry
itself; the name stays the registry's. A push goes to the registry itself.
"""

from __future__ import annotations

from sampan.core.digest import parse_digest
from sampan.core.errors import DataLoss, Invalid, NotFound, Precondition, SampanError
from sampan.core.ports import NoProgress
from sampan.core.reference import Reference, parse_reference
from sampan.core.spec.image import Index
from sampan.image.manifests import resolve_manifest
from sampan.image.registry.answer import Patience
from sampan.image.registry.client import Client
from sampan.image.registry.credentials import Credential, Credentials
from sampan.image.registry.documents import MAX_DEPTH, parse_document
from sampan.image.registry.exchange import Exchange
from sampan.image.registry.parallel import in_parallel
from sampan.image.registry.settings import Endpoint, Settings, parse_registry

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import TypeVar

    from sampan.core.ports import Progress
    from sampan.core.spec.image import Descriptor, Platform
    from sampan.image.registry.parallel import Check
    from sampan.image.store import ContentStore

    T = TypeVar("T")

MAX_MOUNT_NAMES = 256


class Registry:
    """All registries, as one user with his settings sees them. A context manager that closes the connections."""

    def __init__(
        self, settings: Settings, credentials: Credentials, patience: Patience | None = None
    ) -> None:
        self.settings = settings
        self.credentials = credentials
        self._exchange = Exchange(settings, patience)
        self._clients: dict[str, Client] = {}

    def __enter__(self) -> Registry:
        return self

    def __exit__(self, *_: object) -> None:
        self._exchange.close()

    def pull(
        self,
        reference: Reference,
        store: ContentStore,
        platform: Platform | None = None,
        progress: Progress | None = None,
        max_parallel: int = 3,
    ) -> Descriptor:
        """Bring an image into the store under its name; returns what the name stands for (perhaps an index).

        Args:
            platform: which of an index's manifests; None for whatever runs here. Only this one is fetched.
            max_parallel: how many blobs at once.

        Raises:
            NotFound: no such image, or none for the platform.
            DataLoss: something has other bytes than its digest or size says.
            Unauthenticated, Denied, Unavailable, TimedOut: as the registry has it.
            Invalid, Exhausted, Unimplemented: the image's documents are not what they should be.
        """
        reference = reference.tagged()
        source = _Source(self, reference)
        shown = progress or NoProgress()
        with store.lease() as lease:
            wanted = reference.digest or reference.tag
            top = source.first(lambda client, repository: client.resolve(repository, wanted))

            def read(descriptor: Descriptor) -> bytes:
                lease.add([descriptor.digest])
                return _pull_document(source, store, descriptor)

            manifest = resolve_manifest(read, top, platform, str(reference)).manifest
            blobs = {d.digest: d for d in (*manifest.layers, manifest.config)}
            lease.add(blobs)
            jobs = [_pull_job(source, store, blob, shown) for blob in blobs.values()]
            _announce(blobs.values(), shown)
            in_parallel(jobs, max_parallel)
            store.tag(str(reference), top)
        return top

    def push(
        self,
        store: ContentStore,
        descriptor: Descriptor,
        reference: Reference,
        progress: Progress | None = None,
        max_parallel: int = 3,
    ) -> Descriptor:
        """Give an image of the store to a registry under a name; returns its descriptor.

        Blobs come first, then the manifests, the one with the name last. What an index lists and the store does
        not have must be at the registry already.

        Raises:
            NotFound, Precondition: the store does not have all of the image.
            SampanError: as `uploads.push_blob`.
        """
        from sampan.image.registry.uploads import push_manifest

        reference = reference.tagged()
        if reference.digest and reference.digest != descriptor.digest:
            raise Invalid(f"{reference} names another digest than the image {descriptor.digest}")
        client = self._client(self.settings.endpoint(reference.registry))
        repository = reference.repository
        documents: dict[str, tuple[Descriptor, bytes]] = {}
        blobs: dict[str, Descriptor] = {}
        absent = _collect(store, descriptor, documents, blobs)
        for missing in absent:
            _expect_there(client, repository, missing)
        origins = _origins(store, reference)
        shown = progress or NoProgress()
        jobs = [
            _push_job(client, repository, store, b, origins.get(b.digest, ""), shown) for b in blobs.values()
        ]
        _announce(blobs.values(), shown)
        in_parallel(jobs, max_parallel)
        for document, data in documents.values():
            is_top = document.digest == descriptor.digest
            name = reference.tag or document.digest if is_top else document.digest
            push_manifest(client, repository, name, data, document)
        return descriptor

    def resolve(self, reference: Reference) -> Descriptor:
        """What a name stands for now, without fetching it.

        Raises:
            NotFound, Unauthenticated, Denied, Unavailable, TimedOut: as the registry has it.
        """
        reference = reference.tagged()
        wanted = reference.digest or reference.tag
        return _Source(self, reference).first(lambda client, repository: client.resolve(repository, wanted))

    def tags(self, reference: Reference) -> list[str]:
        """All tags of the reference's repository.

        Raises:
            SampanError: as `resolve`.
        """
        return _Source(self, reference).first(lambda client, repository: client.tags(repository))

    def login(self, registry: str, credential: Credential) -> None:
        """See whether the registry takes the credential, and keep it if so.

        Args:
            registry: as `parse_registry` reads it.

        Raises:
            Unauthenticated: it does not; what was kept before stays.
            SampanError: the registry cannot be reached, or the credential cannot be kept.
        """
        name = parse_registry(registry)
        Client(self.settings.endpoint(name), self._exchange, lambda _: credential).check_login()
        self.credentials.store(name, credential)

    def logout(self, registry: str) -> bool:
        """Forget the credential for a registry; false if there was none."""
        return self.credentials.erase(parse_registry(registry))

    def _client(self, endpoint: Endpoint) -> Client:
        key = f"{endpoint.schemes[0]}://{endpoint.host}"
        if key not in self._clients:
            account = endpoint.account
            self._clients[key] = Client(
                endpoint, self._exchange, lambda repository: self.credentials.find(account, repository)
            )
        return self._clients[key]


class _Source:
    """Where one repository can be read: the mirrors in order, then the registry."""

    def __init__(self, registry: Registry, reference: Reference) -> None:
        self.name = reference.name
        self._places = [
            (registry._client(endpoint), endpoint.repository(reference.repository))
            for endpoint in registry.settings.endpoints(reference.registry)
        ]

    def first(self, ask: Callable[[Client, str], T]) -> T:
        """What the first place that can answer says; those that could not answer stand in the error."""
        failures: list[str] = []
        for client, repository in self._places[:-1]:
            try:
                return ask(client, repository)
            except SampanError as error:
                failures.append(error.message)
        client, repository = self._places[-1]
        try:
            return ask(client, repository)
        except SampanError as error:
            if failures:
                error.message += f" (and its mirrors: {'; '.join(failures)})"
            raise


def _pull_document(source: _Source, store: ContentStore, descriptor: Descriptor) -> bytes:
    what = f"{source.name}@{descriptor.digest}"
    if store.has(descriptor.digest):
        return store.read(descriptor)
    found, data = source.first(lambda client, repository: client.manifest(repository, descriptor.digest))
    if len(data) != descriptor.size:
        raise DataLoss(f"{what} has {len(data)} bytes, not {descriptor.size}")
    if found.media_type != descriptor.media_type:
        raise Invalid(f"{what} is {found.media_type!r}, where {descriptor.media_type!r} was announced")
    store.fill(descriptor, [data])
    return data


def _pull_job(
    source: _Source, store: ContentStore, descriptor: Descriptor, progress: Progress
) -> Callable[[Check], None]:
    from sampan.image.registry.downloads import fetch_blob

    def job(check: Check) -> None:
        def advance(done: int) -> None:
            check()
            progress.advance(descriptor.digest, done)

        def fetch(client: Client, repository: str) -> bool:
            return fetch_blob(client, repository, descriptor, store, advance)

        fetched = not store.has(descriptor.digest) and source.first(fetch)
        progress.finish(descriptor.digest, "Pull complete" if fetched else "Already exists")

    return job


def _push_job(
    client: Client,
    repository: str,
    store: ContentStore,
    descriptor: Descriptor,
    origin: str,
    progress: Progress,
) -> Callable[[Check], None]:
    from sampan.image.registry.uploads import push_blob

    def job(check: Check) -> None:
        def advance(done: int) -> None:
            check()
            progress.advance(descriptor.digest, done)

        how = push_blob(client, repository, descriptor, store, origin, advance)
        progress.finish(descriptor.digest, how)

    return job


def _collect(
    store: ContentStore,
    descriptor: Descriptor,
    documents: dict[str, tuple[Descriptor, bytes]],
    blobs: dict[str, Descriptor],
    depth: int = 0,
) -> list[Descriptor]:
    """Gather what has to be pushed, children before parents; returns children that the store does not have."""
    if depth > MAX_DEPTH:
        raise Invalid(f"the image {descriptor.digest} is nested deeper than {MAX_DEPTH} indexes")
    if descriptor.digest in documents:
        return []
    data = store.read(descriptor)
    document = parse_document(data, descriptor.media_type, f"the stored manifest {descriptor.digest}")
    absent: list[Descriptor] = []
    if isinstance(document, Index):
        for child in document.manifests:
            if store.has(child.digest):
                absent += _collect(store, child, documents, blobs, depth + 1)
            else:
                absent.append(child)
    else:
        blobs.update({d.digest: d for d in (*document.layers, document.config)})
    documents[descriptor.digest] = (descriptor, data)
    return absent


def _expect_there(client: Client, repository: str, descriptor: Descriptor) -> None:
    try:
        client.resolve(repository, descriptor.digest)
    except NotFound:
        platform = f" ({descriptor.platform})" if descriptor.platform else ""
        raise Precondition(
            f"the image lists the manifest {descriptor.digest}{platform}, which is neither here nor at the registry",
            fix="pull that platform too, or push one platform by its own digest",
        ) from None


def _origins(store: ContentStore, target: Reference) -> dict[str, str]:
    """For blobs that the store has under other names of the same registry: the repository to mount them from."""
    origins: dict[str, str] = {}
    for name, descriptor in list(store.names().items())[:MAX_MOUNT_NAMES]:
        try:
            reference = parse_reference(name)
            if reference.registry != target.registry or reference.repository == target.repository:
                continue
            blobs: dict[str, Descriptor] = {}
            _collect(store, descriptor, {}, blobs)
        except SampanError:  # a name of another kind, or an image with a hole: nothing to mount from
            continue
        for digest in blobs:
            origins.setdefault(digest, reference.repository)
    return origins


def _announce(blobs: Iterable[Descriptor], progress: Progress) -> None:
    for blob in blobs:
        progress.start(blob.digest, parse_digest(blob.digest).short, blob.size)
