"""The Jinja environment that a model file's chat template runs in.

A GGUF file is a stranger's, and its template is a program.  The sandbox of Jinja keeps it away from Python's insides;
this environment also keeps it small and short.  Every loop turn and every call looks at the clock, every text or
container that the template builds is weighed before it is made, and filters and string methods that can blow up a short
text are left out.  So one render takes at most MAX_SECONDS and some multiples of MAX_WEIGHT bytes.
"""

from __future__ import annotations

import datetime
import json
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_WEIGHT = 8 << 20  # characters of a text; characters and elements of a container
MAX_ITEMS = 100_000  # of one range()
MAX_BITS = 4096  # of an integer
MAX_SECONDS = 1.0  # of one render


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_TEXT_METHODS = _names(
    "capitalize count endswith find index isalnum isalpha isascii isdecimal isdigit isidentifier islower isnumeric "
    "isspace istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition "
    "rsplit rstrip split splitlines startswith strip swapcase title upper"
)
# Filters whose result is no bigger than what goes in.  Those that are not here or below are unknown to a template.
_PLAIN_FILTERS = _names(
    "abs attr capitalize count d default dictsort e escape first float groupby int items last length list lower map "
    "max min reject rejectattr reverse safe select selectattr sort title trim unique upper wordcount"
)


class TooCostly(TemplateError):
    """The template wants more time or memory than a prompt can need."""


def weigh(value: object) -> int:
    """Characters and elements in `value`, shared parts counted each time; stops as soon as it is too much."""
    weight, todo = 0, [value]
    while todo:
        item = todo.pop()
        weight += len(item) + 1 if isinstance(item, str | bytes | list | tuple | dict) else 1
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
    "raise_exception": _raise_exception,
    "strftime_now": _strftime_now,
}


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    weigh(value)
    depth = None if indent is None else max(0, min(int(indent), 16))
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=depth, separators=separators, sort_keys=sort_keys)


def _replace(text: object, old: str, new: str, count: int = -1) -> str:
    source = str(_weighed(text))
    if len(source) + source.count(old) * len(new) > MAX_WEIGHT:
        raise TooCostly("replace() makes too long a text")
    return source.replace(old, new, count)


def _join(items: Iterable[object], separator: object = "", attribute: str | int | None = None) -> str:
    parts = _weighed([_look_up(item, attribute) for item in items])
    glue = str(separator)
    if len(glue) * len(parts) > MAX_WEIGHT:
        raise TooCostly("join() makes too long a text")
    return glue.join(str(part) for part in parts)


def _look_up(item: Any, attribute: str | int | None) -> Any:
    return item if attribute is None else item[attribute]


def _indent(text: object, width: int = 4, first: bool = False, blank: bool = False) -> str:
    lines = str(_weighed(text)).split("\n")
    pad = " " * max(0, min(int(width), 16))
    out = [pad + line if line or blank else line for line in lines]
    return "\n".join(out if first else [lines[0], *out[1:]])


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
    if isinstance(left, str | bytes):
        raise SecurityError("% on text is not offered to templates")
    return left % right


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": _sum, "*": _product, "**": _power, "%": _remainder}


class _Bounded(NodeTransformer):
    """Sends loops, `~` and literals of containers through the environment's own filters."""

    def visit_For(self, node: nodes.For) -> nodes.Node:
        self.generic_visit(node)
        node.iter = _filtered(node.iter, "_timed")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _filtered(nodes.List(node.nodes, lineno=node.lineno), "join")

    def _container(self, node: nodes.Node) -> nodes.Node:
        self.generic_visit(node)
        stored = getattr(node, "ctx", "load") != "load"
        return node if stored else _filtered(node, "_weighed")

    visit_List = visit_Dict = visit_Tuple = _container


def _filtered(node: nodes.Node, name: str) -> nodes.Filter:
    return nodes.Filter(node, name, [], [], None, None, lineno=node.lineno)


class _Generation(Extension):
    """`{% generation %}...{% endgeneration %}` marks the assistant's words for training: here only its body counts."""

    tags = {"generation"}  # noqa: RUF012 (Jinja reads it as a class attribute)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class TemplateSandbox(ImmutableSandboxedEnvironment):
    """One of these per template; not for two threads at a time (it keeps the render's deadline)."""

    intercepted_binops = frozenset(_OPERATORS)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # or constant expressions would be worked out while compiling, before there is a deadline
            finalize=_weighed,
            extensions=[loopcontrols, _Generation],
        )
        self._deadline = 0.0
        self.binop_table.update(_OPERATORS)
        self.globals = dict(GLOBALS)
        self.filters = {name: FILTERS[name] for name in _PLAIN_FILTERS}
        self.filters.update(
            string=lambda value: str(_weighed(value)),
            tojson=_tojson,
            replace=_replace,
            join=_join,
            indent=_indent,
            _timed=self._timed,
            _weighed=_weighed,
        )

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # what macros and {% set %} blocks put together
        return "".join(_weighed(list(parts)))

    def prepare(self, source: str) -> Callable[..., Iterator[str]]:
        """Compiles; the result renders piece by piece."""
        template = self.from_string(_Bounded().visit(self.parse(source)))

        def generate(**variables: object) -> Iterator[str]:
            self._deadline = time.monotonic() + MAX_SECONDS
            return template.generate(**variables)

        return generate

    def tick(self) -> None:
        if time.monotonic() > self._deadline:
            raise TooCostly(f"the template ran longer than {MAX_SECONDS:g} s")

    def _timed(self, items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            self.tick()
            yield item

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:
        __self.tick()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            return _replace(owner, *args, **kwargs)
        if isinstance(owner, str) and name == "join":
            return _join(args[0] if args else (), owner)
        return _weighed(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | bytes):
            return isinstance(obj, str) and attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """str.format stays what is_safe_attribute says: not offered."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return self.binop_table[operator](left, right)
