"""Wasm layers out of a real containerd's content store: Debian's 1.6, and a current 2."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.core.errors import (
    DataLoss,
    Exhausted,
    Internal,
    Invalid,
    NotFound,
    SampanError,
    TimedOut,
    Unavailable,
    Unimplemented,
)
from sampan.core.roots import Roots
from sampan.core.spec.runtime import Process, Root, Spec
from sampan.doors.shim import layers
from tests import tools
from tests.cli.conftest import Sampan
from tests.scenarios.conftest import EXAMPLES, Daemon, needs
from tests.shim.wasm_images import Layout, linux

HERE = Path(__file__).parent
HELLO = EXAMPLES / "01-hello" / "hello.wasm"
TOOLBOX = EXAMPLES / "05-toolbox" / "toolbox.wasm"
EMPTY_COMPONENT = b"\0asm\x0d\0\1\0"
NAMESPACE = "layers"
CNCF_CONFIG = "application/vnd.wasm.config.v0+json"
WASM = "application/wasm"
TYPES = {
    "cncf": WASM,
    "wasm-to-oci": "application/vnd.wasm.content.layer.v1+wasm",
    "runwasi": "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
}
CONFIGURED = """FROM scratch
COPY hello.wasm /data/
ENV GREETING=ahoy
WORKDIR /data
ENTRYPOINT ["hello.wasm", "you"]
"""
OURS = needs("containerd", "ctr")
BOTH = [
    pytest.param("debian", marks=OURS),
    pytest.param("containerd2", marks=[*tools.needs("containerd2"), OURS]),
]


class Containerd:
    """A containerd on private roots, and its `ctr`."""

    def __init__(self, folder: Path, programs: Path | None, apart: str = "") -> None:
        self.folder = folder
        self.address = f"{folder}/c.sock"
        self.root = folder / "root"
        self.env = {**os.environ, "CONTAINERD_ADDRESS": self.address, "CONTAINERD_NAMESPACE": NAMESPACE}
        if programs is not None:
            self.env["PATH"] = f"{programs}:{self.env['PATH']}"
        config = folder / "config.toml"
        config.write_text(
            f'version = 2\nroot = "{self.root}"\nstate = "{folder}/state"\n'
            'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
            f'[grpc]\naddress = "{self.address}"\n[ttrpc]\naddress = "{self.address}.ttrpc"\n'
            f'[debug]\naddress = "{folder}/d.sock"\n'
        )
        command = ["sh", "-c", f"{apart} exec containerd --config {config}"]
        self.daemon = Daemon(folder, ["unshare", "--mount", *command] if apart else command, self.env)
        self.daemon.wait_for(lambda: self.ctr("version").returncode == 0)
        self._containers = 0

    def ctr(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(["ctr", *words], env=self.env, capture_output=True, text=True, timeout=60)

    def ok(self, *words: str) -> str:
        done = self.ctr(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def add(self, archive: Path) -> None:
        """Imports an image; it is not unpacked, which 1.6 cannot do with Wasm layers."""
        self.ok("images", "import", "--no-unpack", "--all-platforms", str(archive))

    def container(self, image: str) -> str:
        """A container of an image; its id."""
        self._containers += 1
        name = f"c{self._containers}"
        command = [sys.executable, HERE / "container_record.py", self.address, NAMESPACE, name, image]
        subprocess.run(command, check=True, timeout=60)
        return name

    def blob(self, digest: str) -> Path:
        return self.root / "io.containerd.content.v1.content" / "blobs" / digest.replace(":", "/")


class Asker:
    """Asks one containerd, with roots of its own."""

    def __init__(self, containerd: Containerd, folder: Path) -> None:
        self.containerd = containerd
        self.roots = Roots(str(folder / "data"), str(folder / "run"))

    def __call__(self, image: str, *args: str, **annotations: str) -> layers.Layer | None:
        container = self.containerd.container(image)
        address = self.containerd.address
        return layers.resolve(address, NAMESPACE, container, spec(*args, **annotations), self.roots)

    def layer(self, image: str, *args: str) -> layers.Layer:
        found = self(image, *args)
        assert found is not None
        return found


def spec(*args: str, **annotations: str) -> Spec:
    process = Process(args=list(args) or ["/app.wasm"], cwd="/")
    named = {f"io.kubernetes.cri.{key.replace('_', '-')}": value for key, value in annotations.items()}
    return Spec("1.0.2", process=process, root=Root("rootfs"), annotations=named)


@pytest.fixture(scope="module", params=BOTH)
def containerd(request: pytest.FixtureRequest, short_folder: Path) -> Iterator[Containerd]:
    programs = tools.tool("containerd2") if request.param == "containerd2" else None
    folder = short_folder / request.param
    folder.mkdir()
    started = Containerd(folder, programs)
    yield started
    started.daemon.end()


@pytest.fixture(scope="module")
def short_folder() -> Iterator[Path]:
    """Paths of sockets are bounded."""
    folder = Path(f"/tmp/sp-{os.urandom(4).hex()}")
    folder.mkdir(mode=0o700)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def ask(containerd: Containerd, tmp_path: Path) -> Asker:
    return Asker(containerd, tmp_path)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Sampan:
    return Sampan(tmp_path_factory.mktemp("workshop"))


def built(workshop: Sampan, name: str, source: Path, *flags: str) -> Path:
    """An image's archive, made by `sampan build` and `save`."""
    path = workshop.folder / f"{name}.tar"
    if not path.exists():
        workshop.ok("build", "-q", *flags, "-t", f"localhost/{name}:1", str(source))
        workshop.ok("save", "-o", str(path), f"localhost/{name}:1")
    return path


