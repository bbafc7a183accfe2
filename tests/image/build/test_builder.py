"""`build`: whole Dockerfiles to images in a store."""

from __future__ import annotations

import io
import os
import tarfile

import pytest

from sampan.core.errors import Denied, Invalid, NotFound, Precondition, SampanError, Unimplemented
from sampan.core.spec.image import ANNOTATION_COMPAT, OCI_LAYER_GZIP, Platform
from sampan.image.build.builder import build, build_module
from sampan.image.build.options import Options
from sampan.image.images import find_image
from sampan.image.layerwriter import read_tree
from sampan.image.platforms import host_platform

MODULE = b"\0asm\x01\0\0\0"


@pytest.fixture
def context(tmp_path):
    folder = tmp_path / "context"
    folder.mkdir()
    (folder / "hello.wasm").write_bytes(MODULE)
    os.utime(folder / "hello.wasm", (1_000_000_000, 1_000_000_000))
    return folder


@pytest.fixture
def make(store, context):
    """Builds the text of a Dockerfile; images named in it are found in the same store."""

    def run(text, warn=lambda text: None, **options):
        (context / "Dockerfile").write_text(text)
        return build(
            store,
            str(context),
            Options(**{"epoch": 1_700_000_000, **options}),
            resolve=lambda name, platform: find_image(store, name, platform),
            warn=warn,
        )

    return run


def paths(store, image):
    return sorted(read_tree(store, image).entries)


def test_scratch_copy_and_cmd(store, make):
    image = make('FROM scratch\nCOPY hello.wasm /\nCMD ["/hello.wasm"]\n', tags=["hello"])
    assert image.name == "docker.io/library/hello:latest"
    assert image.format == "oci"
    assert image.entrypoint == ["/hello.wasm"]
    assert [d.media_type for d in image.manifest.layers] == [OCI_LAYER_GZIP]
    assert image.manifest.annotations == {ANNOTATION_COMPAT: "compat-smart"}
    tree = read_tree(store, image)
    assert tree.entries["hello.wasm"].read() == MODULE
    assert str(image.platform) == str(host_platform())
    assert find_image(store, "hello").id == image.id


def test_relative_entry_without_slash_as_in_S3(store, make):
    image = make('FROM scratch\nADD hello.wasm .\nCMD ["hello.wasm"]\n')
    assert image.entrypoint == ["hello.wasm"]
    assert paths(store, image) == ["hello.wasm"]
    assert ANNOTATION_COMPAT in image.manifest.annotations


def test_same_epoch_same_digest(store, make, context):
    text = 'FROM scratch\nCOPY . /\nWORKDIR /data\nCMD ["/hello.wasm"]\n'
    first = make(text)
    os.utime(context / "hello.wasm")
    second = make(text)
    assert first.descriptor == second.descriptor
    assert make(text, epoch=5).descriptor != first.descriptor


def test_without_epoch_created_is_now(make):
    from time import time_ns

    from sampan.core.units import parse_rfc3339

    before = time_ns()
    image = make("FROM scratch\nCOPY hello.wasm /\n", epoch=None)
    assert before <= parse_rfc3339(image.config.created) <= time_ns()


def test_every_configuration_instruction(make):
    image = make(
        "FROM scratch\n"
        "ENV A=1 B='two words' C=\"$A\"\n"
        "ENV OLD some value\n"
        "ENV C=${A}-${MISSING:-none}\n"
        'LABEL one=1 "two words"=2\n'
        "USER 1000:1000\n"
        "WORKDIR /srv\n"
        "WORKDIR app\n"
        "EXPOSE 8080 53/udp 9000-9001\n"
        'VOLUME ["/data"]\n'
        "VOLUME /cache /tmp\n"
        "STOPSIGNAL SIGINT\n"
        'ENTRYPOINT ["/hello.wasm"]\n'
        'CMD ["a", "b"]\n'
    )
    config = image.container_config
    assert config.env == ["A=1", "B=two words", "C=1-none", "OLD=some value"]
    assert config.labels == {"one": "1", "two words": "2"}
    assert config.user == "1000:1000"
    assert config.working_dir == "/srv/app"
    assert sorted(config.exposed_ports) == ["53/udp", "8080/tcp", "9000/tcp", "9001/tcp"]
    assert sorted(config.volumes) == ["/cache", "/data", "/tmp"]
    assert config.stop_signal == "SIGINT"
    assert image.entrypoint == ["/hello.wasm", "a", "b"]
    assert [h.empty_layer for h in image.config.history].count(False) == 2  # the two WORKDIRs


