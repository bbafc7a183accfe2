"""Data classes that cost nothing to import.

`dataclasses` costs 15 ms at start (it imports `re` and `inspect`), a third of what `sampan ps` may take in
all, so the records of this project derive from `Record`: the same declaration, checked by mypy in the same
way (PEP 681), with strict reading from JSON added.
"""

from __future__ import annotations

import sys
from types import GenericAlias, UnionType

from sampan.core.errors import Invalid

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self, dataclass_transform
else:

    def dataclass_transform(**_):
        return lambda cls: cls


def camel(name: str) -> str:
    """`oci_version` as the OCI runtime specification spells it: `ociVersion`."""
    head, *rest = name.split("_")
    return head + "".join(part.title() for part in rest)


def pascal(name: str) -> str:
    """`working_dir` as Docker's image configuration spells it: `WorkingDir`."""
    return "".join(part.title() for part in name.split("_"))


@dataclass_transform()
class Record:
    """Base of all data classes: fields are the annotated names, in order, with defaults as class values.

    A list or dict default is copied for each instance. `json` gives the JSON names that are not the
    camel case of the field's name. Keys that the record does not know are kept in `unknown` and written
    out again, so reading and writing a document loses nothing.
    """

    _names: dict[str, str] = {}  # field name -> JSON name
    _types: dict[str, Any] | None = None
    unknown: dict[str, Any]

    def __init_subclass__(cls, json: dict[str, str] | None = None, case: Any = camel) -> None:
        own = [n for n in cls.__annotations__ if not n.startswith("_")]
        overrides = json or {}
        cls._names = {**cls._names, **{n: overrides.get(n, case(n)) for n in own}}
        cls._types = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        cls = type(self)
        if len(args) > len(cls._names):
            raise TypeError(f"{cls.__name__} takes {len(cls._names)} values, not {len(args)}")
        values = dict(zip(cls._names, args, strict=False))
        for name in kwargs:
            if name not in cls._names or name in values:
                raise TypeError(f"{cls.__name__}: unexpected or repeated {name!r}")
        values.update(kwargs)
        for name in cls._names:
            if name in values:
                value = values[name]
            else:
                try:
                    value = getattr(cls, name)
                except AttributeError:
                    raise TypeError(f"{cls.__name__} needs {name!r}") from None
                if isinstance(value, (list, dict)):
                    value = value.copy()
            setattr(self, name, value)
        self.unknown = {}

    def __repr__(self) -> str:
        shown = ", ".join(f"{n}={getattr(self, n)!r}" for n in type(self)._names)
        return f"{type(self).__name__}({shown})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.__dict__ == other.__dict__

    __hash__ = None  # type: ignore[assignment]

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed."""
        values = {n: getattr(self, n) for n in type(self)._names}
        copy = type(self)(**{**values, **changes})
        copy.unknown = dict(self.unknown)
        return copy

    @classmethod
    def from_json(cls, value: object, where: str = "$") -> Self:
        """The record that a decoded JSON object describes.

        `null` counts as absent, as Go's encoders write it for an empty list.

        Raises:
            Invalid: a value has the wrong type or a required one is missing; the message has its path.
        """
        if not isinstance(value, dict):
            raise Invalid(f"expected an object at {where}, got {_kind(value)}")
        if cls._types is None:
            cls._types = _resolve_types(cls)
        record = cls.__new__(cls)
        left = dict(value)
        for name, key in cls._names.items():
            given = left.pop(key, None)
            if given is not None:
                setattr(record, name, _read(cls._types[name], given, f"{where}.{key}"))
                continue
            try:
                default = getattr(cls, name)
            except AttributeError:
                raise Invalid(f"{where}.{key} is missing") from None
            setattr(record, name, default.copy() if isinstance(default, (list, dict)) else default)
        record.unknown = left
        return record

    @classmethod
    def prepare_all(cls) -> None:
        """Works out the field types of every record below this one, which the first reading of each does otherwise.

        For a process that forks many that read.
        """
        for kind in cls.__subclasses__():
            try:
                kind._types = _resolve_types(kind)
            except NameError:  # it has types that only a checker knows: no such record is read
                pass
            kind.prepare_all()

    def to_json(self) -> dict[str, Any]:
        """The JSON object of this record; values equal to the field's default are left out."""
        cls = type(self)
        out: dict[str, Any] = {}
        for name, key in cls._names.items():
            value = getattr(self, name)
            if name in cls.__dict__ and value == cls.__dict__[name]:
                continue
            out[key] = _write(value)
        out.update(self.unknown)
        return out


def _resolve_types(cls: type[Record]) -> dict[str, Any]:
    """The run-time types of all fields, own and inherited, from their annotations."""
    types: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base is not Record and issubclass(base, Record):
            scope = vars(sys.modules[base.__module__])
            for name, annotation in base.__annotations__.items():
                is_text = isinstance(annotation, str)
                types[name] = eval(annotation, scope) if is_text else annotation  # noqa: S307 - our own source
    return types


def _read(kind: Any, value: Any, where: str) -> Any:
    if isinstance(kind, UnionType):
        kind = next(k for k in kind.__args__ if k is not type(None))
    if isinstance(kind, GenericAlias):
        if kind.__origin__ is list:
            if not isinstance(value, list):
                raise Invalid(f"expected a list at {where}, got {_kind(value)}")
            return [_read(kind.__args__[0], v, f"{where}[{i}]") for i, v in enumerate(value)]
        if not isinstance(value, dict):
            raise Invalid(f"expected an object at {where}, got {_kind(value)}")
        return {k: _read(kind.__args__[1], v, f"{where}.{k}") for k, v in value.items()}
    if kind is object:
        return value
    if issubclass(kind, Record):
        return kind.from_json(value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:  # `is`: True is not an integer here
        raise Invalid(f"expected {_NAMES.get(kind, kind.__name__)} at {where}, got {_kind(value)}")
    return value


_NAMES = {str: "a string", int: "an integer", bool: "true or false", float: "a number",
          dict: "an object", list: "a list"}  # fmt: skip


def _kind(value: object) -> str:
    return "null" if value is None else _NAMES.get(type(value), type(value).__name__)


def _write(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_json()
    if isinstance(value, list):
        return [_write(v) for v in value]
    if isinstance(value, dict):
        return {k: _write(v) for k, v in value.items()}
    return value
