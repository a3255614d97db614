"""The flags in words: for the terminal, and as the tables of docs/flags.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

from llamatw.flags.kinds import Flag
from llamatw.flags.refused import REFUSED
from llamatw.flags.table import GROUPS

_INDENT = 26
_WIDTH = 110


def usage() -> str:
    """What --help prints."""
    head = "Usage: twistd [twistd's own options] llama [-m FILE] [flags]\nServes a GGUF language model over HTTP.\n"
    tail = (
        "Each variable is the flag's value where the command line has none; switches take "
        "true, 1, on, enabled and their opposites.\n"
    )
    groups = (f"\n{title}:\n" + "\n".join(map(_entry, flags)) + "\n" for title, flags in GROUPS)
    return f"{head}{''.join(groups)}\n{tail}"


def _entry(flag: Flag) -> str:
    label = f"  {', '.join(_spellings(flag))}"
    text = textwrap.wrap(_sentence(flag), _WIDTH - _INDENT)
    if len(label) < _INDENT - 1:
        text[0] = f"{label:<{_INDENT}}{text[0]}"
        return "\n".join([text[0], *(" " * _INDENT + line for line in text[1:])])
    return "\n".join([label, *(" " * _INDENT + line for line in text)])


def _spellings(flag: Flag) -> Iterator[str]:
    *first, last = flag.spellings
    yield from first
    yield last + (f" [{flag.value}]" if flag.bare else f" {flag.value}" if flag.value else "")
    yield from flag.off


def _sentence(flag: Flag) -> str:
    notes = [] if "(default" in flag.help else list(_default(flag))
    if flag.env:
        notes.append(f"env {flag.env}")
    return flag.help + (f" ({', '.join(notes)})" if notes else "")


def _default(flag: Flag) -> Iterator[str]:
    if flag.value is None and flag.off:
        yield f"default: {'on' if flag.default else 'off'}"
    elif flag.value is not None and flag.default not in (None, (), ""):
        value = flag.default
        yield f"default: {','.join(value) if isinstance(value, tuple) else value}"


def markdown() -> str:
    """docs/flags.md."""
    parts = [
        "# Flags",
        "Written by `make flags` from `llamatw/flags`, like `--help`. A flag given twice counts as it was given\n"
        "last, unless its values add up. The command line beats the environment. What a flag cannot be is one line on\n"
        "standard error and exit status 1; so is a flag, or a variable `LLAMA_ARG_...`, that nobody knows.\n"
        "A variable's name with `NO_` in it (`LLAMA_ARG_NO_MMAP`) says no to a switch that has a spelling for that.",
    ]
    parts += [_section(title, flags) for title, flags in GROUPS]
    refused = [f"| {' '.join(f'`{name}`' for name in r.names)} | {_cell(r.reason)} | {_granted(r)} |" for r in REFUSED]
    parts.append("\n".join(["## Refused", "", "| Flags | Why | Taken nevertheless |", "|---|---|---|", *refused]))
    return "\n\n".join(parts) + "\n"


def _section(title: str, flags: list[Flag]) -> str:
    rows = [
        f"| {', '.join(f'`{word}`' for word in _spellings(flag)).replace('|', chr(92) + '|')} | {_cell(_row(flag))} | "
        f"{f'`{flag.env}`' if flag.env else ''} |"
        for flag in flags
    ]
    return "\n".join([f"## {title}", "", "| Flag | What it does | Environment |", "|---|---|---|", *rows])


def _row(flag: Flag) -> str:
    notes = [] if "(default" in flag.help else list(_default(flag))
    return flag.help + (f" ({', '.join(notes)})" if notes else "")


def _granted(refused: object) -> str:
    values = getattr(refused, "granted", ())
    return ", ".join(f"`{value}`" for value in values) or ("yes" if getattr(refused, "is_granted", False) else "")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
