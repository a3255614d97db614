"""Our engine beside llama-cpp-python: each round is a process of its own, the two take turns, medians are compared.

    python -m bench.compare [-m MODEL] [-t THREADS] [--rounds N] [--tests pp512,tg64,b8,tg32@4096] [-ctk T] [-ctv T]

llama.cpp has no KV cache of i16 and gets f16 for it, which is as large and as fine.
"""

from __future__ import annotations

from bench import options
from bench.results import append, show, show_ratios
from bench.rounds import ENGINES, run


def main() -> None:
    wishes = options.parser_with_tests(__doc__).parse_args()
    rows = run(options.job(wishes, wishes.tests), wishes.rounds, list(ENGINES))
    show(rows)
    show_ratios(rows)
    print(append("compare", rows))


if __name__ == "__main__":
    main()
