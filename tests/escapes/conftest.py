"""The means of the OCI runtime's and the command line's tests, and places that no guest may leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ..cli.conftest import harbour
from ..oci.conftest import oci, shared_code
from .places import Places

__all__ = ["harbour", "oci", "places", "shared_code"]


@pytest.fixture
def places(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Folders that every user may reach."""
    top = tmp_path_factory.getbasetemp()
    for above in [top, *[path for path in top.parents if path.name.startswith("pytest-")]]:
        os.chmod(above, 0o755)
    os.chmod(tmp_path, 0o755)
    return Places(tmp_path)
