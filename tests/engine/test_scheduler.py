"""The scheduler, without threads or a clock, over the fake engine: who runs, who waits, and that no output changes."""

from __future__ import annotations

from array import array

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatw.capi.fake import EOS, FakeEngine
from llamatw.capi.records import KVFull, SamplingParams
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.sequence import Delta, FinishReason, GenerationParams, Sequence
from llamatw.engine.shift import check_context, of_generation, of_prompt, to_keep
from llamatw.errors import EngineFailure, ModelError, Unavailable
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
        sampling = SamplingParams(seed=params.pop("seed", id), ignore_eos=params.pop("ignore_eos", False))
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


def alone(prompt, n_ctx=1024, **params):
    """What a sequence says when it has the engine to itself."""
    bench = Bench(n_ctx=n_ctx)
    bench.submit(0, prompt, **params)
    bench.run()
    return bench.text(0), bench.finish(0)


def test_a_prompt_goes_in_whole_and_then_one_token_a_step():
    bench = Bench(say="abc")
    bench.submit(0, "x" * 300)
    assert bench.step() == [(0, 300)]
    assert bench.step() == [(0, 1)]
    bench.run()
    assert bench.tokens(0) == [*b"abc", EOS]
    assert (bench.text(0), bench.finish(0)) == ("abc", FinishReason.EOS)


def test_a_long_prompt_is_cut_to_the_batch():
    bench = Bench(n_batch=128, say="a")
    bench.submit(0, "x" * 300)
    assert [bench.step() for _ in range(3)] == [[(0, 128)], [(0, 128)], [(0, 44)]]
    assert [delta.prompt_done for delta in bench.heard[0]] == [128, 256, 300]


def test_decoding_rows_come_first_and_prompts_share_the_rest():
    bench = Bench(n_ctx=4096, say="abcdefghijklmnopqrstuvwxyz")
    bench.submit(0, "x")
    bench.step()
    bench.submit(1, "y" * 1000)
    bench.submit(2, "z" * 1000)
    rows = bench.step()
    assert rows[0] == (0, 1) and [seq for seq, _ in rows] == [0, 1]
    assert rows[1][1] == 32, "the first chunk beside a live stream is small: nothing has been measured"


def test_the_chunk_beside_a_live_stream_grows_to_the_target():
    bench = Bench(n_ctx=1 << 16, n_batch=2048, say="a" * 1000)
    bench.submit(0, "x")
    for _ in range(10):
        bench.step()
    bench.submit(1, "y" * 20_000)
    for _ in range(30):
        n_chunk = sum(advance for seq, advance in bench.step() if seq == 1)
        bench.step_ms = 10 + 0.1 * n_chunk
    assert 300 < n_chunk < 500, "10 ms of decoding and 0.1 ms a prompt token leave room for 400"


def test_nobody_decoding_means_no_budget_but_the_batch():
    bench = Bench(n_ctx=4096, n_batch=512)
    bench.submit(0, "x" * 400)
    bench.submit(1, "y" * 400)
    assert bench.step() == [(0, 400), (1, 112)]


def test_more_lanes_than_a_step_holds_rows():
    bench = Bench(n_batch=2, n_seqs=4, say="a" * 50)
    for id in range(4):
        bench.submit(id, "x", max_tokens=20)
    bench.run()
    assert all(bench.tokens(id) == [ord("a")] * 20 for id in range(4))


def test_lanes():
    bench = Bench(say="a" * 10)
    bench.submit(0, "x", slot=2)
    bench.submit(1, "y", slot=2)
    bench.submit(2, "z", slot=99)
    bench.step()
    assert [bench.heard[id][0].slot for id in range(3)] == [2, 0, 1]
    bench.run()
    assert bench.scheduler.lanes == [None] * 4


def test_more_requests_than_lanes_wait():
    bench = Bench(n_seqs=2, say="abc")
    for id in range(5):
        bench.submit(id, "x" * (id + 1))
    bench.step()
    assert len(bench.scheduler.running) == 2 and len(bench.scheduler.waiting) == 3
    bench.run()
    assert all(bench.text(id) == "abc" for id in range(5))
    assert bench.engine.stats().seqs_open == 0


