"""One contract for the engine and for the fake that stands in for it elsewhere: what one does, so must the other."""

from __future__ import annotations

import math
from array import array
from contextlib import suppress

import msgspec
import numpy as np
import pytest

from llamatw.capi.engine import Engine, Progress
from llamatw.capi.fake import FakeEngine
from llamatw.capi.records import Breakers, EngineInfo, KVFull, OutFlag, Row, SamplingParams
from llamatw.errors import EngineFailure, LlamatwError, ModelError
from llamatw.settings import EngineSettings

GREEDY = SamplingParams(temperature=0.0)
SETTINGS = EngineSettings(model_path="m.gguf", n_ctx=512, n_seqs=3, n_batch=256)


@pytest.fixture(scope="module")
def real_engine(request, engine_library):
    engine = Engine.open(request.getfixturevalue("smollm2"), SETTINGS)
    yield engine
    engine.close()


@pytest.fixture(params=["fake", "real"])
def engine(request):
    engine = FakeEngine(SETTINGS) if request.param == "fake" else request.getfixturevalue("real_engine")
    yield engine
    for seq in range(engine.info.n_seqs):  # what a failed test left open must not fail the next
        with suppress(EngineFailure):
            engine.close_seq(seq)
    assert engine.stats().seqs_open == 0


@pytest.fixture
def prompt(engine):
    return engine.vocab.tokenize("The capital of France is")


def run(engine, prompt, n_tokens, sampling=GREEDY, **kwargs):
    """Tokens and text of a sequence alone."""
    seq, n_cached = engine.open_seq(prompt, sampling, **kwargs)
    tokens, text, advance = [], "", len(prompt) - n_cached
    while len(tokens) < n_tokens:
        [out] = engine.step([Row(seq, advance)])
        tokens.append(out.token)
        text += out.text
        advance = 1
    engine.close_seq(seq, keep=False)
    return tokens, text


def test_info(engine):
    assert isinstance(engine.info, EngineInfo)
    assert engine.info.n_ctx == 512 and engine.info.n_pages * engine.info.page_tokens == 512
    assert (engine.info.n_seqs, engine.info.n_batch) == (3, 256)
    assert engine.info.n_vocab == engine.vocab.info.n_tokens == engine.model.n_vocab
    assert engine.model.name and engine.model.chat_template and engine.model.eos_token


def test_a_sequence(engine, prompt):
    seq, n_cached = engine.open_seq(prompt, GREEDY, use_cache=False)
    assert n_cached == 0
    [out] = engine.step([Row(seq, len(prompt) - 1)])
    assert (out.seq, out.flags, out.token, out.text) == (seq, OutFlag(0), -1, "")
    [out] = engine.step([Row(seq, 1)])
    assert out.flags & OutFlag.TOKEN and 0 <= out.token < engine.info.n_vocab and out.logprob <= 0.0
    [out] = engine.step([Row(seq, 1)])
    assert out.flags & OutFlag.TOKEN
    engine.close_seq(seq)


def test_what_a_token_was_chosen_among(engine, prompt):
    def first(**settings):
        seq, n_cached = engine.open_seq(prompt, SamplingParams(**settings))
        [out] = engine.step([Row(seq, len(prompt) - n_cached)])
        engine.close_seq(seq)
        return out

    silent, out = first(seed=3), first(seed=3, n_probs=5)
    assert len(silent.top) == len(silent.chances) == 0 and 0 < silent.prob <= 1
    assert (out.token, out.logprob, out.prob) == (silent.token, silent.logprob, silent.prob)
    assert len(out.top) == 5 and 1 <= len(out.chances) <= 5
    for values in ([value for _, value in out.top], [value for _, value in out.chances]):
        assert values == sorted(values, reverse=True)
    out = first(temperature=0.0, n_probs=5)
    assert out.prob == 1 and len(out.chances) == 5
    assert list(first(temperature=0.0, n_probs=5, post_sampling_probs=True).chances) == [(out.token, 1.0)]


def test_greedy_is_the_same_every_time(engine, prompt):
    tokens, text = run(engine, prompt, 12)
    assert run(engine, prompt, 12) == (tokens, text)
    assert run(engine, prompt, 12, use_cache=False) == (tokens, text)
    assert engine.vocab.detokenize(tokens).decode("utf-8", "replace") == text


