"""Mounts as people wish for them: `-v`, `--mount`, `--tmpfs` and `--dir`.

Says what is wished, not how it is made; touches no file. What the kernel would do and a container of ours cannot
(propagation, drivers) is refused.
"""

from __future__ import annotations

from sampan.core.commandline import FALSE, TRUE
from sampan.core.errors import Invalid, Unimplemented
from sampan.core.record import Record
from sampan.core.units import parse_size
from sampan.engine.grants import Preopen

WITHOUT_EFFECT = frozenset(
    {"z", "Z", "cached", "delegated", "consistent", "nocopy", "private", "rprivate", "rbind"}
)
PROPAGATION = frozenset({"shared", "rshared", "slave", "rslave"})
_NAME_FIRST = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME = _NAME_FIRST | frozenset("_.-")


class MountWish(Record):
    """A mount that was asked for.

    `kind`: bind (`source` is a path as typed), volume (`source` is its name, "" for a new one of no name) or tmpfs
    (`size` in bytes, 0 for no limit; `mode` of its root). `create`: a missing source is made, as `-v` does.
    """

    kind: str
    source: str
    target: str
    read_only: bool = False
    create: bool = False
    size: int = 0
    mode: int = 0o1777


def parse_volume(text: str) -> MountWish:
    """The wish of `[SOURCE:]PATH[:OPTIONS]`.

    Raises:
        Invalid: not such a text. Unimplemented: a propagation other than private.
    """
    parts = text.split(":")
    if len(parts) > 3 or not all(parts):
        raise Invalid(f"--volume {text[:80]!r} is not [SOURCE:]PATH[:OPTIONS]")
    options = parts.pop() if len(parts) == 3 else ""
    target = _target("volume", parts[-1])
    source = parts[0] if len(parts) == 2 else ""
    read_only = False
    for option in options.split(",") if options else []:
        if option in ("ro", "readonly"):
            read_only = True
        elif option in PROPAGATION:
            raise Unimplemented(f"--volume {text[:80]!r}: mounts do not propagate, so {option} cannot be had")
        elif option != "rw" and option not in WITHOUT_EFFECT:
            raise Invalid(f"--volume {text[:80]!r}: {option[:20]!r} is not an option", fix="ro and rw are")
    if source.startswith(("/", ".", "~")):
        return MountWish("bind", source, target, read_only, create=True)
    return MountWish("volume", _volume_name(source), target, read_only)


def parse_mount(text: str) -> MountWish:
    """The wish of `type=bind|volume|tmpfs,source=,target=[,readonly]`, as Docker's `--mount`.

    Raises:
        Invalid: not such a text. Unimplemented: an option that cannot be had.
    """
    wish = MountWish("volume", "", "")
    for field in _csv(text):
        key, equals, value = field.partition("=")
        _apply(wish, text, key.strip().lower(), value.strip() if equals else None)
    wish.target = _target("mount", wish.target)
    if wish.kind == "bind" and not wish.source:
        raise Invalid(f"--mount {text[:80]!r}: a bind needs a source")
    if wish.kind == "tmpfs" and wish.source:
        raise Invalid(f"--mount {text[:80]!r}: a tmpfs has no source")
    if wish.kind == "volume":
        wish.source = _volume_name(wish.source)
    return wish


def _apply(wish: MountWish, text: str, key: str, value: str | None) -> None:
    refusal = Unimplemented(f"--mount {text[:80]!r}: {key[:30]} cannot be had")
    if key in ("readonly", "ro"):
        wish.read_only = _truth(text, key, value)
    elif value is None:
        if key in ("bind-nonrecursive", "volume-nocopy"):
            raise refusal
        raise Invalid(f"--mount {text[:80]!r}: {key[:40]!r} is not KEY=VALUE")
    elif key == "type":
        if value not in ("bind", "volume", "tmpfs"):
            raise Invalid(f"--mount {text[:80]!r}: the type is bind, volume or tmpfs")
        wish.kind = value
    elif key in ("source", "src"):
        wish.source = value
    elif key in ("target", "destination", "dst"):
        wish.target = value
    elif key == "tmpfs-size":
        wish.size = parse_size(value, "size of a tmpfs")
    elif key == "tmpfs-mode":
        wish.mode = _mode(text, value)
    elif key == "bind-propagation" and value in ("private", "rprivate"):
        return
    elif key.startswith(("bind-", "volume-", "image-")) or key == "consistency":
        raise refusal
    else:
        raise Invalid(f"--mount {text[:80]!r}: {key[:40]!r} is not an option of mounts")