def test_limits():
    bench = Bench(say="abcdef")
    bench.submit(0, "x", max_tokens=3)
    bench.submit(1, "x", max_tokens=0)
    bench.submit(2, "x", max_tokens=-1)
    bench.run()
    assert (bench.text(0), bench.finish(0)) == ("abc", FinishReason.LIMIT)
    assert (bench.tokens(1), bench.text(1), bench.finish(1)) == ([], "", FinishReason.LIMIT)
    assert bench.heard[1][-1].timings.prompt_ms > 0
    assert (bench.text(2), bench.finish(2)) == ("abcdef", FinishReason.EOS)


def test_a_full_context_ends_generation():
    bench = Bench(n_ctx=64, say="a" * 1000)
    bench.submit(0, "x" * 60)
    bench.run()
    assert (bench.text(0), bench.finish(0)) == ("aaaa", FinishReason.CONTEXT)


def test_a_character_that_is_never_finished_is_shown_as_such():
    bench = Bench(say="a€")
    bench.submit(0, "x", max_tokens=3)
    bench.run()
    assert bench.text(0) == "a\N{REPLACEMENT CHARACTER}"


def test_a_second_request_takes_the_first_ones_prefix_from_the_cache():
    bench = Bench(say="ok")
    bench.submit(0, "x" * 200)
    bench.run()
    bench.submit(1, "x" * 200)
    bench.submit(2, "x" * 200, cache_prompt=False)
    bench.run()
    assert (bench.heard[1][-1].timings.cache_n, bench.heard[1][-1].timings.prompt_n) == (199, 1)
    assert (bench.heard[2][-1].timings.cache_n, bench.heard[2][-1].timings.prompt_n) == (0, 200)


def test_timings_are_of_the_clock_that_it_is_told():
    bench = Bench(say="abc", n_batch=100)
    bench.submit(0, "x" * 250)
    bench.run()
    timings = bench.heard[0][-1].timings
    assert (timings.prompt_n, timings.predicted_n) == (250, 4)
    assert timings.prompt_ms == pytest.approx(3.0)
    assert timings.predicted_ms == pytest.approx(2.0), "the first step's guess was right: two tokens"
    assert (timings.draft_n, timings.draft_n_accepted) == (4, 1)


def test_the_youngest_makes_room_and_comes_back():
    bench = Bench(n_ctx=256, say="é" * 60)
    for id in range(3):
        bench.submit(id, "x" * (70 + id))
    bench.run()
    assert [bench.text(id) for id in range(3)] == ["é" * 60] * 3
    assert [bench.tokens(id) for id in range(3)] == [[*("é" * 60).encode(), EOS]] * 3, "no token is shown twice"
    assert bench.scheduler.counters.n_starved >= 1


def test_who_cannot_fit_even_alone_has_a_full_context():
    bench = Bench(say="abc")
    bench.engine.faults.extend([KVFull(), None])
    bench.submit(0, "x")
    bench.submit(1, "y")
    bench.engine.faults.extend([KVFull()] * 3)
    bench.run()
    assert bench.finish(0) is FinishReason.CONTEXT


def test_output_that_is_not_finite_fails_its_sequence_alone():
    bench = Bench(say="abc")
    bench.engine.is_nan = lambda history: history[0] == ord("!")
    bench.submit(0, "!")
    bench.submit(1, "x")
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR and isinstance(bench.heard[0][-1].error, EngineFailure)
    assert bench.text(1) == "abc"


def test_a_sequence_that_cannot_be_opened_fails_alone():
    bench = Bench(n_ctx=64, say="abc")
    bench.submit(0, "x" * 65)
    bench.submit(1, "x")
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR
    assert bench.text(1) == "abc"


