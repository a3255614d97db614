"""Our engine alone: prompt, single-stream and batched rates beside what the machine allows.

python -m bench.engine [-m MODEL] [-t THREADS] [--rounds N] [--tests pp512,tg64,b8,tg32@4096] [-ctk T] [-ctv T]
"""

from __future__ import annotations

from bench import options
from bench.results import append, show
from bench.rounds import run


def main() -> None:
    wishes = options.parser_with_tests(__doc__).parse_args()
    rows = run(options.job(wishes, wishes.tests), wishes.rounds, ["llamatw"])
    show(rows)
    print(append("engine", rows))


if __name__ == "__main__":
    main()
