"""Work apart: what it gives or raises comes back, and what it did to its thread does not."""

import os

import pytest

from sampan.core.errors import Invalid
from sampan.linux.namespaces import NEWUTS, unshare
from sampan.linux.threads import apart


def test_what_it_gives_comes_back():
    assert apart(lambda: 42) == 42


def test_what_it_raises_comes_back():
    def fail() -> None:
        raise Invalid("no")

    with pytest.raises(Invalid, match="no"):
        apart(fail)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone makes namespaces")
def test_a_namespace_that_it_enters_is_the_threads_alone():
    def enter() -> str:
        unshare(NEWUTS)
        return os.readlink("/proc/thread-self/ns/uts")

    own = os.readlink("/proc/self/ns/uts")
    assert apart(enter) != own
    assert os.readlink("/proc/self/ns/uts") == own
