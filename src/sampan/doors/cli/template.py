"""Go's text/template, as far as people use it with Docker's `--format` and `inspect -f`.

Fields (`.A.B`), variables, pipelines, parentheses, literals, `if`/`else`/`range`/`with`/`end`, `{{-` and `-}}`,
comments, and the functions of `template_functions`. Anything else is refused by its name; a field that is not
there is an error that names those that are.
"""

from __future__ import annotations

from sampan.core.errors import Invalid
from sampan.doors.cli.template_functions import call, show, truth
from sampan.doors.cli.template_syntax import Action, Block, Literal, Nested, Text, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Template:
    """A parsed template.

    Args:
        source: its text; `\\t` and `\\n` outside of actions are a tab and a line end, as Docker has it.

    Raises:
        Invalid: it is malformed, or uses something that is not supported.
    """

    def __init__(self, source: str) -> None:
        self._nodes = parse(source)

    def render(self, value: object, *, titles: bool = False) -> str:
        """The template's text for one value.

        Args:
            titles: `value` has headings instead of data: every field is there, and functions keep it as it is.

        Raises:
            Invalid: a field is not there, or a function cannot take its value.
        """
        out: list[str] = []
        _execute(self._nodes, _Scope(value, {"$": value}, titles), out)
        return "".join(out)


class _Scope:
    """What `.` and the variables are at one place of a template."""

    def __init__(self, dot: Any, variables: dict[str, Any], titles: bool) -> None:
        self.dot = dot
        self.variables = variables
        self.titles = titles

    def inner(self, dot: Any, **variables: Any) -> _Scope:
        return _Scope(dot, {**self.variables, **variables}, self.titles)


def _execute(nodes: list[Any], scope: _Scope, out: list[str]) -> None:
    for node in nodes:
        if isinstance(node, Text):
            out.append(node.text)
        elif isinstance(node, Action):
            value = _evaluate(node.pipeline, scope)
            if node.name:
                scope.variables[node.name] = value
            else:
                out.append(show(value))
        else:
            _execute_block(node, scope, out)


def _execute_block(block: Block, scope: _Scope, out: list[str]) -> None:
    value = _evaluate(block.pipeline, scope)
    if block.word == "range":
        pairs = [] if scope.titles else _pairs(value)
        for key, item in pairs:
            names = block.names
            extra = dict(zip(names, (key, item) if len(names) == 2 else (item,)))
            _execute(block.body, scope.inner(item, **extra), out)
        if not pairs:
            _execute(block.otherwise, scope.inner(scope.dot), out)
        return
    extra = dict.fromkeys(block.names, value)
    if not truth(value):
        _execute(block.otherwise, scope.inner(scope.dot, **extra), out)
    else:
        dot = value if block.word == "with" else scope.dot
        _execute(block.body, scope.inner(dot, **extra), out)


def _pairs(value: Any) -> list[tuple[Any, Any]]:
    if value is None:
        return []
    if isinstance(value, dict):
        return [(key, value[key]) for key in sorted(value)]
    if isinstance(value, list):
        return list(enumerate(value))
    raise Invalid(f"template: range cannot go through {show(value)[:40]!r}")


def _evaluate(pipeline: list[list[Any]], scope: _Scope) -> Any:
    value: Any = None
    for number, command in enumerate(pipeline):
        piped = [value] if number else []
        head, *terms = command
        values = [_term(term, scope) for term in terms] + piped
        if isinstance(head, str) and head[0] not in ".$":
            value = values[-1] if scope.titles and values else call(head, values)
        elif values:
            raise Invalid(f"template: {_shown(head)} is not a function")
        else:
            value = _term(head, scope)
    return value


def _term(term: Any, scope: _Scope) -> Any:
    if isinstance(term, Literal):
        return term.value
    if isinstance(term, Nested):
        return _walk(_evaluate(term.pipeline, scope), term.path, scope)
    if term[0] == "$":
        name, dot, path = term.partition(".")
        if name not in scope.variables:
            raise Invalid(f"template: the variable {name[:40]} is not set")
        return _walk(scope.variables[name], dot + path, scope)
    return _walk(scope.dot, term, scope)


def _walk(value: Any, path: str, scope: _Scope) -> Any:
    """The field `.A.B` of a value."""
    for name in path.split(".")[1:]:
        if not name:
            if path == ".":
                return value
            raise Invalid(f"template: {path[:60]!r} is not a field")
        if not isinstance(value, dict):
            if scope.titles:
                return value
            raise Invalid(f"template: there is no .{name[:40]} in {show(value)[:40]!r}")
        if name not in value:
            if scope.titles:
                return name
            known = ", ".join(sorted(str(key) for key in value))[:400]
            raise Invalid(f"template: there is no field .{name[:40]}", fix=f"there are: {known}")
        value = value[name]
    return value


def _shown(head: Any) -> str:
    return repr(head.value) if isinstance(head, Literal) else str(head)[:40]
