"""`sampan logout`: forgets the credential for a registry."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    from sampan.doors.cli.registries import open_registry, registry_name

    name = registry_name(args.operands[0] if args.operands else "")
    with open_registry(context) as registry:
        held = registry.logout(name)
    print(f"Removing login credentials for {name}" if held else f"Not logged in to {name}")
    return 0


COMMAND = Command(
    "logout",
    "[REGISTRY]",
    listing.SUMMARIES["logout"],
    run,
    most=1,
    examples=["sampan logout registry.example:5000"],
)
