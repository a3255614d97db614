"""Our engine alone: prompt, single-stream and batched rates beside what the machine allows.

    python -m bench.engine [-m MODEL] [-t THREADS] [--rounds N]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys

import msgspec

from bench import roofline
from bench.results import Figure, append, figures, show
from bench.workload import Job, Rates, model_size
from llamatw import models

ENGINES = {"llamatw": "bench.ours", "llama-cpp-python": "bench.peer"}  # name -> worker module
REPEATS = 3  # in each round, after a warm-up


def main() -> None:
    rows = run(arguments(__doc__), ["llamatw"])
    show(rows)
    print(append("engine", rows))


def arguments(description: str | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-m", "--model", help="path or name (the default model)")
    parser.add_argument("-t", "--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3, help="processes for each engine")
    return parser.parse_args()


def run(wishes: argparse.Namespace, engines: list[str]) -> list[Figure]:
    """The engines take turns; the roofline counts at its best of before, between and after."""
    model = str(models.resolve(wishes.model))
    job = Job(model, wishes.threads, REPEATS)
    limits, rates = [roofline.measure(wishes.threads)], {engine: Rates() for engine in engines}
    for _ in range(wishes.rounds):
        for engine in engines:
            for test, samples in _worker(ENGINES[engine], job).items():
                rates[engine].setdefault(test, []).extend(samples)
        limits.append(roofline.measure(wishes.threads))
    limit = _best(limits)
    print(limit)
    size = model_size(model)
    return [row for engine in engines for row in figures(engine, model, rates[engine], size, limit)]


def _worker(module: str, job: Job) -> Rates:
    command = [sys.executable, "-m", module, msgspec.json.encode(job).decode()]
    return msgspec.json.decode(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout, type=Rates)


def _best(limits: list[roofline.Roofline]) -> roofline.Roofline:
    rates = {name: max(getattr(x, name) for x in limits) for name in ("int8_1", "int8_all", "read_1", "read_all")}
    return msgspec.structs.replace(limits[0], **rates)


if __name__ == "__main__":
    main()
