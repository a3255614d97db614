"""docs/speed.svg from the last runs in bench/results: both engines test by test, and how they gain from batching.

    python -m bench.plot [FILE.svg]

The bars come from compare.csv; the lines from batch.csv, or from the bN tests of compare.csv if there is no such file.
Colours are chosen to be read on light and dark pages alike; the background is the page's.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.sax.saxutils import escape

from bench.results import read
from bench.workload import Test, parse

OUT = Path(__file__).parents[1] / "docs" / "speed.svg"
WIDTH, LEFT, RIGHT = 720, 190, 90  # of all; beside the charts
BAR, GAP, GROUP = 12, 2, 40  # heights: of a bar, between two, from one test to the next
CHART, TITLE = 200, 58  # heights: of the line chart, of a title
COLOURS = ("#d4713a", "#8290a6", "#6a9a5b")
STYLE = "text{font:13px system-ui,sans-serif;fill:#808080}.t{font-weight:600}.n{text-anchor:end}.m{text-anchor:middle}"

Row = dict[str, str]


def main() -> None:
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else OUT
    path.write_text(picture(last_run(read("compare")), last_run(read("batch")) or last_run(read("compare"))))
    print(path)


def last_run(rows: Sequence[Row]) -> list[Row]:
    """Those of the same time and model as the last one."""
    same = "date", "commit", "machine", "threads", "model"
    return [row for row in rows if all(row[name] == rows[-1][name] for name in same)]


def picture(compared: Sequence[Row], batched: Sequence[Row]) -> str:
    lines = [row for row in batched if _test(row).kind == "b"]
    engines = list(dict.fromkeys(row["engine"] for row in [*compared, *lines]))
    parts, height = list(_legend(engines)), 30
    for chart, rows in ((_bars, compared), (_lines, lines)):
        if rows:
            drawn, used = chart(rows, engines, height)
            parts, height = [*parts, *drawn], height + used
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>", ""])


def _legend(engines: Sequence[str]) -> Iterator[str]:
    for i, engine in enumerate(engines):
        x = LEFT + 160 * i
        yield f'<rect x="{x}" y="8" width="{BAR}" height="{BAR}" rx="2" fill="{COLOURS[i]}"/>'
        yield _text(x + BAR + 6, 19, engine)


def _bars(rows: Sequence[Row], engines: Sequence[str], top: int) -> tuple[list[str], int]:
    """Length is the share of the roofline, so that tests of all kinds have one scale; the label is the rate."""
    tests = list(dict.fromkeys(row["test"] for row in rows))
    scale = (WIDTH - LEFT - RIGHT) / max(float(row["fraction"]) for row in rows)
    parts = [_title(top, rows[0], "tokens per second; length: share of what the machine allows in that test")]
    for row in rows:
        i, y = engines.index(row["engine"]), top + TITLE + GROUP * tests.index(row["test"])
        y_bar, width = y + i * (BAR + GAP), float(row["fraction"]) * scale
        parts.append(f'<rect x="{LEFT}" y="{y_bar}" width="{width:.1f}" height="{BAR}" rx="2" fill="{COLOURS[i]}"/>')
        parts.append(_text(LEFT + width + 6, y_bar + BAR - 1, f"{float(row['median']):.0f}"))
        if i == 0:
            parts.append(_text(LEFT - 10, y + BAR + GAP + 4, label(_test(row)), "n"))
    return parts, TITLE + GROUP * len(tests)


def _lines(rows: Sequence[Row], engines: Sequence[str], top: int) -> tuple[list[str], int]:
    widest, fastest = max(_test(row).n for row in rows), max(float(row["median"]) for row in rows)
    y_step = _round_step(fastest / 4)
    y_top = math.ceil(fastest / y_step) * y_step
    bottom, width = top + TITLE + CHART, WIDTH - LEFT - RIGHT

    def place(row: Row) -> tuple[float, float]:
        return LEFT + width * _test(row).n / widest, bottom - CHART * float(row["median"]) / y_top

    parts = [_title(top, rows[0], "tokens per second of all streams together, by number of streams")]
    for step in range(round(y_top / y_step) + 1):
        y = bottom - CHART * step * y_step / y_top
        parts.append(f'<path d="M{LEFT} {y:.1f}h{width}" stroke="#808080" stroke-opacity=".3"/>')
        parts.append(_text(LEFT - 10, y + 4, f"{step * y_step:g}", "n"))
    for n in sorted({_test(row).n for row in rows}):
        parts.append(_text(LEFT + width * n / widest, bottom + 20, str(n), "m"))
    for engine in engines:
        parts += _line([place(row) for row in rows if row["engine"] == engine], COLOURS[engines.index(engine)])
    return parts, TITLE + CHART + 36


def _line(points: Sequence[tuple[float, float]], colour: str) -> Iterator[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>'
    for x, y in points:
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'


def _round_step(least: float) -> float:
    """1, 2 or 5 times a power of ten."""
    power: float = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= least)


def _title(top: int, row: Row, text: str) -> str:
    name = f"{row['model'].removesuffix('.gguf')}, {row['threads']} threads"
    return _text(10, top + 24, name, "t") + _text(10, top + 43, text)


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    attribute = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.0f}" y="{y:.0f}"{attribute}>{escape(text)}</text>'


def _test(row: Row) -> Test:
    return parse(row["test"])[0]


def label(test: Test) -> str:
    streams = f"{test.n_seqs} stream{'s' * (test.n_seqs > 1)} of {test.n_new} tokens"
    what = f"prompt of {test.n} tokens" if test.kind == "pp" else streams
    return f"{what} after {test.depth}" if test.depth else what


if __name__ == "__main__":
    main()
