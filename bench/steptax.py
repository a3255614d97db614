"""What a decode step costs beside the forward pass: output head, sampling with all that follows it, the Python layer.

    python -m bench.steptax [-m MODEL] [-t THREADS] [--rounds N] [-ctk T] [-ctv T]

Four sequences at the same depth take turns, one token each, so that whatever else the machine does meets them alike:

    python   samples, through Engine.step                 layers + head + sampling + Python
    step     samples, lt_step called directly             layers + head + sampling
    logits   a prompt that goes on, logits asked for      layers + head + a copy of the logits
    body     a prompt that goes on: nothing comes out     layers

`sampling` is step - logits + the copy, timed alone: choosing the token, appending it, its text.  Laying out the rows
and publishing KV pages is in all four, and too little to show.  That lt_step allocates nothing is counted by
tests/clib/test_engine.c.
"""

from __future__ import annotations

import ctypes
import random
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from bench import options
from bench.results import Run, append, run_columns
from bench.workload import N_HEAD_START, Job
from llamatw.capi import _abi
from llamatw.capi._lib import check, library
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings

N_CTX = 1024  # of all four together
N_STEPS = 96
N_WARM_UP = 8  # steps left out
SETTINGS = {
    "greedy": SamplingParams(temperature=0, ignore_eos=True),
    "default": SamplingParams(ignore_eos=True),
    "penalties": SamplingParams(ignore_eos=True, repeat_penalty=1.1, presence_penalty=0.1, repeat_last_n=-1),
    "unfiltered": SamplingParams(ignore_eos=True, top_k=0, top_p=1, min_p=0),
}

Logits = np.ndarray[Any, np.dtype[np.float32]]
Times = dict[str, list[float]]  # what is timed -> seconds, one for each step


class Figure(Run, frozen=True, kw_only=True):
    """One line of steptax.csv: medians in microseconds; shares are of `step`."""

    kv: str
    sampler: str
    steps: int
    step_us: float
    body_us: float
    head_us: float
    sampling_us: float
    python_us: float  # Engine.step above lt_step
    sampling_share: float
    python_share: float


def main() -> None:
    wishes = options.parser(__doc__).parse_args()
    job = options.job(wishes, tests=[])
    figures = measure(job, wishes.rounds)
    show(figures)
    print(append("steptax", figures))


def measure(job: Job, n_rounds: int) -> list[Figure]:
    settings = EngineSettings(
        model_path=job.model, n_ctx=N_CTX, n_threads=job.threads, k_type=job.k_type, v_type=job.v_type
    )
    engine = Engine.open(job.model, settings)
    try:
        return [_figure(job, name, _rounds(engine, sampling, n_rounds)) for name, sampling in SETTINGS.items()]
    finally:
        engine.close()


def _rounds(engine: Engine, sampling: SamplingParams, n_rounds: int) -> Times:
    times = Times()
    for seed in range(n_rounds):
        for name, samples in _round(engine, sampling, seed).items():
            times.setdefault(name, []).extend(samples[N_WARM_UP:])
    return times


def _round(engine: Engine, sampling: SamplingParams, seed: int) -> Times:
    draw, n_vocab = random.Random(seed), engine.info.n_vocab
    ids = [draw.randrange(n_vocab // 8, n_vocab // 2) for _ in range(N_HEAD_START + N_STEPS + 1)]
    prompts = (ids[:N_HEAD_START], ids[:N_HEAD_START], ids, ids)  # the last two never catch up
    seqs = [engine.open_seq(prompt, sampling, use_cache=False)[0] for prompt in prompts]
    for seq in seqs:
        engine.step([Row(seq, N_HEAD_START)])
    logits, copy = np.empty((2, 1, n_vocab), np.float32)
    rows = [Row(seqs[0], 1)]
    work = {
        "python": lambda: engine.step(rows),
        "step": _step(engine, seqs[1]),
        "logits": _step(engine, seqs[2], logits),
        "body": _step(engine, seqs[3]),
        "copy": lambda: ctypes.memmove(copy.ctypes.data, logits.ctypes.data, logits.nbytes),
    }
    times = _take_turns(work)
    for seq in seqs:
        engine.close_seq(seq, keep=False)
    return times


def _step(engine: Engine, seq: int, logits: Logits | None = None) -> Callable[[], object]:
    """A call of lt_step for one token of one sequence, with nothing left to prepare."""
    row = _abi.Row(seq=seq, advance=1, logits=None if logits is None else logits.ctypes.data)
    result, run = _abi.Result(), library().lt_step
    arguments = engine._handle, ctypes.byref(row), 1, ctypes.byref(result)
    return lambda: check(run(*arguments))


def _take_turns(work: dict[str, Callable[[], object]]) -> Times:
    times: Times = {name: [] for name in work}
    for _ in range(N_STEPS):
        for name, call in work.items():
            start = time.perf_counter()
            call()
            times[name].append(time.perf_counter() - start)
    return times


def _figure(job: Job, sampler: str, times: Times) -> Figure:
    """Differences are taken turn by turn, then their median, so that slow moments of the machine cancel out."""
    turns = {name: np.array(samples) * 1e6 for name, samples in times.items()}
    step = float(np.median(turns["step"]))
    head = float(np.median(turns["logits"] - turns["copy"] - turns["body"]))
    sampling = float(np.median(turns["step"] - turns["logits"] + turns["copy"]))
    python = float(np.median(turns["python"] - turns["step"]))
    return Figure(
        **run_columns(job.model, job.threads),
        kv=job.kv,
        sampler=sampler,
        steps=len(turns["step"]),
        step_us=round(step, 1),
        body_us=round(float(np.median(turns["body"])), 1),
        head_us=round(head, 1),
        sampling_us=round(sampling, 1),
        python_us=round(python, 1),
        sampling_share=round(sampling / step, 4),
        python_share=round(python / step, 4),
    )


def show(rows: list[Figure]) -> None:
    print(f"{'microseconds':12} {'step':>8} {'layers':>8} {'head':>8} {'sampling':>9} {'':6} {'Python':>8}")
    for r in rows:
        shares = f"{r.sampling_us:9.1f} {r.sampling_share:6.1%} {r.python_us:8.1f} {r.python_share:6.1%}"
        print(f"{r.sampler:12} {r.step_us:8.1f} {r.body_us:8.1f} {r.head_us:8.1f} {shares}")


if __name__ == "__main__":
    main()
