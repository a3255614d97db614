"""The scheduler's choices: whose turn it is, what prompts share, guesses, full contexts that go on, time limits."""

from __future__ import annotations

import msgspec
import pytest

from llamatw.capi.fake import EOS, FakeEngine
from llamatw.capi.records import KVFull
from llamatw.engine.sequence import FinishReason
from llamatw.engine.shift import check_context, of_generation, of_prompt, to_keep
from llamatw.errors import EngineFailure, ModelError, Unavailable
from tests.engine.bench import Bench

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
        n_overtaking += sum(advance for seq, advance in bench.step() if bench.scheduler.lanes.now[0] and seq != 0)
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
    check_context(msgspec.structs.replace(FakeEngine().model, n_ctx=n_ctx))
    for n_keep in (-1, 0, 3, 2**31 - 1):
        drop = of_generation(n_ctx - 1, to_keep(n_keep, n_ctx - 1, n_ctx), 0)
        assert drop.first >= 0 < drop.n and drop.first + drop.n < n_ctx
        for n_prompt in range(n_ctx, 40):
            assert 1 <= len(of_prompt(list(range(n_prompt)), n_keep, n_ctx)) < n_ctx


def test_smaller_contexts_are_not_served_with_shifts():
    with pytest.raises(ModelError, match="a context of 4 tokens at least, this one has 3"):
        check_context(msgspec.structs.replace(FakeEngine().model, n_ctx=3))


@pytest.mark.parametrize(("is_recurrent", "reason"), [(True, "recurrent layers"), (False, "its keys cannot be turned")])
def test_models_that_cannot_be_shifted_are_not_served_so(is_recurrent, reason):
    with pytest.raises(ModelError, match=f"--context-shift is not served for fake: {reason}"):
        check_context(msgspec.structs.replace(FakeEngine().model, is_recurrent=is_recurrent, can_shift=False))


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