def converted(workshop: Sampan, name: str, containerfile: str, kind: str, **files: Path) -> Path:
    """An image's archive, made by `sampan build` from a Containerfile and converted."""
    folder = workshop.folder / f"{name}-context"
    path = workshop.folder / f"{name}.tar"
    if not path.exists():
        folder.mkdir()
        (folder / "Containerfile").write_text(containerfile)
        for file, source in files.items():
            shutil.copyfile(source, folder / f"{file}.wasm")
        workshop.ok("build", "-q", "-t", "localhost/before:1", str(folder))
        workshop.ok("image", "convert", "--format", kind, "localhost/before:1", f"localhost/{name}:1")
        workshop.ok("save", "-o", str(path), f"localhost/{name}:1")
    return path


@pytest.mark.parametrize("content", [HELLO.read_bytes(), EMPTY_COMPONENT], ids=["module", "component"])
@pytest.mark.parametrize("kind", TYPES)
def test_a_wasm_artifact_is_its_layer(ask: Asker, workshop: Sampan, kind: str, content: bytes) -> None:
    name = f"{kind}-{len(content)}"
    module = workshop.folder / "app.wasm"
    module.write_bytes(content)
    ask.containerd.add(built(workshop, name, module, "--format", kind))
    layer = ask.layer(f"localhost/{name}:1")
    assert Path(layer.path) == ask.containerd.blob(layer.digest)
    assert Path(layer.path).read_bytes() == content
    assert (layer.media_type, layer.name) == (TYPES[kind], "app.wasm")
    assert (layer.image, layer.command) == (f"localhost/{name}:1", ["/app.wasm"])


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_ordinary_image_has_no_layer_to_run(ask: Asker, workshop: Sampan, kind: str) -> None:
    ask.containerd.add(built(workshop, kind, HELLO, "--format", kind))
    assert ask(f"localhost/{kind}:1") is None


def test_a_container_without_an_image_has_no_layer(ask: Asker) -> None:
    assert ask("") is None


def test_ctr_makes_containers_of_runwasis_format_only_and_from_containerd_2_on(
    ask: Asker, workshop: Sampan
) -> None:
    is_old = ask.containerd.ok("version").count("1.6.")
    for kind in TYPES:
        ask.containerd.ctr("images", "import", str(built(workshop, kind, HELLO, "--format", kind)))
    made = {
        kind: ask.containerd.ctr("container", "create", f"localhost/{kind}:1", f"made-{kind}", "/hello.wasm")
        for kind in TYPES
    }
    works = [kind for kind, done in made.items() if done.returncode == 0]
    assert works == ([] if is_old else ["runwasi"])
    for kind in works:
        layer = layers.resolve(ask.containerd.address, NAMESPACE, f"made-{kind}", spec(), ask.roots)
        assert layer is not None
        assert Path(layer.path).read_bytes() == HELLO.read_bytes()


