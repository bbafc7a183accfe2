"""`make run`: the lines of its recipe, as they stand in the Makefile, with the command of this source tree."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
START = ROOT / "src" / "sampan" / "__main__.py"


def test_the_lines_of_make_run_build_an_image_and_run_it(tmp_path):
    lines = (ROOT / "Makefile").read_text().partition("\nrun:")[2].split("\n\n")[0].splitlines()
    recipe = [line.strip().removeprefix("@") for line in lines if "$(BIN)/sampan" in line]
    assert len(recipe) == 2
    out = ""
    for line in recipe:
        sampan = shlex.join([sys.executable, "-I", "-S", str(START)])
        command = line.replace("$(BIN)/sampan", sampan).replace(
            "$(CURDIR)/$(ROOT_STORE)", str(tmp_path / "store")
        )
        env = {"PATH": os.environ["PATH"], "SAMPAN_RUN_ROOT": str(tmp_path / "run")}
        out = subprocess.run(
            ["/bin/sh", "-ec", command],
            cwd=ROOT,
            env=env,
            check=True,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
    assert out.startswith("Hello, World!\n") and "arg 4: container\n" in out
