"""The Jinja environment that a model file's chat template runs in.

A GGUF file is a stranger's, and its template is a program.  The sandbox of Jinja keeps it away from Python's insides;
this environment also keeps it small and short.  Every loop turn and every call takes from an allowance of steps, every
text or container that the template builds is weighed before it is made, and filters and string methods that can blow up
a short text are left out or bounded.  So what is refused does not depend on the machine.  The clock only stands behind
that, for long work on large values: one render takes at most MAX_SECONDS of its thread's own time and some multiples of
MAX_WEIGHT bytes.
"""

from __future__ import annotations

import datetime
import functools
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn, TypeGuard

from jinja2 import TemplateError, nodes, pass_environment
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.visitor import NodeTransformer

MAX_WEIGHT = 8 << 20  # characters of a text; those of a container, with its elements at ELEMENT each
ELEMENT = 16
MAX_ITEMS = 100_000  # of one range()
MAX_BITS = 4096  # of an integer
MAX_PAD = 99  # columns that a number is padded to, or its decimals
MAX_INDENT = 16  # spaces before a line
MAX_STEPS = 20_000_000  # of one render, in nodes of the syntax tree
TURN_STEPS, CALL_STEPS = 8, 100  # what a turn of a loop and a call cost beside the nodes in their bodies
MAX_SECONDS = 1.0  # of one render


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TEXT_METHODS = _names(
    "capitalize casefold count endswith find format index isalnum isalpha isascii isdecimal isdigit isidentifier "
    "islower isnumeric isprintable isspace istitle isupper join lower lstrip partition removeprefix removesuffix "
    "replace rfind rindex rpartition rsplit rstrip split splitlines startswith strip swapcase title upper"
)
# Filters whose result is little bigger than what goes in.  Those that are not here or below are unknown to a template.
_PLAIN_FILTERS = _names(
    "abs attr capitalize count d default dictsort e escape first float forceescape groupby int items last length list "
    "lower map max min reject rejectattr reverse safe select selectattr sort striptags title trim truncate unique "
    "upper urlencode wordcount"
)
_JINJAS_OWN = _names("_loop_vars _block_vars")  # what calls within loops and blocks are given beside their arguments
# A piece of a % format, with its width and precision.
_CONVERSION = re.compile(r"%(?:\([^)]*\))?[-#0 +]*(\*|\d*)(?:\.(\*|\d*))?")


class TooCostly(TemplateError):
    """The template wants more work or memory than a prompt can need."""


def weigh(value: object) -> int:
    """Characters in `value` and ELEMENT for each of its parts, shared ones each time; stops when it is too much."""
    weight, todo = 0, [value]
    while todo:
        item = todo.pop()
        weight += len(item) if isinstance(item, str | bytes) else ELEMENT
        if weight > MAX_WEIGHT:
            raise TooCostly(f"the template builds a value of more than {MAX_WEIGHT} characters")
        if isinstance(item, dict):
            todo += item.keys()
            todo += item.values()
        elif isinstance(item, list | tuple):
            todo += item
    return weight


def _weighed(value: Any) -> Any:
    weigh(value)
    return value


def assembled(parts: Iterable[str]) -> str:
    """The parts in one; TooCostly as soon as they are more than MAX_WEIGHT characters."""
    out, size = [], 0
    for part in parts:
        size += len(part)
        if size > MAX_WEIGHT:
            raise TooCostly(f"the template writes more than {MAX_WEIGHT} characters")
        out.append(part)
    return "".join(out)


def _padding(width: Any, limit: int) -> Any:
    """A width that has been looked at: a number of columns, or the text to fill them with."""
    if (len(width) if isinstance(width, str) else width) > limit:
        raise TooCostly(f"padding of more than {limit} columns")
    return width


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_ITEMS:
        raise TooCostly(f"range() of more than {MAX_ITEMS} items")
    return numbers


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message)[:1000])


def _strftime_now(fmt: str) -> str:
    return datetime.datetime.now().strftime(fmt[:200])


