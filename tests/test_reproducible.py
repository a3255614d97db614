"""The same request gives the same tokens and log-probabilities, bit for bit, whatever the server does meanwhile.

A request runs through the scheduler and the real engine among random company: neighbours with prompts that begin alike,
few pages (so that sequences are evicted, closed and computed again), small steps, cached or cold, with guesses or
without, readers that rest, neighbours that leave.  What it got alone, without cache and guesses, is what it must get.
"""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from llamatw.capi.engine import Engine
from llamatw.capi.records import KVFull, OutFlag, SamplingParams
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import GenerationParams, Sequence, TokenProbs
from llamatw.settings import EngineSettings

N_COMBINATIONS = 200
N_CTX, N_SEQS, N_NEW = 320, 8, 20
SAMPLINGS = [
    {"temperature": 0.0, "n_probs": 3},
    {"temperature": 1.0, "seed": 11},
    {"temperature": 0.7, "seed": 12, "repeat_penalty": 1.1, "top_k": 20, "n_probs": 30},
]
COMMON = "The cat sat on the mat and the dog lay by the door. " * 4
TEXTS = [
    "Copy this list: red, green, blue, red, green, blue, red, green, blue, red, green,",
    COMMON + "Then the cat",
    COMMON + "Then the dog",
    COMMON + "Once more: The cat sat on the mat and",
    "def add(a, b):\n    return a + b\n\ndef add3(a, b, c):\n    return",
    "Once upon a time",
]

Trace = list[TokenProbs]


class Company:
    """A scheduler over the engine, and what every sequence got."""

    def __init__(self, engine: Engine, n_batch: int = 512, n_draft: int = 7) -> None:
        self.engine = engine
        info = engine.info
        self.scheduler = Scheduler(engine, info.n_seqs, n_batch, 50.0, n_draft=n_draft, n_ctx=info.n_ctx)
        self.traces: dict[int, Trace] = {}
        self.told: dict[int, Trace] = {}  # what the deltas say of it
        self.now = 0.0
        self.n_ids = 0
        self.happened: Counter[str] = Counter()

    def submit(self, text: str, sampling: dict[str, float], max_tokens: int = N_NEW, **params: object) -> int:
        self.n_ids += 1
        ids = array("i", self.engine.vocab.tokenize(text))
        params |= {"max_tokens": max_tokens, "wants_probs": True}
        wishes = GenerationParams(sampling=SamplingParams(ignore_eos=True, **sampling), **params)
        self.scheduler.submit(Sequence(id=self.n_ids, prompt=ids, params=wishes), self.now)
        self.traces[self.n_ids], self.told[self.n_ids] = [], []
        return self.n_ids

    def step(self) -> None:
        self.now += 0.01
        while rows := self.scheduler.plan(self.now):
            try:
                outs = self.engine.step(rows)
            except KVFull:
                self.scheduler.starve()
                self.happened["starved"] += 1
                continue
            running = {seq.handle: seq for seq in self.scheduler.running}
            skip = {seq.handle: seq.n_replay for seq in running.values()}
            for out in outs:
                if out.flags & OutFlag.TOKEN and skip[out.seq] == 0:
                    entry = TokenProbs(out.token, out.logprob, out.prob, out.top, out.chances)
                    self.traces[running[out.seq].id].append(entry)
                skip[out.seq] -= bool(out.flags & OutFlag.TOKEN and skip[out.seq])
            self.happened["guessed"] += sum(out.n_drafted > 0 for out in outs)
            self.scheduler.commit(rows, outs, self.now, 10.0)
            break
        self.scheduler.check()
        for id, delta in self.scheduler.take_deltas():
            self.told[id] += delta.probs
            self.happened["cached"] += delta.finish is not None and delta.timings.cache_n > 0

    def run(self) -> None:
        while not self.scheduler.is_idle:
            self.step()


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Engine]:
    settings = EngineSettings(model_path=str(smollm2), n_ctx=N_CTX, n_seqs=N_SEQS, n_threads=2)
    engine = Engine.open(smollm2, settings)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(engine: Engine) -> dict[tuple[int, int], Trace]:
    traces = {}
    for text in range(len(TEXTS)):
        for sampling in range(len(SAMPLINGS)):
            company = Company(engine, n_draft=0)
            id = company.submit(TEXTS[text], SAMPLINGS[sampling], cache_prompt=False)
            company.run()
            traces[text, sampling] = company.traces[id]
            assert len(company.traces[id]) == N_NEW
    return traces


def test_two_hundred_random_companies(engine: Engine, alone: dict[tuple[int, int], Trace]) -> None:
    happened: Counter[str] = Counter()
    for number in range(N_COMBINATIONS):
        draw = random.Random(number)
        company = Company(engine, n_batch=draw.choice([16, 64, 512]), n_draft=draw.choice([0, 7, 7]))
        arrivals = {draw.randrange(25): None for _ in range(draw.choice([1, 2, 4, 8]))}
        subjects: dict[int, tuple[int, int]] = {}
        resting: list[int] = []
        for at in range(40):
            if at in arrivals:
                key = draw.randrange(len(TEXTS)), draw.randrange(len(SAMPLINGS))
                id = company.submit(
                    TEXTS[key[0]], SAMPLINGS[key[1]], cache_prompt=draw.random() < 0.8, owner=draw.randrange(2)
                )
                subjects[id] = key
            if subjects and draw.random() < 0.05:
                gone = draw.choice(list(subjects))
                company.scheduler.abort(gone)
            if subjects and draw.random() < 0.1:
                resting.append(draw.choice(list(subjects)))
                company.scheduler.rest(resting[-1], True)
            company.step()
        for id in resting:
            company.scheduler.rest(id, False)
        company.run()
        for id, key in subjects.items():
            got, want = company.traces[id], alone[key]
            assert got == want[: len(got)], f"combination {number}: sequence {id} of {key} differs"
            assert company.told[id] == got, f"combination {number}: sequence {id} of {key} is told otherwise"
            happened["whole"] += len(got) == N_NEW
        happened += company.happened
    print(dict(happened))
    assert happened["whole"] > 2 * N_COMBINATIONS
    assert min(happened[what] for what in ("starved", "guessed", "cached")) > 20, happened
    assert engine.stats().seqs_open == 0


def test_shifted_contexts_among_neighbours_and_after_giving_up_their_pages(smollm2: Path) -> None:
    """Contexts of two pages, and five pages in all: four sequences that each go through two shifts do not fit."""
    settings = EngineSettings(model_path=str(smollm2), n_ctx=128, n_seqs=5, n_threads=2, cache_mib=5)
    engine = Engine.open(smollm2, settings)
    assert engine.info.n_pages == 5
    wish = {"max_tokens": 250, "shifts": True, "n_keep": 4}
    alone = {}
    for text in range(len(TEXTS)):
        company = Company(engine, n_draft=0)
        id = company.submit(TEXTS[text], SAMPLINGS[1], cache_prompt=False, **wish)
        company.run()
        alone[text] = company.traces[id]
        assert len(alone[text]) == 250
    n_starved = 0
    for number in range(3):
        company = Company(engine, n_draft=7 * (number % 2))
        ids = {company.submit(TEXTS[text], SAMPLINGS[1], **wish): text for text in range(number, number + 4)}
        company.run()
        for id, text in ids.items():
            assert company.traces[id] == alone[text], f"company {number}: sequence {id}"
        n_starved += company.happened["starved"]
    assert n_starved > 3
    engine.close()