def test_abort_while_waiting_prefilling_and_decoding():
    bench = Bench(n_seqs=2, n_batch=64, n_ctx=4096, say="a" * 500)
    bench.submit(0, "x")
    bench.step()
    bench.submit(1, "y" * 1000)
    bench.submit(2, "z")
    bench.step()
    for id in (2, 1, 0, 77):
        bench.scheduler.abort(id)
        bench.scheduler.check()
    assert bench.scheduler.is_idle and bench.engine.stats().seqs_open == 0
    assert bench.engine.stats().pages_cached > 0, "what was computed stays as prefix cache"
    assert bench.scheduler.counters.finished["abort"] == 3


@pytest.mark.parametrize("fault", [None, KVFull()])
def test_a_stranger_does_not_change_the_output(fault):
    wanted = alone("hello", seed=7, max_tokens=60)
    bench = Bench(n_batch=16)
    bench.submit(0, "q" * 100)
    bench.submit(1, "hello", seed=7, max_tokens=60)
    for _ in range(12):
        bench.step()
    bench.engine.faults.append(fault)
    bench.run()
    assert (bench.text(1), bench.finish(1)) == wanted


# ---- whose turn it is ----


def test_a_short_prompt_overtakes_a_long_one_that_is_being_read():
    bench = Bench(n_ctx=1 << 14, n_batch=64, say="a")
    bench.submit(0, "x" * 3000)
    bench.step()
    bench.submit(1, "y" * 100)
    assert [bench.step() for _ in range(2)] == [[(1, 64)], [(1, 36), (0, 28)]]


def test_a_prompt_is_overtaken_by_no_more_tokens_than_it_has():
    bench = Bench(n_ctx=1 << 14, n_seqs=4, n_batch=64)
    bench.engine.reply = lambda history, seed: EOS
    bench.submit(0, "x" * 1000)
    n_overtaking = 0
    for id in range(1, 200):
        bench.submit(id, chr(97 + id % 26) * 60 + str(id))
        n_overtaking += sum(advance for seq, advance in bench.step() if bench.scheduler.lanes[0] and seq != 0)
        if 0 in bench.heard and bench.finish(0):
            break
    assert bench.finish(0) is FinishReason.EOS and id < 60, f"still waiting after {id} others"


def test_owners_take_turns_at_reading_whatever_each_brings():
    bench = Bench(n_ctx=1 << 14, n_seqs=4, n_batch=64)
    for id in range(3):
        bench.submit(id, chr(97 + id) * 1000, owner=7)
    bench.submit(3, "z" * 1000, owner=8)
    had = {7: 0, 8: 0}
    for _ in range(20):
        rows = bench.step()
        owners = {seq.handle: seq.params.owner for seq in bench.scheduler.running}
        for seq, advance in rows:
            had[owners[seq]] += advance
    assert had[7] == had[8] == 640


def test_who_comes_back_starts_level_with_the_others():
    bench = Bench(n_ctx=1 << 14, n_seqs=4, n_batch=64)
    bench.engine.reply = lambda history, seed: EOS
    bench.submit(0, "a" * 64, owner=8)
    bench.run()
    bench.submit(1, "x" * 3000, owner=7)
    for _ in range(20):
        bench.step()
    bench.submit(2, "y" * 3000, owner=8)
    had = [seq for _ in range(10) for seq, _ in bench.step()]
    assert had.count(0) == had.count(1) == 5


def test_lanes_go_to_the_owner_that_has_fewest():
    bench = Bench(n_ctx=1 << 14, n_seqs=2, say="a" * 30)
    for id in range(4):
        bench.submit(id, "x" * (id + 1), owner=7)
    bench.submit(4, "y", owner=8)
    bench.step()
    assert {seq.id for seq in bench.scheduler.running} == {0, 4}


# ---- what prompts have in common ----


def test_prompts_that_begin_alike_are_computed_once():
    bench = Bench(n_ctx=1 << 14, n_seqs=8, n_batch=128, say="ok")
    prefix = "system prompt " * 50
    for id in range(8):
        bench.submit(id, prefix + str(id) * 20, seed=3)
    bench.run()
    n_computed = bench.scheduler.counters.n_prompt_tokens
    assert n_computed == len(prefix) + 8 * 20, "the common part once, and what is each one's own"
    assert [bench.heard[id][-1].timings.prompt_n for id in range(1, 8)] == [20] * 7
    assert all(bench.text(id) == "ok" for id in range(8))


