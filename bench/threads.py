"""Which number of threads is fastest here, beside the one that the server has by itself.

    python -m bench.threads [-m MODEL] [--rounds N] [--tests pp512,tg64] [-ctk T] [-ctv T]

The numbers take turns, round by round.  With -t, none above it is tried; else up to the processors that there are.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import msgspec

from bench import cost, options, roofline
from bench.results import Figure, append, figures, run_columns
from bench.rounds import run_worker
from bench.workload import Job, Rates

TRIED = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256)


def main() -> None:
    parser = options.parser_with_tests(__doc__)
    parser.set_defaults(tests="pp512,tg64", threads=min(len(os.sched_getaffinity(0)), TRIED[-1]))
    wishes = parser.parse_args()
    usual = options.thread_count()
    rows = measure(options.job(wishes, wishes.tests), counts(wishes.threads, usual), wishes.rounds)
    show(rows, usual)
    print(append("threads", rows))


def counts(most: int, usual: int) -> list[int]:
    return sorted({n for n in (*TRIED, usual, most) if n <= most})


def measure(job: Job, numbers: Sequence[int], n_rounds: int) -> list[Figure]:
    jobs = [msgspec.structs.replace(job, threads=n) for n in numbers]
    rates: dict[int, Rates] = {n: {} for n in numbers}
    limits: dict[int, list[roofline.Roofline]] = {n: [] for n in numbers}
    for _ in range(n_rounds):
        for each in jobs:
            limits[each.threads].append(roofline.measure(each.threads))
            for test, samples in run_worker("llamatw", each).items():
                rates[each.threads].setdefault(test, []).extend(samples)
    size = cost.of_model(job.model, job.k_type, job.v_type)
    return [
        row
        for n, each in zip(numbers, jobs, strict=True)
        for row in figures(run_columns(job.model, n), "llamatw", each, rates[n], size, roofline.summary(limits[n]))
    ]


def show(rows: Sequence[Figure], usual: int) -> None:
    """Tokens per second, and in per cent of the fastest number's."""
    tests = list(dict.fromkeys(row.test for row in rows))
    best = {test: max(row.median for row in rows if row.test == test) for test in tests}
    print(f"{'threads':9}" + "".join(f"{test:>20}" for test in tests))
    for n in dict.fromkeys(row.threads for row in rows):
        medians = {row.test: row.median for row in rows if row.threads == n}
        cells = [f"{medians[test]:12.1f} ({medians[test] / best[test]:4.0%})" for test in tests]
        print(f"{n:4}{' *' if n == usual else '':5}" + "".join(f"{cell:>20}" for cell in cells))
    print("* is the server's own number")


if __name__ == "__main__":
    main()