def test_a_seed_is_one_text(engine, prompt):
    warm = SamplingParams(temperature=1.5, seed=2**64 - 1)
    assert run(engine, prompt, 12, warm) == run(engine, prompt, 12, warm)
    texts = {run(engine, prompt, 12, SamplingParams(temperature=1.5, seed=seed))[1] for seed in range(4)}
    assert len(texts) > 1


def test_reopening_with_the_history_goes_on_as_before(engine, prompt):
    warm = SamplingParams(temperature=1.0, seed=5)
    tokens, _ = run(engine, prompt, 10, warm)
    assert run(engine, prompt + tokens[:6], 4, warm)[0] == tokens[6:]


STATEFUL = [
    SamplingParams(mirostat=1, seed=5, temperature=1.2),
    SamplingParams(mirostat=2, seed=5, mirostat_tau=2.0),
    SamplingParams(samplers=("top_k", "adaptive_p"), adaptive_target=0.3, seed=5),
]


@pytest.mark.parametrize("sampling", STATEFUL)
def test_reopening_with_the_state_goes_on_as_before(real_engine, sampling):
    prompt = real_engine.vocab.tokenize("Once upon a time")
    seq, n_cached = real_engine.open_seq(prompt, sampling)
    outs, advance = [], len(prompt) - n_cached
    for _ in range(16):
        outs += real_engine.step([Row(seq, advance)])
        advance = 1
    real_engine.close_seq(seq)
    tokens = [out.token for out in outs]
    for cut in (1, 7):
        history = [*prompt, *tokens[:cut]]
        resumed = msgspec.structs.replace(sampling, state=outs[cut - 1].state)
        assert run(real_engine, history, 16 - cut, resumed)[0] == tokens[cut:]


@pytest.mark.parametrize("sampling", STATEFUL)
def test_a_state_allows_no_guesses(engine, prompt, sampling):
    seq, n_cached = engine.open_seq(prompt, sampling)
    with pytest.raises(EngineFailure):
        engine.step([Row(seq, len(prompt) - n_cached, n_draft=2)])
    engine.close_seq(seq)


def test_logit_bias(real_engine):
    prompt = real_engine.vocab.tokenize("The capital of France is")
    [best], _ = run(real_engine, prompt, 1)
    forbidding = msgspec.structs.replace(GREEDY, logit_bias=((best, -math.inf),))
    [second], _ = run(real_engine, prompt, 1, forbidding)
    assert second != best
    forcing = msgspec.structs.replace(GREEDY, logit_bias=((best, -math.inf), (7, 100.0)))
    assert run(real_engine, prompt, 3, forcing)[0] == [7, 7, 7]


def test_penalty_prompt_and_breakers(real_engine):
    prompt = real_engine.vocab.tokenize("one two three one two three one two three one two")
    [best], _ = run(real_engine, prompt, 1)
    dry = msgspec.structs.replace(GREEDY, dry_multiplier=50.0, dry_penalty_last_n=-1)
    assert run(real_engine, prompt, 1, dry)[0] != [best]
    breaker = Breakers(array("i", prompt[-1:]), array("i", [1]))
    assert run(real_engine, prompt, 1, msgspec.structs.replace(dry, breakers=breaker))[0] == [best]
    penalty = msgspec.structs.replace(GREEDY, presence_penalty=100.0, repeat_last_n=-1)
    assert run(real_engine, prompt, 1, penalty)[0] != [best]
    unseen = msgspec.structs.replace(penalty, penalty_prompt=(0,), n_prompt=len(prompt))
    assert run(real_engine, prompt, 1, unseen)[0] == [best]


def test_kept_pages_are_prefix_cache(engine):
    prompt = engine.vocab.tokenize("one two three four five six seven eight nine ten " * 20)[:150]
    seq, _ = engine.open_seq(prompt, GREEDY, use_cache=False)
    engine.step([Row(seq, len(prompt))])
    engine.close_seq(seq, keep=True)
    seq, n_cached = engine.open_seq(prompt, GREEDY)
    assert 128 <= n_cached <= len(prompt) - 1
    engine.close_seq(seq)
    for sequel in ({"scope": 1}, {"use_cache": False}):
        seq, n_cached = engine.open_seq(prompt, GREEDY, **sequel)
        assert n_cached == 0
        engine.close_seq(seq)


