"""The words of `sampan-oci install` and `uninstall`, and what they print: a line for each tool, what to do next."""

from __future__ import annotations

from sampan.core.commandline import parse, setting, switch
from sampan.core.errors import NotFound
from sampan.doors.oci.setup.records import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from sampan.core.commandline import Arguments
    from sampan.doors.oci.setup.records import Report

UNINSTALL_OPTIONS = [
    setting("name", "NAME", "What the tools call the runtime", default="sampan"),
    setting("root-prefix", "DIR", "Set up the root filesystem in this folder, as for an image", default="/"),
    switch("dry-run", "Change nothing, show the difference"),
    switch("reload", "Make running daemons read it now; containerd is restarted, its containers go on"),
]
INSTALL_OPTIONS = [
    setting("runtime-path", "PATH", "The runtime, as a path inside the root (default: this program)"),
    *UNINSTALL_OPTIONS,
]


def run_install(words: list[str], out: TextIO) -> int:
    """`sampan-oci install [OPTIONS] [TOOL...]`: the exit code, 1 if a tool could not be set up.

    Raises:
        SampanError: the words make no sense, or no tool is there.
    """
    arguments = parse(words, INSTALL_OPTIONS)
    options = _options(arguments).replace(runtime_path=arguments.value("runtime-path"))

    from sampan.doors.oci.setup.actions import install

    return _run(install, arguments.operands, options, out)


def run_uninstall(words: list[str], out: TextIO) -> int:
    """`sampan-oci uninstall [OPTIONS] [TOOL...]`: the exit code, 1 if a tool could not be changed.

    Raises:
        SampanError: as `run_install`.
    """
    arguments = parse(words, UNINSTALL_OPTIONS)

    from sampan.doors.oci.setup.actions import uninstall

    return _run(uninstall, arguments.operands, _options(arguments), out)


def _options(arguments: Arguments) -> Options:
    return Options(
        name=arguments.value("name"),
        root=arguments.value("root-prefix"),
        dry_run=arguments.on("dry-run"),
        reload=arguments.on("reload"),
    )


def _run(
    action: Callable[[list[str], Options], list[Report]], tools: list[str], options: Options, out: TextIO
) -> int:
    from sampan.doors.oci.setup.actions import TOOLS, detect_tools

    chosen = tools or detect_tools(options)
    if not chosen:
        raise NotFound("no container tool was found", fix=f"name one: {', '.join(TOOLS)}")
    reports = action(chosen, options)
    for report in reports:
        first, *rest = report.messages or [""]
        if report.outcome == "failed":
            out.write(f"{report.tool}: failed: {first}\n")
        else:
            out.write(f"{report.tool}: {report.outcome} ({report.path})\n")
            rest = report.messages
        for message in rest:
            out.write("".join(f"  {line}\n" for line in message.splitlines()))
        out.write(report.diff)
    return int(any(report.outcome == "failed" for report in reports))
