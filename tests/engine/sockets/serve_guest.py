"""Runs a workload in a process of its own, on a thread for each grants, and says on a descriptor what happens:
which ports were bound, and how each run ended.
"""

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

    def work(grants: dict, done: _thread.LockType) -> None:
        try:
            ending = program.run(
                Grants.from_json(grants), lambda m, port: tell(guest=m.guest_port, host=port)
            )
            tell(ending=ending.to_json())
        finally:
            done.release()

    preload()
    program = Engine().load(os.open(wish["file"], os.O_RDONLY), "", CodeCache(*wish["cache"]))
    _thread.stack_size(8 << 20)
    locks = []
    for grants in wish["grants"]:
        locks.append(_thread.allocate_lock())
        locks[-1].acquire()
        _thread.start_new_thread(work, (grants, locks[-1]))
    for lock in locks:
        lock.acquire()
    os._exit(0)


main()
