"""Swaps pairs of names in a folder as fast as it can, until it is killed.

python racer.py FOLDER NAME:OTHER...    says `ready` when it has begun
"""

from __future__ import annotations

import os
import sys
import time
from itertools import cycle

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "src")
RENAME_EXCHANGE = 2


def main(folder: str, *words: str) -> None:
    sys.path.append(SOURCE)
    from sampan.linux import syscalls

    inside = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    pairs = [tuple(os.fsencode(word).split(b":")) for word in words]
    os.nice(5)
    print("ready", flush=True)
    for turn, (one, other) in enumerate(cycle(pairs)):
        try:
            syscalls.call("renameat2", inside, one, inside, other, RENAME_EXCHANGE)
        except OSError:  # a mount holds it just now
            time.sleep(0)
        if turn % 11 == 0:  # each of the states lasts now and then
            time.sleep(0.0002)


if __name__ == "__main__":
    main(*sys.argv[1:])
