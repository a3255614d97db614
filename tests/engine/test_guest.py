"""The guest's calls over the fake engine: what leaves, what comes in, and that requests come first."""

from __future__ import annotations

from array import array

import pytest

from llamatw.capi.engine import Engine
from llamatw.capi.fake import FakeEngine
from llamatw.capi.records import SamplingParams
from llamatw.engine import guest
from llamatw.engine.lanes import Memory
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import FinishReason, GenerationParams, Sequence
from llamatw.errors import BadRequest, EngineFailure, Unavailable
from llamatw.settings import EngineSettings

LONG = array("i", [i % 250 for i in range(150)])


class Bench:
    """A scheduler of two lanes and its engine, stepped by hand."""

    def __init__(self, n_ctx=1024, say="x" * 2000, engine=None):
        self.engine = engine or FakeEngine(EngineSettings(model_path="m", n_ctx=n_ctx, n_seqs=3), say=say)
        self.scheduler = Scheduler(self.engine, 2, 512, 50.0)
        self.n_submitted = 0

    def submit(self, ids, max_tokens=2, slot=0):
        params = GenerationParams(sampling=SamplingParams(seed=1), max_tokens=max_tokens, slot=slot)
        seq = Sequence(id=self.n_submitted, prompt=array("i", ids), params=params)
        self.n_submitted += 1
        self.scheduler.submit(seq, 0.0)
        return seq

    def step(self, n=1000):
        for _ in range(n):
            rows = self.scheduler.plan(0.0)
            if not rows:
                return
            try:
                outs = self.engine.step(rows)
            except EngineFailure:
                self.scheduler.starve()
                continue
            self.scheduler.commit(rows, outs, 0.0, 1.0)

    def run(self, ids, **wishes):
        self.submit(ids, **wishes)
        self.step()

    def do(self, work, *args):
        return work(self.engine, self.scheduler, *args)

    def pages(self, export):
        n_pages = -(-len(export.memory.ids) // 64)
        return [bytes(self.do(guest.read, export, page)) for page in range(n_pages)]

    def settle(self, memory, pages, lane):
        handle, first = self.do(guest.open_import, memory)
        for page in range(first, len(pages)):
            self.do(guest.write, handle, page, pages[page])
        self.do(guest.settle, handle, lane, memory)


def expected_pages(ids):
    ids = ids + array("i", [-1] * (-len(ids) % 64))
    return [ids[at : at + 64].tobytes() for at in range(0, len(ids), 64)]


def test_out_of_an_idle_lane_and_into_another_engine():
    one, two = Bench(), Bench()
    one.run(LONG)
    export = one.do(guest.open_export, 0, 0)
    assert export.memory.ids[:150] == LONG and len(export.memory.ids) == 151
    pages = one.pages(export)
    assert pages == expected_pages(export.memory.ids)
    one.do(guest.leave, export.handle)
    two.settle(export.memory, pages, 1)
    assert two.scheduler.lanes.memory(1) == export.memory and two.scheduler.guest is None
    seq = two.submit(LONG)
    two.step()
    assert seq.n_cached == 149
    assert one.engine.stats().seqs_open == two.engine.stats().seqs_open == 0


def test_out_of_a_running_lane_all_that_is_computed():
    bench = Bench()
    seq = bench.submit(LONG, max_tokens=500)
    bench.step(10)
    export = bench.do(guest.open_export, 0, 0)
    assert len(export.memory.ids) == seq.n_computed > 150
    bench.step(80)  # it runs on while its pages are read
    assert bench.pages(export) == expected_pages(export.memory.ids)
    bench.do(guest.leave, export.handle)
    bench.step()
    assert seq.generated and bench.engine.stats().seqs_open == 0


def test_out_of_a_running_lane_that_has_all_pages(engine_library, smollm2):
    """No page is free for a copy of the last one: the full ones are saved."""
    settings = EngineSettings(model_path=str(smollm2), n_ctx=128, n_seqs=3)
    bench = Bench(engine=Engine.open(smollm2, settings))
    seq = bench.submit(LONG[:100], max_tokens=20)
    bench.step(3)
    export = bench.do(guest.open_export, 0, 0)
    assert export.memory.ids == LONG[:64]
    pages = bench.pages(export)
    bench.do(guest.leave, export.handle)
    bench.step()
    bench.do(guest.erase, 0, 0)
    bench.settle(export.memory, pages, 1)
    again = bench.submit(LONG[:100], max_tokens=20)
    bench.step()
    assert again.n_cached == 64 and again.generated == seq.generated
    bench.engine.close()


def test_a_lane_that_has_nothing():
    bench = Bench()
    assert bench.do(guest.open_export, 1, 0) == (Memory(0, array("i")), None)
    bench.do(guest.settle, None, 1, Memory(0, array("i")))
    assert bench.do(guest.erase, 1, 0) == 0


def test_requests_come_first():
    bench = Bench(n_ctx=256)
    bench.run(LONG, slot=1)
    export = bench.do(guest.open_export, 1, 0)
    one = bench.submit([1] * 130, max_tokens=5)
    bench.step()
    assert len(one.generated) == 5 and bench.scheduler.counters.finished["limit"] == 2
    assert bench.scheduler.counters.n_starved == 0 and bench.scheduler.guest is None
    with pytest.raises(Unavailable) as gone:
        bench.do(guest.read, export, 0)
    assert gone.value.retry_after
    bench.do(guest.leave, export.handle)
    assert bench.engine.stats().seqs_open == 0


def test_an_import_that_finds_no_room_gives_way():
    bench = Bench(n_ctx=256)
    running = bench.submit([1] * 130, max_tokens=60)
    bench.step(3)
    memory = Memory(0, LONG)
    handle, _ = bench.do(guest.open_import, memory)
    bench.do(guest.write, handle, 0, expected_pages(LONG)[0])
    with pytest.raises(Unavailable, match="KV cache"):
        bench.do(guest.write, handle, 1, expected_pages(LONG)[1])
    bench.do(guest.leave, handle)
    assert bench.scheduler.lanes.memory(1).ids == array("i")
    bench.step()
    assert len(running.generated) == 60 and bench.scheduler.counters.finished[FinishReason.CONTEXT.value] == 0


def test_a_busy_lane_is_not_overwritten():
    bench = Bench()
    bench.submit(LONG, max_tokens=500)
    bench.step(3)
    with pytest.raises(Unavailable, match="slot 0 is processing"):
        bench.settle(Memory(0, LONG), expected_pages(LONG), 0)
    with pytest.raises(Unavailable, match="slot 0 is processing"):
        bench.do(guest.erase, 0, 0)
    bench.do(guest.leave, bench.scheduler.guest)
    assert bench.engine.stats().seqs_open == 1


def test_pages_that_no_engine_writes():
    bench = Bench()
    handle, _ = bench.do(guest.open_import, Memory(0, LONG))
    with pytest.raises(BadRequest) as refused:
        bench.do(guest.write, handle, 0, expected_pages(LONG)[1])
    assert refused.value.param == "filename"
    bench.do(guest.leave, handle)
    seq = bench.submit(LONG)
    bench.step()
    assert seq.n_cached == 0


def test_erasing_leaves_what_another_lane_remembers():
    bench = Bench()
    bench.run(LONG[:70] + array("i", [1] * 80), slot=0)
    bench.run(LONG[:70] + array("i", [2] * 80), slot=1)
    assert bench.do(guest.erase, 0, 0) == 151
    assert bench.scheduler.lanes.memory(0).ids == array("i")
    first, second = bench.submit(LONG[:70] + array("i", [1] * 80)), bench.submit(LONG[:70] + array("i", [2] * 80))
    bench.step()
    assert (first.n_cached, second.n_cached) == (70, 149)
