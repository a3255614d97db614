"""The scheduler, without threads or a clock, over the fake engine: who runs, who waits, and that no output changes."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llamatw.capi.fake import EOS
from llamatw.capi.records import KVFull
from llamatw.engine.sequence import FinishReason
from llamatw.errors import EngineFailure
from tests.engine.bench import Bench


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
    assert bench.scheduler.lanes.now == [None] * 4


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
    assert bench.engine.stats().seqs_open == 0 and bench.scheduler.lanes.now == [None] * n_seqs
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


SCORED = {"scores": True, "n_probs": 1, "cache_prompt": False}


def scores(bench, id):
    """(token, value) of what has been told of a prompt, without the alternatives."""
    return [pair for delta in bench.heard[id] for pair in list(delta.scores)[::2]]


def test_scores_of_a_prompt_come_once_each_before_there_are_tokens():
    prompt = bytes(range(65, 65 + 26)) * 12
    want = [(token, -0.25 * place) for place, token in enumerate(prompt)][1:]
    bench = Bench(n_batch=100, say="ab")
    bench.submit(0, prompt)
    bench.submit(1, prompt, **SCORED)
    bench.submit(2, prompt, max_tokens=0, **SCORED)
    bench.run()
    assert scores(bench, 1) == scores(bench, 2) == want and scores(bench, 0) == []
    assert all(not delta.scores for delta in bench.heard[1][-3:]) and bench.tokens(1) == [*b"ab", EOS]
    assert (bench.tokens(2), bench.finish(2)) == ([], FinishReason.LIMIT)
    assert all(delta.timings.cache_n == 0 for delta in bench.heard[1]), "what others have computed was not scored"


def test_a_prompt_that_is_read_again_is_not_told_again():
    bench = Bench(n_batch=64, say="a" * 40)
    for id in (0, 1):
        bench.submit(id, "y" * 30, ignore_eos=True)
    bench.submit(2, "x" * 150, max_tokens=30, **SCORED)
    n_told = []
    for neighbour, n_steps in enumerate((2, 9)):
        for _ in range(n_steps):
            bench.step()
        n_told.append((len(scores(bench, 2)), len(bench.tokens(2))))
        bench.scheduler.starve()
        bench.scheduler.abort(neighbour)
    assert 0 < n_told[0][0] < 149 and n_told[1][0] == 149 and 0 < n_told[1][1] < 30, "within the prompt, and behind it"
    bench.run()
    assert scores(bench, 2) == [(ord("x"), -0.25 * place) for place in range(1, 150)]
    assert bench.tokens(2) == [ord("a")] * 30


def test_unread_scores_make_a_sequence_rest_as_text_does():
    bench = Bench(say="a")
    bench.submit(0, "x" * 100, scores=True, n_probs=100, cache_prompt=False)
    bench.run()
    assert sum(delta.n_bytes for delta in bench.heard[0]) == 99 * 101 * 8 + len("a")