GLOBALS: dict[str, Any] = {
    "namespace": DEFAULT_NAMESPACE["namespace"],
    "range": _bounded_range,
    "dict": dict,
    "cycler": DEFAULT_NAMESPACE["cycler"],
    "joiner": DEFAULT_NAMESPACE["joiner"],
    "raise_exception": _raise_exception,
    "strftime_now": _strftime_now,
}


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    weight = weigh(value)
    if indent is not None and weight * _depth(value) > MAX_WEIGHT:
        raise TooCostly("tojson() of too deep a value")
    pad = None if indent is None else _padding(indent, MAX_INDENT)
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=pad, separators=separators, sort_keys=sort_keys)


def _depth(value: object) -> int:
    depth, level = 0, [value]
    while level:
        depth += 1
        containers = [item.values() if isinstance(item, dict) else item for item in level if _is_container(item)]
        level = [part for container in containers for part in container]
    return depth


def _is_container(value: object) -> TypeGuard[dict[Any, Any] | list[Any] | tuple[Any, ...]]:
    return isinstance(value, dict | list | tuple)


def _replace(text: object, old: object, new: object, count: int | None = None) -> str:
    source, old, new = str(_weighed(text)), str(old), str(new)
    if len(source) + source.count(old) * len(new) > MAX_WEIGHT:
        raise TooCostly("replace() makes too long a text")
    return source.replace(old, new, -1 if count is None else count)


@pass_environment
def _join(
    environment: TemplateSandbox, items: Iterable[object], d: object = "", attribute: str | int | None = None
) -> str:
    parts = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    return _glued(str(d), parts)


def _glued(glue: str, items: Iterable[object]) -> str:
    parts = _weighed(list(items))
    if len(glue) * len(parts) > MAX_WEIGHT:
        raise TooCostly("join() makes too long a text")
    return glue.join(map(str, parts))


