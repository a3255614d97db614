"""Our engine beside llama-cpp-python: each round is a process of its own, the two take turns, medians are compared.

    python -m bench.compare [-m MODEL] [-t THREADS] [--rounds N]
"""

from __future__ import annotations

from bench.engine import ENGINES, arguments, run
from bench.results import Figure, append, show


def main() -> None:
    rows = run(arguments(__doc__), list(ENGINES))
    show(rows)
    print()
    show_ratios(rows)
    print(append("compare", rows))


def show_ratios(rows: list[Figure]) -> None:
    ours, peer = ({r.test: r.median for r in rows if r.engine == engine} for engine in ENGINES)
    for test in ours:
        print(f"{test:6} {ours[test] / peer[test]:5.2f} times llama-cpp-python")


if __name__ == "__main__":
    main()
