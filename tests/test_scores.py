"""Log-probabilities of a prompt's own tokens on real models: against NumPy, and the same bits in any company."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine
from llamatw.capi.records import Choices, Row, SamplingParams
from llamatw.settings import EngineSettings

TEXT = "The capital of France is Paris. The capital of Italy is Rome. 1, 2, 3, 4, 5; 木曜日 and so on.\n"
N_PROBS = 5
SIZE = 1 + N_PROBS
SCORED = SamplingParams(temperature=0, scores=True, n_probs=N_PROBS, ignore_eos=True)
SILENT = SamplingParams(temperature=1, seed=3, ignore_eos=True)


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def engine(request: pytest.FixtureRequest, engine_library: Path) -> Iterator[Engine]:
    path = Path(request.getfixturevalue(request.param))
    engine = Engine.open(path, EngineSettings(model_path=str(path), n_ctx=512, n_seqs=3, n_batch=256))
    yield engine
    engine.close()


def prompt_of(engine: Engine) -> list[int]:
    return engine.vocab.tokenize(TEXT, add_special=True)


def read(engine: Engine, ids: list[int], chunk: int, neighbours: int = 0, logits: np.ndarray | None = None) -> Choices:
    """What is told while the prompt is read in chunks, beside neighbours that read one token a step."""
    others = [engine.open_seq(ids[1 + i :], SILENT, use_cache=False)[0] for i in range(neighbours)]
    seq, _ = engine.open_seq(ids, SCORED, use_cache=False)
    told = b""
    for begin in range(0, len(ids), chunk):
        advance = min(chunk, len(ids) - begin)
        row = Row(seq, advance, None if logits is None else logits[begin : begin + advance])
        outs = {out.seq: out for out in engine.step([*(Row(other, 1) for other in others), row])}
        told += outs[seq].scores.data
        assert not any(outs[other].scores for other in others)
    for open_seq in (seq, *others):
        engine.close_seq(open_seq, keep=False)
    return Choices(told)


def test_against_numpy(engine: Engine) -> None:
    ids = prompt_of(engine)
    logits = np.empty((len(ids), engine.info.n_vocab), np.float32)
    told = list(read(engine, ids, 256, logits=logits))
    wide = logits.astype(np.float64)
    expected = wide - wide.max(1, keepdims=True)
    expected -= np.log(np.exp(expected).sum(1, keepdims=True))
    assert [token for token, _ in told[::SIZE]] == ids[1:]
    assert [value for _, value in told[::SIZE]] == pytest.approx(expected[np.arange(len(ids) - 1), ids[1:]], abs=3e-6)
    for place in range(0, len(ids) - 1, 8):
        row = expected[place]
        top = told[place * SIZE + 1 : (place + 1) * SIZE]
        best = np.lexsort((np.arange(row.size), -logits[place]))[:N_PROBS]
        assert [token for token, _ in top] == best.tolist()
        assert [value for _, value in top] == pytest.approx(row[best], rel=3e-7, abs=3e-6)


def test_the_same_bits_in_any_company(engine: Engine) -> None:
    ids = prompt_of(engine)
    alone = read(engine, ids, 256)
    for chunk, neighbours in ((1, 0), (7, 2), (20, 1)):
        assert read(engine, ids, chunk, neighbours) == alone


def test_what_was_generated_scores_as_when_it_was_sampled(engine: Engine) -> None:
    ids = prompt_of(engine)
    seq, n_cached = engine.open_seq(ids, SCORED)
    outs = engine.step([Row(seq, len(ids) - n_cached)])
    while len(outs) < 16:
        outs += engine.step([Row(seq, 1, n_draft=7)])
    engine.close_seq(seq)
    told = list(read(engine, ids + [out.token for out in outs], 30))[SIZE * (len(ids) - 1) :]
    assert told[::SIZE] == [(out.token, out.logprob) for out in outs]
    assert [told[i * SIZE + 1 : (i + 1) * SIZE] for i in range(len(outs))] == [list(out.top) for out in outs]


def test_beside_forced_guesses(engine: Engine) -> None:
    """A row that ends its prompt and is given guesses: those are no part of the prompt."""
    ids = prompt_of(engine)
    alone = read(engine, ids, 256)
    seq, _ = engine.open_seq(ids, SCORED, use_cache=False)
    outs = engine.step([Row(seq, len(ids), n_draft=3, draft=array("i", ids[:3]))])
    engine.close_seq(seq, keep=False)
    assert outs[0].scores == alone and not any(out.scores for out in outs[1:])
