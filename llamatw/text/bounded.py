"""What templates may compute with, each with a bound that is looked at before the result is made.

Filters do what Jinja's of the same name do, except for what would be too large.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable
from typing import Any, TypeGuard

from jinja2 import Environment, TemplateError, pass_environment
from jinja2.exceptions import SecurityError
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.sandbox import SandboxedFormatter

MAX_WEIGHT = 8 << 20  # characters of a text; those of a container, with its elements at ELEMENT each
ELEMENT = 16
MAX_ELEMENTS = MAX_WEIGHT // ELEMENT
MAX_BITS = 4096  # of an integer
MAX_PAD = 99  # columns that a number is padded to, or its decimals
MAX_INDENT = 16  # spaces before a line

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


def weighed(value: Any) -> Any:
    weigh(value)
    return value


def weighing(make: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(make)  # with Jinja's notes of what the filter is given beside its arguments
    def weighing(*args: Any, **kwargs: Any) -> Any:
        return weighed(make(*args, **kwargs))

    return weighing


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


def tojson(
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


def replace(text: object, old: object, new: object, count: int | None = None) -> str:
    source, old, new = str(weighed(text)), str(old), str(new)
    if len(source) + source.count(old) * len(new) > MAX_WEIGHT:
        raise TooCostly("replace() makes too long a text")
    return source.replace(old, new, -1 if count is None else count)


@pass_environment
def join(environment: Environment, items: Iterable[object], d: object = "", attribute: str | int | None = None) -> str:
    parts = items if attribute is None else map(make_attrgetter(environment, attribute), items)
    return glued(str(d), parts)


def glued(glue: str, items: Iterable[object]) -> str:
    parts = weighed(list(items))
    if len(glue) * len(parts) > MAX_WEIGHT:
        raise TooCostly("join() makes too long a text")
    return glue.join(map(str, parts))


def indent(text: object, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    source, pad = str(weighed(text)), _padding(width, MAX_INDENT)
    return str(FILTERS["indent"](source, pad, first, blank))


def round_to(number: float, precision: int = 0, method: str = "common") -> Any:
    return FILTERS["round"](number, _padding(precision, MAX_PAD), method)


@pass_environment
def total(environment: Environment, items: Iterable[Any], attribute: str | int | None = None, start: Any = 0) -> Any:
    parts = list(items if attribute is None else map(make_attrgetter(environment, attribute), items))
    if not isinstance(start, int | float) and _length(start) + len(parts) * sum(map(_length, parts)) > MAX_WEIGHT:
        raise TooCostly("sum() of too many lists")  # each is copied as often as others follow
    return sum(parts, start)


class Formatter(SandboxedFormatter):
    """str.format with bounded columns; what it has put together is weighed as it grows."""

    def __init__(self, environment: Environment) -> None:
        super().__init__(environment)
        self._weight = 0

    def format_field(self, value: Any, format_spec: str) -> Any:
        for width in re.findall(r"\d+", format_spec):
            _padding(int(width), MAX_PAD)
        self._weight += weigh(value) + MAX_PAD
        if self._weight > MAX_WEIGHT:
            raise TooCostly("format() makes too long a text")
        return super().format_field(value, format_spec)


def _percent(text: str, values: Any) -> str:
    conversions = _CONVERSION.findall(text)
    if any(width == "*" or int(width or 0) > MAX_PAD for pair in conversions for width in pair):
        raise TooCostly(f"padding of more than {MAX_PAD} columns")
    if len(text) + len(conversions) * (weigh(values) + MAX_PAD) > MAX_WEIGHT:
        raise TooCostly("% makes too long a text")
    return str(text % values)


def percent_format(text: object, *args: Any, **kwargs: Any) -> str:
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


def _length(value: object) -> int:
    """Characters or elements of the value itself; 0 of what has none."""
    return len(value) if isinstance(value, str | bytes | list | tuple) else 0


def _sum(left: Any, right: Any) -> Any:
    n_parts = _length(left) + _length(right)
    if n_parts > MAX_WEIGHT or (n_parts > MAX_ELEMENTS and not isinstance(left, str | bytes)):
        raise TooCostly("+ makes too long a value")
    return left + right


def _remainder(left: Any, right: Any) -> Any:
    if isinstance(left, bytes):
        raise SecurityError("% on bytes is not offered to templates")
    return _percent(left, right) if isinstance(left, str) else left % right


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {"+": _sum, "*": _product, "**": _power, "%": _remainder}
