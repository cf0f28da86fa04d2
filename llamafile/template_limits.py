"""A jinja sandbox whose templates come to an end: rounds of loops, calls of macros, lengths and time are counted."""

from __future__ import annotations

import threading
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOURCE_LIMIT = 1 << 18  # characters of a template
STEP_LIMIT = 1_000_000  # rounds of loops and calls of macros
TEXT_LIMIT = 16 << 20  # characters of the result, and of any text on the way to it
SECONDS = 4.0
LIST_LIMIT = 1_000_000  # items of a list that a template joins or repeats

_running = threading.local()


def render(compiled: Any, variables: dict[str, Any]) -> str:
    """Return what a compiled template makes of variables; raise jinja's SecurityError beyond the limits."""
    _running.steps, _running.until = 0, time.monotonic() + SECONDS
    parts, size = [], 0
    for part in compiled.generate(**variables):
        parts.append(part)
        size += len(part)
        if size > TEXT_LIMIT:
            raise _over("writes too much")
    return "".join(parts)


def _over(what: str) -> Exception:
    from jinja2.exceptions import SecurityError

    return SecurityError(f"the template {what}")


def _step() -> None:
    _running.steps += 1
    if _running.steps > STEP_LIMIT or (_running.steps % 256 == 0 and time.monotonic() > _running.until):
        raise _over("does not come to an end")


def _counted(items: Any) -> Any:
    """Return the rounds of a loop, each counted; what has a length keeps it."""
    return _Counted(items) if hasattr(items, "__len__") else map(_passed, items)


def _passed(item: Any) -> Any:
    _step()
    return item


class _Counted:
    def __init__(self, items: Any) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Any:
        return map(_passed, self.items)


def _sized(value: Any) -> Any:
    """Return a value that is not too long; raise SecurityError for others."""
    if isinstance(value, str) and len(value) > TEXT_LIMIT:
        raise _over("makes too long a text")
    if isinstance(value, (list, tuple)) and len(value) > LIST_LIMIT:
        raise _over("makes too long a list")
    return value


def _joined(parts: Any) -> str:
    texts = [str(part) for part in parts]
    if sum(map(len, texts)) > TEXT_LIMIT:
        raise _over("makes too long a text")
    return "".join(texts)


def environment(**settings: Any) -> Any:
    """Return the sandbox, whose settings are those of jinja's own environments."""
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Limited(ImmutableSandboxedEnvironment):
        """Counts what runs, and keeps every operator from making texts or lists without end."""

        intercepted_binops = frozenset(("+", "*", "%", "**"))

        def _parse(self, source: str, name: Any, filename: Any) -> Any:
            if len(source) > SOURCE_LIMIT:
                raise _over(f"has more than {SOURCE_LIMIT} characters")
            tree = super()._parse(source, name, filename)
            for loop in list(tree.find_all(nodes.For)):
                loop.iter = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
            macros: list[Any] = [*tree.find_all(nodes.Macro), *tree.find_all(nodes.CallBlock)]
            for macro in macros:
                call = nodes.Filter(nodes.Const(""), "stepped", [], [], None, None, lineno=macro.lineno)
                macro.body.insert(0, nodes.ExprStmt(call, lineno=macro.lineno))
            return _with_joins(tree, nodes)

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "*":
                _check_product(left, right)
            if operator == "%" and isinstance(left, str):
                _check_widths(left + "9999999" * ("%*" in left))
            if operator == "**" and not (abs(left) < 1 << 64 and abs(right) < 64):
                raise _over("computes too large a number")
            return _sized(super().call_binop(context, operator, left, right))

        def call(self, context: Any, function: Any, *args: Any, **kwargs: Any) -> Any:
            _step()
            if function is not self.globals["range"] and any(isinstance(a, int) and a > TEXT_LIMIT for a in args):
                raise _over("asks for too much")
            return _sized(super().call(context, function, *args, **kwargs))

        def wrap_str_format(self, value: Any) -> Any:
            wrapped = super().wrap_str_format(value)
            if wrapped is not None:
                _check_widths(value.__self__)
            return wrapped

    made = Limited(**settings)
    del made.globals["lipsum"]
    made.filters["counted"] = _counted
    made.filters["stepped"] = lambda value: _step()
    made.filters["concatenated"] = _joined
    for name in ("join", "replace", "center", "indent", "format"):
        made.filters[name] = _guarded(made.filters[name], name)
    return made


def _with_joins(tree: Any, nodes: Any) -> Any:
    """Return the tree with a filter in place of each ~, which is no operator that a sandbox can look into."""
    for parent in [tree, *tree.find_all(nodes.Node)]:
        for field, value in parent.iter_fields():
            if isinstance(value, nodes.Concat):
                setattr(parent, field, _join_of(value, nodes))
            elif isinstance(value, list):
                value[:] = [_join_of(v, nodes) if isinstance(v, nodes.Concat) else v for v in value]
    return tree


def _join_of(concat: Any, nodes: Any) -> Any:
    parts = nodes.List(concat.nodes, lineno=concat.lineno)
    return nodes.Filter(parts, "concatenated", [], [], None, None, lineno=concat.lineno)


def _check_product(left: Any, right: Any) -> None:
    for items, times in ((left, right), (right, left)):
        if isinstance(items, (str, list, tuple)) and isinstance(times, int) and \
                len(items) * times > (TEXT_LIMIT if isinstance(items, str) else LIST_LIMIT):
            raise _over("makes too long a text or list")


def _check_widths(form: str) -> None:
    """Keep formats from padding without end."""
    digits = 0
    for char in form:
        digits = digits + 1 if char.isdigit() else 0
        if digits > 6:
            raise _over("pads a text too far")


def _guarded(function: Any, name: str) -> Any:
    """Return a filter that refuses what would grow without end, else as it was."""
    import functools

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if isinstance(value, int) and value > 1 << 20:
                raise _over("asks for too much")
        if name == "format":
            for value in args:
                if isinstance(value, str):
                    _check_widths(value)
        if name == "replace":
            _check_replacement([value for value in args if isinstance(value, str)])
        return _sized(function(*args, **kwargs))

    return guarded


def _check_replacement(texts: list[str]) -> None:
    if len(texts) >= 3 and len(texts[2]) * (texts[0].count(texts[1]) if texts[1] else len(texts[0]) + 1) > TEXT_LIMIT:
        raise _over("makes too long a text")
