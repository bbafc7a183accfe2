"""What a spec may say, told before anything is made of it: the parts that every platform has. config.md

Only values are looked at, never the host: whether a path exists or a right is held comes out later. Each refusal
names the field as the document spells it (`process.rlimits[2]`). What belongs to Linux is in `linuxchecks`.
"""

from __future__ import annotations

from sampan.core.errors import Exhausted, Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from sampan.core.spec.runtime import Hooks, Mount, Process, Rlimit, Root, Spec, User

MAX_ID = 2**32 - 2  # 2^32-1 means "leave as it is" to the kernel
MOST_GROUPS = 65536
MOST_MOUNTS = 4096
MOST_PATH = 4095
MOST_ENTRY = 128 << 10
"""Bytes of one argument or variable: the kernel's own limit for programs."""
MOST_ENTRIES = 2 << 20
"""Bytes of all arguments and variables together, as for a program with the usual stack."""
MOST_ANNOTATION = 256 << 10
MOST_KEY = 4096
RLIMITS = [f"RLIMIT_{name}" for name in (
    "CPU", "FSIZE", "DATA", "STACK", "CORE", "RSS", "NPROC", "NOFILE", "MEMLOCK", "AS", "LOCKS", "SIGPENDING",
    "MSGQUEUE", "NICE", "RTPRIO", "RTTIME",
)]  # fmt: skip
"""In the kernel's order, which is their number."""
HOOK_KINDS = ("prestart", "create_runtime", "create_container", "start_container", "poststart", "poststop")


def check_common(spec: Spec) -> None:
    """Refuse a spec whose version, root, process, mounts, hooks or annotations cannot be followed.

    Raises:
        Invalid: a value is missing, malformed or out of range. Exhausted: there is too much of something.
    """
    check_version(spec.oci_version)
    check_root(spec.root)
    if spec.process is None:
        raise Invalid("process is missing", fix="give it args, and cwd")
    check_process(spec.process)
    check_mounts(spec.mounts)
    if spec.hooks is not None:
        check_hooks(spec.hooks)
    check_annotations(spec.annotations)
    for field, name in (("hostname", spec.hostname), ("domainname", spec.domainname)):
        check_text(name, field)
        if len(name.encode()) > 64:
            raise Invalid(f"{field} is longer than the 64 bytes that Linux allows")


def check_version(version: str) -> None:
    """Refuse what is not version 1 of the specification: semantic versions of any 1.x are read."""
    core = version.partition("+")[0].partition("-")[0]
    parts = core.split(".")
    if len(parts) != 3 or not all(p.isascii() and p.isdigit() and len(p) < 9 for p in parts):
        raise Invalid(f"ociVersion {version[:40]!r} is not a version", fix="1.2.0 is one")
    if parts[0] != "1":
        raise Invalid(
            f"ociVersion {version[:40]!r} is not supported", fix="use version 1 of the specification"
        )


def check_root(root: Root | None) -> None:
    if root is None:
        raise Invalid("root is missing", fix='give it a path: "root": {"path": "rootfs"}')
    check_path(root.path, "root.path", absolute=False)


def check_process(process: Process) -> None:
    """Refuse a process that could not be started as it is described."""
    if not process.args or not process.args[0]:
        raise Invalid("process.args is empty: there is no entrypoint", fix="name the module to run")
    _check_entries(process.args, "process.args")
    _check_entries(process.env, "process.env")
    for number, entry in enumerate(process.env):
        if entry.find("=") < 1:
            raise Invalid(f"process.env[{number}] {entry[:40]!r} is not NAME=VALUE")
    if sum(len(text) for text in (*process.args, *process.env)) > MOST_ENTRIES:
        raise Exhausted(f"process.args and process.env are more than {MOST_ENTRIES} bytes together")
    _check_cwd(process.cwd)
    if process.console_size is not None:
        check_range(process.console_size.height, 0, 65535, "process.consoleSize.height")
        check_range(process.console_size.width, 0, 65535, "process.consoleSize.width")
    if process.user is not None:
        check_user(process.user)
    check_rlimits(process.rlimits)
    if process.oom_score_adj is not None:
        check_range(process.oom_score_adj, -1000, 1000, "process.oomScoreAdj")


def check_user(user: User) -> None:
    check_range(user.uid, 0, MAX_ID, "process.user.uid")
    check_range(user.gid, 0, MAX_ID, "process.user.gid")
    if user.umask is not None:
        check_range(user.umask, 0, 0o777, "process.user.umask")
    if len(user.additional_gids) > MOST_GROUPS:
        count = len(user.additional_gids)
        raise Invalid(
            f"process.user.additionalGids has {count} groups, more than the {MOST_GROUPS} that Linux has"
        )
    for number, gid in enumerate(user.additional_gids):
        check_range(gid, 0, MAX_ID, f"process.user.additionalGids[{number}]")


