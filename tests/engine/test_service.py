"""EngineService and its loop, turned by hand over the fake engine: no thread, no socket, no waiting."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, succeed
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs, formatEvent

from llamatw.capi.fake import FakeEngine
from llamatw.capi.records import SamplingParams
from llamatw.engine.pump import Pump
from llamatw.engine.sequence import FinishReason, GenerationParams
from llamatw.engine.service import EngineService
from llamatw.errors import (
    BadRequest,
    ContextExceeded,
    EngineFailure,
    ModelError,
    TooManyRequests,
    Unavailable,
)
from llamatw.settings import EngineSettings


class InlineReactor(Clock):
    """A Clock that carries out callFromThread at once and counts how often it was asked."""

    n_crossings = 0

    def callFromThread(self, f, *args):
        self.n_crossings += 1
        f(*args)


class House:
    """A service, the pump in place of its thread, and the engine behind it."""

    def __init__(self, opener=None, n_ctx=1024, n_seqs=2, numa="none", prepared=None, **fake):
        settings = EngineSettings(model_path="m.gguf", n_ctx=n_ctx, n_seqs=n_seqs, numa=numa, max_queue=2)
        self.engine = FakeEngine(settings, **fake)
        self.reactor = InlineReactor()
        self.pump = Pump()
        self.service = EngineService(
            settings,
            self.reactor,
            opener or FakeEngine.opener(self.engine),
            self.pump,
            self.reactor.seconds,
            lambda compiler: prepared or succeed(None),
        )
        self.service.startService()

    def submit(self, text="hi", **params):
        return self.service.submit(list(text.encode()), GenerationParams(sampling=SamplingParams(seed=1), **params))


@pytest.fixture
def house():
    house = House(say="one two three")
    house.pump.run()
    return house


def read(stream):
    """A Deferred of every delta of a stream."""

    async def collect():
        return [delta async for delta in stream]

    return ensureDeferred(collect())


def result(deferred):
    results = []
    deferred.addBoth(results.append)
    assert results, "the Deferred has not fired"
    return results[0]


def text(deltas):
    return "".join(delta.text for delta in deltas)


def test_loading_then_ready():
    house = House()
    assert house.service.state == "loading" and house.service.progress == 0.0
    with pytest.raises(Unavailable, match="Loading"):
        house.submit()
    with pytest.raises(Unavailable):
        house.service.tokenize("x")
    with pytest.raises(Unavailable):
        _ = house.service.info
    house.pump.run()
    assert house.service.state == "ready" and house.service.progress == 1.0
    assert house.service.info.n_ctx == 1024 and house.service.metadata("general.name") == "fake"


@pytest.mark.parametrize(
    ("wish", "n_nodes", "says"),
    [
        ("none", 2, None),
        ("distribute", 1, "one NUMA node"),
        ("distribute", 2, "go round 2 NUMA nodes"),
        ("isolate", 4, "on one of 4 NUMA nodes"),
        ("numactl", 2, "where the process was bound"),
    ],
)
def test_what_became_of_a_numa_wish_is_logged_once(wish, n_nodes, says):
    house = House(numa=wish)
    house.engine.info = msgspec.structs.replace(house.engine.info, n_nodes=n_nodes)
    with capturedLogs() as events:
        house.pump.run()
    lines = [line for line in map(formatEvent, events) if "numa" in line.lower()]
    assert len(lines) == (says is not None)
    assert says is None or (lines[0].startswith(f"--numa {wish}: ") and says in lines[0])


def test_tokenize_and_back(house):
    ids = house.service.tokenize("<s>é", add_special=True, parse_special=True)
    assert ids == [256, 256, 0xC3, 0xA9]
    assert house.service.detokenize([0xC3, 0xA9, 0xC3]) == "é\N{REPLACEMENT CHARACTER}"
    with pytest.raises(BadRequest, match="260 is out of range"):
        house.service.detokenize([260])


def test_a_request_from_start_to_end(house):
    stream = house.submit()
    deltas = read(stream)
    house.pump.run()
    assert text(result(deltas)) == "one two three"
    assert (stream.finish, stream.slot, stream.n_prompt) == (FinishReason.EOS, 0, 2)
    assert stream.timings.predicted_n == 14 and stream.pending_bytes == 0


def test_one_crossing_a_step_however_many_streams(house):
    streams = [read(house.submit()), read(house.submit())]
    before = house.reactor.n_crossings
    house.pump.run()
    assert house.reactor.n_crossings - before == len(house.engine.steps)
    assert [text(result(stream)) for stream in streams] == ["one two three"] * 2


def test_unread_text_is_counted(house):
    stream = house.submit(max_tokens=5)
    house.pump.run()
    assert stream.pending_bytes == 5
    assert text(result(read(stream))) == "one t" and stream.pending_bytes == 0


@pytest.mark.parametrize(
    ("prompt", "error", "says"),
    [
        ([], BadRequest, "no tokens"),
        ([1, -1], BadRequest, "token id -1 is out of range"),
        ([1, 260], BadRequest, "token id 260 is out of range"),
        ([1, 2**40], BadRequest, "out of range"),
        ([1] * 1024, ContextExceeded, "1024 prompt tokens"),
    ],
)
def test_bad_prompts(house, prompt, error, says):
    with pytest.raises(error, match=says):
        house.service.submit(prompt, GenerationParams())


def test_the_longest_prompt_that_fits(house):
    stream = house.service.submit([1] * 1023, GenerationParams())
    house.pump.run()
    assert stream.finish is FinishReason.CONTEXT and stream.timings.predicted_n == 1


def test_a_full_queue_and_room_again(house):
    streams = [house.submit() for _ in range(4)]
    with pytest.raises(TooManyRequests) as caught:
        house.submit()
    assert caught.value.retry_after
    streams[0].cancel()
    house.submit()
    house.pump.run()
    house.submit()


def test_cancelling_the_reader_aborts_the_sequence(house):
    stream = house.submit()
    deltas = read(stream)
    house.pump.turn()
    assert house.service.snapshot().n_processing == 1
    deltas.cancel()
    assert result(deltas).check(CancelledError)
    house.pump.turn()
    assert house.service.snapshot().n_processing == 0
    assert house.engine.stats().seqs_open == 0
    assert house.service.snapshot().finished["abort"] == 1


@pytest.mark.parametrize("n_turns", [0, 1, 3])
def test_cancel_in_the_queue_in_prefill_and_while_decoding_frees_it_within_a_step(n_turns):
    house = House(n_seqs=1, n_ctx=4096, say="a" * 100)
    house.pump.run()
    stream = house.submit("x" * 1000)
    house.pump.run(n_turns)
    stream.cancel()
    house.pump.turn()
    assert house.engine.stats().seqs_open == 0 and house.service.snapshot().n_waiting == 0
    last = result(read(stream))
    assert [delta.finish for delta in last] == [FinishReason.ABORT]


def test_cancelling_twice_or_after_the_end_is_nothing(house):
    stream = house.submit()
    house.pump.run()
    stream.cancel()
    assert text(result(read(stream))) == "one two three"
    assert house.service.snapshot().finished["abort"] == 0


def test_cancel_wakes_a_reader_with_a_last_delta(house):
    stream = house.submit()
    deltas = read(stream)
    stream.cancel()
    assert [delta.finish for delta in result(deltas)] == [FinishReason.ABORT]


def test_a_failing_step_fails_its_sequences_and_the_next_is_served(house):
    house.engine.faults.append(EngineFailure("out of memory", -2))
    stream = house.submit()
    house.pump.run()
    [delta] = result(read(stream))
    assert delta.finish is FinishReason.ERROR and delta.error.message == "out of memory"
    again = house.submit()
    house.pump.run()
    assert again.finish is FinishReason.EOS and house.service.state == "ready"


@pytest.mark.parametrize("faults", [[EngineFailure("broken", -2)] * 3, [ZeroDivisionError("what")]])
def test_a_broken_engine_is_given_up(house, faults):
    house.engine.faults.extend(faults)
    streams = []
    for _ in faults:
        streams.append(house.submit())
        house.pump.run()
    assert house.service.state == "failed" and house.service.failure
    assert all(stream.finish is FinishReason.ERROR for stream in streams)
    assert house.engine.closed and house.service.snapshot().n_processing == 0
    with pytest.raises(Unavailable, match="cannot be served"):
        house.submit()
    assert result(house.service.stopService()) is None


def test_a_model_that_cannot_be_opened():
    def opener(settings, progress):
        raise ModelError("m.gguf: not a GGUF file")

    house = House(opener=opener)
    house.pump.run()
    assert (house.service.state, house.service.failure) == ("failed", "m.gguf: not a GGUF file")
    with pytest.raises(Unavailable, match="not a GGUF file"):
        house.submit()


def test_stop_lets_streams_finish(house):
    stream = house.submit()
    house.pump.turn()
    stopped = house.service.stopService()
    with pytest.raises(Unavailable, match="stopping"):
        house.submit()
    house.pump.run()
    assert result(stopped) is None and house.engine.closed
    assert stream.finish is FinishReason.EOS and house.service.state == "stopped"
    assert house.reactor.getDelayedCalls() == []


def test_stop_ends_streams_after_the_grace_time():
    house = House(n_ctx=1 << 15, say="a" * 30_000)
    house.pump.run()
    stream = house.submit()
    house.pump.run(5)
    stopped = house.service.stopService()
    house.pump.run(5)
    assert stream.finish is None
    house.reactor.advance(5.0)
    assert stream.finish is FinishReason.ERROR
    house.pump.run()
    assert result(stopped) is None and house.engine.closed


def test_nobody_is_served_before_the_vocabulary_has_been_read():
    prepared = Deferred()
    house = House(prepared=prepared)
    house.pump.run()
    assert house.service.state == "loading"
    with pytest.raises(Unavailable, match="Loading"):
        house.submit()
    prepared.callback(None)
    assert house.service.state == "ready" and house.submit()


def test_a_vocabulary_that_cannot_be_read_costs_schemas_only():
    prepared = Deferred()
    house = House(prepared=prepared)
    house.pump.run()
    with capturedLogs() as logs:
        prepared.errback(ValueError("odd"))
    assert house.service.state == "ready" and house.submit()
    assert [formatEvent(event) for event in logs] == ["the vocabulary cannot be read for schemas"]


def test_stop_while_the_vocabulary_is_read():
    prepared = Deferred()
    house = House(prepared=prepared)
    house.pump.run()
    stopped = house.service.stopService()
    house.pump.run()
    prepared.callback(None)
    assert result(stopped) is None and house.engine.closed and house.service.state == "stopped"


def test_stop_while_loading():
    house = House()
    stopped = house.service.stopService()
    house.pump.run()
    assert result(stopped) is None and house.engine.closed and house.service.state == "stopped"


def test_snapshot_shows_slots_and_counts(house):
    house.submit("x" * 100, slot=1)
    house.pump.turn()
    begun = house.service.snapshot()
    assert begun.n_processing == 1, "who comes or goes is seen at once"
    house.pump.turn()
    assert house.service.snapshot() is begun, "a step alone is not worth one"
    house.reactor.advance(0.02)
    house.pump.turn()
    busy = house.service.snapshot()
    assert [slot.is_processing for slot in busy.slots] == [False, True]
    assert (busy.slots[1].n_prompt, busy.slots[1].n_decoded) == (100, 5)
    house.pump.run()
    idle = house.service.snapshot()
    assert idle.n_processing == 0 and idle.n_requests == 1
    assert (idle.n_prompt_tokens, idle.n_predicted_tokens, idle.finished["eos"]) == (100, 14, 1)
    assert idle.n_steps == len(house.engine.steps)


def test_a_stuck_step_is_told_while_it_lasts(house):
    heard = []
    step = house.engine.step

    def slow(rows):
        for seconds in (29.0, 2.0):
            house.reactor.advance(seconds)
            heard.append(house.service.stuck())
        return step(rows)

    house.engine.step = slow
    stream = house.submit(max_tokens=1)
    with capturedLogs() as events:
        house.pump.run()
    assert heard[0] is None
    assert "for 31 s" in heard[1] and f"request {stream.id} (2 tokens)" in heard[1]
    assert house.service.stuck() is None and stream.finish is FinishReason.LIMIT
    assert [event["log_level"] for event in events] == [LogLevel.critical]


def test_a_step_that_fails_after_being_stuck_is_stuck_no_more(house):
    def stuck(rows):
        house.reactor.advance(31.0)
        assert house.service.stuck()
        raise EngineFailure("broken", -2)

    house.engine.step = stuck
    house.submit()
    house.pump.run()
    assert house.service.stuck() is None


def test_work_between_steps_that_is_stuck_is_told(house):
    heard = []

    def work(engine, scheduler):
        house.reactor.advance(31.0)
        heard.append(house.service.stuck())

    done = house.service.call(work)
    house.pump.run()
    assert done.done() and "between two steps" in heard[0] and house.service.stuck() is None


def test_a_thread_that_is_really_stuck():
    """The thread waits in a step; another one, whose clock goes on, asks about it."""
    entered, leave, ended = threading.Event(), threading.Event(), Deferred()
    late = 0.0
    settings = EngineSettings(model_path="m.gguf", n_ctx=1024, n_seqs=2)
    engine = FakeEngine(settings, say="ab")
    step = engine.step
    engine.step = lambda rows: (entered.set(), leave.wait(60), step(rows))[2]
    threads = []

    def spawn(reactor, loop):
        threads.append(threading.Thread(target=loop.run))
        threads[0].start()
        return ended

    clock = lambda: time.perf_counter() + late  # noqa: E731
    service = EngineService(settings, InlineReactor(), FakeEngine.opener(engine), spawn, clock)
    service.startService()
    while service.state == "loading":
        time.sleep(0.001)
    service.submit([1, 2, 3], GenerationParams())
    assert entered.wait(60)
    before, late = service.stuck(), 31.0
    during = service.stuck()
    leave.set()
    service.stopService()
    threads[0].join(60)
    assert before is None and "request 0 (3 tokens)" in during and service.stuck() is None
    ended.callback(None)