def test_base_is_inherited_and_entrypoint_resets_cmd(store, make):
    make('FROM scratch\nCOPY hello.wasm /\nENV A=1\nCMD ["/hello.wasm"]\n', tags=["base"])
    child = make("FROM base\nENV B=2\nLABEL x=y\n")
    assert child.entrypoint == ["/hello.wasm"]
    assert child.container_config.env == ["A=1", "B=2"]
    assert paths(store, child) == ["hello.wasm"]
    other = make('FROM base\nENTRYPOINT ["/hello.wasm", "x"]\n')
    assert other.entrypoint == ["/hello.wasm", "x"]


def test_base_may_be_a_wasm_artifact(store, make, module):
    build_module(store, module, Options(tags=["artifact"], format="wasm-to-oci"))
    image = make("FROM artifact\nENV A=1\n")
    assert image.entrypoint == ["/hello.wasm"]
    assert paths(store, image) == ["hello.wasm"]


def test_stages_target_and_copy_from(store, make):
    text = (
        "ARG NAME=first\n"
        "FROM scratch AS first\nCOPY hello.wasm /bin/app.wasm\n"
        "FROM scratch AS broken\nCOPY nothing /\n"
        "FROM ${NAME} AS again\n"
        "FROM scratch\nCOPY --from=first /bin/ /x/\nCOPY --from=0 --chmod=600 --chown=5:6 /bin/app.wasm /y.wasm\n"
    )
    image = make(text)
    tree = read_tree(store, image)
    assert sorted(tree.entries) == ["x", "x/app.wasm", "y.wasm"]
    assert (tree.entries["y.wasm"].mode, tree.entries["y.wasm"].uid, tree.entries["y.wasm"].gid) == (
        0o600,
        5,
        6,
    )
    assert paths(store, make(text, target="again")) == ["bin", "bin/app.wasm"]
    with pytest.raises(NotFound, match=r"Dockerfile:5: 'nothing'"):
        make(text, target="broken")
    with pytest.raises(NotFound, match="no stage 'other'"):
        make(text, target="other")


def test_copy_from_an_image(store, make, module):
    build_module(store, module, Options(tags=["tool"]))
    image = make("FROM scratch\nCOPY --from=tool /hello.wasm /tools/\n")
    assert paths(store, image) == ["tools", "tools/hello.wasm"]


def test_arguments_by_scope(make):
    warnings = []
    text = (
        "ARG GLOBAL=g\nARG SEEN=a\nFROM scratch\n"
        "ARG SEEN\nARG LOCAL=l\nARG LOCAL2=${LOCAL}2\n"
        'LABEL global="$GLOBAL" seen="$SEEN" local="$LOCAL" two="$LOCAL2" arch="$TARGETARCH" proxy="$HTTP_PROXY"\n'
        "ARG TARGETARCH\nLABEL later=$TARGETARCH\n"
    )
    args = {"SEEN": "given", "HTTP_PROXY": "p", "STRAY": "1"}
    labels = make(text, warnings.append, build_args=args).container_config.labels
    assert labels == {
        "global": "", "seen": "given", "local": "l", "two": "l2", "arch": "", "proxy": "p",
        "later": host_platform().architecture,
    }  # fmt: skip
    assert len(warnings) == 1 and "STRAY" in warnings[0]


def test_globs_folders_and_dockerignore(store, make, context):
    (context / "sub" / "deep").mkdir(parents=True)
    for name in ("a.txt", "b.txt", "secret.txt", "sub/c.txt", "sub/deep/d.txt", "sub/deep/e.log"):
        (context / name).write_text(name)
    (context / "sub" / "link").symlink_to("/etc/passwd")
    (context / ".dockerignore").write_text(
        "# comment\nsecret*\n**/*.log\nsub/deep\n!sub/deep/d.txt\nDockerfile\n"
    )
    image = make("FROM scratch\nCOPY *.txt /texts/\nCOPY sub /sub\nCOPY . /all\n")
    tree = read_tree(store, image)
    found = sorted(p for p, e in tree.entries.items() if e.kind != "dir")
    assert found == [
        "all/.dockerignore", "all/a.txt", "all/b.txt", "all/hello.wasm",
        "all/sub/c.txt", "all/sub/deep/d.txt", "all/sub/link",
        "sub/c.txt", "sub/deep/d.txt", "sub/link",
        "texts/a.txt", "texts/b.txt",
    ]  # fmt: skip
    assert tree.entries["sub/link"].target == "/etc/passwd"
    with pytest.raises(NotFound, match=r"Dockerfile:2: 'secret.txt'"):
        make("FROM scratch\nCOPY secret.txt /\n")


