"""Install and uninstall for any tool: parse, change, ask the tool, keep a backup, replace; and the way back.

Order of the writes: what we remember, then the backup, then the file. Killed anywhere between, the next install or
uninstall finds by the digests which of the two states the file is in. What fails leaves the file as it was.
"""

from __future__ import annotations

import os
import sys

from sampan.core import strictjson
from sampan.core.errors import Exists, Invalid, NotFound, Precondition, SampanError, from_os_error, printable
from sampan.core.roots import default_roots
from sampan.doors.oci.setup.containerd import Containerd
from sampan.doors.oci.setup.crio import Crio
from sampan.doors.oci.setup.docker import Docker
from sampan.doors.oci.setup.entries import lookup
from sampan.doors.oci.setup.files import Content, Root
from sampan.doors.oci.setup.podman import Podman
from sampan.doors.oci.setup.records import Memory, Options, Report
from sampan.doors.oci.setup.tool import FOLDERS, Tool, find_program
from sampan.linux.locks import FileLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Self

TOOLS: dict[str, Tool] = {tool.name: tool for tool in (Docker(), Podman(), Containerd(), Crio())}
PROGRAM = "sampan-oci"
RESERVED = frozenset({"runc", "crun", "youki"})
MAX_NAME = 63


def install(tools: list[str], options: Options) -> list[Report]:
    """Tell each of these tools about the runtime.

    One that fails is reported as such, its file is as it was, and the others are done.

    Raises:
        Invalid: an unknown tool, or a name or path that no tool could take.
        NotFound: there is no program at the runtime's path in the root.
    """
    options = _settled(options)
    return [_reported(_install, tool, options) for tool in _named(tools)]


def uninstall(tools: list[str], options: Options) -> list[Report]:
    """Make each of these tools forget the runtime; one that does not know it is fine.

    Raises:
        Invalid: an unknown tool or an impossible name.
    """
    _check_name(options.name)
    return [_reported(_uninstall, tool, options) for tool in _named(tools)]


def detect_tools(options: Options) -> list[str]:
    """The tools that are installed in the root; for a plain user only podman, the others are the administrator's.

    Raises:
        SampanError: there is no such root.
    """
    if options.root == "/":
        found = [tool.name for tool in TOOLS.values() if find_program(tool.program)]
        return found if os.geteuid() == 0 else [name for name in found if name == "podman"]
    with Root(options.root) as root:
        return [t.name for t in TOOLS.values() if any(root.is_program(f"{f}/{t.program}") for f in FOLDERS)]


