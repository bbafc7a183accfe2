"""What is known by id and by name, from many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from sampan.core.errors import Exists, Invalid, NotFound
from sampan.doors.cri.pods.index import Index


@pytest.fixture
def index() -> Index[str]:
    index: Index[str] = Index("thing")
    for thing_id in ("aa11", "aa22", "bb33"):
        index.add(thing_id, f"name-{thing_id}", thing_id.upper())
    return index


def test_it_is_found_by_id_and_by_the_beginning_of_one(index: Index[str]) -> None:
    assert index.get("aa11") == "AA11"
    assert index.get("b") == "BB33"
    assert index.find("c") is None
    for text in ("c", "", "aa111"):
        with pytest.raises(NotFound):
            index.get(text)
    with pytest.raises(Invalid, match="2 thing ids"):
        index.find("aa")


def test_an_id_that_another_one_begins_with_is_found_as_it_is(index: Index[str]) -> None:
    index.add("aa", "short", "AA")
    assert index.get("aa") == "AA"


def test_a_name_is_one_things_until_that_is_removed(index: Index[str]) -> None:
    with pytest.raises(Exists, match="aa11"), index.reserved("name-aa11", "new"):
        pass
    index.remove("aa11", "name-aa11")
    with index.reserved("name-aa11", "new"):
        index.add("new", "name-aa11", "NEW")
    with pytest.raises(Exists, match="new"), index.reserved("name-aa11", "other"):
        pass


def test_a_name_is_free_again_where_nothing_was_made(index: Index[str]) -> None:
    with pytest.raises(ValueError, match="no"), index.reserved("x", "1"):
        raise ValueError("no")
    with index.reserved("x", "2"):
        pass


def test_a_removal_does_not_free_the_name_of_another(index: Index[str]) -> None:
    index.remove("aa11", "name-aa22")
    with pytest.raises(Exists, match="aa22"), index.reserved("name-aa22", "new"):
        pass


def test_of_many_that_want_a_name_at_once_one_gets_it(index: Index[str]) -> None:
    together = threading.Barrier(16)

    def take(number: int) -> bool:
        together.wait()
        try:
            with index.reserved("wanted", str(number)):
                index.add(str(number), "wanted", "")
                return True
        except Exists:
            return False

    with ThreadPoolExecutor(16) as threads:
        assert sum(threads.map(take, range(16))) == 1
