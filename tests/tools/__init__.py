"""Peers that only Go's module proxy has, built once by the Go toolchain and kept outside of the tree.

    python3 -m tests.tools              build all that are missing
    python3 -m tests.tools containerd2  build one

`tests/setup` builds them in the background, with the lowest priority; a test that needs one waits for it. The versions
are pinned here. They are kept in the folder that SAMPAN_TOOLS names, else below the user's cache.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import pytest

SECONDS = 2700  # the most that a test waits for a build


class Build(NamedTuple):
    """What a tool is made of: packages of one module; `tests` are those whose program is their test binary.

    `go` is the least version of Go that the module says it needs. `variable` is what holds the version in the program.
    A module that replaces others by folders of its own tree names the version that those are published as: `staging`.
    """

    module: str
    version: str
    go: str
    packages: tuple[str, ...]
    tests: tuple[str, ...] = ()
    variable: str = ""
    staging: str = ""


# The longest first.
BUILDS = {
    "kubernetes": Build(
        "k8s.io/kubernetes",
        "v1.36.3",
        "1.26.0",
        tuple(
            f"cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl")
        ),
        variable="k8s.io/component-base/version.gitVersion",
        staging="v0.36.3",
    ),
    "containerd2": Build(
        "github.com/containerd/containerd/v2",
        "v2.4.2",
        "1.26.6",
        ("cmd/containerd", "cmd/ctr", "cmd/containerd-shim-runc-v2"),
    ),
    "crictl": Build("sigs.k8s.io/cri-tools", "v1.36.0", "1.26.2", ("cmd/crictl",)),
    "docker29": Build(
        "github.com/moby/moby/v2", "v2.0.0-beta.24", "1.26.3", ("cmd/dockerd", "cmd/docker-proxy")
    ),
    "critest": Build("sigs.k8s.io/cri-tools", "v1.36.0", "1.26.2", (), ("cmd/critest",)),
}


def tool(name: str) -> Path | None:
    """The folder with the programs of a tool, which is built first where that has not been done; None without Go.

    Raises:
        RuntimeError: the Go toolchain could not build it.
    """
    build = BUILDS[name]
    kept = _kept()
    folder = kept / f"{name}-{build.version}"
    if folder.is_dir():
        return folder
    go = go_command()
    if go is None:
        return None
    kept.mkdir(parents=True, exist_ok=True)
    with open(kept / "tools.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # one build at a time, for all who ask
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=".building-", dir=kept) as work:
                programs = Path(work, name)
                programs.mkdir(mode=0o755)
                _build(go, build, Path(work), programs)
                programs.rename(folder)
    return folder


def needs(*names: str) -> list[pytest.MarkDecorator]:
    """Marks for tests of these tools: skipped, with the reason, where there is none; patient while one is built."""
    import pytest

    missing = [name for name in names if not _is_here(name) and go_command() is None]
    reason = f"the Go toolchain, which builds {', '.join(missing)}, is not here"
    return [pytest.mark.skipif(bool(missing), reason=reason), pytest.mark.timeout(SECONDS)]


def go_command() -> str | None:
    """The Go command, where there is one."""
    return shutil.which("go") or shutil.which("/usr/local/go/bin/go")


def _kept() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("SAMPAN_TOOLS") or Path(cache) / "sampan-tests")


def _is_here(name: str) -> bool:
    return (_kept() / f"{name}-{BUILDS[name].version}").is_dir()


def _build(go: str, build: Build, work: Path, programs: Path) -> None:
    """A module of our own that requires the tool's: `go install` would ask for the list of all its versions, too."""
    own = f"module tools\n\ngo {build.go}\n\nrequire {build.module} {build.version}\n"
    if build.staging:
        own += "".join(
            f"replace {module} => {module} {build.staging}\n" for module in _staged(go, build, work)
        )
    (work / "go.mod").write_text(own)
    variable = build.variable or f"{build.module}/pkg/version.Version"
    options = ["-p", "2", "-trimpath", "-ldflags", f"-s -w -X {variable}={build.version}"]
    for package in build.packages:
        _run([go, "build", *options, "-o", f"{programs}/", f"{build.module}/{package}"], work)
    for package in build.tests:
        name = package.rpartition("/")[2]
        _run([go, "test", "-c", *options, "-o", f"{programs}/{name}", f"{build.module}/{package}"], work)


def _staged(go: str, build: Build, work: Path) -> list[str]:
    """The modules that a module replaces by folders of its own tree."""
    fetched = json.loads(_run([go, "mod", "download", "-json", f"{build.module}@{build.version}"], work))
    described = json.loads(_run([go, "mod", "edit", "-json", fetched["GoMod"]], work))
    return [
        replaced["Old"]["Path"]
        for replaced in described["Replace"]
        if replaced["New"]["Path"].startswith("./")
    ]


def _run(command: list[str], work: Path) -> str:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod -buildvcs=false", "GOWORK": "off"}
    done = subprocess.run(
        ["nice", "-n", "19", *command],
        cwd=work,
        env=env,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{(done.stderr + done.stdout)[-3000:]}")
    return done.stdout
