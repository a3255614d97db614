"""What a decode step costs beside the model's own work: choosing tokens, the Python layer, the engine thread's loop.

    python -m bench.steptax [-m MODEL] [-t THREADS] [--rounds N] [-ctk T] [-ctv T]

A turn of StepLoop (plan, step, commit, publish) is measured with one sequence and with sixteen.  The engine counts the
time in lt_step, and of that in layers and output head (lt_engine_stats).  So a turn falls into

    model     layers and head; how much of it the head is, steps of prompts that go on tell, from which nothing comes
    sampling  the rest of lt_step: choosing tokens, appending them, their text and KV pages
    python    the rest of Engine.step
    loop      the rest of the turn

and `share` is all but the model; the table also shows that of sampling and Python, which an engine without a server
has as well.  A server's other thread, which may hold Python's lock meanwhile, is not there.  That
lt_step allocates nothing is counted by tests/clib/test_engine.c.
"""

from __future__ import annotations

import collections.abc
import random
import statistics
import time
from array import array
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from bench import options
from bench.results import Run, append, run_columns
from bench.workload import N_HEAD_START, Job
from llamatw.capi.engine import Engine, Out, Row
from llamatw.capi.records import SamplingParams
from llamatw.engine.loop import Abort, EngineLike, StepLoop, Submit
from llamatw.engine.scheduler import Deltas
from llamatw.engine.sequence import FinishReason, GenerationParams, Sequence
from llamatw.settings import EngineSettings

N_SEQS = (1, 16)
N_STEPS = 96
N_WARM_UP = 8  # steps left out
N_CTX = 2 * max(N_SEQS) * 2 * N_STEPS  # of all together
SETTINGS = {
    "greedy": SamplingParams(temperature=0, ignore_eos=True, logprobs=False),
    "default": SamplingParams(ignore_eos=True, logprobs=False),
    "penalties": SamplingParams(
        ignore_eos=True, logprobs=False, repeat_penalty=1.1, presence_penalty=0.1, repeat_last_n=-1
    ),
    "unfiltered": SamplingParams(ignore_eos=True, logprobs=False, top_k=0, top_p=1, min_p=0),
}


class Figure(Run, frozen=True, kw_only=True):
    """One line of steptax.csv: medians in microseconds.  In rows without `seqs` the parts are differences of steps with
    and without, step_us is what the shares are of, and log-probabilities are in it, which nobody had asked for."""

    kv: str
    sampler: str
    steps: int
    step_us: float  # in lt_step
    body_us: float  # layers
    head_us: float
    sampling_us: float
    python_us: float
    sampling_share: float  # of a turn, as the next two
    python_share: float
    seqs: int
    loop_us: float
    turn_us: float
    share: float  # sampling, Python and loop


def main() -> None:
    wishes = options.parser(__doc__).parse_args()
    job = options.job(wishes, tests=[])
    figures = measure(job, wishes.rounds)
    show(figures)
    print(append("steptax", figures))


class Turn(NamedTuple):
    """Microseconds of one."""

    whole: float
    engine: float  # in Engine.step
    step: float  # in lt_step
    model: float
    body: float  # of another step, of as many sequences at the same depth: the layers alone

    @property
    def sampling(self) -> float:
        return self.step - self.model

    @property
    def python(self) -> float:
        return self.engine - self.step

    @property
    def loop(self) -> float:
        return self.whole - self.engine


class Watched(Engine):
    """Notes how long its last step has taken."""

    seconds = 0.0

    def step(self, rows: collections.abc.Sequence[Row]) -> list[Out]:
        start = time.perf_counter()
        outs = super().step(rows)
        self.seconds = time.perf_counter() - start
        return outs


class Ears:
    """A listener to whom nothing matters."""

    def loaded(self, engine: EngineLike) -> None: ...

    def failed(self, error: Exception) -> None:
        raise error

    def deliver(self, deltas: Deltas) -> None: ...


def measure(job: Job, n_rounds: int) -> list[Figure]:
    bench = Bench(job)
    try:
        return [
            _figure(job, name, n_seqs, bench.rounds(sampling, n_seqs, n_rounds))
            for name, sampling in SETTINGS.items()
            for n_seqs in N_SEQS
        ]
    finally:
        bench.engine.close()