def check_rlimits(rlimits: list[Rlimit]) -> None:
    """Refuse resource limits that are unknown, twice there, or have a soft limit above the hard one."""
    seen = set()
    for number, limit in enumerate(rlimits):
        where = f"process.rlimits[{number}]"
        if limit.type not in RLIMITS:
            raise Invalid(
                f"{where}.type {limit.type[:40]!r} is not a resource limit", fix="RLIMIT_NOFILE is one"
            )
        if limit.type in seen:
            raise Invalid(f"{where}: {limit.type} stands there twice")
        seen.add(limit.type)
        check_range(limit.soft, 0, 2**64 - 1, f"{where}.soft")
        check_range(limit.hard, 0, 2**64 - 1, f"{where}.hard")
        if limit.soft > limit.hard:
            raise Invalid(f"{where}: the soft limit of {limit.type} is above the hard limit")


def check_mounts(mounts: list[Mount]) -> None:
    """Refuse mounts whose place could be outside the root filesystem, or the root itself."""
    if len(mounts) > MOST_MOUNTS:
        raise Invalid(f"mounts has {len(mounts)} entries, more than the {MOST_MOUNTS} allowed")
    for number, mount in enumerate(mounts):
        where = f"mounts[{number}]"
        check_path(mount.destination, f"{where}.destination")
        parts = [part for part in mount.destination.split("/") if part not in ("", ".")]
        if not parts or ".." in parts:
            raise Invalid(f"{where}.destination {mount.destination[:60]!r} is the root, or leads out of it")
        for field, text in (("type", mount.type), ("source", mount.source)):
            check_text(text, f"{where}.{field}")
        for option in mount.options:
            check_text(option, f"{where}.options")


def check_hooks(hooks: Hooks) -> None:
    """Refuse hooks that name no program of the host, or have no time to run."""
    for kind in HOOK_KINDS:
        name = hooks._names[kind]
        for number, hook in enumerate(getattr(hooks, kind)):
            where = f"hooks.{name}[{number}]"
            check_path(hook.path, f"{where}.path")
            _check_entries(hook.args, f"{where}.args")
            _check_entries(hook.env, f"{where}.env")
            if hook.timeout is not None:
                check_range(hook.timeout, 1, 2**31 - 1, f"{where}.timeout")


def check_annotations(annotations: dict[str, str]) -> None:
    for key, value in annotations.items():
        if not key or len(key) > MOST_KEY:
            raise Invalid(f"annotations: the key {key[:40]!r} is empty or longer than {MOST_KEY}")
        check_text(key, "annotations")
        check_text(value, f"annotations.{key[:60]}")
        if len(value) > MOST_ANNOTATION:
            raise Exhausted(f"annotations.{key[:60]} has more than {MOST_ANNOTATION} bytes")


def check_path(path: str, where: str, *, absolute: bool = True) -> None:
    """Refuse a path that is empty, too long, has a NUL, or is not absolute where it has to be."""
    check_text(path, where)
    if not path or (absolute and not path.startswith("/")):
        raise Invalid(f"{where} {path[:60]!r} is not {'an absolute' if absolute else 'a'} path")
    if len(path.encode()) > MOST_PATH:
        raise Invalid(f"{where} is longer than {MOST_PATH} bytes")


def check_text(text: str, where: str) -> None:
    """Refuse what no C string can hold: a NUL, half of a surrogate pair."""
    if "\0" in text:
        raise Invalid(f"{where} has a NUL byte in it")
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        raise Invalid(f"{where} has half of a surrogate pair in it")


def check_range(value: int, least: int, most: int, where: str) -> None:
    """Refuse a number outside `least` to `most`."""
    if not least <= value <= most:
        raise Invalid(f"{where} is {str(value)[:24]}, not {least} to {most}")


def _check_entries(entries: list[str], where: str) -> None:
    for number, entry in enumerate(entries):
        check_text(entry, f"{where}[{number}]")
        if len(entry) > MOST_ENTRY:
            raise Exhausted(f"{where}[{number}] has more than {MOST_ENTRY} bytes")


def _check_cwd(cwd: str) -> None:
    check_path(cwd, "process.cwd")
    parts: list[str] = []
    for part in cwd.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in ("", "."):
            parts.append(part)
    if parts[:1] == ["proc"]:
        raise Invalid(f"process.cwd {cwd[:60]!r} is below /proc, where a workload has no place")
