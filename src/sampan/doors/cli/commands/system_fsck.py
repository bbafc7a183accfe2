"""`sampan system fsck`: is everything that is kept still what it was?"""

from __future__ import annotations

from sampan.core.commandline import Command, switch
from sampan.core.units import show_size
from sampan.doors.cli import listing
from sampan.doors.cli.output import FORMAT, show

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.container.store import Containers
    from sampan.image.store import ContentStore

    report = ContentStore(context.roots.images).fsck(args.on("deep"))
    broken = Containers(context.roots).broken()
    if style := args.value("format"):
        containers = [{"Id": name, "Reason": error.message} for name, error in broken]
        show([{**report.to_json(), "containers": containers}], [], style)
        return 1 if broken or not report.clean else 0
    depth = "every byte" if report.deep else "names and sizes"
    print(f"Images: {report.blobs} blobs, {show_size(report.bytes)}; {depth} checked")
    for finding in report.findings:
        needed = f" (needed by {', '.join(finding.images)})" if finding.images else ""
        print(f"{finding.kind}: {finding.what}: {finding.reason}{needed}")
    for name, error in broken:
        print(f"unreadable: container {name}: {error.message}; remove it with: sampan rm -f {name}")
    if broken or not report.clean:
        return 1
    print("No damage found")
    return 0


COMMAND = Command(
    "system fsck",
    "[OPTIONS]",
    listing.SUMMARIES["system fsck"],
    run,
    [switch("deep", "Read and check every byte of every image", own=True), FORMAT],
    most=0,
    examples=["sampan system fsck", "sampan system fsck --deep"],
)
