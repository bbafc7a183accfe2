"""The image commands, on real images of a guest of ours, against a registry in memory."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.core.roots import Roots
from sampan.doors.cli.commands import image_prune
from sampan.doors.cli.context import Context
from sampan.image.store import ContentStore
from sampan.testing.registry import Fault, Registry

from .conftest import Sampan

HELLO = Path(__file__).parents[2] / "examples" / "01-hello" / "hello.wasm"
DIGEST = r"sha256:[0-9a-f]{64}"


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry() as running:
        yield running


def build(sampan: Sampan, *words: str) -> str:
    """The id of an image built from the hello guest."""
    return sampan.ok("build", "-q", *words, str(HELLO)).strip()


def test_build_from_a_module_says_what_docker_says(sampan: Sampan) -> None:
    out = sampan.ok("build", "-t", "hello", "-t", "team/hello:v1", str(HELLO))
    assert re.fullmatch(
        r"Successfully built [0-9a-f]{12}\nSuccessfully tagged hello:latest\nSuccessfully tagged team/hello:v1\n",
        out,
    )


def test_build_from_a_folder(sampan: Sampan) -> None:
    (sampan.folder / "Containerfile").write_text(
        'ARG WHO=nobody\nFROM scratch\nARG WHO\nCOPY hello.wasm /\nLABEL who=$WHO\nCMD ["/hello.wasm"]\n'
    )
    (sampan.folder / "hello.wasm").write_bytes(HELLO.read_bytes())
    image_id = sampan.ok(
        "build", "-q", "-t", "app", "--build-arg", "WHO=me", "--label", "x=1", "--iidfile", "id", "."
    )
    assert (sampan.folder / "id").read_text() == image_id.strip()
    labels = sampan.ok("image", "inspect", "-f", "{{json .Config.Labels}}", "app")
    assert json.loads(labels) == {"who": "me", "x": "1"}


def test_build_is_reproducible(sampan: Sampan) -> None:
    digests = set()
    for name in ("a", "b"):
        done = sampan("build", "-t", name, str(HELLO), env={"SOURCE_DATE_EPOCH": "1700000000"})
        assert done.returncode == 0
        digests.add(sampan.ok("images", "--format", "{{.Digest}}", name))
    assert len(digests) == 1


def test_build_points_at_the_line(sampan: Sampan) -> None:
    done = sampan("build", "-t", "x", "-", stdin=b"FROM scratch\nRUN make\n")
    assert done.returncode == 1
    assert ":2: " in done.stderr and "RUN" in done.stderr and "(UNIMPLEMENTED)" in done.stderr


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        (["--network", "host", "."], "--network cannot be had: it is for RUN", 1),
        (["--push", "."], "--push cannot be had: push it afterwards", 1),
        (["--format", "zip", "-t", "x", str(HELLO)], "zip", 1),
        (["-t", "Upper", str(HELLO)], "is not an image reference", 1),
        (["absent"], "absent", 1),
        (["--label", "=x", str(HELLO)], "a label has no name", 1),
        (["a", "b"], "needs at most 1 argument", 125),
    ],
)
def test_build_refuses_by_name(sampan: Sampan, words: list[str], said: str, code: int) -> None:
    done = sampan("build", *words)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr


def test_images_as_a_table(sampan: Sampan) -> None:
    assert sampan.ok("images") == "REPOSITORY   TAG       IMAGE ID   CREATED   SIZE\n"
    image_id = build(sampan, "-t", "hello", "-t", "registry.example:5000/team/hello:v1")
    head, *rows = sampan.ok("images").splitlines()
    assert re.split(r"\s{3,}", head) == ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"]
    cells = [re.split(r"\s{3,}", row) for row in rows]
    assert {(c[0], c[1]) for c in cells} == {("hello", "latest"), ("registry.example:5000/team/hello", "v1")}
    assert {c[2] for c in cells} == {image_id.removeprefix("sha256:")[:12]}
    assert all(c[3].endswith("ago") and c[4].endswith("kB") for c in cells)
    assert sampan.ok("images", "-q", "--no-trunc") == image_id + "\n"
    assert sampan.ok("images", "--digests").splitlines()[0].split()[:3] == ["REPOSITORY", "TAG", "DIGEST"]


def test_images_by_format_and_filter(sampan: Sampan) -> None:
    build(sampan, "-t", "one:a", "--label", "k=1")
    build(sampan, "-t", "two:b", "--label", "k=2")
    row = json.loads(sampan.ok("images", "--format", "json", "one"))
    assert (row["Repository"], row["Tag"], row["Format"], row["Containers"]) == ("one", "a", "oci", 0)
    names = "{{.Repository}}:{{.Tag}}"
    assert sampan.ok("images", "--format", names, "-f", "label=k=2") == "two:b\n"
    assert sampan.ok("images", "--format", names, "-f", "reference=o*:a") == "one:a\n"
    assert sampan.ok("images", "--format", names, "-f", "since=one:a") == "two:b\n"
    assert sampan.ok("images", "--format", names, "-f", "before=two:b") == "one:a\n"
    assert sampan.ok("images", "--format", names, "-f", "dangling=true") == ""
    assert sampan.ok("image", "ls", "--format", names, "three") == ""
    assert sampan("images", "-f", "colour=red").returncode == 1


def test_tag_and_rmi(sampan: Sampan) -> None:
    image_id = build(sampan, "-t", "hello")
    sampan.ok("tag", "hello", "again:v2")
    assert sampan.ok("rmi", "again:v2") == "Untagged: again:v2\n"
    sampan.ok("tag", image_id.removeprefix("sha256:")[:12], "again:v2")
    refused = sampan("rmi", image_id)
    assert refused.returncode == 1
    assert "has 2 names: again:v2, hello:latest" in refused.stderr.replace("docker.io/library/", "")
    out = sampan.ok("rmi", "-f", image_id)
    assert out == f"Untagged: again:v2\nUntagged: hello:latest\nDeleted: {image_id}\n"
    blobs = [p for p in (sampan.folder / "data" / "images" / "blobs").rglob("*") if p.is_file()]
    assert blobs == []


def test_rmi_goes_on_after_a_failure(sampan: Sampan) -> None:
    build(sampan, "-t", "hello")
    done = sampan("rmi", "absent", "hello")
    assert done.returncode == 1
    assert "there is no image absent" in done.stderr
    assert "Deleted: sha256:" in done.stdout


def test_tag_refuses_what_is_no_name(sampan: Sampan) -> None:
    build(sampan, "-t", "hello")
    assert "has a digest" in sampan("tag", "hello", "x@sha256:" + "0" * 64).stderr
    assert sampan("tag", "absent", "x").returncode == 1


def test_image_inspect_is_an_array_of_what_was_found(sampan: Sampan) -> None:
    image_id = build(sampan, "-t", "hello", "--annotation", "a=b")
    [found] = json.loads(sampan.ok("image", "inspect", "hello"))
    assert (found["Id"], found["RepoTags"], found["Command"]) == (image_id, ["hello:latest"], ["/hello.wasm"])
    assert found["Annotations"]["a"] == "b"
    done = sampan("image", "inspect", "hello", "absent")
    assert done.returncode == 1
    assert len(json.loads(done.stdout)) == 1
    assert "absent" in done.stderr
    assert sampan.ok("image", "inspect", "-f", "{{.Config.WorkingDir}}|{{.Os}}", "hello") == "|linux\n"


def test_history(sampan: Sampan) -> None:
    image_id = build(sampan, "-t", "hello")
    head, first = sampan.ok("history", "hello").splitlines()[:2]
    assert head.split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert first.startswith(image_id.removeprefix("sha256:")[:12])


@pytest.mark.parametrize("format_name", ["docker", "wasm-to-oci", "cncf", "runwasi"])
def test_convert_there_and_back(sampan: Sampan, format_name: str) -> None:
    build(sampan, "-t", "hello")
    there = sampan.ok("image", "convert", "--format", format_name, "hello", "there")
    assert re.fullmatch(DIGEST + "\n", there)
    assert sampan.ok("images", "--format", "{{.Format}}", "there") == format_name + "\n"
    sampan.ok("image", "convert", "there", "back")
    commands = sampan.ok("image", "inspect", "-f", "{{.Command}}", "hello", "there", "back").splitlines()
    assert len(set(commands)) == 1


def test_explain(sampan: Sampan) -> None:
    build(sampan, "-t", "hello")
    assert sampan.ok("explain", str(HELLO)).startswith(
        f"{HELLO}: module\n  it is a file of this host\nbecause\n"
    )
    shown = sampan.ok("explain", "hello")
    assert "hello: module\n" in shown and "it runs /hello.wasm" in shown
    assert sampan.ok("explain", "--format", "{{.Verdict}}", "/bin/sh") == "linux\n"
    missing = sampan("explain", "./absent.wasm")
    assert (missing.returncode, "./absent.wasm: no such file" in missing.stderr) == (1, True)


def test_explain_says_what_is_no_file(sampan: Sampan) -> None:
    (sampan.folder / "folder").mkdir()
    os.mkfifo(sampan.folder / "fifo")
    for path, said in [("./folder", "a folder without config.json"), ("./fifo", "no regular file")]:
        done = sampan("explain", path)
        assert done.returncode == 1
        assert f"{path} is {said}" in done.stderr
    done = sampan("explain", str(HELLO), "--format", "{{.Nope")
    assert "no }} closes '{{.Nope'" in done.stderr


def test_explain_a_bundle(sampan: Sampan) -> None:
    bundle = sampan.folder / "bundle"
    (bundle / "rootfs").mkdir(parents=True)
    (bundle / "rootfs" / "app.wasm").write_bytes(HELLO.read_bytes())
    spec = {"ociVersion": "1.2.0", "root": {"path": "rootfs"}, "process": {"cwd": "/", "args": ["app.wasm"]}}
    (bundle / "config.json").write_text(json.dumps(spec))
    assert sampan.ok("explain", "--format", "{{.Kind}} {{.Verdict}}", "bundle") == "bundle module\n"
    os.unlink(bundle / "rootfs" / "app.wasm")
    os.symlink("/bin/sh", bundle / "rootfs" / "app.wasm")  # leads to bundle/rootfs/bin/sh, which is not there
    assert "cannot be read" in sampan.ok("explain", "bundle")


def test_push_then_pull(sampan: Sampan, registry: Registry) -> None:
    name = f"{registry.host}/team/hello"
    image_id = build(sampan, "-t", name)
    pushed = sampan("push", name)
    assert pushed.returncode == 0, pushed.stderr
    assert re.fullmatch(
        rf"Using default tag: latest\nThe push refers to repository \[{re.escape(name)}\]\n"
        rf"latest: digest: {DIGEST} size: \d+\n",
        pushed.stdout,
    )
    sampan.ok("rmi", name)
    pulled = sampan("pull", name)
    assert pulled.returncode == 0, pulled.stderr
    assert re.fullmatch(
        rf"Using default tag: latest\nlatest: Pulling from {re.escape(name)}\nDigest: {DIGEST}\n"
        rf"Status: Downloaded newer image for {re.escape(name)}:latest\n{re.escape(name)}:latest\n",
        pulled.stdout,
    )
    assert re.fullmatch(r"([0-9a-f]{12}: Pull complete\n){2}", pulled.stderr)
    assert sampan.ok("images", "-q", "--no-trunc") == image_id + "\n"
    assert f"Status: Image is up to date for {name}:latest" in sampan.ok("pull", name)
    quiet = sampan("pull", "-q", name)
    assert (quiet.stdout, quiet.stderr) == (f"{name}:latest\n", "")


def test_pull_draws_bars_on_a_terminal_only(sampan: Sampan, registry: Registry) -> None:
    name = f"{registry.host}/team/hello:v1"
    build(sampan, "-t", name)
    sampan.ok("push", "-q", name)
    sampan.ok("rmi", name)
    controller, terminal = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while data := os.read(controller, 65536):
                shown.append(data)
        except OSError:  # the terminal's last descriptor is closed
            return

    reader = threading.Thread(target=read)
    reader.start()
    env = sampan.env | {"TERM": "xterm", "NO_COLOR": "1", "COLUMNS": "100"}
    done = subprocess.run(
        sampan.command("pull", name), stdout=subprocess.PIPE, stderr=terminal, env=env, timeout=60
    )
    os.close(terminal)
    reader.join(10)
    os.close(controller)
    drawn = b"".join(shown).decode()
    assert done.returncode == 0, drawn
    assert done.stdout.decode().endswith(f"{name}\n")
    assert "Pull complete" in drawn and "━" in drawn
    assert "\x1b[3" not in drawn  # no colours


def test_pull_says_what_is_wrong(sampan: Sampan, registry: Registry) -> None:
    done = sampan("pull", f"{registry.host}/team/absent:v1")
    assert done.returncode == 1
    assert "(NOT_FOUND)" in done.stderr
    registry.fault(Fault(status=403, times=-1))
    assert "(DENIED)" in sampan("pull", f"{registry.host}/team/absent:v1").stderr
    assert "--all-tags cannot be had" in sampan("pull", "--all-tags", "x").stderr
    assert sampan("push", "absent").stderr.startswith("sampan: there is no image named absent")


def test_login_and_logout(sampan: Sampan) -> None:
    with Registry(users={"ann": "secret"}, auth="basic") as registry:
        words = ["login", "-u", "ann", "--password-stdin", registry.host]
        wrong = sampan(*words, stdin=b"wrong\n")
        assert wrong.returncode == 1
        assert "(UNAUTHENTICATED)" in wrong.stderr and "wrong" not in wrong.stderr.replace(
            "wrong password", ""
        )
        assert sampan.ok(*words, stdin=b"secret\n") == "Login Succeeded\n"
        config = sampan.folder / ".docker" / "config.json"
        assert config.stat().st_mode & 0o777 == 0o600
        assert registry.host in json.loads(config.read_text())["auths"]
        assert sampan.ok("logout", registry.host) == f"Removing login credentials for {registry.host}\n"
        assert sampan.ok("logout", registry.host) == f"Not logged in to {registry.host}\n"
        seen = sampan("login", "-u", "ann", "-p", "secret", registry.host)
        assert seen.returncode == 0 and "seen by everyone" in seen.stderr


def test_login_asks_at_the_terminal_without_echo(sampan: Sampan) -> None:
    with Registry(users={"ann": "secret"}, auth="basic") as registry:
        pid, controller = pty.fork()
        if pid == 0:
            os.execve(sampan.command()[0], sampan.command("login", registry.host), sampan.env)
        shown = b""
        for prompt, answer in ((b"Username for ", b"ann\n"), (b"Password: ", b"secret\n")):
            while prompt not in shown:
                shown += os.read(controller, 1024)
            os.write(controller, answer)
        try:
            while data := os.read(controller, 1024):
                shown += data
        except OSError:  # it has ended
            pass
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
        os.close(controller)
        assert b"Login Succeeded" in shown and b"secret" not in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--password-stdin", "host:5000"], "--password-stdin needs --username"),
        (["-u", "a", "-p", "b", "--password-stdin", "host:5000"], "exclude each other"),
        (["-u", "a", "--password-stdin", "nohost"], "is not a registry"),
        (["-u", "a", "--password-stdin", "host:5000"], "must not be empty"),
    ],
)
def test_login_refuses(sampan: Sampan, words: list[str], said: str) -> None:
    done = sampan("login", *words)
    assert done.returncode in (1, 125)
    assert said in done.stderr


def test_prune_and_df(sampan: Sampan) -> None:
    build(sampan, "-t", "hello")
    rows = [json.loads(line) for line in sampan.ok("system", "df", "--format", "json").splitlines()]
    assert (rows[0]["Type"], rows[0]["TotalCount"]) == ("Images", "1")
    sampan.ok("image", "prune", "-f")  # the build left the module itself
    assert sampan.ok("image", "prune", "-f") == "Total reclaimed space: 0B\n"
    asked = sampan("image", "prune", "-a", stdin=b"n\n")
    assert asked.stdout.startswith("WARNING! This will remove all images without")
    assert sampan.ok("images", "-q")
    done = sampan.ok("system", "prune", "-a", stdin=b"y\n")
    assert "untagged: hello:latest" in done and "deleted: sha256:" in done
    assert sampan.ok("images", "-q") == ""


def test_prunes_at_the_same_time_all_go_well(sampan: Sampan) -> None:
    build(sampan, *(word for number in range(8) for word in ("-t", f"hello:{number}")))
    prunes = [
        subprocess.Popen(
            sampan.command("image", "prune", "-af"),
            env=sampan.env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for _ in range(6)
    ]
    for prune in prunes:
        assert prune.communicate(timeout=60)[1] == b""
        assert prune.returncode == 0
    assert sampan.ok("images", "-q") == ""


def test_prune_takes_a_name_that_went_meanwhile_for_done(
    sampan: Sampan, monkeypatch: pytest.MonkeyPatch
) -> None:
    build(sampan, "-t", "hello", "-t", "other")
    context = Context(Roots(sampan.env["SAMPAN_ROOT"], sampan.env["SAMPAN_RUN_ROOT"]), {})
    untag = ContentStore.untag

    def untagged_twice(store: ContentStore, name: str) -> None:
        untag(store, name)
        untag(store, name)  # raises NotFound, as for one who comes second

    monkeypatch.setattr(ContentStore, "untag", untagged_twice)
    image_prune.prune(context, everything=True)
    assert sampan.ok("images", "-q") == ""


def test_fsck_finds_damage(sampan: Sampan) -> None:
    build(sampan, "-t", "hello")
    assert sampan.ok("system", "fsck", "--deep").endswith("No damage found\n")
    blobs = [p for p in (sampan.folder / "data" / "images" / "blobs").rglob("*") if p.is_file()]
    largest = max(blobs, key=lambda p: p.stat().st_size)
    largest.chmod(0o600)
    largest.write_bytes(b"x" * largest.stat().st_size)
    done = sampan("system", "fsck", "--deep")
    assert done.returncode == 1
    assert f"damaged: sha256:{largest.name}" in done.stdout
    assert "No damage found" not in done.stdout


def test_names_complete(sampan: Sampan) -> None:
    build(sampan, "-t", "hello", "-t", "registry.example:5000/hello:v1")
    assert sampan.ok("__complete", "rmi", "").split() == ["hello:latest", "registry.example:5000/hello:v1"]
    assert sampan.ok("__complete", "image", "rm", "reg").split() == ["registry.example:5000/hello:v1"]


@pytest.mark.parametrize(
    "words", [["-o", "x.tar"], ["-o", "x", "--format", "oci-dir"], ["--format", "docker-archive"]]
)
def test_save_and_load(sampan: Sampan, words: list[str]) -> None:
    image_id = build(sampan, "-t", "hello")
    done = subprocess.run(
        sampan.command("save", *words, "hello"),
        capture_output=True,
        env=sampan.env,
        cwd=sampan.folder,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    sampan.ok("rmi", "hello")
    source = ["-i", words[1]] if words[0] == "-o" else []
    assert sampan.ok("load", *source, stdin=done.stdout) == "Loaded image: hello:latest\n"
    assert sampan.ok("images", "-q", "--no-trunc") == image_id + "\n"


def test_load_refuses_junk(sampan: Sampan) -> None:
    done = sampan("load", stdin=b"junk" * 1000)
    assert (done.returncode, done.stdout) == (1, "")
    assert "(INVALID)" in done.stderr or "(DATA_LOSS)" in done.stderr
    assert "(NOT_FOUND)" in sampan("load", "-i", "absent.tar").stderr


def test_an_artifact_is_no_docker_archive(sampan: Sampan) -> None:
    build(sampan, "-t", "hello", "--format", "wasm-to-oci")
    done = sampan("save", "--format", "docker-archive", "-o", "x.tar", "hello")
    assert (done.returncode, "convert it first" in done.stderr) == (1, True)
    assert not (sampan.folder / "x.tar").exists()


def test_an_image_that_a_container_uses_stays(sampan: Sampan) -> None:
    from sampan.container.records import Container
    from sampan.container.store import Containers, new_id
    from sampan.core.roots import Roots
    from sampan.core.spec.runtime import Spec

    image_id = build(sampan, "-t", "hello")
    roots = Roots(sampan.env["SAMPAN_ROOT"], sampan.env["SAMPAN_RUN_ROOT"])
    Containers(roots).create(Container(new_id(), "web", "hello", 1, image_id), Spec("1.2.0"))
    refused = sampan("rmi", "hello")
    assert refused.returncode == 1
    assert "is used by the container web" in refused.stderr and "sampan rm web" in refused.stderr
    assert sampan.ok("image", "prune", "-af").startswith("deleted: ")  # the module that the build left
    assert sampan.ok("images", "--format", "{{.Repository}} {{.Containers}}") == "hello 1\n"
    assert sampan.ok("info", "-f", "{{.Containers}} {{.Running}} {{.Images}}") == "1 0 1\n"
    assert sampan.ok("rmi", "-f", "hello").startswith("Untagged: hello:latest\nDeleted: ")
    assert re.match(
        r"Deleted Containers:\n[0-9a-f]{64}\n\nTotal reclaimed", sampan.ok("container", "prune", "-f")
    )
    assert sampan.ok("info", "-f", "{{.Containers}}") == "0\n"