def test_of_several_modules_the_command_chooses(ask: Asker, workshop: Sampan) -> None:
    containerfile = (
        'FROM scratch\nCOPY hello.wasm tools/box.wasm /\nCOPY box.wasm /tools/\nCMD ["/hello.wasm"]\n'
    )
    containerfile = containerfile.replace(" tools/box.wasm", "")
    ask.containerd.add(converted(workshop, "two", containerfile, "runwasi", hello=HELLO, box=TOOLBOX))
    for word, module in (
        ("/hello.wasm", HELLO),
        ("tools/box.wasm", TOOLBOX),
        ("/./tools/box.wasm#greet", TOOLBOX),
    ):
        assert Path(ask.layer("localhost/two:1", word).path).read_bytes() == module.read_bytes()
    with pytest.raises(
        Invalid, match=r"has 2 modules, and none of them is /other; name one of /hello.wasm, /tools/box.wasm"
    ):
        ask("localhost/two:1", "/other")


def test_what_an_artifact_keeps_for_its_containers_is_handed_on(ask: Asker, workshop: Sampan) -> None:
    containerfile = CONFIGURED.replace('hello.wasm"', 'hello.wasm#greet"')
    ask.containerd.add(converted(workshop, "kept", containerfile, "cncf", hello=HELLO))
    layer = ask.layer("localhost/kept:1")
    assert layer.command == ["hello.wasm#greet", "you"]
    assert "GREETING=ahoy" in layer.env
    assert layer.working_dir == "/data"


def test_what_containerd_applies_itself_is_not_handed_on(ask: Asker, workshop: Sampan) -> None:
    ask.containerd.add(converted(workshop, "applied", CONFIGURED, "runwasi", hello=HELLO))
    layer = ask.layer("localhost/applied:1")
    assert layer.command == ["hello.wasm", "you"]
    assert (layer.env, layer.working_dir) == ([], "")


def test_what_the_pod_asked_for_comes_before_the_image_that_the_container_was_made_of(
    ask: Asker, workshop: Sampan
) -> None:
    ask.containerd.add(built(workshop, "wasm-to-oci-hello", HELLO, "--format", "wasm-to-oci"))
    ask.containerd.add(built(workshop, "wasm-to-oci-toolbox", TOOLBOX, "--format", "wasm-to-oci"))
    asked = {"image_name": "localhost/wasm-to-oci-hello:1"}
    layer = ask("localhost/wasm-to-oci-toolbox:1", **asked)
    assert layer is not None
    assert Path(layer.path).read_bytes() == HELLO.read_bytes()
    for unknown in ("localhost/nowhere", "sha256:0123", "?"):
        layer = ask("localhost/wasm-to-oci-toolbox:1", image_name=unknown)
        assert layer is not None
        assert layer.name == "toolbox.wasm"


def wasm(layout: Layout, **more: Any) -> dict[str, Any]:
    config = layout.put(b'{"architecture":"wasm","os":"wasip1"}', CNCF_CONFIG)
    layer = layout.put(HELLO.read_bytes(), WASM)
    return layout.manifest(config, layer, platform={"os": "wasip1", "architecture": "wasm"}, **more)


def test_of_an_index_the_wasm_entry_counts(ask: Asker, tmp_path: Path) -> None:
    layout = Layout()
    index = layout.index(linux(layout), wasm(layout))
    ask.containerd.add(layout.write(tmp_path / "index.tar", "localhost/index:1", index))
    layer = ask.layer("localhost/index:1")
    assert Path(layer.path).read_bytes() == HELLO.read_bytes()
    assert layer.name == "module.wasm"


def test_an_index_whose_wasm_entry_was_not_pulled_says_how_to_pull_it(ask: Asker, tmp_path: Path) -> None:
    layout = Layout()
    entry = wasm(layout)
    index = layout.index(linux(layout), entry)
    ask.containerd.add(layout.write(tmp_path / "part.tar", "localhost/part:1", index))
    ask.containerd.ok("content", "rm", entry["digest"])
    with pytest.raises(
        NotFound, match=f"{entry['digest']} is missing; pull it again, with --platform wasi/wasm"
    ):
        ask("localhost/part:1")


