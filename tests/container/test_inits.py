"""Only a tool's own init is left out, and nothing else of the spec."""

from __future__ import annotations

import pytest

from sampan.container.inits import without_init
from sampan.core.spec.runtime import OCI_VERSION, Mount, Process, Root, Spec


def spec_of(args: list[str], *mounted: str) -> Spec:
    mounts = [Mount(destination=place, type="bind", source="/usr/bin/tini") for place in mounted]
    return Spec(OCI_VERSION, Process(args, "/", ["A=b"]), Root("rootfs"), mounts=mounts)


@pytest.mark.parametrize("init", ["/sbin/docker-init", "/run/podman-init", "/dev/init"])
def test_what_an_init_would_run_is_the_workload(init: str) -> None:
    assert without_init(spec_of([init, "--", "/app.wasm", "--", "x"], "/data", init)) == spec_of(
        ["/app.wasm", "--", "x"], "/data"
    )


@pytest.mark.parametrize(
    "spec",
    [
        spec_of(["/app.wasm"], "/sbin/docker-init"),
        spec_of(["/sbin/docker-init", "--"], "/sbin/docker-init"),
        spec_of(["/sbin/docker-init", "/app.wasm", "x"], "/sbin/docker-init"),
        spec_of(["/sbin/docker-init", "--", "/app.wasm"]),  # the image's own program
        spec_of(["/tool", "--", "/app.wasm"], "/tool"),
        spec_of([]),
        Spec(OCI_VERSION, root=Root("rootfs")),
    ],
)
def test_anything_else_stays_as_it_is(spec: Spec) -> None:
    assert without_init(spec) is spec