def parse_tmpfs(text: str) -> MountWish:
    """The wish of `PATH[:size=64m,mode=1777,ro]`.

    Raises:
        Invalid: not such a text.
    """
    path, _, options = text.partition(":")
    wish = MountWish("tmpfs", "", _target("tmpfs", path))
    for option in options.split(",") if options else []:
        key, _, value = option.partition("=")
        if key == "size":
            wish.size = parse_size(value, "size of a tmpfs")
        elif key == "mode":
            wish.mode = _mode(text, value)
        elif key == "ro":
            wish.read_only = True
        elif key not in ("rw", "noexec", "nosuid", "nodev"):  # the last three are always so
            raise Invalid(
                f"--tmpfs {text[:80]!r}: {key[:20]!r} is not an option", fix="size, mode, ro and rw are"
            )
    return wish


def parse_dir(text: str) -> Preopen:
    """The folder of `HOST[::GUEST][:ro]`; without GUEST the guest sees it under the host's name.

    Raises:
        Invalid: a name is empty.
    """
    body = text.removesuffix(":ro")
    host, colons, guest = body.partition("::")
    if not host or (colons and not guest):
        raise Invalid(f"--dir {text[:80]!r} is not HOST[::GUEST][:ro]")
    return Preopen(host, guest or host, body != text)


def _target(flag: str, path: str) -> str:
    """A mount's place inside the container, tidied."""
    if not path.startswith("/"):
        raise Invalid(f"--{flag}: the place inside the container must start with '/', {path[:80]!r} does not")
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise Invalid(f"--{flag}: the place inside the container must not have '..' in it: {path[:80]!r}")
    if not parts:
        raise Invalid(f"--{flag}: nothing can be mounted on the container's '/'")
    return "/" + "/".join(parts)


def _volume_name(name: str) -> str:
    if name and (name[0] not in _NAME_FIRST or not _NAME.issuperset(name) or len(name) > 255):
        raise Invalid(f"{name[:60]!r} is not a volume's name", fix="a path starts with '/', './' or '~/'")
    return name


def _mode(text: str, value: str) -> int:
    if not value or len(value) > 5 or not set(value) <= set("01234567") or int(value, 8) > 0o7777:
        raise Invalid(f"{text[:80]!r}: the mode {value[:20]!r} is not octal, like 1777")
    return int(value, 8)


def _truth(text: str, key: str, value: str | None) -> bool:
    if value is None or value in TRUE:
        return True
    if value not in FALSE:
        raise Invalid(f"--mount {text[:80]!r}: {key} is true or false")
    return False


def _csv(text: str) -> list[str]:
    """The fields of one line of CSV (RFC 4180), which is how `--mount` quotes a comma."""
    fields: list[str] = []
    rest = text
    while True:
        if rest.startswith('"'):
            field, rest = _quoted(text, rest[1:])
        else:
            end = rest.find(",")
            field, rest = (rest, "") if end < 0 else (rest[:end], rest[end:])
        fields.append(field)
        if not rest:
            return fields
        if not rest.startswith(","):
            raise Invalid(f'--mount {text[:80]!r}: a comma is missing after a "')
        rest = rest[1:]


def _quoted(text: str, rest: str) -> tuple[str, str]:
    field = ""
    while True:
        part, quote, rest = rest.partition('"')
        field += part
        if not quote:
            raise Invalid(f'--mount {text[:80]!r}: a " is not closed')
        if not rest.startswith('"'):
            return field, rest
        field, rest = field + '"', rest[1:]
