"""Two real quantised models against float32 transformers on the very same weights: how much 8-bit activations cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings

GREEDY = SamplingParams(temperature=0)
N_GREEDY = 32


def log_softmax(logits: np.ndarray) -> np.ndarray:
    wide = logits.astype(np.float64)
    wide -= wide.max(axis=-1, keepdims=True)
    return wide - np.log(np.exp(wide).sum(axis=-1, keepdims=True))


def run(engine: Engine, case: dict[str, Any]) -> tuple[np.ndarray, list[int], list[float]]:
    """Log-probabilities after every prompt token, the greedy ids, and the gap of the first two at each step."""
    logits = np.empty((len(case["ids"]), engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(case["ids"], GREEDY, use_cache=False)
    out = engine.step([Row(seq, len(case["ids"]), logits)])[0]
    ids, gaps, last, ends = [out.token], [], logits[-1:], engine.vocab.ends()
    while True:
        top = np.sort(last[0])[-2:]
        gaps.append(float(top[1] - top[0]))
        if ids[-1] in ends or len(ids) == N_GREEDY:
            break
        last = np.empty((1, engine.info.n_vocab), np.float32)
        ids.append(engine.step([Row(seq, 1, last)])[0].token)
    engine.close_seq(seq, keep=False)
    return log_softmax(logits), ids, gaps


def compare(engine: Engine, cases: list[dict[str, Any]]) -> tuple[float, float, int]:
    """Share of positions with equal top-1, mean |log-probability difference| of that token, equal greedy texts."""
    equal, differences, texts = [], [], 0
    for case in cases:
        logprobs, ids, gaps = run(engine, case)
        top, expected = np.array(case["every_pos_top1"]), np.array(case["every_pos_top1_logprob"])
        equal += list(logprobs.argmax(axis=1) == top)
        differences += list(np.abs(logprobs[np.arange(len(top)), top] - expected))
        same = ids == case["greedy"][: len(ids)]
        texts += same
        if not same:
            at = next(i for i, (a, b) in enumerate(zip(ids, case["greedy"], strict=False)) if a != b)
            print(f"  {case['name']}: greedy differs at {at}, gap of the first two logits there {gaps[at]:.3f}")
    return float(np.mean(equal)), float(np.mean(differences)), texts


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize(
    ("model", "file", "most_difference", "least_texts"),
    [("smollm2", "smollm2-135m-q4_1.json", 0.036, 5), ("gemma3", "gemma3-270m-q4_k_m.json", 0.069, 3)],
)
def test_agrees_with_float32(
    request: pytest.FixtureRequest, shared_dir: Path, model: str, file: str, most_difference: float, least_texts: int
) -> None:
    cases = json.loads((shared_dir / "vectors" / "reference" / file).read_text())
    path = request.getfixturevalue(model)
    engine = Engine.open(path, EngineSettings(model_path=str(path), n_ctx=1024, n_seqs=1, n_batch=1024))
    share, difference, texts = compare(engine, cases)
    engine.close()
    print(f"{model}: top-1 {share:.2%}, mean |logprob difference| {difference:.4f}, texts {texts} of {len(cases)}")
    assert share >= 0.97
    assert difference <= most_difference
    assert texts >= least_texts