class _Setup:
    """One tool's configuration in one root, with what is known of it; to be used as a context, alone.

    Attributes:
        path: where the file really is. current: what is in it. memory: what an earlier install left to remember.
    """

    def __init__(self, tool: Tool, options: Options) -> None:
        self.tool = tool
        self.options = options

    def __enter__(self) -> Self:
        self.root = Root(self.options.root)
        self._lock: FileLock | None = None
        try:
            self._read()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._lock is not None:
            self._lock.release()
        self.root.__exit__()

    def _read(self) -> None:
        options = self.options
        folder = "/var/lib/sampan"
        if options.root == "/":
            folder = default_roots(os.geteuid(), os.environ).data
        self._memory_path = f"{folder}/setup/{self.tool.name}-{options.name}.json"
        if not options.dry_run:
            fd = self.root.open_folder(f"{folder}/setup", 0o700)
            try:
                self._lock = FileLock(f"/proc/self/fd/{fd}/lock")
                self._lock.acquire()
            finally:
                os.close(fd)
        kept = self.root.read(self._memory_path)
        self.memory = None
        if kept is not None:
            self.memory = Memory.from_json(strictjson.loads(kept.data, what=self._memory_path))
        self.path = self.memory.path if self.memory else self.root.resolve(self.tool.path(options))
        self.current = self.root.read(self.path)

    @property
    def backup_path(self) -> str:
        return f"{self.path}.{self.options.name}-backup"

    def entry(self) -> Any:
        """What stands for the runtime in the file now, or None."""
        if self.current is None:
            return None
        document = self.tool.format.parse(_text(self.current, self.path), self.path)
        return lookup(document, [*self.tool.runtimes(document, self.path), self.options.name], self.path)

    def without_ours(self) -> tuple[Content | None, bool]:
        """The file as it is without us, None for no file; and whether that is exactly what was there before."""
        current, memory = self.current, self.memory
        if current is None:
            return None, memory is None or memory.before == ""
        if memory is not None and current.digest == memory.before:
            return current, True
        if memory is not None and current.digest == memory.after:
            if memory.before == "":
                return None, True
            backup = self.root.read(self.backup_path)
            if backup is not None and backup.digest == memory.before:
                return backup, True
        tool = self.tool
        text = _text(current, self.path)
        document = tool.format.parse(text, self.path)
        text = tool.format.remove(text, [*tool.runtimes(document, self.path), self.options.name], self.path)
        text = tool.cleaned(text, self.path)
        left = tool.format.parse(text, self.path)
        if memory is not None and memory.before == "" and not set(left) - tool.header and "#" not in text:
            return None, False
        return current.replace(data=text.encode()), False

    def checked(self, data: bytes, *, present: bool) -> list[str]:
        """Ask the tool about `data`; notes on how sure that is.

        Raises:
            Invalid: the tool does not accept it.
        """
        try:
            if self.tool.beside and not self.root.missing_folders(self.path):
                with self.root.staged(self.path, data) as staged:
                    note = self.tool.check(staged, self.options, present=present)
            else:
                note = self._checked_elsewhere(data, present=present)
        except NotFound as error:
            note = f"parsed, not checked by the tool: {error.message}"
        return [note] if note else []

    def _checked_elsewhere(self, data: bytes, *, present: bool) -> str:
        """The check with a file in a temporary folder: other tools read all that lies beside their own."""
        from tempfile import TemporaryDirectory

        with TemporaryDirectory(prefix="sampan-setup-") as folder:
            staged = f"{folder}/{os.path.basename(self.path)}"
            with open(staged, "wb") as file:
                file.write(data)
            return self.tool.check(staged, self.options, present=present)

    def keep(self, before: Content | None, after: bytes) -> None:
        """Replace the file by `after`, with a backup of `before` and what undo needs to know."""
        made = self.root.missing_folders(self.path)
        if self.memory is not None and not made:
            made = self.memory.made
        new = Content(after)
        memory = Memory(
            self.tool.name,
            self.options.name,
            self.path,
            "" if before is None else before.digest,
            new.digest,
            made,
        )
        self._remember(memory)
        try:
            if before is not None:
                self.root.write(self.backup_path, before.data, before)
            self.root.write(self.path, after, self.current or before)
        except SampanError:
            if self.memory is not None:
                self._remember(self.memory)
            else:
                self.root.remove(self._memory_path)
                self.root.remove(self.backup_path)
                self.root.remove_folders(made)
            raise

    def _remember(self, memory: Memory) -> None:
        self.root.write(self._memory_path, strictjson.dumps(memory), None, 0o600)

    def put_back(self, before: Content | None) -> None:
        """Replace the file by what it is without us, and forget."""
        if before is None:
            self.root.remove(self.path)
        elif self.current is None or before.data != self.current.data:
            self.root.write(self.path, before.data, self.current or before)
        if self.memory is not None:
            if (
                self.memory.before and self.current is not None
            ):  # a file that somebody removed keeps its backup
                self.root.remove(self.backup_path)
            if before is None:
                self.root.remove_folders(self.memory.made)
            self.root.remove(self._memory_path)


def _install(tool: Tool, options: Options) -> Report:
    with _Setup(tool, options) as setup:
        path, name = setup.path, options.name
        before, _ = setup.without_ours() if setup.memory else (setup.current, True)
        text = tool.prepared("" if before is None else _text(before, path), path, options)
        document = tool.format.parse(text, path)
        keys = [*tool.runtimes(document, path), name]
        found = setup.entry()
        wanted = tool.entry(document, options)
        if found == wanted:
            return Report(tool.name, "unchanged", path, ["the runtime is there already"])
        if found is not None and setup.memory is None:
            raise Exists(
                f"{path} has a runtime {name!r} that was not put there by {PROGRAM}",
                fix="choose another name with --name, or take that one out",
            )
        after = tool.format.add(text, keys, wanted, path).encode()
        if options.dry_run:
            return Report(tool.name, "would change", path, [], _diff(setup.current, after, path))
        notes = setup.checked(after, present=True)
        setup.keep(before, after)
    if options.reload:
        return Report(tool.name, "installed", path, [*notes, _reload_or_undo(tool, options)])
    return Report(tool.name, "installed", path, [*notes, *tool.afterwards(options)])


