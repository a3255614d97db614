"""What each token was chosen among, on a real model: against NumPy on the engine's own logits, and with guesses."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import pytest

from llamatw.capi._abi import MAX_PROBS
from llamatw.capi.engine import Engine
from llamatw.capi.records import Out, Row, SamplingParams
from llamatw.settings import EngineSettings

TEXT = "Copy this list: red, green, blue, red, green, blue, red, green, blue, red, green,"
OPEN = SamplingParams(temperature=0.7, top_k=0, top_p=1.0, min_p=0.0, seed=3, n_probs=MAX_PROBS)


@pytest.fixture(scope="module")
def engine(smollm2: Path) -> Iterator[Engine]:
    engine = Engine.open(smollm2, EngineSettings(model_path=str(smollm2), n_ctx=256, n_seqs=2))
    yield engine
    engine.close()


def first(engine: Engine, sampling: SamplingParams) -> tuple[Out, np.ndarray]:
    """The first token of an answer, and the logits that it was sampled from."""
    prompt = engine.vocab.tokenize(TEXT)
    logits = np.empty((len(prompt), engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(prompt, sampling, use_cache=False)
    [out] = engine.step([Row(seq, len(prompt), logits=logits)])
    engine.close_seq(seq)
    return out, logits[-1]


def best(values: np.ndarray, n: int) -> list[int]:
    """Ids of the n largest, the lower id first among equals."""
    return np.lexsort((np.arange(values.size), -values))[:n].tolist()  # type: ignore[no-any-return]


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    return wide - wide.max() - np.log(np.exp(wide - wide.max()).sum())


def test_the_best_of_the_raw_logits(engine: Engine) -> None:
    for n in (1, 10, MAX_PROBS):
        out, logits = first(engine, msgspec.structs.replace(OPEN, n_probs=n, repeat_penalty=1.5, top_k=3))
        expected = log_softmax(logits)
        assert [token for token, _ in out.top] == best(logits, n)
        assert [value for _, value in out.top] == pytest.approx(expected[best(logits, n)], rel=3e-7, abs=2e-6)
        assert out.logprob == pytest.approx(expected[out.token], rel=3e-7, abs=2e-6)
        assert dict(out.top).get(out.token, out.logprob) == out.logprob, "the same bits"


def test_the_likeliest_to_be_drawn(engine: Engine) -> None:
    out, logits = first(engine, OPEN)
    expected = np.exp(log_softmax(logits / np.float32(0.7)))
    assert [token for token, _ in out.chances] == best(logits, MAX_PROBS)
    assert [value for _, value in out.chances] == pytest.approx(expected[best(logits, MAX_PROBS)], rel=1e-4)
    assert out.prob == pytest.approx(expected[out.token], rel=1e-4)
    out, _ = first(engine, msgspec.structs.replace(OPEN, top_k=5))
    assert len(out.chances) == 5 and sum(value for _, value in out.chances) == pytest.approx(1, abs=1e-6)


def test_of_a_greedy_choice(engine: Engine) -> None:
    greedy = msgspec.structs.replace(OPEN, temperature=0.0)
    out, logits = first(engine, greedy)
    assert out.prob == 1 and next(iter(out.chances))[0] == out.token == logits.argmax()
    expected = np.exp(log_softmax(logits))
    assert [value for _, value in out.chances] == pytest.approx(expected[best(logits, MAX_PROBS)], rel=1e-4)
    out, _ = first(engine, msgspec.structs.replace(greedy, post_sampling_probs=True))
    assert list(out.chances) == [(out.token, 1.0)]


def test_what_a_mask_forbids_is_among_the_raw_ones_only(engine: Engine) -> None:
    prompt = engine.vocab.tokenize(TEXT)
    allowed = np.zeros((engine.info.n_vocab + 31) // 32, np.uint32)
    allowed[3] = 0xFF
    seq, n_cached = engine.open_seq(prompt, OPEN)
    [out] = engine.step([Row(seq, len(prompt) - n_cached, mask=allowed.tobytes())])
    engine.close_seq(seq)
    assert len(out.top) == MAX_PROBS and out.token in {token for token, _ in out.chances} <= set(range(96, 104))


def generate(engine: Engine, n_tokens: int, sampling: SamplingParams, n_draft: int) -> list[Out]:
    """Out.n_drafted is not compared."""
    prompt = engine.vocab.tokenize(TEXT)
    seq, n_cached = engine.open_seq(prompt, sampling)
    outs: list[Out] = engine.step([Row(seq, len(prompt) - n_cached)])
    while len(outs) < n_tokens:
        outs += engine.step([Row(seq, 1, n_draft=n_draft)])
    engine.close_seq(seq, keep=False)
    return [msgspec.structs.replace(out, n_drafted=0) for out in outs[:n_tokens]]


def test_asking_and_guessing_change_nothing(engine: Engine) -> None:
    for temperature in (0.0, 0.7):
        sampling = msgspec.structs.replace(OPEN, temperature=temperature, n_probs=8)
        alone = generate(engine, 40, sampling, 0)
        assert all(len(out.top) == 8 and out.prob > 0 for out in alone)
        assert generate(engine, 40, sampling, 7) == alone
        silent = generate(engine, 40, msgspec.structs.replace(sampling, n_probs=0), 0)
        same = ("token", "logprob", "prob", "text")
        assert [[getattr(out, name) for name in same] for out in silent] == [
            [getattr(out, name) for name in same] for out in alone
        ]


def test_guesses_that_are_given(engine: Engine) -> None:
    sampling = msgspec.structs.replace(OPEN, temperature=0.0, n_probs=8)
    alone = generate(engine, 6, sampling, 0)
    prompt = engine.vocab.tokenize(TEXT)
    seq, n_cached = engine.open_seq(prompt, sampling)
    draft = array("i", [out.token for out in alone[:5]])
    outs = engine.step([Row(seq, len(prompt) - n_cached, n_draft=5, draft=draft)])
    engine.close_seq(seq)
    assert [msgspec.structs.replace(out, n_drafted=0) for out in outs] == alone[: len(outs)] and len(outs) == 6
