"""Runs a guest inside both walls of a container process: a program of its own, since the engine's threads of a
test runner would not live on in a fork of it.

    python jailed_guest.py WASM FOLDER USER PROFILE RUN...     each RUN is one command line of the guest

PROFILE is the name of a seccomp profile of `oci_profiles`, or `none`. The guest has FOLDER as its root and
`FOLDER/stdout` as its output. Prints one JSON list of [exit code, reason, message] for each run.
"""

from __future__ import annotations

import json
import os
import sys
import threading

import oci_profiles

from sampan.engine import program as engine
from sampan.engine.grants import Grants, Preopen
from sampan.linux import landlock, seccomp, syscalls
from sampan.linux.privileges import drop_capabilities, no_new_privileges, not_dumpable, set_user
from sampan.linux.profiles import compile_profile


def main(wasm: str, folder: str, user: str, profile: str, *runs: str) -> None:
    syscalls.load()
    extra = None if profile == "none" else (compile_profile(getattr(oci_profiles, profile)()), [])
    engine.preload()
    with open(wasm, "rb") as file:
        program = engine.Engine().load(file.fileno())
    report = os.dup(1)
    os.dup2(os.open(f"{folder}/stdout", os.O_RDWR | os.O_CREAT), 1)
    if int(user):
        set_user(int(user), int(user), [])
    jail(folder, extra=extra)
    endings = []

    def run(line: str) -> None:
        grants = Grants(args=line.split(), preopens=[Preopen(folder, "/")])
        ending = program.run(grants)
        endings.append((ending.code, ending.reason, ending.message))

    threading.stack_size(16 << 20)
    for line in runs:
        thread = threading.Thread(target=run, args=(line,))
        thread.start()
        thread.join()
    os.write(report, json.dumps(endings).encode())


def jail(folder: str, network: bool = False, extra: tuple[bytes, list[str]] | None = None) -> None:
    """Both walls of a container process, without its namespaces."""
    drop_capabilities()
    no_new_privileges()
    not_dumpable()
    landlock.restrict([], [folder], deny_tcp=not network)
    seccomp.install(network, extra)


if __name__ == "__main__":
    main(*sys.argv[1:])