def test_equal_prompts_are_computed_once_but_for_the_last_token():
    bench = Bench(n_ctx=1 << 14, n_seqs=4)
    for id in range(4):
        bench.submit(id, "x" * 1000)
    bench.run()
    assert bench.scheduler.counters.n_prompt_tokens == 1000 + 3
    assert len({bench.text(id) for id in range(4)}) > 1, "each with its own seed"


def test_who_waits_for_a_prefix_goes_on_when_its_reader_leaves():
    bench = Bench(n_ctx=1 << 14, n_batch=100, say="ok")
    bench.submit(0, "x" * 1000)
    bench.submit(1, "x" * 1000 + "y")
    for _ in range(3):
        assert [seq for seq, _ in bench.step()] == [0]
    bench.scheduler.abort(0)
    bench.run()
    assert bench.text(1) == "ok"
    assert bench.scheduler.counters.n_prompt_tokens == 1001


def test_no_sharing_across_scopes_nor_where_it_is_not_wanted():
    bench = Bench(n_ctx=1 << 14, say="ok")
    bench.submit(0, "x" * 100, scope=1)
    bench.submit(1, "x" * 100, scope=2)
    bench.submit(2, "x" * 100, scope=1, cache_prompt=False)
    bench.run()
    assert bench.scheduler.counters.n_prompt_tokens == 300


# ---- guesses ----


def test_guesses_grow_with_luck_and_fill_what_is_free():
    bench = Bench(n_ctx=1 << 14, say="a" * 200)
    bench.submit(0, "x")
    for _ in range(8):
        bench.step()
    drafted = bench.heard[0][-1].timings
    assert drafted.draft_n > 8 and drafted.draft_n_accepted == bench.scheduler.running[0].guesses.n_right
    bench.run()
    assert bench.text(0) == "a" * 200 and len(bench.engine.steps) < 150


def test_no_guesses_beside_prompts_or_beyond_the_limit():
    bench = Bench(n_ctx=1 << 14, n_batch=64, say="a" * 200)
    bench.submit(0, "x", max_tokens=5)
    bench.step()
    bench.submit(1, "y" * 2000)
    n_drafted = []
    for _ in range(4):
        bench.step()
        n_drafted.append(bench.heard[0][-1].timings.draft_n)
    assert n_drafted == [0] * 4 and len(bench.tokens(0)) == 5


def test_who_gave_up_its_pages_goes_on_when_the_one_who_stayed_rests():
    bench = Bench(n_ctx=256, say="a" * 100)
    bench.engine.faults.extend([None, KVFull()])
    for id in (0, 1):
        bench.submit(id, "xy"[id] * 10, n_draft=0)
    bench.step()
    bench.step()
    assert [seq.id for seq in bench.scheduler.waiting] == [1]
    bench.scheduler.rest(0, True)
    assert not bench.scheduler.is_at_rest
    for _ in range(200):
        bench.step()
    assert (bench.text(1), bench.finish(1)) == ("a" * 100, FinishReason.EOS)
    bench.scheduler.rest(0, False)
    bench.run()
    assert bench.text(0) == "a" * 100


def test_a_long_stream_remembers_nothing_of_those_who_come_and_go():
    bench = Bench(n_ctx=4096, say="a" * 1000)
    bench.submit(0, "x" * 100)
    bench.step()
    for id in range(1, 50):
        bench.submit(id, "x" * 100, max_tokens=1)
        bench.step()
    (stream,) = bench.scheduler.running
    assert not stream.overlaps


# ---- full contexts that go on ----


def shifting(**fake):
    """Contexts of 128 tokens, and pages for eight of them."""
    bench = Bench(n_ctx=1024, **fake)
    bench.engine.info = msgspec.structs.replace(bench.engine.info, n_ctx=128)
    bench.scheduler._n_ctx = 128
    return bench