def test_a_step_without_pages_runs_nothing(engine):
    prompt = engine.vocab.tokenize("a b c d e f g h " * 60)[:240]
    prompts = [prompt, prompt[::-1], prompt[100:] + prompt[:100]]
    seqs = [engine.open_seq(one, GREEDY, use_cache=False)[0] for one in prompts]
    for seq in seqs[:2]:
        engine.step([Row(seq, 240)])
    n_steps = engine.stats().n_steps
    with pytest.raises(KVFull):
        engine.step([Row(seqs[2], 240)])
    assert engine.stats().n_steps == n_steps
    engine.close_seq(seqs[1], keep=True)
    engine.step([Row(seqs[2], 240)])
    for seq in (seqs[0], seqs[2]):
        engine.close_seq(seq)


def test_the_last_token_that_fits_says_so(engine):
    prompt = engine.vocab.tokenize("a b c d e f g h " * 100)[:511]
    seq, _ = engine.open_seq(prompt, SamplingParams(temperature=0.0, ignore_eos=True), use_cache=False)
    engine.step([Row(seq, 256)])
    [out] = engine.step([Row(seq, 255)])
    assert out.flags & OutFlag.TOKEN and out.flags & OutFlag.FULL
    engine.close_seq(seq)


def test_a_shifted_sequence(engine):
    """It goes on; what it keeps for others is its unaltered head."""
    prompt = engine.vocab.tokenize("Seven wizards quickly jumped over a box of quartz. " * 30)[:200]
    seq, _ = engine.open_seq(prompt, GREEDY, use_cache=False)
    engine.step([Row(seq, 180)])
    for n_keep, n_discard in ((-1, 5), (0, 0), (0, 181), (180, 1), (100, 81)):
        with pytest.raises(EngineFailure):
            engine.shift_seq(seq, n_keep, n_discard)
    engine.shift_seq(seq, 100, 50)
    assert engine.seq_room(seq) == 512 - 130
    with pytest.raises(EngineFailure):
        engine.step([Row(seq, 21)])
    [out] = engine.step([Row(seq, 20)])
    assert out.flags & OutFlag.TOKEN
    engine.close_seq(seq, keep=True)
    seq, n_cached = engine.open_seq(prompt, GREEDY)
    assert n_cached == 64
    engine.close_seq(seq)
    for call in (lambda: engine.shift_seq(seq, 0, 1), lambda: engine.seq_room(seq)):
        with pytest.raises(EngineFailure):
            call()


@pytest.mark.parametrize("kind", ["fake", "real"])
def test_self_extend(request, kind):
    """A row ends where its window does; a history that has filled one leaves nothing behind."""
    settings = msgspec.structs.replace(SETTINGS, group_n=4, group_w=100)
    path = None if kind == "fake" else request.getfixturevalue("smollm2")
    engine = FakeEngine(settings) if path is None else Engine.open(path, settings)
    prompt = engine.vocab.tokenize("Seven wizards quickly jumped over a box of quartz. " * 30)[:250]
    seq, _ = engine.open_seq(prompt, GREEDY)
    engine.step([Row(seq, 70)])
    assert engine.seq_room(seq) == 30
    for wrong in (lambda: engine.step([Row(seq, 31)]), lambda: engine.shift_seq(seq, 0, 1)):
        with pytest.raises(EngineFailure):
            wrong()
    for advance in (30, 100, 50):
        [out] = engine.step([Row(seq, advance)])
    assert out.flags & OutFlag.TOKEN and engine.seq_room(seq) == 50
    engine.close_seq(seq, keep=True)
    assert engine.open_seq(prompt, GREEDY)[1] == 0
    engine.close()


@pytest.mark.parametrize("rows", [[Row(99, 1)], [Row(-1, 1)], [Row(0, 0)], [Row(0, -5)], [Row(0, 7)], [Row(0, 1)] * 2])
def test_bad_rows(engine, rows):
    seq, _ = engine.open_seq([1, 2, 3], GREEDY, use_cache=False)
    with pytest.raises(EngineFailure):
        engine.step([Row(seq if row.seq == 0 else row.seq, row.advance) for row in rows])
    engine.close_seq(seq)


def test_bad_sequences(engine):
    for prompt in ([], [1] * 513):
        with pytest.raises(EngineFailure):
            engine.open_seq(prompt, GREEDY)
    seqs = [engine.open_seq([1, 2, 3], GREEDY)[0] for _ in range(3)]
    with pytest.raises(EngineFailure):
        engine.open_seq([1, 2, 3], GREEDY)
    for seq in seqs:
        engine.close_seq(seq)
    for seq in (seqs[0], -1, 10**6):
        with pytest.raises(EngineFailure):
            engine.close_seq(seq)


