"""Where Sampan keeps things: one root for what lasts, one for what a reboot may take."""

from __future__ import annotations

from sampan.core.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Roots(Record):
    """The two folders; everything else is below one of them.

    `data`: content, snapshots, compiled code, containers. `run`: sockets and what is remembered until reboot.
    """

    data: str
    run: str

    @property
    def images(self) -> str:
        return f"{self.data}/images"

    @property
    def containers(self) -> str:
        return f"{self.data}/containers"

    @property
    def code(self) -> str:
        return f"{self.data}/code"


def default_roots(uid: int, env: Mapping[str, str]) -> Roots:
    """The roots of a user: `SAMPAN_ROOT` and `SAMPAN_RUN_ROOT` win, then root's or the XDG folders."""
    if uid == 0:
        data, run = "/var/lib/sampan", "/run/sampan"
    else:
        home = env.get("HOME", "/")
        data = f"{env.get('XDG_DATA_HOME') or home + '/.local/share'}/sampan"
        base = env.get("XDG_RUNTIME_DIR")
        run = f"{base}/sampan" if base else f"/tmp/sampan-{uid}"  # noqa: S108 - made 0700, owner checked
    return Roots(env.get("SAMPAN_ROOT") or data, env.get("SAMPAN_RUN_ROOT") or run)
