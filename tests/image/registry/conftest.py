"""A store, settings and a registry client that gives up soon; the registries are in memory, on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.core.reference import parse_reference
from sampan.core.spec.image import Descriptor
from sampan.image.registry import credentials, settings, transfer
from sampan.image.registry.answer import Patience
from sampan.image.store import ContentStore
from sampan.testing.registry import Registry

FAST = Patience(
    connect=2.0, stall=0.3, answer=1.0, deadline=10.0, attempts=3, pause=0.001, longest_pause=0.01
)


class Seen:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.started: dict[str, int | None] = {}
        self.done: dict[str, int] = {}
        self.ended: dict[str, str] = {}

    def start(self, key: str, label: str, total: int | None) -> None:
        self.started[key] = total

    def advance(self, key: str, done: int) -> None:
        self.done[key] = done

    def finish(self, key: str, text: str) -> None:
        self.ended[key] = text


class User:
    """Somebody with a store, settings and credentials of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = ContentStore(str(folder / "images"))
        self.settings = settings.Settings()
        self.credentials = credentials.Credentials([str(folder / "config.json")])
        self.patience = FAST.replace()
        self.progress = Seen()

    def client(self) -> transfer.Registry:
        return transfer.Registry(self.settings, self.credentials, self.patience)

    def pull(self, registry: Registry, name: str = "team/app:v1") -> Descriptor:
        with self.client() as client:
            return client.pull(parse_reference(f"{registry.host}/{name}"), self.store, None, self.progress)

    def push(self, registry: Registry, descriptor: Descriptor, name: str = "team/app:v1") -> Descriptor:
        with self.client() as client:
            return client.push(
                self.store, descriptor, parse_reference(f"{registry.host}/{name}"), self.progress
            )

    def log_in(self, registry: Registry, name: str = "ann", password: str = "secret") -> None:
        self.credentials.store(registry.host, credentials.Credential(name, password))

    def blob(self, digest: str) -> bytes:
        with self.store.open(digest) as file:
            return file.read()

    def blobs(self) -> set[str]:
        """The digests of all blobs that the store shows."""
        found = Path(self.store.folder, "blobs", "sha256")
        return {f"sha256:{n}" for n in os.listdir(found)} if found.exists() else set()


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def user(tmp_path: Path) -> User:
    return User(tmp_path)


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as registry:
        yield registry