def test_pages_out_and_in_again(engine):
    prompt = array("i", engine.vocab.tokenize("one two three four five six seven eight nine ten " * 20)[:150])
    size, ids = engine.info.page_bytes, prompt[:100]
    seq, _ = engine.open_seq(ids, GREEDY, use_cache=False)
    with pytest.raises(EngineFailure):
        engine.read_page(seq, 0)
    engine.step([Row(seq, 100)])
    pages = [bytes(engine.read_page(seq, page)) for page in range(2)]
    assert [len(page) for page in pages] == [size, size]
    for wrong in (-1, 2, 10**6):
        with pytest.raises(EngineFailure):
            engine.read_page(seq, wrong)
    engine.close_seq(seq, keep=False)
    engine.forget(prompt)
    seq, n_cached = engine.open_seq(ids, GREEDY)
    assert n_cached == 0
    for page, data in ((1, pages[1]), (0, pages[0][:-1]), (0, b""), (-1, pages[0])):
        with pytest.raises(EngineFailure):
            engine.write_page(seq, page, data)
    for page in range(2):
        engine.write_page(seq, page, pages[page])
    with pytest.raises(EngineFailure):
        engine.write_page(seq, 1, pages[1])
    assert [bytes(engine.read_page(seq, page)) for page in range(2)] == pages
    engine.close_seq(seq, keep=True)
    seq, n_cached = engine.open_seq(prompt, GREEDY)
    assert n_cached == 100
    engine.close_seq(seq, keep=False)


def test_forgetting(engine):
    prompt = array("i", engine.vocab.tokenize("a b c d e f g h " * 60)[:150])
    seq, _ = engine.open_seq(prompt, GREEDY, use_cache=False)
    engine.step([Row(seq, 150)])
    engine.close_seq(seq, keep=True)
    for n_keep, n_cached in ((150, 149), (128, 128), (0, 0)):
        engine.forget(prompt, 0, n_keep)
        seq, found = engine.open_seq(prompt, GREEDY)
        assert found == n_cached
        engine.close_seq(seq, keep=False)
    for ids, n_keep in ((array("i"), 0), (prompt, -1), (array("i", [1] * 514), 0)):
        with pytest.raises(EngineFailure):
            engine.forget(ids, 0, n_keep)


def test_advancing_gives_logits(engine):
    def digests(ids):
        seq, _ = engine.open_seq(ids, GREEDY, use_cache=False)
        logits = [engine.advance(seq) for _ in ids]
        engine.close_seq(seq, keep=False)
        return logits

    first, again, other = digests([1, 2, 3]), digests([1, 2, 3]), digests([1, 3, 2])
    assert first == again and len(set(first)) == 3
    assert first[0] == other[0] and not set(first[1:]) & set(other[1:])


def test_logits_and_a_mask(real_engine):
    n_vocab = real_engine.info.n_vocab
    only = np.zeros((n_vocab + 31) // 32, dtype=np.uint32)
    only[4321 // 32] |= np.uint32(1 << 4321 % 32)
    logits = np.full((3, n_vocab), np.nan, dtype=np.float32)
    seq, _ = real_engine.open_seq([1, 2, 3], GREEDY, use_cache=False)
    [out] = real_engine.step([Row(seq, 3, logits=logits, mask=only)])
    assert out.token == 4321 and np.isfinite(logits).all()
    for wrong in (Row(seq, 1, logits=logits), Row(seq, 1, mask=only[:-1])):
        with pytest.raises(ValueError):
            real_engine.step([wrong])
    real_engine.close_seq(seq)


def test_progress_and_the_default_context(engine_library, smollm2):
    progress = Progress()
    engine = Engine.open(smollm2, EngineSettings(model_path="m"), progress)
    assert progress.value == 1.0 and engine.info.n_ctx == 8192
    engine.close()
    engine.close()
    with pytest.raises(EngineFailure):
        engine.open_seq([1], GREEDY)


def test_a_cancelled_load(engine_library, smollm2):
    progress = Progress()
    progress.cancel()
    with pytest.raises(LlamatwError):
        Engine.open(smollm2, SETTINGS, progress)


def test_a_model_that_is_none(engine_library, tmp_path):
    path = tmp_path / "bad.gguf"
    path.write_bytes(b"GGUF rubbish")
    with pytest.raises(ModelError, match=r"bad\.gguf"):
        Engine.open(path, SETTINGS)