def test_R8_an_artifact_that_cannot_be_run_says_what_it_is(ask: Asker, tmp_path: Path) -> None:
    layout = Layout()
    config = layout.put(b"{}", CNCF_CONFIG)
    layer = layout.put(HELLO.read_bytes(), WASM)
    ask.containerd.add(
        layout.write(tmp_path / "t.tar", "localhost/twice:1", layout.manifest(config, layer, layer))
    )
    with pytest.raises(
        Invalid, match="must have exactly one layer, application/wasm, and has: application/wasm, "
    ):
        ask("localhost/twice:1")
    layout = Layout()
    chart = layout.put(b"{}", "application/vnd.cncf.helm.config.v1+json")
    layer = layout.put(b"chart", "application/vnd.cncf.helm.chart.content.v1.tar+gzip")
    ask.containerd.add(layout.write(tmp_path / "h.tar", "localhost/chart:1", layout.manifest(chart, layer)))
    with pytest.raises(
        Unimplemented, match=r"localhost/chart:1 cannot be run: its content is application/vnd\.cncf\.helm"
    ):
        ask("localhost/chart:1")
    layout = Layout()
    locked = layout.put(b"{}", "application/vnd.fermyon.spin.application.v1+config")
    layer = layout.put(HELLO.read_bytes(), WASM)
    ask.containerd.add(layout.write(tmp_path / "s.tar", "localhost/spin:1", layout.manifest(locked, layer)))
    with pytest.raises(Unimplemented, match="localhost/spin:1 is a Spin application"):
        ask("localhost/spin:1")


def test_a_layer_that_is_too_large_is_refused_unread(ask: Asker, tmp_path: Path) -> None:
    layout = Layout()
    layer = {**layout.put(HELLO.read_bytes(), WASM), "size": 1 << 31}
    manifest = layout.manifest(layout.put(b"{}", CNCF_CONFIG), layer)
    ask.containerd.add(layout.write(tmp_path / "large.tar", "localhost/large:1", manifest))
    with pytest.raises(Exhausted, match="has 2147483648 bytes, more than the 1073741824 allowed"):
        ask("localhost/large:1")


@pytest.mark.parametrize("damage", ["flipped", "cut"])
def test_other_bytes_than_the_digest_says_are_never_run(ask: Asker, tmp_path: Path, damage: str) -> None:
    layout = Layout()
    layer = layout.put(HELLO.read_bytes() + damage.encode(), WASM)
    manifest = layout.manifest(layout.put(b"{}", CNCF_CONFIG), layer)
    ask.containerd.add(layout.write(tmp_path / "bad.tar", f"localhost/{damage}:1", manifest))
    good = ask.layer(f"localhost/{damage}:1")
    blob = ask.containerd.blob(layer["digest"])
    assert good.path == str(blob)
    blob.chmod(0o600)
    data = bytearray(blob.read_bytes())
    data[100] ^= 1
    blob.write_bytes(data if damage == "flipped" else data[:-5])
    with pytest.raises(
        DataLoss, match=f"{layer['digest']} has other bytes than its digest says; pull the image again"
    ):
        ask(f"localhost/{damage}:1")
    assert not any(Path(ask.roots.data, "layers").iterdir())


def test_content_and_images_that_are_gone_are_named(ask: Asker, workshop: Sampan) -> None:
    for name in ("gone", "collected"):
        ask.containerd.add(built(workshop, name, TOOLBOX, "--format", "cncf"))
    digest = ask.layer("localhost/gone:1").digest
    ask.containerd.ok("content", "rm", digest)
    ask.containerd.ok(
        "images", "rm", "--sync", "localhost/collected:1"
    )  # what nobody has is removed from the disk, too
    with pytest.raises(
        NotFound, match=f"containerd has no longer the content {digest}; pull the image again"
    ):
        ask("localhost/gone:1")
    ask.containerd.ok("images", "rm", "localhost/gone:1")
    with pytest.raises(NotFound, match="has no longer the image localhost/gone:1 in the namespace layers"):
        ask("localhost/gone:1")
    with pytest.raises(NotFound, match="has no longer the container nobody in the namespace layers"):
        layers.resolve(ask.containerd.address, NAMESPACE, "nobody", spec(), ask.roots)


@OURS
def test_where_containerds_folder_cannot_be_seen_its_api_is_read(
    short_folder: Path, workshop: Sampan, tmp_path: Path
) -> None:
    folder = short_folder / "apart"
    (folder / "root").mkdir(parents=True)
    apart = f"mount --make-rprivate / && mount -t tmpfs none {folder}/root &&"
    containerd = Containerd(folder, None, apart)
    try:
        ask = Asker(containerd, tmp_path)
        containerd.add(built(workshop, "cncf-toolbox", TOOLBOX, "--format", "cncf"))
        layer = ask.layer("localhost/cncf-toolbox:1")
        copy = Path(layer.path)
        assert copy.parent == Path(ask.roots.data, "layers")
        assert copy.read_bytes() == TOOLBOX.read_bytes()
        written = copy.stat().st_ino
        assert ask.layer("localhost/cncf-toolbox:1") == layer
        assert copy.stat().st_ino == written
        copy.chmod(0o600)
        copy.write_bytes(b"\0" * copy.stat().st_size)
        assert ask.layer("localhost/cncf-toolbox:1") == layer
        assert copy.read_bytes() == TOOLBOX.read_bytes()
    finally:
        containerd.daemon.end()


