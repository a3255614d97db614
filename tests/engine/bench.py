"""What tests of the scheduler drive: it, a fake engine, and a clock that moves as it is told."""

from __future__ import annotations

from array import array

import pytest

from llamatw.capi.fake import FakeEngine
from llamatw.capi.records import KVFull, SamplingParams
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import Delta, GenerationParams, Sequence
from llamatw.settings import EngineSettings

TARGET_MS = 50.0


class Bench:
    """A scheduler, its fake engine, and a clock that moves 1 ms a step."""

    def __init__(self, n_ctx=1024, n_seqs=4, n_batch=512, continuous=True, **fake):
        self.engine = FakeEngine(EngineSettings(model_path="m", n_ctx=n_ctx, n_seqs=n_seqs, n_batch=n_batch), **fake)
        self.scheduler = Scheduler(self.engine, n_seqs, n_batch, TARGET_MS, continuous=continuous)
        self.now = 100.0
        self.heard: dict[int, list[Delta]] = {}
        self.step_ms = 1.0

    def submit(self, id, prompt, **params):
        own = {name: params.pop(name) for name in ("ignore_eos", "scores", "n_probs") if name in params}
        sampling = SamplingParams(seed=params.pop("seed", id), **own)
        ids = array("i", list(prompt.encode() if isinstance(prompt, str) else prompt))
        params = GenerationParams(sampling=sampling, **params)
        self.scheduler.submit(Sequence(id=id, prompt=ids, params=params), self.now)

    def step(self):
        """One step, as the loop does it; the rows that ran."""
        while rows := self.scheduler.plan(self.now):
            try:
                outs = self.engine.step(rows)
            except KVFull:
                self.scheduler.starve()
                continue
            self.now += self.step_ms / 1e3
            self.scheduler.commit(rows, outs, self.now, self.step_ms)
            break
        self.scheduler.check()
        for id, delta in self.scheduler.take_deltas():
            self.heard.setdefault(id, []).append(delta)
        return [(row.seq, row.advance) for row in rows]

    def run(self, max_steps=20_000):
        for _ in range(max_steps):
            if self.scheduler.is_idle:
                return
            self.step()
        pytest.fail("did not finish")

    def tokens(self, id):
        return [token for delta in self.heard.get(id, ()) for token in delta.tokens]

    def text(self, id):
        return "".join(delta.text for delta in self.heard.get(id, ()))

    def finish(self, id):
        return self.heard[id][-1].finish
