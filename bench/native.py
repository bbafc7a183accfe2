"""The peer: runc with a static native program that does what the guest does."""

import json
import os
import pathlib
import shutil
import subprocess
from importlib.util import find_spec

HELLO = '#include <stdio.h>\nint main(void) { puts("Hello, World!"); return 0; }\n'
SLEEPER = "#include <unistd.h>\nint main(void) { for (;;) pause(); }\n"


def is_there():
    return os.geteuid() == 0 and bool(shutil.which("runc")) and bool(shutil.which("cc"))


def library_of_engine():
    """The path of the engine's shared library, in its wheel."""
    found = find_spec("wasmtime")
    assert found is not None  # the wheel is a dependency
    assert found.submodule_search_locations
    return next(pathlib.Path(found.submodule_search_locations[0]).glob("linux-*/_libwasmtime.so"))


def bundle(folder, source):
    """An OCI bundle whose root filesystem holds one static program."""
    folder = pathlib.Path(folder)
    (folder / "rootfs").mkdir(parents=True)
    (folder / "program.c").write_text(source)
    subprocess.run(
        ["cc", "-O2", "-static", "-s", "-o", folder / "rootfs/program", folder / "program.c"], check=True
    )
    subprocess.run(["runc", "spec"], cwd=folder, check=True)
    config = json.loads((folder / "config.json").read_text())
    config["process"].update(args=["/program"], terminal=False)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def run_command(bundle_folder, state, name):
    return ["runc", "--root", str(state), "run", "--bundle", str(bundle_folder), name]
