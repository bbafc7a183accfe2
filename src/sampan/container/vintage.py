"""Which installation of Sampan a zygote was started from: where that was made anew, a new zygote is needed."""

from __future__ import annotations

import os

import sampan


def vintage() -> int:
    """When this package was installed, in nanoseconds since 1970."""
    return os.stat(sampan.__file__).st_mtime_ns


def is_outdated(desk: str) -> bool:
    """Whether who serves at the desk in this folder has other code than is installed now."""
    try:
        with open(f"{desk}/zygote", encoding="ascii") as file:
            return file.read().split()[2:] != [str(vintage())]
    except OSError:  # it has just gone
        return False
