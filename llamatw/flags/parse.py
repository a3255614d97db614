"""Words of the command line and variables of the environment -> values by flag name.  The command line wins.

Spellings are exact; `--flag value` and `--flag=value` are the same; a value is taken whatever it looks like.
"""

from __future__ import annotations

import difflib
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from llamatw.errors import UsageMistake
from llamatw.flags.kinds import Flag, truth
from llamatw.flags.refused import REFUSED, Refused
from llamatw.flags.table import FLAGS

Values = dict[str, Any]

_PREFIX = "LLAMA_ARG_"
_BY_SPELLING = {spelling: flag for flag in FLAGS for spelling in flag.spellings}
_BY_DENIAL = {spelling: flag for flag in FLAGS for spelling in flag.off}
_REFUSED = {spelling: refused for refused in REFUSED for spelling in refused.names}
_BY_VARIABLE = {flag.env: flag for flag in FLAGS if flag.env}
_BY_VARIABLE["LLAMA_ARG_WEBUI"] = _BY_VARIABLE["LLAMA_ARG_UI"]  # its older name
_BY_DENYING_VARIABLE = {
    name.replace(_PREFIX, f"{_PREFIX}NO_"): flag for name, flag in _BY_VARIABLE.items() if name and flag.off
}
_REFUSED_VARIABLES = {refused.env: refused for refused in REFUSED if refused.env}
_SUGGESTED = sorted(name for name in {*_BY_SPELLING, *_BY_DENIAL, *_REFUSED} if "_" not in name)


def parse(argv: Sequence[str], environment: Mapping[str, str]) -> Values:
    """Every flag's value, its default where neither says anything.  Raises UsageMistake: one line."""
    values = from_environment(environment) | from_words(argv)
    return {flag.name: values.get(flag.name, flag.default) for flag in FLAGS}


def from_words(argv: Sequence[str]) -> Values:
    values: Values = {}
    rest = deque(argv)
    while rest:
        word = rest.popleft()
        if not word.startswith("-") or word == "-":
            raise UsageMistake(f"unexpected argument {word!r}")
        name, equals, value = word.partition("=")
        _take(values, name, value if equals else None, rest)
    return values


def _take(values: Values, name: str, value: str | None, rest: deque[str]) -> None:
    if name in _REFUSED:
        _refuse(name, _REFUSED[name], value, rest)
    elif name in _BY_DENIAL:
        _switch(values, _BY_DENIAL[name], name, value, False)
    elif name not in _BY_SPELLING:
        raise UsageMistake(f"unknown flag {name}{_nearest(name, _SUGGESTED)}")
    elif _BY_SPELLING[name].value is None:
        _switch(values, _BY_SPELLING[name], name, value, True)
    else:
        _valued(values, _BY_SPELLING[name], value, rest)


def _switch(values: Values, flag: Flag, name: str, value: str | None, on: bool) -> None:
    if value is not None:
        raise UsageMistake(f"{name} takes no value")
    values[flag.name] = on


def _valued(values: Values, flag: Flag, value: str | None, rest: deque[str]) -> None:
    if value is None and flag.bare is not None and (not rest or rest[0].startswith("-")):
        value = flag.bare
    if value is None:
        if not rest:
            raise UsageMistake(f"--{flag.name} needs a value: {flag.value}")
        value = rest.popleft()
    read = _read(flag, f"--{flag.name}", value)
    values[flag.name] = (*values.get(flag.name, ()), *read) if flag.repeats else read


def _read(flag: Flag, source: str, text: str) -> Any:
    try:
        return flag.kind(text)
    except ValueError as error:
        raise UsageMistake(f"{source} {error}") from None


def _refuse(name: str, refused: Refused, value: str | None, rest: deque[str]) -> None:
    """A wish for what is the case anyway is none."""
    if refused.takes_value and value is None and rest:
        value = rest.popleft()
    if not (value in refused.granted if refused.takes_value else refused.is_granted):
        raise UsageMistake(f"{name} is not supported: {refused.reason}")


def from_environment(environment: Mapping[str, str]) -> Values:
    values: Values = {}
    for name, text in environment.items():
        flag = _BY_VARIABLE.get(name)
        if flag:
            values[flag.name] = _read(flag, name, text) if flag.value else _truth(name, text)
        elif name in _BY_DENYING_VARIABLE:
            _deny(values, _BY_DENYING_VARIABLE[name], name, environment)
        elif name in _REFUSED_VARIABLES:
            _refuse_variable(name, _REFUSED_VARIABLES[name], text)
        elif name.startswith(_PREFIX):
            raise UsageMistake(f"unknown variable {name}{_nearest(name, [*_BY_VARIABLE, *_REFUSED_VARIABLES])}")
    return values


def _deny(values: Values, flag: Flag, name: str, environment: Mapping[str, str]) -> None:
    """Being there is enough for llama-server, whatever it says; ours must not say the opposite."""
    if environment[name] and not _truth(name, environment[name]):
        raise UsageMistake(f"{name} says no by being there; {flag.env} takes true and false")
    if flag.env in environment:
        raise UsageMistake(f"{name} and {flag.env} were given: one is enough")
    values[flag.name] = False


def _truth(name: str, text: str) -> bool:
    try:
        return truth(text)
    except ValueError as error:
        raise UsageMistake(f"{name} {error}") from None


def _refuse_variable(name: str, refused: Refused, text: str) -> None:
    is_wish = text not in refused.granted if refused.takes_value else _truth(name, text) != refused.is_granted
    if is_wish:
        raise UsageMistake(f"{name} is not supported: {refused.reason}")


def _nearest(name: str, known: Sequence[str | None]) -> str:
    near = difflib.get_close_matches(name, [word for word in known if word])
    near.sort(key=lambda word: sorted(word) != sorted(name))  # first the one whose letters have changed places
    return f"; the nearest known one is {near[0]}" if near else ""