def _uninstall(tool: Tool, options: Options) -> Report:
    with _Setup(tool, options) as setup:
        path = setup.path
        found = setup.entry()
        if setup.memory is None:
            if found is None:
                return Report(tool.name, "not installed", path)
            if os.path.basename(tool.runtime_path(found)) != PROGRAM:
                raise Precondition(
                    f"{path} has a runtime {options.name!r} that is not {PROGRAM}", fix="take it out by hand"
                )
        before, is_exact = setup.without_ours()
        if options.dry_run:
            data = b"" if before is None else before.data
            return Report(tool.name, "would change", path, [], _diff(setup.current, data, path))
        notes = []
        if before is not None and not is_exact:
            if tool.default_runtime(tool.format.parse(_text(before, path), path)) == options.name:
                raise Precondition(
                    f"{options.name!r} is the default runtime in {path}", fix="choose another default first"
                )
            notes = setup.checked(before.data, present=False)
        setup.put_back(before)
        if not is_exact:
            notes.append("the file was edited since install: only our entry was taken out")
        if options.reload:
            notes.append(tool.reload(setup.root, options))
    return Report(tool.name, "removed", path, notes)


def _reload_or_undo(tool: Tool, options: Options) -> str:
    """Tell the daemon; if it does not come back with the new file, it gets the old one again."""
    try:
        with Root(options.root) as root:
            return tool.reload(root, options)
    except SampanError as error:
        _uninstall(tool, options.replace(reload=False))
        try:
            with Root(options.root) as root:
                tool.reload(root, options)
        except SampanError as again:
            raise type(error)(
                f"{error.message}; the change was undone, and: {again.message}", fix=error.fix
            ) from error
        raise type(error)(f"{error.message}; the change was undone", fix=error.fix) from error


def _reported(action: Callable[[Tool, Options], Report], tool: Tool, options: Options) -> Report:
    try:
        return action(tool, options)
    except SampanError as error:
        return Report(tool.name, "failed", tool.path(options), [str(error)])
    except OSError as error:
        return Report(
            tool.name, "failed", tool.path(options), [str(from_os_error(error, f"set up {tool.name}"))]
        )


def _named(tools: list[str]) -> list[Tool]:
    for name in tools:
        if name not in TOOLS:
            raise Invalid(
                f"{printable(name[:40])!r} is not a tool that can be set up",
                fix=f"choose from {', '.join(TOOLS)}",
            )
    return [TOOLS[name] for name in dict.fromkeys(tools)]


def _settled(options: Options) -> Options:
    """The options with the runtime's path filled in, and checked."""
    _check_name(options.name)
    path = options.runtime_path or find_program(PROGRAM) or f"{os.path.dirname(sys.executable)}/{PROGRAM}"
    if not path.startswith("/") or not path.isprintable():
        raise Invalid(
            f"the runtime's path {path[:200]!r} is not an absolute path", fix="give it in full, from /"
        )
    with Root(options.root) as root:
        if not root.is_program(path):
            where = "" if options.root == "/" else f" in {options.root}"
            raise NotFound(f"there is no program at {path!r}{where}", fix="name it with --runtime-path")
    return options.replace(runtime_path=path)


def _check_name(name: str) -> None:
    """A DNS label, which a RuntimeClass wants and every tool takes."""
    letters = name.replace("-", "")
    fits = letters.isascii() and letters.isalnum() and letters == letters.lower() and len(name) <= MAX_NAME
    if not fits or name.strip("-") != name or name in RESERVED:
        raise Invalid(
            f"{printable(name[:80])!r} cannot be a runtime's name here",
            fix="use up to 63 small letters, digits and inner dashes, not the name of another runtime",
        )


def _text(content: Content, path: str) -> str:
    try:
        return content.data.decode()
    except UnicodeDecodeError:
        raise Invalid(f"{path} is not UTF-8 text") from None


def _diff(current: Content | None, after: bytes, path: str) -> str:
    from difflib import unified_diff

    old = "" if current is None else _text(current, path)
    lines = unified_diff(old.splitlines(keepends=True), after.decode().splitlines(keepends=True), path, path)
    return "".join(
        line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines
    )
