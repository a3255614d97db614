"""Runs a job on one or more engines: each round is a process of its own, the engines take turns.

The roofline is measured before, between and after the rounds, since a shared machine's memory is not always as fast.
"""

from __future__ import annotations

import subprocess
import sys

import msgspec

from bench import cost, roofline
from bench.results import Figure, figures, run_columns
from bench.workload import Job, Rates

ENGINES = {"llamatw": "bench.ours", "llama-cpp-python": "bench.peer"}  # name -> worker module


class WorkerFailed(Exception):
    """The last line that a worker wrote to standard error."""


def run(job: Job, n_rounds: int, engines: list[str]) -> list[Figure]:
    limits, rates = [roofline.measure(job.threads)], {engine: Rates() for engine in engines}
    for _ in range(n_rounds):
        for engine in engines:
            for test, samples in run_worker(engine, job).items():
                rates[engine].setdefault(test, []).extend(samples)
        limits.append(roofline.measure(job.threads))
    limit = roofline.summary(limits)
    print(limit)
    size, columns = cost.of_model(job.model, job.k_type, job.v_type), run_columns(job.model, job.threads)
    return [row for engine in engines for row in figures(columns, engine, job, rates[engine], size, limit)]


def run_worker(engine: str, job: Job) -> Rates:
    command = [sys.executable, "-m", ENGINES[engine], msgspec.json.encode(job).decode()]
    result = subprocess.run(command, check=False, capture_output=True)
    if result.returncode:
        lines = result.stderr.decode(errors="replace").splitlines()
        raise WorkerFailed(lines[-1] if lines else f"{engine} ended with {result.returncode}")
    return msgspec.json.decode(result.stdout, type=Rates)
