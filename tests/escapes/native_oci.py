"""`sampan-oci` with native code in the workload's place: what an attacker has who has got through the engine.

    python -I -S native_oci.py …    the words of `sampan-oci`

Everything is the real thing but for `workload.load`, which this replaces: the container's process is made and jailed
as always, and then runs a function of `native` on the workload's thread. The container's second argument says which.
"""

from __future__ import annotations

import sys
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
sys.path += [str(TREE / "src"), str(TREE / "tests" / "escapes"), str(TREE / "tests" / "linux")]


def main() -> None:
    import os

    import native

    from sampan.container import workload
    from sampan.container.walls import World
    from sampan.engine.grants import Ending, Grants
    from sampan.launcher import start

    class Native:
        """A loaded workload, as `workload.load` gives it."""

        kind = "module"

        def __init__(self, args: list[str]) -> None:
            self._run, self._wish = native.choose(args[1:])

        def run(self, grants: Grants, on_bind: object = None) -> Ending:
            return Ending(self._run(self._wish), "exited")

    def load(source: workload.Source, world: World, *_: object) -> Native:
        os.close(source.fd)
        assert world.spec.process is not None
        return Native(world.spec.process.args)

    workload.load = load  # type: ignore[assignment]
    native.warm_up()
    start("sampan.doors.oci.main")


if __name__ == "__main__":
    main()