class Bench:
    """An engine, and a loop that is driven turn by turn.  It has room for as many sequences beside the loop's."""

    def __init__(self, job: Job) -> None:
        lanes = EngineSettings(
            model_path=job.model,
            n_ctx=N_CTX,
            n_seqs=max(N_SEQS),
            n_threads=job.threads,
            k_type=job.k_type,
            v_type=job.v_type,
            n_draft=0,
        )
        self.engine = Watched.open(job.model, msgspec.structs.replace(lanes, n_seqs=2 * max(N_SEQS)))
        self._loop = StepLoop(lanes, lambda *_: self.engine, Ears(), lambda f, *xs: f(*xs), time.monotonic)
        self._turns = self._loop.turns(block=False)
        next(self._turns)

    def rounds(self, sampling: SamplingParams, n_seqs: int, n_rounds: int) -> list[Turn]:
        return [turn for seed in range(n_rounds) for turn in self._round(sampling, n_seqs, seed)[N_WARM_UP:]]

    def _round(self, sampling: SamplingParams, n_seqs: int, seed: int) -> list[Turn]:
        draw, n_vocab = random.Random(seed), self.engine.info.n_vocab
        ids = [draw.randrange(n_vocab // 8, n_vocab // 2) for _ in range(N_HEAD_START + N_STEPS + 1)]
        reading = [self.engine.open_seq(ids, sampling, use_cache=False)[0] for _ in range(n_seqs)]
        for seq in reading:
            self.engine.step([Row(seq, N_HEAD_START)])
        self._begin(ids[:N_HEAD_START], sampling, n_seqs)
        rows = [Row(seq, 1) for seq in reading]
        turns = [self._turn(rows) for _ in range(N_STEPS)]
        for seq in reading:
            self.engine.close_seq(seq, keep=False)
        for id in range(n_seqs):
            self._loop.post(Abort(id, FinishReason.ABORT))
        next(self._turns)
        return turns

    def _begin(self, prompt: list[int], sampling: SamplingParams, n_seqs: int) -> None:
        params = GenerationParams(sampling=sampling, cache_prompt=False)
        for id in range(n_seqs):
            self._loop.post(Submit(Sequence(id=id, prompt=array("i", prompt), params=params), time.monotonic()))
        next(self._turns)
        while not all(slot.n_decoded for slot in self._loop.snapshot.slots[:n_seqs] if slot.is_processing):
            next(self._turns)

    def _turn(self, rows: list[Row]) -> Turn:
        before = self.engine.stats()
        self.engine.step(rows)
        between, start = self.engine.stats(), time.perf_counter()
        next(self._turns)
        whole, after = time.perf_counter() - start, self.engine.stats()
        step, model = after.step_ns - between.step_ns, after.model_ns - between.model_ns
        body = between.model_ns - before.model_ns
        return Turn(whole * 1e6, self.engine.seconds * 1e6, step / 1e3, model / 1e3, body / 1e3)


def _figure(job: Job, sampler: str, n_seqs: int, turns: list[Turn]) -> Figure:
    def median(of: Callable[[Turn], float], digits: int = 1) -> float:
        return round(statistics.median(map(of, turns)), digits)

    return Figure(
        **run_columns(job.model, job.threads),
        kv=job.kv,
        sampler=sampler,
        steps=len(turns),
        step_us=median(lambda t: t.step),
        body_us=median(lambda t: t.body),
        head_us=median(lambda t: t.model - t.body),
        sampling_us=median(lambda t: t.sampling),
        python_us=median(lambda t: t.python),
        sampling_share=median(lambda t: t.sampling / t.whole, 4),
        python_share=median(lambda t: t.python / t.whole, 4),
        seqs=n_seqs,
        loop_us=median(lambda t: t.loop),
        turn_us=median(lambda t: t.whole),
        share=median(lambda t: 1 - t.model / t.whole, 4),
    )


def show(rows: list[Figure]) -> None:
    parts = f"{'layers':>8} {'head':>8} {'sampling':>8} {'Python':>7} {'loop':>7}  engine   all"
    print(f"{'microseconds':12} {'seqs':>4} {'turn':>8} {parts}")
    for r in rows:
        engine = (r.sampling_us + r.python_us) / r.turn_us
        model = f"{r.sampler:12} {r.seqs:4} {r.turn_us:8.1f} {r.body_us:8.1f} {r.head_us:8.1f}"
        print(f"{model} {r.sampling_us:8.1f} {r.python_us:7.1f} {r.loop_us:7.1f} {engine:6.1%} {r.share:6.1%}")


if __name__ == "__main__":
    main()
