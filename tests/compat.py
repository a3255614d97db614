"""docs/compat.md, from the rows of compat.txt (`make compat`).  test_compat.py holds the rows against the server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
STATES = ("same", "differs", "granted", "refused", "ignored", "absent")
_SHOWN = {"same": "yes", "differs": "otherwise", "granted": "so anyway", "refused": "refused"}
_HEAD = """# Beside llama.cpp's servers

Written by `make compat` from `tests/compat.txt`. The references are llama.cpp's HTTP server of February 2024 and
what it is today. A test sees to it that each flag, route and field that this server has stands here, that it is had
or refused as its row says, and that the test named exists.

*yes*: as there. *otherwise*: served, but not in the same way. *so anyway*: what the flag asks for is the case.
*refused*: a flag is one line on standard error and exit status 1; a route, or a field that asks for something, is
status 501. *ignored*: as any name that is not known. *absent*: status 404, or no such key."""


class Row(NamedTuple):
    section: str
    names: tuple[str, ...]  # or one description, in its quotes
    state: str
    note: str
    test: str  # file::function, below tests/


def rows() -> Iterator[Row]:
    section = ""
    for line in (HERE / "compat.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            section = line.removeprefix("== ")
        elif line and not line.startswith("#"):
            names, state, note, test = (cell.strip() for cell in line.split("|"))
            yield Row(section, _words(section, names), state, note, test)


def _words(section: str, names: str) -> tuple[str, ...]:
    if names.startswith('"'):
        return (names,)
    return tuple(names.split(", " if section == "Routes" else None))


def markdown() -> str:
    parts, section = [_HEAD], ""
    for row in rows():
        if row.section != section:
            section = row.section
            parts.append(f"\n## {section}\n\n| There | Here | Difference | Test |\n|---|---|---|---|")
        parts.append(f"| {_shown(row)} | {_SHOWN.get(row.state, row.state)} | {row.note} | `{row.test}` |")
    return "\n".join(parts) + "\n"


def _shown(row: Row) -> str:
    return " ".join(name.strip('"') if name.startswith('"') else f"`{name}`" for name in row.names)


if __name__ == "__main__":
    print(markdown(), end="")