def test_a_full_context_loses_half_and_goes_on():
    bench = shifting()
    bench.submit(0, "x" * 20, shifts=True, n_keep=4, max_tokens=300, ignore_eos=True)
    bench.run()
    assert len(bench.tokens(0)) == 300 and bench.finish(0) is FinishReason.LIMIT
    dropped = [delta.n_dropped for delta in bench.heard[0]]
    assert dropped[0] == 0 and sorted(set(dropped)) == [61 * n for n in range(5)], "(127 - 4 - 1) / 2 each time"


def test_the_whole_prompt_can_be_kept_and_the_number_that_goes_be_given():
    bench = shifting()
    bench.submit(0, "x" * 20, shifts=True, n_keep=-1, n_discard=10, max_tokens=150, ignore_eos=True)
    bench.run()
    assert bench.heard[0][-1].n_dropped == 50


@pytest.mark.parametrize("at", [*range(105, 120), 180])
@pytest.mark.parametrize("n_prompt", [20, 21, 22])
def test_a_shifted_sequence_that_had_to_give_up_its_pages_says_the_same(at, n_prompt):
    """Also when its context was full in the middle of a character."""

    def run(*faults):
        bench = shifting(reply=three_bytes)
        bench.engine.faults.extend(faults)
        bench.submit(0, "y" * 30, shifts=True, max_tokens=290, ignore_eos=True, n_draft=0)
        bench.submit(1, "x" * n_prompt, shifts=True, max_tokens=300, ignore_eos=True, n_draft=0)
        bench.run()
        return bench

    calm, starved = run(), run(*[None] * at, KVFull())
    assert starved.scheduler.counters.n_starved == 1 and calm.scheduler.counters.n_starved == 0
    for id in (0, 1):
        assert (starved.tokens(id), starved.text(id)) == (calm.tokens(id), calm.text(id))


def three_bytes(history, seed):
    return 0xA0 + 7 * len(history) % 31 if 0xE2 in history[-2:] else 0xE2


@pytest.mark.parametrize("n_ctx", range(4, 12))
def test_the_least_contexts_that_can_be_shifted_have_something_to_drop(n_ctx):
    check_context(n_ctx)
    for n_keep in (-1, 0, 3, 2**31 - 1):
        drop = of_generation(n_ctx - 1, to_keep(n_keep, n_ctx - 1, n_ctx), 0)
        assert drop.first >= 0 < drop.n and drop.first + drop.n < n_ctx
        for n_prompt in range(n_ctx, 40):
            assert 1 <= len(of_prompt(list(range(n_prompt)), n_keep, n_ctx)) < n_ctx


def test_smaller_contexts_are_not_served_with_shifts():
    with pytest.raises(ModelError, match="a context of 4 tokens at least, this one has 3"):
        check_context(3)


def test_a_full_context_that_cannot_be_shifted_ends_alone():
    bench = shifting(say="a" * 500)
    bench.engine.shift_seq = lambda *_: (_ for _ in ()).throw(EngineFailure("no", -1))
    bench.submit(0, "x", shifts=True)
    bench.submit(1, "y", max_tokens=5)
    bench.run()
    assert bench.finish(0) is FinishReason.ERROR and bench.text(1) == "aaaaa"


# ---- time limits ----


def test_a_request_that_waits_too_long_is_refused_and_one_that_runs_too_long_is_cut():
    bench = Bench(n_seqs=1, say="a" * 500)
    bench.step_ms = 100
    bench.submit(0, "x", timeout_s=1.05, n_draft=0)
    bench.submit(1, "y", timeout_s=0.5)
    bench.run()
    assert bench.finish(0) is FinishReason.TIMEOUT and len(bench.tokens(0)) == 11
    assert bench.finish(1) is FinishReason.ERROR and isinstance(bench.heard[1][-1].error, Unavailable)


def test_the_time_limit_of_generating_counts_from_the_first_token_and_once_a_line_has_ended():
    bench = Bench(n_ctx=4096, n_batch=64, say="aa\n" + "b" * 500)
    bench.step_ms = 100
    bench.submit(0, "x" * 640, predict_timeout_s=0.45, n_draft=0)
    bench.run()
    assert (bench.finish(0), bench.text(0)) == (FinishReason.TIMEOUT, "aa\nbbb")
    bench = Bench(n_ctx=4096, say="a" * 50)
    bench.step_ms = 100
    bench.submit(0, "x", predict_timeout_s=0.45)
    bench.run()
    assert bench.finish(0) is FinishReason.EOS, "no line has ended"