def test_links_in_the_context_do_not_lead_out(make, context, tmp_path):
    (tmp_path / "outside").write_text("host")
    (context / "out").symlink_to("../outside")
    (context / "dir").symlink_to("..")
    for source in ("out", "dir/outside", "../outside"):
        with pytest.raises(SampanError, match="Dockerfile:2: "):
            make(f"FROM scratch\nCOPY {source} /x\n")


def test_links_in_the_image_are_followed_in_the_image(store, make, context):
    (context / "link").symlink_to("/real")
    image = make("FROM scratch AS a\nCOPY . /ctx/\nWORKDIR /ctx/sub\n"
                 "FROM scratch\nWORKDIR /real\nCOPY --from=a /ctx/ /\nCOPY hello.wasm /link/\n")  # fmt: skip
    tree = read_tree(store, image)
    assert tree.entries["link"].kind == "link"
    assert tree.entries["real/hello.wasm"].read() == MODULE


def test_here_documents(store, make):
    image = make("FROM scratch\nENV X=1\nCOPY <<A <<-'B' /etc/\nx=$X \\$Y\nA\n\traw $X\nB\nLABEL after=1\n")
    tree = read_tree(store, image)
    assert tree.entries["etc/A"].read() == b"x=1 $Y\n"
    assert tree.entries["etc/B"].read() == b"raw $X\n"
    assert image.container_config.labels == {"after": "1"}


def archive(path, mode, members):
    with tarfile.open(path, mode) as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_add_unpacks_archives_and_copy_does_not(store, make, context, mode):
    archive(context / "files.tar", mode, {"./a/b.txt": b"b", "c.txt": b"c"})
    added = make("FROM scratch\nADD files.tar /d\n")
    assert paths(store, added) == ["d", "d/a", "d/a/b.txt", "d/c.txt"]
    assert paths(store, make("FROM scratch\nCOPY files.tar /d\n")) == ["d"]


def test_L1_dotdot_in_an_added_archive_is_refused(make, context):
    archive(context / "evil.tar", "w", {"../evil": b"x"})
    with pytest.raises(Invalid, match=r"Dockerfile:2: .*leads out"):
        make("FROM scratch\nADD evil.tar /\n")


def test_L6_a_fifo_is_refused(make, context):
    os.mkfifo(context / "pipe")
    with pytest.raises(Denied, match="pipe"):
        make("FROM scratch\nCOPY . /\n")


@pytest.mark.parametrize(
    ("line", "kind", "says"),
    [
        ("RUN apt-get update", Unimplemented, "RUN"),
        ("HEALTHCHECK NONE", Unimplemented, "HEALTHCHECK"),
        ("ONBUILD COPY a b", Unimplemented, "ONBUILD"),
        ("MAINTAINER me", Unimplemented, "MAINTAINER"),
        ("EXEC x", Invalid, "not an instruction"),
        ("COPY a", Invalid, "destination"),
        ("COPY --exclude=x a b", Unimplemented, "--exclude"),
        ("COPY --from=nope a b", NotFound, "nope"),
        ("COPY --from=7 a b", NotFound, "earlier stage"),
        ("COPY --chmod=9 hello.wasm /", Invalid, "octal"),
        ("COPY --chown=me hello.wasm /", Invalid, "numeric"),
        ("COPY hello.wasm hello.wasm /x", Invalid, "several sources"),
        ("COPY <<EOF /x", Invalid, "not closed"),
        ("ADD https://example.org/x /", Unimplemented, "does not fetch"),
        ("ENV", Invalid, "argument"),
        ("ENV A", Invalid, "no value"),
        ("ENV A=1 B", Invalid, "NAME=VALUE"),
        ("EXPOSE many", Invalid, "port"),
        ("USER a:b:c", Invalid, "USER"),
        ("WORKDIR /proc/self/fd/7", Invalid, "/proc"),
        ("STOPSIGNAL SIGFOO", Invalid, "signal"),
        ("SHELL sh", Invalid, "JSON form"),
        ("LABEL a='b", Invalid, "not closed"),
        ("LABEL a=${A#b}", Invalid, "not supported"),
        ("LABEL a=${A:?needed}", Invalid, "needed"),
        ("CMD hello.wasm --flag", Unimplemented, "/bin/sh"),
        ("FROM a b", Invalid, "FROM takes"),
        ("FROM missing-image", NotFound, "missing-image"),
    ],
)
def test_errors_name_file_and_line(make, line, kind, says):
    with pytest.raises(kind, match=r"^Dockerfile:3: ") as caught:
        make(f"# comment\nFROM scratch\n{line}\n")
    assert says in caught.value.message


