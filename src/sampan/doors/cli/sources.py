"""What the first operand of `run` means: a Wasm file of the host, an archive or layout folder, or an image."""

from __future__ import annotations

import os

from sampan.core.errors import Invalid, NotFound
from sampan.core.reference import parse_reference

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context
    from sampan.image.images import Image

ARCHIVES = ("oci-archive:", "docker-archive:", "oci:")
SUFFIXES = (".wasm", ".wat")


def plain_file(operand: str) -> str:
    """The absolute path of the plain file that an operand (`FILE[#EXPORT]`) names; "" where it is an image.

    A path (with a leading `/`, `./` or `../`) is always a file; a bare name is one when it ends in `.wasm` or `.wat`
    and is there.

    Raises:
        NotFound: a path with no file (exit code 127). Invalid: a path of something else (exit code 126).
    """
    if operand.startswith(ARCHIVES):
        return ""
    path, mark, _ = operand.rpartition("#")
    if not mark or os.path.exists(operand):
        path = operand
    is_path = path.startswith(("/", "./", "../"))
    if is_path and not os.path.exists(path):
        raise NotFound(
            f"{path}: no such file", fix="an image's name has no leading '/' or '.'", exit_code=127
        )
    if is_path and not os.path.isfile(path):
        what = "a folder" if os.path.isdir(path) else "a device, pipe or socket"
        raise Invalid(f"{path} is {what}, and what runs is a file", exit_code=126)
    if is_path or (path.endswith(SUFFIXES) and os.path.isfile(path)):
        return os.path.abspath(path)
    return ""


def find_or_pull(context: Context, operand: str, when: str, platform: str, *, quiet: bool) -> Image:
    """The image of an operand, pulled where `when` (missing, always, never) says so.

    Raises:
        NotFound: it is not here and is not to be pulled. SampanError: as pull.
    """
    from sampan.image.images import find_image
    from sampan.image.platforms import parse_platform
    from sampan.image.store import ContentStore

    store = ContentStore(context.roots.images)
    if operand.startswith(ARCHIVES):
        from sampan.image.archives import load

        operand = load(store, operand)[0]
    wanted = parse_platform(platform) if platform else None
    if when == "never":
        return find_image(store, operand, wanted)
    if when == "missing":
        try:
            return find_image(store, operand, wanted)
        except NotFound:
            pass
    from sampan.doors.cli.commands.pull import pull

    reference = parse_reference(operand).tagged()
    if when == "missing" and not quiet:
        context.note(f"there is no image {reference.familiar} here, so it is pulled")
    pull(context, reference, platform, quiet=quiet)
    return find_image(store, str(reference), wanted)