def test_without_containerd_the_error_says_where_it_was_looked_for(tmp_path: Path) -> None:
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    with pytest.raises(Unavailable, match=f"containerd does not answer at {tmp_path}/c.sock: No such file"):
        layers.resolve(f"{tmp_path}/c.sock", NAMESPACE, "c1", spec(), roots)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[tuple[layers.Question, int]]:
    """A question to one who takes connections and never says a word, and its process."""
    others = children()
    roots = Roots(str(tmp_path / "data"), str(tmp_path / "run"))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{tmp_path}/c.sock")
        server.listen()
        question = layers.ask(f"{tmp_path}/c.sock", NAMESPACE, "c1", spec(), roots)
        yield question, (children() - others).pop()
        question.cancel()
    assert children() == others


def children() -> set[int]:
    return set(map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()))


def test_no_question_waits_for_ever(silent: tuple[layers.Question, int]) -> None:
    question, pid = silent
    question.deadline = time.monotonic() + 0.2
    with pytest.raises(TimedOut, match="containerd has not handed out the image of container c1 within 60 s"):
        question.answer()
    assert pid not in children()


def test_a_process_that_is_killed_gives_an_error(silent: tuple[layers.Question, int]) -> None:
    question, pid = silent
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(
        Internal, match="asks containerd for the image of container c1 ended without an answer"
    ):
        question.answer()


def test_a_server_that_reaps_all_its_children_gets_its_answer(silent: tuple[layers.Question, int]) -> None:
    question, pid = silent
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    with pytest.raises(Internal):
        question.answer()


def test_a_name_with_a_nul_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SampanError, match="a NUL byte"):
        layers.ask("a\0b", NAMESPACE, "c1", spec(), Roots(str(tmp_path), str(tmp_path)))


HYGIENE = """
import os, select, sys
sys.path.insert(0, {source!r})
from sampan.core.roots import Roots
from sampan.core.spec.runtime import Spec
from sampan.doors.shim import layers
question = layers.ask({address!r}, {namespace!r}, {container!r}, Spec("1.0.2"), Roots({folder!r}, {folder!r}))
poller = select.poll()
poller.register(question, select.POLLIN)
while poller.poll() and not question.advance():
    pass
layer = question.answer()
print(layer.name, sorted(m for m in sys.modules if m.startswith(("h2", "sampan.image", "subprocess", "socket"))))
print(os.listdir("/proc/self/task") == [str(os.getpid())], sorted(os.listdir("/proc/self/fd")))
"""


def test_who_asks_gets_no_threads_no_modules_and_no_descriptors(
    ask: Asker, workshop: Sampan, tmp_path: Path
) -> None:
    ask.containerd.add(built(workshop, "cncf-hello", HELLO, "--format", "cncf"))
    program = HYGIENE.format(
        source=str(HERE.parents[1] / "src"),
        address=ask.containerd.address,
        namespace=NAMESPACE,
        container=ask.containerd.container("localhost/cncf-hello:1"),
        folder=str(tmp_path),
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["hello.wasm []", "True ['0', '1', '2', '3']"]


def test_only_what_has_no_file_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "rootfs" / "bin").mkdir(parents=True)
    (tmp_path / "rootfs" / "bin" / "tool").write_bytes(b"\x7fELF")
    (tmp_path / "rootfs" / "app").symlink_to("/bin/tool")
    bundle = str(tmp_path)
    assert not layers.wanted(spec("/bin/tool"), bundle)
    assert not layers.wanted(spec("/app"), bundle)
    assert layers.wanted(spec("/app.wasm"), bundle)
    assert layers.wanted(spec("/bin"), bundle)
    assert not layers.wanted(spec("/app.wasm", container_type="sandbox"), bundle)
    assert not layers.wanted(Spec("1.0.2", root=Root("rootfs")), bundle)
