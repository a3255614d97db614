"""What a decode step costs more behind a long context, beside what reading its keys and values must cost.

    python -m bench.depth [-m MODEL] [-t THREADS] [--rounds N] [--depths 1024,4096] [-ctk T] [-ctv T]

A sequence with next to nothing behind it and one of each depth take turns, one token each, in one process, so that
whatever else the machine does meets them alike.  `extra` is the median of the differences turn by turn; `limit` is the
bytes of those keys and values by the roofline's rate of reading, measured between the rounds.
"""

from __future__ import annotations

import random
import time
from typing import Any

import numpy as np

from bench import cost, options, roofline
from bench.results import Run, append, run_columns
from bench.roofline import Roofline
from bench.workload import N_BATCH, N_HEAD_START, Job
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings

GREEDY = SamplingParams(temperature=0, ignore_eos=True)
N_STEPS = 64  # of each sequence in a round
N_WARM_UP = 4  # of these, left out
PAGE_TOKENS = 64  # the pool is dealt out in pages

Times = np.ndarray[Any, np.dtype[np.float64]]  # seconds


class Figure(Run, frozen=True, kw_only=True):
    """One line of depth.csv: medians in microseconds."""

    kv: str
    depth: int
    steps: int
    step_us: float  # with nothing behind it
    extra_us: float
    limit_us: float
    ratio: float  # extra / limit
    kv_mib: float
    read_gbs: float  # the best of the run
    read_median_gbs: float


def main() -> None:
    parser = options.parser(__doc__)
    parser.add_argument("--depths", default="4096", type=lambda s: [int(n) for n in s.split(",")], help="(%(default)s)")
    wishes = parser.parse_args()
    figures = measure(options.job(wishes, tests=[]), wishes.depths, wishes.rounds)
    show(figures)
    print(append("depth", figures))


def measure(job: Job, depths: list[int], n_rounds: int) -> list[Figure]:
    all_depths = [N_HEAD_START, *depths]
    n_each = [depth + n_rounds * N_STEPS + PAGE_TOKENS for depth in all_depths]
    settings = EngineSettings(
        model_path=job.model,
        n_ctx=sum(n_each),
        n_seqs=len(all_depths),
        n_threads=job.threads,
        n_threads_batch=job.threads,
        k_type=job.k_type,
        v_type=job.v_type,
    )
    engine = Engine.open(job.model, settings)
    try:
        seqs = [_read(engine, depth) for depth in all_depths]
        limits, rounds = [roofline.measure(job.threads)], []
        for _ in range(n_rounds):
            rounds.append(_take_turns(engine, seqs)[N_WARM_UP:])
            limits.append(roofline.measure(job.threads))
    finally:
        engine.close()
    limit, times = roofline.summary(limits), np.concatenate(rounds)
    print(limit)
    return [_figure(job, depth, times[:, 0], times[:, i + 1], limit) for i, depth in enumerate(depths)]


def _read(engine: Engine, depth: int) -> int:
    """A sequence of which all but the prompt's last token is computed."""
    draw, n_vocab = random.Random(depth), engine.info.n_vocab
    ids = [draw.randrange(n_vocab // 8, n_vocab // 2) for _ in range(depth)]
    seq, _ = engine.open_seq(ids, GREEDY, use_cache=False)
    for first in range(0, depth, N_BATCH):
        engine.step([Row(seq, min(N_BATCH, depth - first))])
    return seq


def _take_turns(engine: Engine, seqs: list[int]) -> Times:
    times = np.empty((N_STEPS, len(seqs)))
    for turn in times:
        for i, seq in enumerate(seqs):
            start = time.perf_counter()
            engine.step([Row(seq, 1)])
            turn[i] = time.perf_counter() - start
    return times


def _figure(job: Job, depth: int, shallow: Times, deep: Times, limit: Roofline) -> Figure:
    n_bytes = (depth - N_HEAD_START) * cost.of_model(job.model, job.k_type, job.v_type).kv_bytes
    extra, least = float(np.median(deep - shallow)), n_bytes / limit.read_all
    return Figure(
        **run_columns(job.model, job.threads),
        kv=job.kv,
        depth=depth,
        steps=len(deep),
        step_us=round(float(np.median(shallow)) * 1e6, 1),
        extra_us=round(extra * 1e6, 1),
        limit_us=round(least * 1e6, 1),
        ratio=round(extra / least, 3),
        kv_mib=round(n_bytes / (1 << 20), 1),
        read_gbs=round(limit.read_all / 1e9, 1),
        read_median_gbs=round(limit.read_all_median / 1e9, 1),
    )


def show(rows: list[Figure]) -> None:
    for r in rows:
        print(
            f"{r.depth} tokens, {r.kv_mib:.0f} MiB: {r.extra_us / 1e3:.2f} ms more than {r.step_us / 1e3:.2f}, "
            f"at the least {r.limit_us / 1e3:.2f}: {r.ratio:.2f} times"
        )


if __name__ == "__main__":
    main()
