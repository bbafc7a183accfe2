"""`sampan pull`: an image from a registry into the store."""

from __future__ import annotations

from sampan.core.commandline import Command, Option, setting, switch
from sampan.core.reference import parse_reference
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.core.reference import Reference
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    reference = parse_reference(args.operands[0])
    if args.on("quiet"):
        reference = reference.tagged()
        pull(context, reference, args.value("platform"), quiet=True)
    else:
        from sampan.doors.cli.registries import with_default_tag

        reference = with_default_tag(reference)
        repository = reference.familiar_name if reference.registry != "docker.io" else reference.repository
        print(f"{reference.tag or reference.digest}: Pulling from {repository}", flush=True)
        digest, is_new = pull(context, reference, args.value("platform"))
        print(f"Digest: {digest}")
        what = "Downloaded newer image for" if is_new else "Image is up to date for"
        print(f"Status: {what} {reference.familiar}")
    print(reference)
    return 0


def pull(context: Context, reference: Reference, platform: str, *, quiet: bool = False) -> tuple[str, bool]:
    """Brings an image into the store; its digest, and whether the name led elsewhere before.

    Raises:
        SampanError: as `Registry.pull`.
    """
    from sampan.container.events import publish
    from sampan.doors.cli.progress import shown
    from sampan.doors.cli.registries import open_registry
    from sampan.image.platforms import parse_platform
    from sampan.image.store import ContentStore

    wanted = parse_platform(platform) if platform else None
    store = ContentStore(context.roots.images)
    before = store.names().get(str(reference))
    with open_registry(context) as registry, shown(context.env, quiet=quiet) as progress:
        found = registry.pull(reference, store, wanted, progress)
    publish(context.roots, "image", "pull", reference.familiar, {"name": reference.familiar_name})
    return found.digest, before is None or before.digest != found.digest


COMMAND = Command(
    "pull",
    "[OPTIONS] NAME[:TAG|@DIGEST]",
    listing.SUMMARIES["pull"],
    run,
    [
        setting("platform", "PLATFORM", "Choose this platform of an image", complete="wasi/wasm|linux/amd64"),
        switch("quiet", "Print the reference only", "q"),
        switch("disable-content-trust", "Accepted", no_effect="content is always checked against its digest"),
        Option("all-tags", short="a", refusal="images are pulled one by one, by name"),
    ],
    operands="image",
    least=1,
    most=1,
    examples=["sampan pull hello", "sampan pull --platform wasi/wasm registry.example:5000/team/app:v1"],
)  # fmt: skip
