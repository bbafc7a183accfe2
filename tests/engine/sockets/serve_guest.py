"""Runs one workload in a process of its own and says on a descriptor which ports it bound, and how it ended."""

import _thread
import json
import os
import sys

from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants
from sampan.engine.program import Engine, preload


def main() -> None:
    wish = json.loads(sys.argv[1])

    def tell(**what: object) -> None:
        os.write(wish["report"], json.dumps(what).encode() + b"\n")

    def work() -> None:
        try:
            fd = os.open(wish["file"], os.O_RDONLY)
            program = Engine().load(fd, "", CodeCache(*wish["cache"]))
            grants = Grants.from_json(wish["grants"])
            ending = program.run(grants, lambda m, port: tell(guest=m.guest_port, host=port))
            tell(ending=ending.to_json())
        finally:
            done.release()

    preload()
    done = _thread.allocate_lock()
    done.acquire()
    _thread.stack_size(8 << 20)
    _thread.start_new_thread(work, ())
    done.acquire()
    os._exit(0)


main()
