"""Runs one workload in a process of its own, so that a crash of it is a failed test and no more.

Reads a JSON object from the first descriptor that its arguments name, writes one to the second.
"""

import _thread
import json
import os
import sys

from sampan.core.errors import SampanError
from sampan.engine.cache import CodeCache
from sampan.engine.grants import Grants
from sampan.engine.program import Engine, preload

STACK = 8 << 20


def run(wish: dict, imported: set[str]) -> dict:
    grants = Grants.from_json(wish["grants"])
    cache = CodeCache(*wish["cache"]) if wish["cache"] else None
    try:
        fd = os.open(wish["file"], os.O_RDONLY)
        program = Engine.for_limits(grants.limits).load(fd, wish["entry"], cache)
        os.close(fd)
        imported.update(sys.modules)
        return program.run(grants).to_json() | {"kind": program.kind}
    except SampanError as error:
        return {"error": error.kind, "message": str(error), "code": error.exit_code, "reason": "refused"}


def main() -> None:
    wish = json.loads(os.read(int(sys.argv[1]), 1 << 20))
    done = _thread.allocate_lock()
    done.acquire()
    answer: dict = {}
    before: set[str] = set()

    def work() -> None:
        try:
            answer.update(run(wish, before))
        finally:
            done.release()

    preload()
    _thread.stack_size(STACK)
    _thread.start_new_thread(work, ())
    done.acquire()
    answer["imported"] = sorted(set(sys.modules) - before) if before else []
    os.write(int(sys.argv[2]), json.dumps(answer).encode())
    os._exit(0)


main()
