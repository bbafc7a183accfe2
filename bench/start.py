"""How long a start takes: `sampan run` cold and warm, what of it is Python's own start, `ps`, and runc beside them."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import native
from figures import interleaved, show

ROOT = pathlib.Path(__file__).parents[1]
HELLO = ROOT / "examples/01-hello/hello.wasm"
TOOLBOX = ROOT / "examples/05-toolbox/toolbox.wasm"
SAMPAN = str(pathlib.Path(sys.executable).with_name("sampan"))
CONTAINERS = 20


def background(folder):
    """Medians and minima of starting and removing a sleeper; the zygote is there already."""
    begin, end = (
        [SAMPAN, "run", "-d", "--name", "bench", str(TOOLBOX), "sleep", "1000"],
        [SAMPAN, "rm", "-f", "bench"],
    )
    commands = {"sampan run -d": begin, "sampan rm -f": end}
    if native.is_there():
        runc, bundle = (
            ["runc", "--root", f"{folder}/runc"],
            native.bundle(f"{folder}/sleeper", native.SLEEPER),
        )
        commands["runc run -d"] = [*runc, "run", "-d", "--bundle", str(bundle), "bench"]
        commands["runc delete -f"] = [*runc, "delete", "-f", "bench"]
    return interleaved(commands)


def main():
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(SAMPAN_ROOT=f"{folder}/data", SAMPAN_RUN_ROOT=f"{folder}/run")
        bare = [os.path.realpath(sys.executable), "-I", "-S", "-c", "pass"]
        commands = {
            "python3 -I -S -c pass": bare,
            "sampan --version": [SAMPAN, "--version"],
            "sampan run --rm hello.wasm, warm": [SAMPAN, "run", "--rm", str(HELLO)],
            "sampan run --rm hello.wasm, cold": [SAMPAN, "run", "--rm", str(HELLO), "cold"],
        }
        if native.is_there():
            bundle = native.bundle(f"{folder}/bundle", native.HELLO)
            commands["runc run, a static native hello"] = native.run_command(
                bundle, f"{folder}/runc", "hello"
            )

        def between(name):
            if name.endswith("cold"):
                shutil.rmtree(f"{folder}/data/code", ignore_errors=True)
                shutil.rmtree(f"{folder}/run/code", ignore_errors=True)
            elif name.endswith("warm"):
                subprocess.run([SAMPAN, "run", "--rm", str(HELLO)], stdout=subprocess.DEVNULL, check=True)

        base = "python3 -I -S -c pass"
        show("whole processes", interleaved(commands, between=between), base)
        show("a container in the background", background(folder), "sampan run -d")
        for _ in range(CONTAINERS):
            subprocess.run([SAMPAN, "create", str(HELLO)], stdout=subprocess.DEVNULL, check=True)
        lists = {base: bare, f"sampan ps -a, {CONTAINERS} containers": [SAMPAN, "ps", "-a"]}
        show("the list of containers", interleaved(lists), base)


if __name__ == "__main__":
    main()
