"""Whose grammar is compiled next: fair shares between owners, short ones first, bounded queues."""

from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.python.failure import Failure

from llamatw.engine.constraint import Wish
from llamatw.errors import BadRequest, TooManyRequests
from llamatw.web import compiling
from llamatw.web.compiling import Compiling
from tests.web.conftest import FakeReactor


class Pool:
    """Work begins at once and ends when it is told to."""

    def __init__(self):
        self.running = []

    def callInThreadWithCallback(self, done, work):
        self.running.append((done, work))

    def end(self, at=0):
        done, work = self.running.pop(at)
        try:
            result = work()
        except Exception:
            done(False, Failure())
        else:
            done(True, result)


class Bench:
    """A queue whose answers are the texts themselves; "bad" ones are refused."""

    def __init__(self, monkeypatch):
        monkeypatch.setattr(compiling, "time", self)
        self.spent_s = 0.0
        self.reactor, self.pool = FakeReactor(), Pool()
        self.reactor.getThreadPool = lambda: self.pool
        self.queue = Compiling(self.reactor, self.compile)
        self.begun = []
        self.answers = {}

    def thread_time(self):
        return self.spent_s

    perf_counter = thread_time

    def compile(self, wish):
        self.begun.append(wish.text)
        if wish.text == "bad":
            raise BadRequest("it is", wish.field)
        self.spent_s += 0.1 if wish.text.startswith("costly") else 0.0
        return wish.text

    def ask(self, text, owner=0):
        answer = self.queue.compiled(Wish("gbnf", text, "grammar"), owner)
        answer.addBoth(lambda result: self.answers.setdefault(text, result))
        return answer

    def end(self, seconds, at=0):
        """A running one ends after so long, and its place has rested."""
        self.reactor.advance(seconds)
        self.pool.end(at)
        self.reactor.advance(0)

    def run(self):
        while self.pool.running:
            self.end(0.01)


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_one_owner_has_one_place_and_another_one_need_not_wait_for_it(bench):
    for n in range(5):
        bench.ask(f"mine {n}", owner=1)
    assert len(bench.pool.running) == 1
    bench.ask("yours", owner=2)
    bench.end(0.01, at=1)
    assert bench.answers == {"yours": "yours"}
    bench.run()
    assert len(bench.answers) == 6


def test_a_place_goes_to_whom_has_held_one_least(bench):
    for owner in (1, 2, 3):
        for n in range(3):
            bench.ask(f"{owner}/{n}", owner=owner)
    for seconds in (5.0, 0.1, 0.1, 0.1, 0.1, 0.1):  # owners 1 and 2 have had five, by chance
        bench.end(seconds)
    assert [one[0] for one in bench.begun] == ["1", "2", "3", "1", "3", "2"]
    bench.run()
    assert sorted(bench.begun) == sorted(bench.answers)


def test_an_owners_short_ones_overtake_its_long_ones_but_not_for_ever(bench):
    bench.ask("first")
    bench.ask("long " * 10)
    for n in range(20):
        bench.ask(f"short {n}")
    bench.end(0.01)
    bench.end(0.01)
    bench.ask("afterwards " * 5)
    bench.run()
    assert bench.begun[:3] == ["first", "short 0", "short 1"]
    assert bench.begun.index("long " * 10) < bench.begun.index("afterwards " * 5)


def test_a_place_rests_for_what_it_has_taken_from_others(bench):
    bench.ask("costly 0")
    bench.ask("costly 1")
    bench.pool.end()
    assert bench.answers == {"costly 0": "costly 0"}  # the answer does not
    bench.reactor.advance(0.41)  # four times 0.1 s and what a trial takes at first
    assert not bench.pool.running
    bench.reactor.advance(0.02)
    assert len(bench.pool.running) == 1


def test_who_waits_for_the_same_gets_it_at_once(bench):
    for text, answer in (("costly", "costly"), ("bad", BadRequest)):
        asked = [bench.queue.compiled(Wish("gbnf", text, "grammar"), owner=0) for _ in range(4)]
        for one in asked:
            one.addErrback(lambda failure: failure.type)
        asked[1].cancel()
        bench.ask(f"not {text}")
        bench.pool.end()
        assert [one.result for one in asked] == [answer, CancelledError, answer, answer]
        assert not bench.pool.running
        bench.reactor.advance(1)
        bench.run()
        bench.reactor.advance(1)
    assert bench.begun == ["costly", "not costly", "bad", "not bad"]


def test_the_queue_is_bounded_and_crowded_ones_are_shared(bench):
    for n in range(1 + 32):
        bench.ask(f"mine {n}", owner=1)
    for n in range(1 + 16):
        bench.ask(f"yours {n}", owner=2)
    with pytest.raises(TooManyRequests) as refused:
        bench.ask("mine", owner=1)
    assert refused.value.retry_after >= 1
    for n in range(16):
        bench.ask(f"yours again {n}", owner=2) if n < 15 else None
    bench.ask("somebody else's", owner=3)
    with pytest.raises(TooManyRequests):
        bench.ask("full", owner=4)


def test_who_leaves_makes_room_in_the_queue_but_a_thread_that_runs_keeps_its_place(bench):
    running, waiting = bench.ask("bad"), bench.ask("waiting")
    for answer in (running, waiting):
        answer.cancel()
    assert {text: error.type for text, error in bench.answers.items()} == {
        "bad": CancelledError,
        "waiting": CancelledError,
    }
    last = bench.ask("last")
    assert len(bench.pool.running) == 1
    bench.run()
    assert bench.begun == ["bad", "last"]
    assert last.result == "last"


def test_refusals_are_told_and_free_their_place(bench):
    bench.ask("bad")
    bench.ask("good")
    bench.run()
    assert bench.answers["bad"].check(BadRequest)
    assert bench.answers["good"] == "good"
