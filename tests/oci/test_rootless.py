"""`sampan-oci` as an ordinary user, with and without a user namespace."""

import json
import os
import subprocess

import pytest

from tests.plain_user import EXAMPLES, NEEDED, plain_user

pytestmark = NEEDED
nobody = pytest.fixture(plain_user)


class Bundle:
    def __init__(self, user):
        self.user, self.folder = user, user.home / "bundle"
        (self.folder / "rootfs").mkdir(parents=True)
        (self.folder / "rootfs/toolbox.wasm").write_bytes((EXAMPLES / "05-toolbox/toolbox.wasm").read_bytes())
        for path in (self.folder, self.folder / "rootfs"):
            os.chown(path, *user.ids)
        self.log = user.home / "log"
        assert self("spec", "--rootless", "-b", str(self.folder)).returncode == 0
        self.spec = json.loads((self.folder / "config.json").read_text())

    def __call__(self, *words, **options):
        return self.user("--log", str(self.log), *words, start="doors/oci/__main__.py", **options)

    def write(self, *args):
        self.spec["process"]["args"] = ["/toolbox.wasm", *args]
        (self.folder / "config.json").write_text(json.dumps(self.spec))

    def run(self, *args):
        self.write(*args)
        return self("run", "-b", str(self.folder), "boat")


@pytest.fixture
def bundle(nobody):
    made = Bundle(nobody)
    yield made
    made("delete", "--force", "boat")


def test_a_bundle_of_spec_rootless_runs_in_its_user_namespace(bundle):
    assert bundle.run("echo", "hello").stdout == "hello\n"
    assert bundle.run("exit", "7").returncode == 7
    assert bundle.run("ls", "/").stdout == "toolbox.wasm\n"


def test_what_cannot_be_had_is_named_in_the_log(bundle):
    assert bundle.run("echo", "x").returncode == 0
    assert "level=warning" in bundle.log.read_text()
    assert "has no cgroup (a plain user may not make one here)" in bundle.log.read_text()


def test_exec_signals_and_an_end(bundle):
    bundle.write("sleep", "100")
    nowhere = subprocess.DEVNULL  # a pipe would not end before the container
    assert bundle("run", "-d", "-b", str(bundle.folder), "boat", output=nowhere).returncode == 0
    assert bundle("exec", "boat", "/toolbox.wasm", "echo", "inside").stdout == "inside\n"
    assert "running" in bundle("list").stdout
    assert bundle("kill", "boat", "TERM").returncode == 0
    bundle.user.until(lambda: '"stopped"' in bundle("state", "boat").stdout)
    assert bundle("delete", "boat").returncode == 0


def test_without_a_user_namespace_the_root_filesystem_is_where_it_is(bundle):
    bundle.spec["linux"] = {"namespaces": []}
    bundle.spec["mounts"] = []
    bundle.spec.pop("hostname", None)
    bundle.spec["root"]["readonly"] = False
    bundle.spec["process"]["user"] = dict(zip(("uid", "gid"), bundle.user.ids, strict=True))
    assert bundle.run("write", "/note", "mine").returncode == 0
    assert (bundle.folder / "rootfs/note").read_text() == "mine"
    assert "has no namespace (the spec has no mount namespace)" in bundle.log.read_text()


def test_ids_that_are_not_ours_are_named(bundle):
    bundle.spec["linux"]["uidMappings"] = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    done = bundle.run("echo", "x")
    assert done.returncode == 1
    assert "/etc/subuid" in done.stderr
