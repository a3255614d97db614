"""What the scheduler counts, and when: queue, first token, gaps, ends."""

from __future__ import annotations

from array import array

import pytest

from llamatw.capi.fake import FakeEngine
from llamatw.capi.records import EngineStats, KVFull
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import FinishReason, GenerationParams, Sequence
from llamatw.engine.stats import slot_states
from llamatw.errors import EngineFailure
from llamatw.settings import EngineSettings


class Desk:
    """A scheduler over a fake engine; every step takes 0.5 s."""

    def __init__(self, n_seqs=2, n_ctx=1024, say="abcdef"):
        settings = EngineSettings(model_path="m", n_ctx=n_ctx, n_seqs=n_seqs, n_batch=128)
        self.engine = FakeEngine(settings, say=say)
        self.scheduler = Scheduler(self.engine, n_seqs, 128, 50.0)
        self.now = 100.0

    def submit(self, id, n_prompt=10, arrived=100.0, n_draft=0, **params):
        prompt = array("i", [97 + id] * n_prompt)
        wishes = GenerationParams(n_draft=n_draft, **params)
        self.scheduler.submit(Sequence(id=id, prompt=prompt, params=wishes), arrived)

    def step(self):
        while rows := self.scheduler.plan(self.now):
            try:
                outs = self.engine.step(rows)
            except KVFull:
                self.scheduler.starve()
                continue
            self.now += 0.5
            self.scheduler.commit(rows, outs, self.now, 500.0)
            return

    def run(self):
        while not self.scheduler.is_idle:
            self.step()

    def counts(self):
        return self.scheduler.counters.snapshot(
            slot_states(self.scheduler.lanes.now, self.scheduler.lanes.past), 0, EngineStats()
        )


def sums(distribution):
    return distribution.n, pytest.approx(distribution.total)


def test_one_sequence():
    desk = Desk(say="abc")
    desk.submit(0, arrived=98.0)
    desk.run()
    counts = desk.counts()
    assert sums(counts.queue_s) == (1, 2.0)
    assert sums(counts.first_token_s) == (1, 2.5)
    assert sums(counts.gap_s) == (3, 1.5), "four tokens, the end among them"
    assert sums(counts.whole_s) == (1, 4.0)
    assert sums(counts.step_s) == (4, 2.0)
    assert sums(counts.prompt_tokens) == (1, 10.0)
    assert sums(counts.output_tokens) == (1, 4.0)
    assert (counts.n_rows, counts.n_requests, counts.finished["eos"], counts.n_tokens_max) == (4, 1, 1, 13)


def test_a_wait_in_the_queue_is_in_queue_and_first_token():
    desk = Desk(n_seqs=1, say="a")
    desk.submit(0)
    desk.submit(1)
    desk.run()
    assert sums(desk.counts().queue_s) == (2, 0.0 + 1.0)
    assert sums(desk.counts().first_token_s) == (2, 0.5 + 1.5)


def test_a_prompt_evaluated_only_has_no_first_token():
    desk = Desk()
    desk.submit(0, max_tokens=0)
    desk.run()
    counts = desk.counts()
    assert (counts.first_token_s.n, counts.gap_s.n) == (0, 0)
    assert sums(counts.output_tokens) == (1, 0.0)


def test_cancels_by_phase_are_in_no_distribution_of_whole_requests():
    desk = Desk(n_seqs=2)
    desk.submit(0)
    desk.step()
    desk.submit(1, n_prompt=1000)
    desk.step()
    desk.submit(2)
    for id in range(3):
        desk.scheduler.abort(id)
    counts = desk.counts()
    assert counts.cancelled == {"queue": 1, "prefill": 1, "decode": 1}
    assert (counts.finished["abort"], counts.whole_s.n, counts.output_tokens.n) == (3, 0, 0)


def test_a_stop_word_is_no_cancel():
    desk = Desk()
    desk.submit(0)
    desk.step()
    desk.scheduler.abort(0, FinishReason.WORD)
    counts = desk.counts()
    assert (counts.finished["word"], sum(counts.cancelled.values()), counts.whole_s.n) == (1, 0, 1)


def test_errors_are_in_no_distribution_of_whole_requests():
    desk = Desk()
    desk.submit(0)
    desk.scheduler.fail(desk.scheduler.plan(desk.now), EngineFailure("broken", -2))
    assert (desk.counts().finished["error"], desk.counts().whole_s.n) == (1, 0)


def test_tokens_sampled_once_more_are_not_counted_and_the_wait_is_one_gap():
    """The youngest starves in the middle of a character, which it then replays: its reader waited for one token."""
    desk = Desk(n_ctx=1024, say="é" * 400)
    desk.submit(0, n_prompt=500)
    desk.submit(1, n_prompt=440)
    desk.run()
    counts = desk.counts()
    n_out = int(counts.output_tokens.total)
    assert counts.n_starved >= 1 and counts.n_requests == 2
    assert (counts.queue_s.n, counts.first_token_s.n) == (2, 2)
    assert counts.gap_s.n == n_out - 2
    assert counts.gap_s.largest > 1.0, "the one that starved waited for longer than a step"


def test_the_pause_of_a_reader_is_no_gap():
    desk = Desk()
    desk.submit(0)
    desk.step()
    desk.scheduler.rest(0, True)
    desk.now += 60.0
    desk.step()
    desk.scheduler.rest(0, False)
    desk.step()
    assert sums(desk.counts().gap_s) == (1, 0.5)


def test_guesses():
    """The fake engine's guesses are all right but for the last of a row."""
    desk = Desk(say="abcdefgh")
    desk.submit(0, n_draft=4)
    desk.run()
    counts = desk.counts()
    assert counts.n_drafts > 0 and counts.n_drafted - sum(counts.n_right) == counts.n_drafts
    assert counts.n_right[0] == counts.n_drafts and list(counts.n_right) == sorted(counts.n_right, reverse=True)
    assert counts.gap_s.n == 8 and counts.gap_s.counts[0] == sum(counts.n_right), "no gap within a step"


def test_the_longest_sequence_is_known_while_it_runs():
    desk = Desk()
    desk.submit(0, n_prompt=100)
    desk.step()
    assert desk.counts().n_tokens_max == 100
