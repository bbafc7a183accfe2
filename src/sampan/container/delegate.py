"""Linux containers: handed over to runc, crun or youki, unchanged.

The runtime gets the words that we got, in our place (the same process, so that its caller stays its parent), and the
same root. `SAMPAN_LINUX_RUNTIME` names another one; else the first found counts.
"""

from __future__ import annotations

import os

from sampan.core.errors import NotFound, from_os_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

VARIABLE = "SAMPAN_LINUX_RUNTIME"
RUNTIMES = ("runc", "crun", "youki")
USUAL_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def linux_runtime(env: Mapping[str, str]) -> str:
    """The path of the runtime for Linux containers.

    Raises:
        NotFound: there is none.
    """
    wanted = env.get(VARIABLE)
    folders = [f for f in env.get("PATH", "").split(":") if f.startswith("/")]
    for name in (wanted,) if wanted else RUNTIMES:
        places = [name] if "/" in name else [f"{f}/{name}" for f in dict.fromkeys((*folders, *USUAL_FOLDERS))]
        for path in places:
            if os.access(path, os.X_OK) and os.path.isfile(path):
                return path
    raise NotFound(
        f"a Linux container needs a runtime for it, and there is no {wanted or 'runc, crun or youki'}",
        fix=f"install runc, or name one with {VARIABLE}",
    )


def hand_over(words: list[str], env: Mapping[str, str]) -> NoReturn:
    """Becomes the runtime for Linux containers, with these arguments.

    Raises:
        NotFound: there is none. SampanError: it cannot be started.
    """
    path = linux_runtime(env)
    try:
        os.execve(path, [path, *words], dict(env))
    except OSError as error:
        raise from_os_error(error, f"start {path}") from error
