"""A WASI 0.2 command in Python: greets, and prints its arguments."""

import sys

from wit_world import exports


class Run(exports.Run):
    """`wasi:cli/run`."""

    def run(self) -> None:
        """Called once; an exception would be exit code 1."""
        print("Hello from a Python component!", *sys.argv[1:])
