"""`sampan completion`: the completion script of a shell."""

from __future__ import annotations

from sampan.core.commandline import Command
from sampan.doors.cli import completion, listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.commandline import Arguments
    from sampan.doors.cli.context import Context


def run(context: Context, args: Arguments) -> int:
    print(completion.script(args.operands[0]), end="")
    return 0


COMMAND = Command(
    "completion",
    "bash|zsh|fish",
    listing.SUMMARIES["completion"],
    run,
    operands="bash|zsh|fish",
    least=1,
    most=1,
    examples=[
        "source <(sampan completion bash)",
        "sampan completion fish > ~/.config/fish/completions/sampan.fish",
    ],
)
