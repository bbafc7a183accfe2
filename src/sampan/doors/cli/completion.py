"""Completion: three short shell scripts, and the answers that they ask `sampan __complete` for.

The answers come from the commands' own tables and from what is on this machine, so no script ever goes stale.
One candidate a line, with a tab and its description; the line `:files` asks the shell for file names.
"""

from __future__ import annotations

from sampan.core.commandline import HELP, Option
from sampan.core.errors import NotFound, SampanError
from sampan.doors.cli import listing

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.doors.cli.context import Context

FILES = ":files"

BASH = r"""# bash completion for sampan; load it with: source <(sampan completion bash)
_sampan() {
    local line words word head="${COMP_LINE:0:COMP_POINT}"
    read -ra words <<< "$head"
    [[ $head == *[[:space:]] ]] && words+=("")
    word="${words[-1]}"
    local joined="${word%"${word##*[:=]}"}"  # bash takes what follows ':' or '=' for a word of its own
    COMPREPLY=()
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            compopt -o default
        else
            line="${line%%$'\t'*}"
            COMPREPLY+=("${line#"$joined"}")
        fi
    done < <("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
}
complete -F _sampan sampan
"""

ZSH = r"""#compdef sampan
# zsh completion for sampan; load it with: source <(sampan completion zsh)
_sampan() {
    local line files=0
    local -a candidates
    while IFS= read -r line; do
        if [[ $line == :files ]]; then
            files=1
        else
            line="${line//:/\\:}"
            candidates+=("${line/$'\t'/:}")
        fi
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    (( ${#candidates} )) && _describe sampan candidates
    (( files )) && _files
}
compdef _sampan sampan
"""

FISH = r"""# fish completion for sampan; load it with: sampan completion fish | source
function __sampan_complete
    set -l words (commandline -opc) (commandline -ct)
    for line in ($words[1] __complete $words[2..-1] 2>/dev/null)
        if test "$line" = ":files"
            __fish_complete_path (commandline -ct)
        else
            echo $line
        end
    end
end
complete -c sampan -f -a '(__sampan_complete)'
"""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def script(shell: str) -> str:
    """The completion script of `shell`.

    Raises:
        NotFound: there is none for it.
    """
    try:
        return SCRIPTS[shell]
    except KeyError:
        raise NotFound(
            f"no completion for {shell[:40]!r}", fix="there is one for bash, zsh and fish"
        ) from None


def answer(context: Context, words: list[str]) -> int:
    """Prints what may stand in the place of the last of `words`; never fails."""
    try:
        lines = candidates(context, words or [""])
    except SampanError:
        lines = []
    for line in lines:
        print(line)
    return 0


def candidates(context: Context, words: list[str]) -> list[str]:
    """What may stand in the place of the last of `words`, each with its description after a tab.

    Raises:
        SampanError: the words before it make no sense, or what is on this machine cannot be read.
    """
    *before, current = words
    if not before:
        names = {**listing.SUMMARIES, **listing.MANAGEMENT}
        return _matching({name: text for name, text in names.items() if " " not in name}, current)
    if len(before) == 1 and before[0] in listing.MANAGEMENT:
        pairs = [*listing.ALIASES, *listing.NESTED]
        verbs = [pair.partition(" ")[2] for pair in pairs if pair.startswith(f"{before[0]} ")]
        return _matching(dict.fromkeys(verbs, ""), current)
    name, rest = listing.resolve(before)
    command = listing.load(name)
    options = [option for option in [*command.options, HELP] if not option.refusal]
    waiting = _waiting(rest, options)
    if waiting is not None:
        return _of_kind(context, waiting.complete, current)
    if current.startswith("--") and "=" in current:
        flag, _, text = current.partition("=")
        found = next((option for option in options if f"--{option.name}" == flag), None)
        return [f"{flag}={line}" for line in _of_kind(context, found.complete, text)] if found else []
    if current.startswith("-"):
        return _matching({f"--{option.name}": option.help for option in options}, current)
    return _of_kind(context, command.operands, current)


def _waiting(words: list[str], options: list[Option]) -> Option | None:
    """The option whose value comes next."""
    last = words[-1] if words else ""
    for option in options:
        if option.takes_value and last in (f"--{option.name}", f"-{option.short}"):
            return option
    return None


def _of_kind(context: Context, kind: str, current: str) -> list[str]:
    if kind == "container":
        return _matching(_containers(context), current)
    if kind == "image":
        return _matching(_images(context), current)
    if kind == "container or image":
        return _matching({**_images(context), **_containers(context)}, current)
    if kind == "image or file":
        return [*_matching(_images(context), current), FILES]
    if kind == "file":
        return [FILES]
    return _matching(dict.fromkeys(kind.split("|"), ""), current) if kind else []


def _containers(context: Context) -> dict[str, str]:
    from sampan.container.store import Containers

    return {e.container.name: e.container.image for e in Containers(context.roots).all()}


def _images(context: Context) -> dict[str, str]:
    from sampan.core.reference import parse_reference
    from sampan.image.store import ContentStore

    names = ContentStore(context.roots.images).names()
    return {parse_reference(name).familiar: "" for name in names if "@" not in name}


def _matching(known: dict[str, str], current: str) -> list[str]:
    return [f"{n}\t{text}" if text else n for n, text in known.items() if n.startswith(current)]
