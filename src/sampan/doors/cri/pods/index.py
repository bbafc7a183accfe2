"""What a server knows of pods and containers without reading a disk: by id, by the beginning of one, by name.

It holds no truth: all of it is in the documents, and it is made anew from them at each start.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from sampan.core.errors import Exists, Invalid, NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

T = TypeVar("T")


class Index(Generic[T]):
    """Things by their ids, and the names that they have; for any number of threads.

    Args:
        what: how errors call such a thing.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._lock = threading.Lock()
        self._things: dict[str, T] = {}
        self._ids: dict[str, str] = {}  # by name

    @contextmanager
    def reserved(self, name: str, thing_id: str) -> Iterator[None]:
        """Has the name for `thing_id` while the thing is made; it is free again where none was added.

        Raises:
            Exists: somebody has it.
        """
        with self._lock:
            owner = self._ids.setdefault(name, thing_id)
        if owner != thing_id:
            raise Exists(f"the name {name} is in use by {self._what} {owner}")
        try:
            yield
        finally:
            with self._lock:
                if thing_id not in self._things and self._ids.get(name) == thing_id:
                    del self._ids[name]

    def add(self, thing_id: str, name: str, thing: T) -> None:
        with self._lock:
            self._ids[name] = thing_id
            self._things[thing_id] = thing

    def remove(self, thing_id: str, name: str) -> None:
        """Forgets a thing and frees its name; one that is not there is fine."""
        with self._lock:
            self._things.pop(thing_id, None)
            if self._ids.get(name) == thing_id:
                del self._ids[name]

    def get(self, text: str) -> T:
        """The thing whose id is `text`, or the only one whose id begins with it.

        Raises:
            NotFound: none. Invalid: several.
        """
        with self._lock:
            exact = self._things.get(text)
            if exact is not None:
                return exact
            found = [thing for i, thing in self._things.items() if i.startswith(text)] if text else []
        if len(found) > 1:
            raise Invalid(
                f"{text!r} is the beginning of {len(found)} {self._what} ids", fix="give more of it"
            )
        if not found:
            raise NotFound(f"there is no {self._what} {text!r}")
        return found[0]

    def find(self, text: str) -> T | None:
        """As `get`; None where there is none.

        Raises:
            Invalid: several.
        """
        try:
            return self.get(text)
        except NotFound:
            return None

    def all(self) -> list[T]:
        """All things, in the order that they were added in."""
        with self._lock:
            return list(self._things.values())
