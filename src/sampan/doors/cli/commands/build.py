"""`sampan build`: an image from a Containerfile and a folder, or straight from a `.wasm` file."""

from __future__ import annotations

import os

from sampan.core.commandline import Command, Option, collected, setting, switch
from sampan.core.errors import Invalid
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.core.spec.image import Platform
    from sampan.doors.cli.context import Context
    from sampan.image.build.options import Options
    from sampan.image.images import Image

FORMATS = "oci|docker|wasm-to-oci|cncf|runwasi"
MAX_STDIN = 1 << 20
_NO_RUN = "it is for RUN, and nothing runs in a build"


def run(context: Context, args: Arguments) -> int:
    from sampan.container.events import publish

    image = _build(context, args)
    for name in args.values("tag") or [""]:
        familiar = parse_reference(name).tagged().familiar if name else ""
        publish(context.roots, "image", "build", image.id, {"name": familiar})
    if path := args.value("iidfile"):
        from sampan.linux.durable import write_file

        write_file(path, image.id.encode(), 0o644)
    if args.on("quiet"):
        print(image.id)
        return 0
    print(f"Successfully built {image.id.partition(':')[2][:12]}")
    for tag in args.values("tag"):
        print(f"Successfully tagged {parse_reference(tag).tagged().familiar}")
    return 0


def _build(context: Context, args: Arguments) -> Image:
    from sampan.image.build.builder import build, build_module
    from sampan.image.store import ContentStore

    store = ContentStore(context.roots.images)
    options = _options(context, args)
    where = args.operands[0] if args.operands else "."
    if not options.tags:
        context.note("without --tag the image has no name, and the next 'sampan image prune' removes it")
    if os.path.isfile(where):
        if args.given("file"):
            raise Invalid(f"--file is for a folder, and {where} is a file")
        return build_module(store, where, options)

    def resolve(text: str, platform: Platform | None) -> Image:
        from sampan.doors.cli.sources import find_or_pull

        when = "always" if args.on("pull") else "missing"
        return find_or_pull(context, text, when, str(platform or ""), quiet=args.on("quiet"))

    if where != "-":
        file = args.value("file")
        return build(store, where, options, resolve=resolve, dockerfile=file, warn=context.warn)
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="sampan-build-") as folder:
        _save_stdin(f"{folder}/Dockerfile")
        return build(store, folder, options, resolve=resolve, warn=context.warn)


def _save_stdin(path: str) -> None:
    """The Dockerfile on standard input, as Docker takes it for `-`."""
    import sys

    text = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(text) > MAX_STDIN:
        raise Invalid(
            "standard input has more than 1 MiB, which is no Dockerfile", fix="give a folder instead of -"
        )
    with open(path, "wb") as file:
        file.write(text)


def _options(context: Context, args: Arguments) -> Options:
    from sampan.doors.cli.runenv import read_annotations, read_environment, read_labels
    from sampan.image.build.options import Options
    from sampan.image.platforms import parse_platform

    build_args = read_environment([], args.values("build-arg"), context.env)
    return Options(
        tags=[str(parse_reference(tag).tagged()) for tag in args.values("tag")],
        build_args=dict(entry.split("=", 1) for entry in build_args),
        format=args.value("format"),
        target=args.value("target"),
        platform=parse_platform(args.value("platform")) if args.given("platform") else None,
        labels=read_labels([], args.values("label")),
        annotations=read_annotations(args.values("annotation")),
        epoch=_epoch(context.env.get("SOURCE_DATE_EPOCH", "")),
    )


def _epoch(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 12):
        raise Invalid(f"SOURCE_DATE_EPOCH={text[:40]!r} is not a number of seconds")
    return int(text)


_RUN_FLAGS = "add-host allow cgroup-parent cpu-period cpu-quota cpu-shares cpuset-cpus memory network secret ssh ulimit"

COMMAND = Command(
    "build",
    "[OPTIONS] FOLDER|FILE.wasm|-",
    listing.SUMMARIES["build"],
    run,
    [
        collected("annotation", "KEY=VALUE", "Add an annotation to the image's manifest"),
        collected("build-arg", "KEY[=VALUE]", "Set an ARG of the Containerfile"),
        setting("file", "FILE", "The Containerfile (default: FOLDER/Containerfile or FOLDER/Dockerfile)", "f",
                complete="file"),
        setting("format", "FORMAT", "The image's format", default="oci", complete=FORMATS, own=True),
        setting("iidfile", "FILE", "Write the image's id to a file", complete="file"),
        collected("label", "KEY[=VALUE]", "Add a label to the image"),
        switch("load", "Keep the image in the store (it always is)"),
        switch("no-cache", "Build everything anew (there is no cache)"),
        setting("platform", "PLATFORM", "What the image says of itself, like wasi/wasm (default: this host's)"),
        switch("pull", "Pull the images that FROM names, even if they are here"),
        switch("quiet", "Print the image's id only", "q"),
        collected("tag", "NAME[:TAG]", "Name the image", "t"),
        setting("target", "STAGE", "Build this stage"),
        Option("progress", "Accepted", value="WAY", no_effect="a build takes no time to speak of"),
        switch("rm", "Accepted", no_effect="a build makes no containers"),
        switch("force-rm", "Accepted", no_effect="a build makes no containers"),
        Option("squash", refusal="every COPY is a layer"),
        Option("push", refusal="push it afterwards with 'sampan push'"),
        Option("output", short="o", value="DEST", refusal="save it afterwards with 'sampan save'"),
        *(Option(n, value="VALUE", refusal=_NO_RUN) for n in _RUN_FLAGS.split()),
        *(Option(n, value="VALUE", refusal="there is no build cache") for n in ("cache-from", "cache-to")),
    ],
    operands="file",
    most=1,
    examples=[
        "sampan build -t hello hello.wasm",
        "sampan build -t registry.example:5000/team/app:v1 --platform wasi/wasm .",
    ],
)  # fmt: skip