def test_the_text_form_of_cmd_says_the_json_form(make):
    with pytest.raises(Unimplemented) as caught:
        make('FROM scratch\nCMD /hello.wasm "a b"\n')
    assert caught.value.fix == 'write CMD ["/hello.wasm", "a b"]'


def test_the_text_form_works_where_there_is_a_shell(make, context):
    (context / "sh").write_text("#!")
    image = make("FROM scratch\nCOPY sh /bin/sh\nCMD echo $HOME\n")
    assert image.entrypoint == ["/bin/sh", "-c", "echo $HOME"]


def test_run_points_to_buildah(make):
    with pytest.raises(Unimplemented, match="buildah"):
        make("FROM scratch\nRUN true\n")


@pytest.mark.parametrize(
    "text", ["", "# only a comment\n", "COPY a b\n", "ENV A=1\nFROM scratch\n", "FROM\n"]
)
def test_a_dockerfile_without_a_good_from_is_refused(make, text):
    with pytest.raises(Invalid, match="Dockerfile"):
        make(text)


def test_platform_wasi(make):
    image = make("FROM scratch\nCOPY hello.wasm /\n", platform=Platform("wasm", "wasi"))
    assert str(image.platform) == "wasi/wasm"


@pytest.mark.parametrize("name", ["wasm-to-oci", "cncf", "runwasi", "docker"])
def test_other_formats(make, name):
    image = make('FROM scratch\nCOPY hello.wasm /\nENV A=1\nENTRYPOINT ["/hello.wasm"]\n', format=name)
    assert image.format == name
    assert image.container_config.env == ["A=1"]
    assert image.entrypoint == ["/hello.wasm"]


def test_a_format_for_one_module_refuses_more(make, context):
    (context / "data").write_text("x")
    with pytest.raises(Precondition, match="/data"):
        make("FROM scratch\nCOPY hello.wasm data /\n", format="cncf")


def test_no_dockerfile_no_context(store, context, tmp_path):
    def resolve(name, platform):
        raise AssertionError

    with pytest.raises(NotFound, match="Containerfile"):
        build(store, str(context), Options(), resolve=resolve)
    with pytest.raises(NotFound, match="nowhere"):
        build(store, str(tmp_path / "nowhere"), Options(), resolve=resolve)
    with pytest.raises(Invalid, match="not a folder"):
        build(store, str(context / "hello.wasm"), Options(), resolve=resolve)


@pytest.mark.parametrize("name", ["oci", "docker", "wasm-to-oci", "cncf", "runwasi"])
def test_straight_from_a_module(store, module, name):
    options = Options(tags=["a", "registry.test/b:1"], format=name, epoch=7)
    image = build_module(store, module, options)
    assert image.format == name
    assert image.entrypoint == ["/hello.wasm"]
    assert read_tree(store, image).entries["hello.wasm"].read() == MODULE
    assert list(store.names()) == ["docker.io/library/a:latest", "registry.test/b:1"]
    assert build_module(store, module, options).descriptor == image.descriptor


@pytest.mark.parametrize(
    "data",
    [b"", b"\x7fELF\x02", b"\x1f\x8b\x08", b"<!doctype html>", b"(module)", b"\0asm\x02\0\0\0", b"#!/bin/sh"],
)
def test_L23_what_is_not_wasm_is_refused_with_evidence(store, tmp_path, data):
    path = tmp_path / "fake.wasm"
    path.write_bytes(data)
    with pytest.raises(Invalid, match=r"fake\.wasm is not Wasm: ") as caught:
        build_module(store, str(path), Options(tags=["fake"]))
    assert caught.value.exit_code == 126
    assert not store.names()


def test_unknown_format_is_refused(store, module):
    with pytest.raises(Unimplemented, match="'zip'"):
        build_module(store, module, Options(format="zip"))
