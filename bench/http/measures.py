"""From answers to measures, from repeats to medians, to a table and to rows of bench/results/http.csv.

A measure's name ends with its unit where it has one; without, it is a count or a ratio.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence

from bench.http.answer import NOTHING, Answer
from bench.results import Run

Measures = dict[str, float]


class Figure(Run, frozen=True, kw_only=True):
    """One line of http.csv: one measure of one scenario."""

    scenario: str  # with the arguments that are not its own: "poisson:rate=8"
    flags: str  # of the server; a URL that was given
    extra: str  # JSON of fields added to each generating request; ""
    seed: int
    measure: str
    median: float
    least: float
    most: float
    repeats: int  # those that have this measure


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that at least so many percent of them do not exceed."""
    return sorted(samples)[max(math.ceil(len(samples) * percent / 100), 1) - 1]


def spread(name: str, seconds: Sequence[float], *, largest: bool = False) -> Measures:
    """NAME_p50_ms, NAME_p99_ms and perhaps NAME_max_ms; nothing of no samples."""
    if not seconds:
        return {}
    found = {f"{name}_p{percent}_ms": percentile(seconds, percent) * 1e3 for percent in (50, 99)}
    return found | ({f"{name}_max_ms": max(seconds) * 1e3} if largest else {})


def summary(answers: Sequence[Answer]) -> Measures:
    """What every scenario says about its requests, which are taken to be all of a stretch of time."""
    good = [answer for answer in answers if answer.complete]
    wall_s = max(a.ended for a in answers) - min(a.started for a in answers)
    n_tokens, n_computed = sum(a.n_tokens for a in good), sum(a.n_computed for a in good)
    return {
        "requests": len(answers),
        **errors(answers),
        **spread("ttft", [a.ttft_s for a in good if a.times]),
        **spread("gap", [gap for a in good for gap in a.gaps], largest=True),
        "tokens": n_tokens,
        "tokens_per_s": n_tokens / wall_s if wall_s > 0 else 0.0,
        "prompt_tokens": n_computed + sum(a.n_cached for a in good),
        "prompt_tokens_computed": n_computed,
        "wall_s": wall_s,
    }


def errors(answers: Sequence[Answer]) -> Measures:
    """errors, and by status: errors_429; errors_none had no answer, errors_cut lost the rest of a 200."""
    found = Counter(_error(answer) for answer in answers if not answer.complete)
    return {"errors": found.total(), **{f"errors_{name}": n for name, n in sorted(found.items())}}


def _error(answer: Answer) -> str:
    return {NOTHING: "none", 200: "cut"}.get(answer.status, str(answer.status))


def prefixed(prefix: str, measures: Measures) -> Measures:
    return {f"{prefix}_{name}": value for name, value in measures.items()}


def medians(repeats: Sequence[Measures]) -> dict[str, tuple[float, float, float, int]]:
    """measure -> median, least, most, in how many repeats there is such a measure; in the order they first appear."""
    names = dict.fromkeys(name for measures in repeats for name in measures)
    samples = {name: [m[name] for m in repeats if name in m] for name in names}
    return {name: (statistics.median(s), min(s), max(s), len(s)) for name, s in samples.items()}


def show(figures: Sequence[Figure]) -> None:
    print(f"\n{figures[0].scenario:36} {'median':>12} {'least':>12} {'most':>12}")
    for f in figures:
        print(f"  {f.measure:34} {_shown(f.median):>12} {_shown(f.least):>12} {_shown(f.most):>12}")


def rounded(value: float) -> float:
    """Four digits, but whole numbers stay as they are."""
    return value if value == int(value) else float(f"{value:.4g}")


def _shown(value: float) -> str:
    return f"{value:.0f}" if value == int(value) else f"{value:.4g}" if abs(value) < 1000 else f"{value:.1f}"
