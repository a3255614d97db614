"""Sequences that are held to a grammar, through the scheduler and the fake engine: masks in rows, guesses, endings."""

from __future__ import annotations

import json
from array import array

import pytest

from llamatw.capi.fake import FakeEngine
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Wish
from llamatw.engine.sequence import FinishReason
from llamatw.errors import BadRequest
from tests.engine.bench import Bench

RECORD = {"enum": [{"name": name, "size": size} for name in ("cat", "dog") for size in (1, 2)]}
TEXTS = [json.dumps(value) for value in RECORD["enum"]]


@pytest.fixture(scope="module")
def compile():
    engine = FakeEngine()
    return Compiler(engine.vocab, engine.open_grammar).compile


@pytest.fixture
def record(compile):
    return compile(Wish("json_schema", json.dumps(RECORD), "json_schema"))


def test_the_answer_fits_and_ends_by_itself(record):
    for seed in range(10):
        bench = Bench()
        bench.submit(0, "tell", seed=seed, constraint=record)
        bench.run()
        assert bench.text(0) in TEXTS
        assert bench.finish(0) is FinishReason.EOS


def test_what_is_forced_costs_no_steps_and_changes_nothing(record):
    said = {}
    for n_draft in (0, 7):
        bench = Bench()
        bench.submit(0, "tell", constraint=record, n_draft=n_draft)
        bench.run()
        said[n_draft] = bench.tokens(0), len(bench.engine.steps)
    assert said[0][0] == said[7][0]
    assert said[7][1] < said[0][1] / 3


def test_guesses_are_made_beside_prompts_too_and_keep_to_the_batch(record):
    bench = Bench(n_batch=64)
    bench.submit(0, "tell", constraint=record)
    bench.step()
    bench.submit(1, "a long prompt " * 20, max_tokens=1)
    n_steps = 0
    while not bench.scheduler.is_idle:
        bench.step()
        n_steps += 1
    assert bench.text(0) in TEXTS
    assert n_steps < len(TEXTS[0]) + 20
    timings = bench.heard[0][-1].timings
    assert timings.draft_n_accepted > 10


def test_max_tokens_holds_for_forced_tokens(record):
    for limit in range(1, 12):
        bench = Bench()
        bench.submit(0, "tell", constraint=record, max_tokens=limit)
        bench.run()
        assert len(bench.tokens(0)) == limit
        assert bench.finish(0) is FinishReason.LIMIT


def test_neighbours_and_lost_pages_change_nothing(record):
    """Four sequences in four pages: they give them up in turn, and say what they say alone."""
    alone = {}
    for id in range(4):
        bench = Bench()
        bench.submit(id, "x" * (40 + id), seed=id, constraint=record if id % 2 else None, max_tokens=60)
        bench.run()
        alone[id] = bench.tokens(id)
    bench = Bench(n_ctx=256)
    for id in range(4):
        bench.submit(id, "x" * (40 + id), seed=id, constraint=record if id % 2 else None, max_tokens=60)
    for at in range(400):
        bench.step()
        if at % 5 == 4 and len(bench.scheduler.running) > 1:
            bench.scheduler.starve()
    bench.run()
    assert {id: bench.tokens(id) for id in range(4)} == alone
    assert bench.scheduler.counters.n_starved > 3


def test_a_character_that_is_cut_by_starving_is_said_once_more(compile):
    constraint = compile(Wish("json_schema", '{"const": "日本語"}', "json_schema"))
    bench = Bench()
    bench.submit(0, "tell", constraint=constraint, n_draft=0)
    bench.submit(1, "other", max_tokens=200, ignore_eos=True, slot=0)
    bench.submit(2, "third", constraint=constraint, n_draft=0)
    for at in range(100):
        bench.step()
        if at in (3, 5, 8) and len(bench.scheduler.running) > 1:
            bench.scheduler.starve()
    bench.run()
    assert bench.text(0) == bench.text(2) == '"日本語"'


def test_n_answers_have_a_place_each(record):
    bench = Bench()
    for id in range(3):
        bench.submit(id, "tell", seed=id, constraint=record)
    bench.run()
    assert {bench.text(id) for id in range(3)} <= set(TEXTS)


def test_a_lazy_grammar_waits_for_its_word(compile):
    constraint = compile(Wish("gbnf", 'root ::= "<t>yes" | "<t>no"', "grammar", words=("<t>",)))
    bench = Bench(say="let me see <t>zzz")
    bench.submit(0, "tell", constraint=constraint)
    bench.run()
    assert bench.text(0) in ("let me see <t>yes", "let me see <t>no")
    assert bench.finish(0) is FinishReason.EOS


