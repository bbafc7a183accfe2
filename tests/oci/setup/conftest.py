"""A root filesystem of its own for each test, with a program in the runtime's place."""

import os
import shutil

import pytest

from sampan.doors.oci.setup.records import Options

RUNTIME = "/usr/local/bin/sampan-oci"


class Image:
    """A root filesystem in a folder."""

    def __init__(self, folder):
        self.folder = folder
        self.options = Options(root=str(folder), runtime_path=RUNTIME)
        self.write(RUNTIME, b"#!/bin/sh\n", 0o755)

    def at(self, path):
        return self.folder / path.lstrip("/")

    def write(self, path, data, mode=0o644):
        self.at(path).parent.mkdir(parents=True, exist_ok=True)
        self.at(path).write_bytes(data)
        self.at(path).chmod(mode)

    def read(self, path):
        return self.at(path).read_bytes()

    def etc(self):
        """Everything below /etc: name -> mode, owner, content or link."""
        found = {}
        for folder, folders, files in os.walk(self.folder / "etc"):
            for name in folders + files:
                path = os.path.join(folder, name)
                seen = os.lstat(path)
                content = None
                if os.path.islink(path):
                    content = os.readlink(path)
                elif os.path.isfile(path):
                    with open(path, "rb") as file:
                        content = file.read()
                found[path] = (seen.st_mode, seen.st_uid, seen.st_gid, content)
        return found


@pytest.fixture
def image(tmp_path):
    (tmp_path / "root/etc").mkdir(parents=True)
    return Image(tmp_path / "root")


@pytest.fixture
def no_tools(monkeypatch):
    """A host without any container tool, as in an image build."""
    monkeypatch.setattr("sampan.doors.oci.setup.tool.find_program", lambda name: "")


@pytest.fixture
def fake_tool(tmp_path, monkeypatch):
    """Put a shell script in a tool's place: `fake_tool(name, script)`."""
    folder = tmp_path / "fakes"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def make(name, script):
        path = folder / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    return make


@pytest.fixture
def need():
    """Skip the test where a program is missing: `need("podman")`."""

    def check(program):
        if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None:
            pytest.skip(f"{program} is not here")

    return check
