"""What the tests of images share: a store in a temporary folder, and the smallest Wasm there is."""

from __future__ import annotations

import pytest

from sampan.image.store import ContentStore

MODULE = b"\0asm\x01\0\0\0"


@pytest.fixture
def store(tmp_path):
    return ContentStore(str(tmp_path / "store"))


@pytest.fixture
def module(tmp_path):
    path = tmp_path / "hello.wasm"
    path.write_bytes(MODULE)
    return str(path)
