"""What a flag is, and the kinds of values: functions from text to value.

A kind raises ValueError with the end of a sentence whose beginning is the flag's name: "must be from 1 to 9, not 0".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from llamatw.settings import Override

Kind = Callable[[str], Any]

MAX_INT = 2**31 - 1
_MAX_OVERRIDE = 127  # bytes of a key, and of a text
_TRUE = ("true", "1", "on", "enabled")
_FALSE = ("false", "0", "off", "disabled")


class Flag(msgspec.Struct, frozen=True, kw_only=True):
    """One flag that is served.  `name` is the long spelling without its dashes, and the key of its value."""

    name: str
    help: str
    also: tuple[str, ...] = ()  # other spellings, with dashes
    off: tuple[str, ...] = ()  # spellings that say no
    value: str | None = None  # what help calls its value; None: a switch
    kind: Kind = str
    default: Any = None
    env: str | None = None
    repeats: bool = False  # values add up
    bare: str | None = None  # the value when none follows
    field: str | None = None  # the request's field that it is the default of

    @property
    def spellings(self) -> tuple[str, ...]:
        return (*self.also, f"--{self.name}")


def variable(name: str) -> str:
    """Of the environment, as today's server names it."""
    return f"LLAMA_ARG_{name}"


def whole(low: int, high: int) -> Kind:
    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise ValueError(f"must be a whole number, not {text[:40]!r}") from None
        if not low <= number <= high:
            raise ValueError(f"must be from {low} to {high}, not {number}")
        return number

    return read


def real(low: float, high: float) -> Kind:
    def read(text: str) -> float:
        number = any_real(text)
        if not low <= number <= high:
            raise ValueError(f"must be from {low:g} to {high:g}, not {number:g}")
        return number

    return read


def any_whole(text: str) -> int:
    return int(whole(-(2**64), 2**64)(text))


def any_real(text: str) -> float:
    """Whether it is in range is known where requests are checked."""
    try:
        number = float(text)
    except ValueError:
        raise ValueError(f"must be a number, not {text[:40]!r}") from None
    if number != number or abs(number) == float("inf"):
        raise ValueError(f"must be a finite number, not {text!r}")
    return number


def or_else(word: str, meaning: Any, kind: Kind) -> Kind:
    """kind, or one more word with a meaning of its own."""
    return lambda text: meaning if text == word else kind(text)


def one_of(*words: str) -> Kind:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"must be one of {', '.join(words)}, not {text[:40]!r}")
        return text

    return read


def words(text: str) -> tuple[str, ...]:
    """Separated by commas."""
    found = tuple(word.strip() for word in text.split(",") if word.strip())
    if not found:
        raise ValueError(f"must name something, not {text!r}")
    return found


def truth(text: str) -> bool:
    """What a switch may be in the environment."""
    if text.lower() not in _TRUE + _FALSE:
        raise ValueError(f"must be one of {', '.join(_TRUE + _FALSE)}, not {text[:40]!r}")
    return text.lower() in _TRUE


def directory(path: str) -> str:
    """Absolute: a daemon has another working directory."""
    if not os.path.isdir(path):
        raise ValueError(f"{path}: no such directory")
    return os.path.abspath(path)


def readable(path: str) -> str:
    """The absolute path of a file that can be opened."""
    _read(path)
    return os.path.abspath(path)


def contents(path: str) -> str:
    """A file's text."""
    try:
        return _read(path).decode()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: {error}") from None


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror or error}") from None


def keys(text: str) -> tuple[str, ...]:
    return _some_keys(text.split(","))


def key_file(path: str) -> tuple[str, ...]:
    """One key a line; lines that start with # are left out."""
    lines = [line.strip() for line in contents(path).splitlines()]
    return _some_keys([line for line in lines if not line.startswith("#")])


def _some_keys(found: Sequence[str]) -> tuple[str, ...]:
    given = tuple(key.strip() for key in found if key.strip())
    if not given:
        raise ValueError("holds no key, which would leave the server open")
    return given


def json_object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.DecodeError as error:
        raise ValueError(f"must be a JSON object: {error}") from None


def json_file(path: str) -> dict[str, Any]:
    try:
        return json_object(contents(path))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def overrides(text: str) -> tuple[Override, ...]:
    """KEY=TYPE:VALUE, several separated by commas."""
    return tuple(_override(part) for part in text.split(","))


def _override(text: str) -> Override:
    key, equals, typed = text.partition("=")
    kind, colon, value = typed.partition(":")
    if not (key and equals and colon) or len(key.encode()) > _MAX_OVERRIDE:
        raise ValueError(f"must be KEY=TYPE:VALUE with a key of at most {_MAX_OVERRIDE} bytes, not {text[:80]!r}")
    return Override(key=key, value=_override_value(kind, value, text))


def _override_value(kind: str, value: str, text: str) -> int | float | bool | str:
    if kind == "int":
        return int(whole(-(2**63), 2**63 - 1)(value))
    if kind == "float":
        return any_real(value)
    if kind == "bool" and value in ("true", "false"):
        return value == "true"
    if kind == "str" and len(value.encode()) <= _MAX_OVERRIDE and "\0" not in value:
        return value
    wanted = f"int:N, float:N, bool:true, bool:false or str:TEXT of at most {_MAX_OVERRIDE} bytes"
    raise ValueError(f"must have {wanted}, not {text[:80]!r}")


def logit_biases(text: str) -> tuple[list[float], ...]:
    """TOKEN+BIAS or TOKEN-BIAS, as a request would have it."""
    for sign in "+-":
        token, found, bias = text.partition(sign)
        if found and token.isdigit():
            return ([int(token), any_real(sign + bias)],)
    raise ValueError(f"must be TOKEN+BIAS or TOKEN-BIAS, not {text[:40]!r}")