def _indent(text: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    source, pad = str(_weighed(text)), _padding(width, MAX_INDENT)
    return str(FILTERS["indent"](source, pad, first, blank))


def _round(number: float, precision: int = 0, method: str = "common") -> float:
    return float(FILTERS["round"](number, _padding(precision, MAX_PAD), method))


@pass_environment
def _total(
    environment: TemplateSandbox, items: Iterable[Any], attribute: str | int | None = None, start: Any = 0
) -> Any:
    parts = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    return functools.reduce(_sum, parts, start)


class _Formatter(SandboxedFormatter):
    """str.format with bounded columns; what it has put together is weighed as it grows."""

    def __init__(self, environment: TemplateSandbox) -> None:
        super().__init__(environment)
        self._weight = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        for width in re.findall(r"\d+", format_spec):
            _padding(int(width), MAX_PAD)
        self._weight += weigh(value)
        if self._weight > MAX_WEIGHT:
            raise TooCostly("format() makes too long a text")
        return super().format_field(value, format_spec)


def _percent(text: str, values: Any) -> str:
    conversions = _CONVERSION.findall(text)
    if any(width == "*" or int(width or 0) > MAX_PAD for pair in conversions for width in pair):
        raise TooCostly(f"padding of more than {MAX_PAD} columns")
    if len(text) + len(conversions) * weigh(values) > MAX_WEIGHT:
        raise TooCostly("% makes too long a text")
    return str(text % values)


def _format(text: object, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise TemplateError("format() takes either positions or names")
    return _percent(str(text), kwargs or args)


def _power(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int) and abs(left).bit_length() * abs(right) > MAX_BITS:
        raise TooCostly("** makes too large a number")
    return left**right


def _product(left: Any, right: Any) -> Any:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise TooCostly("* makes too large a number")
    elif isinstance(left, int) or isinstance(right, int):
        count, value = (left, right) if isinstance(left, int) else (right, left)
        if weigh(value) * max(count, 0) > MAX_WEIGHT:
            raise TooCostly("* makes too long a value")
    return left * right


def _sum(left: Any, right: Any) -> Any:
    if not (isinstance(left, int) and isinstance(right, int)) and weigh(left) + weigh(right) > MAX_WEIGHT:
        raise TooCostly("+ makes too long a value")
    return left + right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, bytes):
        raise SecurityError("% on bytes is not offered to templates")
    return _percent(left, right) if isinstance(left, str) else left % right


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": _sum, "*": _product, "**": _power, "%": _remainder}


class _Bounded(NodeTransformer):
    """Sends loops, macros, `~` and literals of containers through the environment's own filters."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        steps = nodes.Const(TURN_STEPS + _size(node))
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_paid", steps)
        return node

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:
        steps = nodes.Const(_size(node))
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_filtered(steps, "_spend"), lineno=node.lineno))
        return node

    visit_CallBlock = visit_Macro

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "_glued")

    def _container(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        stored = getattr(node, "ctx", "load") != "load"
        return node if stored else _filtered(node, "_weighed")

    visit_List = visit_Dict = visit_Tuple = _container


def _size(node: nodes.Node) -> int:
    return sum(1 for _ in node.find_all(nodes.Node))


def _filtered(node: nodes.Node, name: str, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(node, name, list(args), [], None, None, lineno=node.lineno)


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` marks the assistant's words for training: here only its body counts.
    Names set in it stay in it, as with the block that training libraries make of it."""

    tags = {"generation"}  # noqa: RUF012 (Jinja reads it as a class attribute)

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """One of these per template; not for two threads at a time (it keeps the render's allowance)."""

    intercepted_binops = frozenset(_OPERATORS)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # or constants would be worked out while compiling, before there is an allowance
            finalize=_weighed,
            extensions=[loopcontrols, _Generation],
        )
        self._steps = 0
        self._deadline = self._own_deadline = 0.0
        self.binop_table.update(_OPERATORS)
        self.globals = dict(GLOBALS)
        self.filters = {name: FILTERS[name] for name in _PLAIN_FILTERS}
        self.filters.update(
            string=lambda value: str(_weighed(value)),
            tojson=_tojson,
            replace=_replace,
            join=_join,
            indent=_indent,
            round=_round,
            sum=_total,
            format=_format,
            _glued=functools.partial(_glued, ""),
            _paid=self._paid,
            _spend=self.spend,
            _weighed=_weighed,
        )

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # what macros and {% set %} blocks put together
        return "".join(_weighed(list(parts)))

    def prepare(self, source: str) -> Callable[..., Iterator[str]]:
        """Compiles; the result renders piece by piece."""
        template = self.from_string(_Bounded().visit(self.parse(source)))

        def generate(**variables: object) -> Iterator[str]:
            self._steps = MAX_STEPS
            self._deadline = time.monotonic() + MAX_SECONDS
            self._own_deadline = time.thread_time() + MAX_SECONDS
            return template.generate(**variables)

        return generate

    def spend(self, steps: int) -> None:
        self._steps -= steps
        if self._steps < 0:
            raise TooCostly(f"the template takes more than {MAX_STEPS} steps")
        if time.monotonic() > self._deadline and time.thread_time() > self._own_deadline:
            raise TooCostly(f"the template ran longer than {MAX_SECONDS:g} s")

    def _paid(self, items: Iterable[Any], steps: int) -> Iterator[Any]:
        for item in items:
            self.spend(steps)
            yield item

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self.spend(CALL_STEPS)
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name in ("replace", "join", "format"):
            own = {key: value for key, value in kwargs.items() if key not in _JINJAS_OWN}
            if name == "format":
                return assembled([_Formatter(__self).vformat(owner, args, own)])
            return _replace(owner, *args, **own) if name == "replace" else _glued(owner, *args, **own)
        return _weighed(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | bytes):
            return isinstance(obj, str) and attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No wrapper around str.format: call() bounds it."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return self.binop_table[operator](left, right)
