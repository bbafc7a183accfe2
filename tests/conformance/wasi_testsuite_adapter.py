"""The adapter by which the public wasi-testsuite runs its tests through the `sampan` command.

Use: `run-tests --runtime tests/conformance/wasi_testsuite_adapter.py`, with SAMPAN naming the command.
"""

import os
import shlex
import subprocess

SAMPAN = shlex.split(os.environ.get("SAMPAN", "sampan"))


def get_name():
    return "sampan"


def get_version():
    return subprocess.run([*SAMPAN, "--version"], capture_output=True, text=True, check=True).stdout.split()[
        -1
    ]


def get_wasi_versions():
    return ["wasm32-wasip1"]


def get_wasi_worlds():
    return ["wasi:cli/command"]


def compute_argv(test_path, args_env_root, _proposals, _wasi_world, _wasi_version):
    args, env, root = args_env_root
    argv = [*SAMPAN, "run", "--rm"]
    for name, value in env.items():
        argv += ["--env", f"{name}={value}"]
    if root:
        argv += ["--dir", f"{root}::/"]
    return [*argv, test_path, *args]