class Failing:
    """Gives one mask, then cannot go on."""

    def __init__(self, place):
        self.place, self.n = place, 0

    def __getattr__(self, name):
        return getattr(self.place, name)

    def mask(self):
        self.n += 1
        if self.n > 2:
            raise BadRequest("grammar: cannot go on", "grammar")
        return self.place.mask()


def test_a_grammar_that_cannot_go_on_ends_its_own_sequence_only(record, monkeypatch):
    bench = Bench()
    bench.submit(1, "other", constraint=record)
    bench.step()
    begin = record.begin
    monkeypatch.setattr(record, "begin", lambda: Failing(begin()))
    bench.submit(0, "tell", constraint=record, n_draft=0)
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR
    assert bench.heard[0][-1].error.message == "grammar: cannot go on"
    assert bench.finish(1) is FinishReason.EOS
    assert bench.text(1) in TEXTS


def test_alone_it_ends_too_and_the_loop_goes_on(record, monkeypatch):
    begin = record.begin
    monkeypatch.setattr(record, "begin", lambda: Failing(begin()))
    bench = Bench()
    bench.submit(0, "tell", constraint=record, n_draft=0)
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR
    assert bench.heard[0][-1].error.param == "grammar"


def test_nothing_is_sampled_without_its_mask(record):
    """Every row that ends at a history's end has one."""
    bench = Bench(n_batch=8)
    seen = []
    step = bench.engine.step

    def watch(rows):
        for row in rows:
            opened = bench.engine._open[row.seq]
            samples = opened.n_computed + row.advance == len(opened.history)
            seen.append(samples)
            assert (row.mask is not None) == samples
            assert row.draft is None or isinstance(row.draft, array)
        return step(rows)

    bench.engine.step = watch
    for id in range(3):
        bench.submit(id, "a prompt that comes in pieces" * (id + 1), seed=id, constraint=record)
    bench.run()
    assert set(seen) == {True, False}
    assert all(bench.text(id) in TEXTS for id in range(3))


def test_no_token_to_sample_is_the_requests_own_mistake(record):
    bench = Bench()
    bench.submit(0, "tell", constraint=record)
    bench.engine.is_nan = lambda history: history[-1] == ord("{")
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR
    assert "ignore_eos" in bench.heard[0][-1].error.message


def test_whose_masks_cost_too_much_sits_steps_out_for_its_neighbours(record):
    bench = Bench()
    bench.step_ms = 10.0
    bench.submit(0, "tell", constraint=record, n_draft=0)
    bench.submit(1, "other", max_tokens=200, ignore_eos=True)
    while not bench.tokens(0):
        bench.step()
    costly, free = bench.scheduler.running
    costly.guard.owed_s = 0.0205  # a tenth of a step is 1 ms
    seen = [[handle for handle, _ in bench.step()] for _ in range(30)]
    assert all(free.handle in rows for rows in seen)
    assert [costly.handle in rows for rows in seen[:20]] == [False] * 20
    assert costly.handle in seen[21]
    bench.run()
    assert bench.text(0) in TEXTS


def test_nobody_sits_out_where_that_helps_nobody(record):
    bench = Bench()
    bench.submit(0, "tell", constraint=record, n_draft=0)
    bench.submit(1, "tell", constraint=record, n_draft=0)
    while not bench.tokens(0) or not bench.tokens(1):
        bench.step()
    for seq in bench.scheduler.running:
        seq.guard.owed_s = 5.0
    assert len(bench.step()) == 2


def test_what_masks_cost_while_alone_is_not_owed_to_who_comes_later(record):
    bench = Bench()
    bench.step_ms = 10.0
    bench.submit(0, "tell", constraint=record, n_draft=0)
    while not bench.tokens(0):
        bench.step()
    (costly,) = bench.scheduler.running
    costly.guard._clock = lambda: 0.0
    for _ in range(3):
        costly.guard.owed_s += 5.0
        bench.step()
    bench.submit(1, "other", max_tokens=200, ignore_eos=True)
    while not bench.tokens(1):
        bench.step()
    assert {handle for handle, _ in bench.step()} == {seq.handle for seq in bench.scheduler.running}
    assert len(bench.scheduler.running) == 2