requests = st.lists(
    st.fixed_dictionaries(
        {
            "at": st.integers(0, 40),  # step of its arrival
            "prompt": st.text("ab", min_size=1, max_size=150),
            "max_tokens": st.integers(-1, 80),
            "slot": st.integers(-1, 4),
            "abort_at": st.one_of(st.none(), st.integers(0, 60)),
            "seed": st.integers(0, 3),
        }
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=150, deadline=None)
@given(requests=requests, n_seqs=st.integers(1, 4), n_batch=st.integers(1, 100), full_at=st.sets(st.integers(0, 80)))
def test_whatever_arrives_leaves_or_starves_everybody_is_served_as_if_alone(requests, n_seqs, n_batch, full_at):
    bench = Bench(n_ctx=256, n_seqs=n_seqs, n_batch=n_batch)
    bench.engine.faults.extend(KVFull() if n in full_at and n % 2 else None for n in range(80))
    bench.engine.reply = accented
    order = sorted(range(len(requests)), key=lambda n: requests[n]["at"])
    pending = [(requests[n]["at"], id, requests[n]) for id, n in enumerate(order)]
    step = 0
    while pending or not bench.scheduler.is_idle:
        while pending and pending[0][0] <= step:
            _, id, wish = pending.pop(0)
            params = {key: wish[key] for key in ("seed", "max_tokens", "slot")}
            bench.submit(id, wish["prompt"], **params)
        for id, n in enumerate(order):
            if requests[n]["abort_at"] == step:
                bench.scheduler.abort(id)
        bench.step()
        step += 1
        assert step < 20_000
    assert bench.engine.stats().seqs_open == 0 and bench.scheduler.lanes == [None] * n_seqs
    for id, n in enumerate(order):
        check_as_if_alone(bench, id, requests[n])


def accented(history, seed):
    """Two-byte characters, so that starving hits the middle of them; ends at the 100th token of a history."""
    if len(history) % 100 == 0:
        return EOS
    return 0xA0 + seed * 7 % 31 if history[-1] == 0xC3 else 0xC3


def check_as_if_alone(bench, id, wish):
    single = Bench(n_ctx=256)
    single.engine.reply = accented
    single.submit(0, wish["prompt"], seed=wish["seed"], max_tokens=wish["max_tokens"])
    single.run()
    deltas = bench.heard.get(id, [])
    assert sum(delta.finish is not None for delta in deltas[:-1]) == 0
    if not deltas or deltas[-1].finish is None:
        assert wish["abort_at"] is not None, "only an aborted sequence ends without a word"
        assert single.tokens(0)[: len(bench.tokens(id))] == bench.tokens(id)
    elif deltas[-1].finish is FinishReason.CONTEXT and single.finish(0) is not FinishReason.CONTEXT:
        assert single.tokens(0)[: len(bench.tokens(id))] == bench.tokens(id), "an injected KVFull hit it while alone"
    else:
        assert bench.tokens(id) == single.tokens(0)
        assert (bench.text(id), bench.finish(id)) == (single.text(0), single.finish(0))


def test_not_continuous():
    """Those that come while others run wait for the last of them, and then start together."""
    bench = Bench(continuous=False)
    bench.submit(0, "a", max_tokens=3, ignore_eos=True)
    bench.submit(1, "b", max_tokens=9, ignore_eos=True)
    bench.step()
    bench.submit(2, "c", max_tokens=2, ignore_eos=True)
    bench.submit(3, "d", max_tokens=2, ignore_eos=True)
    while bench.finish(1) is None:
        assert {seq.id for seq in bench.scheduler.running} <= {0, 1}
        bench.step()
    bench.step()
    assert {seq.id for seq in bench.scheduler.running} == {2, 3}
    bench.run()
    assert [len(bench.tokens(id)) for id in range(4)] == [3, 9, 2, 2]
