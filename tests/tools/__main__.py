"""Builds the tools that are named, or all of them; says which, and in how many seconds."""

from __future__ import annotations

import sys
import time

from tests.tools import BUILDS, go_command, tool

if go_command() is None:
    sys.exit(f"there is no Go toolchain, so the tests of {', '.join(BUILDS)} are skipped")
for name in sys.argv[1:] or BUILDS:
    begun = time.monotonic()
    print(f"{tool(name)}: {time.monotonic() - begun:.0f} s", flush=True)
