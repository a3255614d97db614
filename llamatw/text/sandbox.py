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
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NoReturn

from jinja2 import TemplateError, nodes
from jinja2.defaults import DEFAULT_NAMESPACE
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from llamatw.text import bounded
from llamatw.text.bounded import TooCostly, assembled, weighed

MAX_ITEMS = 100_000  # of one range()
MAX_FORMAT = 200  # characters of a date's format
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
    "abs attr capitalize count d default dictsort first float groupby int items last length list lower map max min "
    "reject rejectattr reverse safe select selectattr sort striptags title trim truncate unique upper wordcount"
)
_GROWING_FILTERS = _names("e escape forceescape urlencode")  # by a factor; the result is weighed
_JINJAS_OWN = _names("_loop_vars _block_vars")  # what calls within loops and blocks are given beside their arguments


def _bounded_range(*args: int) -> range:
    numbers = range(*args)
    if len(numbers) > MAX_ITEMS:
        raise TooCostly(f"range() of more than {MAX_ITEMS} items")
    return numbers


def _raise_exception(message: object) -> NoReturn:
    raise TemplateError(str(message)[:1000])


def _strftime_now(fmt: str) -> str:
    if len(fmt) > MAX_FORMAT:
        raise TooCostly(f"strftime_now() of more than {MAX_FORMAT} characters")
    return datetime.datetime.now().strftime(fmt)


GLOBALS: dict[str, Any] = {
    "namespace": DEFAULT_NAMESPACE["namespace"],
    "range": _bounded_range,
    "dict": dict,
    "cycler": DEFAULT_NAMESPACE["cycler"],
    "joiner": DEFAULT_NAMESPACE["joiner"],
    "raise_exception": _raise_exception,
    "strftime_now": _strftime_now,
}


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

    intercepted_binops = frozenset(bounded.OPERATORS)

    def __init__(self) -> None:
        super().__init__(
            trim_blocks=True,
            lstrip_blocks=True,
            optimized=False,  # or constants would be worked out while compiling, before there is an allowance
            finalize=weighed,
            extensions=[loopcontrols, _Generation],
        )
        self._steps = 0
        self._deadline = self._own_deadline = 0.0
        self.binop_table.update(bounded.OPERATORS)
        self.globals = dict(GLOBALS)
        self.filters = {name: FILTERS[name] for name in _PLAIN_FILTERS}
        self.filters.update({name: bounded.weighing(FILTERS[name]) for name in _GROWING_FILTERS})
        self.filters.update(
            string=lambda value: str(weighed(value)),
            tojson=bounded.tojson,
            replace=bounded.replace,
            join=bounded.join,
            indent=bounded.indent,
            round=bounded.round_to,
            sum=bounded.total,
            format=bounded.percent_format,
            _glued=functools.partial(bounded.glued, ""),
            _paid=self._paid,
            _spend=self.spend,
            _weighed=weighed,
        )

    @staticmethod
    def concat(parts: Iterable[str]) -> str:  # what macros and {% set %} blocks put together
        return "".join(weighed(list(parts)))

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
                return assembled([bounded.Formatter(__self).vformat(owner, args, own)])
            return bounded.replace(owner, *args, **own) if name == "replace" else bounded.glued(owner, *args, **own)
        return weighed(super().call(__context, __obj, *args, **kwargs))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, str | bytes):
            return isinstance(obj, str) and attr in _TEXT_METHODS
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """No wrapper around str.format: call() bounds it."""

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        return self.binop_table[operator](left, right)
