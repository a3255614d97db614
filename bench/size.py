"""Counts what there is to read: lines per folder, and how long functions are."""

from __future__ import annotations

import ast
import re
import statistics
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
LONGEST_SHOWN = 8

Function = tuple[int, str]  # lines, where


def main() -> None:
    lines: dict[str, list[int]] = defaultdict(list)
    functions: dict[str, list[Function]] = {"Python": [], "C": []}
    for path in _sources():
        lines["/".join(path.parent.parts[:3])].append(len(_lines(path)))
        if path.suffix == ".py":
            functions["Python"] += _python_functions(path)
        elif path.suffix in (".c", ".h"):
            functions["C"] += _c_functions(path)
    _show(lines, functions)


def _sources() -> Iterator[Path]:
    """What git tracks, or would track, of our own languages."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in listed:
        if Path(name).suffix in (".py", ".c", ".h", ".cu", ".js", ".css", ".html") and (ROOT / name).exists():
            yield Path(name)


def _lines(path: Path) -> list[str]:
    return (ROOT / path).read_text(encoding="utf-8").splitlines()


def _python_functions(path: Path) -> Iterator[Function]:
    for node in ast.walk(ast.parse("\n".join(_lines(path)))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            yield node.end_lineno - node.lineno + 1, f"{path}:{node.lineno} {node.name}"


def _c_functions(path: Path) -> Iterator[Function]:
    """A function's body opens and closes with a brace in the first column: so clang-format has it."""
    start, lines = 0, _lines(path)
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start:
            yield number - start + 2, f"{path}:{start} {_c_name(lines, start)}"
            start = 0


def _c_name(lines: list[str], brace: int) -> str:
    """The last name before a parenthesis in the lines above the brace."""
    above = " ".join(lines[max(0, brace - 4) : brace - 1])
    names = re.findall(r"(\w+)\(", above)
    return names[-1] if names else ""


def _show(lines: dict[str, list[int]], functions: dict[str, list[Function]]) -> None:
    for folder in sorted(lines):
        counts = lines[folder]
        print(f"{sum(counts):7} lines  {len(counts):3} files  longest {max(counts):4}  {folder}")
    print(f"{sum(map(sum, lines.values())):7} lines")
    for language, found in functions.items():
        if len(found) > 1:
            lengths = [length for length, _ in found]
            p90 = statistics.quantiles(lengths, n=10)[-1]
            print(f"\n{language}: {len(found)} functions, median {statistics.median(lengths):.0f}, p90 {p90:.0f} lines")
            for length, where in sorted(found, reverse=True)[:LONGEST_SHOWN]:
                print(f"{length:7}  {where}")


if __name__ == "__main__":
    main()
