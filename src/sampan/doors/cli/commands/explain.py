"""`sampan explain`: what a file, a bundle or an image is taken for, with every rule that was asked."""

from __future__ import annotations

import os

from sampan.core.commandline import Command, setting
from sampan.core.detect import Clues, detect
from sampan.core.errors import Invalid, NotFound, from_os_error
from sampan.core.record import Record
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image

HEAD = 4096


class Subject(Record):
    """What is explained: `kind` is file, bundle or image; `command` is what it would run."""

    kind: str
    name: str
    clues: Clues
    command: list[str] = []
    format: str = ""


def run(context: Context, args: Arguments) -> int:
    subject = _subject(context, args.operands[0], args.value("platform"))
    verdict = detect(subject.clues)
    if style := args.value("format"):
        row = {
            "Kind": subject.kind,
            "Name": subject.name,
            "Verdict": verdict.kind,
            "Evidence": verdict.evidence,
            "Command": subject.command,
            "Format": subject.format,
        }
        show([row], [], style)
        return 0
    print(f"{subject.name}: {verdict.kind}")
    print(f"  it is {_described(subject)}")
    if verdict.kind == "linux" and subject.kind != "file":
        print(f"  a Linux program runs in {_runtime(context)}")
    if subject.command:
        print(f"  it runs {' '.join(subject.command)}")
    print("because")
    for sentence in verdict.evidence:
        print(f"  - {sentence}")
    return 0


def _runtime(context: Context) -> str:
    from sampan.container.delegate import linux_runtime

    try:
        return linux_runtime(context.env)
    except NotFound as error:
        return f"runc, crun or youki, and none is here; {error.fix}"


def _described(subject: Subject) -> str:
    if subject.kind == "image":
        return f"an image of the format {subject.format}"
    return "a bundle of the OCI runtime specification" if subject.kind == "bundle" else "a file of this host"


def _subject(context: Context, text: str, platform: str) -> Subject:
    if os.path.isfile(f"{text}/config.json"):
        return _bundle(text)
    if os.path.isfile(text):
        return Subject("file", text, Clues(head=_head(text), name=text, allow_text=True))
    is_path = text.startswith(("/", "./", "../"))
    if is_path and os.path.exists(text):
        what = "a folder without config.json, so no bundle" if os.path.isdir(text) else "no regular file"
        raise Invalid(f"{text} is {what}", fix="explain takes a Wasm file, a bundle or an image")
    if is_path:
        raise NotFound(
            f"{text}: no such file, and no bundle either", fix="a bundle is a folder with config.json"
        )
    return _image(context, text, platform)


def _head(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise from_os_error(error, "read the file") from error


def _bundle(folder: str) -> Subject:
    from sampan.container.bundle import read_bundle
    from sampan.container.finding import clues_of_bundle
    from sampan.core.spec.runtime import Process

    spec = read_bundle(os.path.abspath(folder))
    return Subject("bundle", folder, clues_of_bundle(spec, folder), (spec.process or Process()).args)


def _image(context: Context, text: str, platform: str) -> Subject:
    from sampan.image.images import find_image
    from sampan.image.platforms import parse_platform
    from sampan.image.store import ContentStore

    image = find_image(
        ContentStore(context.roots.images), text, parse_platform(platform) if platform else None
    )
    command = image.entrypoint
    clues = Clues(
        annotations=image.annotations,
        media_type=image.media_type,
        os=image.platform.os,
        architecture=image.platform.architecture,
        name=command[0] if command else "",
        head=_head_in_image(image, command[0]) if command else None,
    )
    return Subject("image", text, clues, command, image.format)


def _head_in_image(image: Image, name: str) -> bytes | None:
    """The first bytes of a file of an image; None if it has no such file."""
    from sampan.image.layerwriter import read_tree

    tree = read_tree(image.store, image)
    folder = image.container_config.working_dir or "/"
    entry = tree.lookup(tree.resolve(os.path.join(folder, name.partition("#")[0])))
    if entry is None or entry.kind != "file":
        return None
    with entry.content() as content:
        return content.read(HEAD)


COMMAND = Command(
    "explain",
    "[OPTIONS] FILE|IMAGE|BUNDLE",
    listing.SUMMARIES["explain"],
    run,
    [FORMAT, setting("platform", "PLATFORM", "Of this platform of an index")],
    operands="image or file",
    least=1,
    most=1,
    examples=["sampan explain hello.wasm", "sampan explain --format '{{.Verdict}}' registry.example/app:v1"],
)
