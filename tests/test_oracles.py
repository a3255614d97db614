"""The engine in float32 against tiny models with published configurations, computed by Hugging Face transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.errors import ModelError
from llamatw.settings import EngineSettings, Override
from tests.references import GREEDY, Reference, compare

CASES = """
    llama-mha llama-gqa-llama3rope llama-linear mistral ministral3 internlm2 baichuan-7b granite minicpm ernie4_5
    smollm3 glm4 phi3 phi3-longrope qwen2 qwen3 hunyuan-dense olmo olmo2 exaone4 stablelm command-r cohere2 gemma
    gemma3 gemma4 gpt2 starcoder bloom mpt starcoder2 gptneox phi2 falcon-7b
    mixtral qwen3moe olmoe granitemoe gpt-oss glm4moe exaone-moe llama4 deepseek2-lite deepseek3 minicpm3
    mamba mamba2 lfm2 falcon-h1 nemotron-h jamba granitehybrid qwen3next qwen35 qwen35moe
""".split()


def open_case(folder: Path) -> tuple[Engine, dict[str, list[int]], np.ndarray]:
    settings = EngineSettings(model_path=str(folder), n_ctx=256, n_seqs=2, n_batch=96, k_type="f32", v_type="f32")
    prompt = json.loads((folder / "prompt.json").read_text())
    return Engine.open(folder / "model.gguf", settings), prompt, np.load(folder / "logits.npy")


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_text(shared_dir: Path, case: str) -> None:
    engine, prompt, expected = open_case(shared_dir / "oracles" / case)
    tokens, greedy = prompt["tokens"], prompt["greedy"]
    compare(engine, Reference(case, "shared", "", tokens, greedy, expected, np.arange(len(tokens))))


def last_logits(engine: Engine, tokens: list[int], chunk: int, *, use_cache: bool, beside: list[int]) -> bytes:
    """Bits of the logits after the last token, computed in chunks while another sequence is."""
    other, _ = engine.open_seq(beside, GREEDY, use_cache=False)
    seq, done = engine.open_seq(tokens, GREEDY, use_cache=use_cache)
    left = len(beside)
    while done < len(tokens):
        n, m = min(chunk, len(tokens) - done), min(5, left)
        logits = np.empty((n, engine.info.n_vocab), np.float32)
        engine.step([Row(other, m), Row(seq, n, logits)] if m else [Row(seq, n, logits)])
        done, left = done + n, left - m
    engine.close_seq(seq)
    engine.close_seq(other, keep=False)
    return logits[-1].tobytes()


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("case", CASES)
def test_the_same_bits_in_pieces_in_company_and_cached(shared_dir: Path, case: str) -> None:
    folder = shared_dir / "oracles" / case
    tokens = json.loads((folder / "prompt.json").read_text())["tokens"]
    settings = EngineSettings(model_path=str(folder), n_ctx=256, n_seqs=2, n_batch=128)
    engine = Engine.open(folder / "model.gguf", settings)
    alone = last_logits(engine, tokens, len(tokens), use_cache=False, beside=tokens[:1])
    for chunk in (1, 7, 33):
        assert last_logits(engine, tokens, chunk, use_cache=False, beside=tokens[::-1]) == alone, chunk
    for cached in (60, 64, 80):
        last_logits(engine, tokens[:cached], 64, use_cache=True, beside=tokens[:1])
        assert last_logits(engine, tokens, 50, use_cache=True, beside=tokens[:9]) == alone, cached
    engine.close()


@pytest.mark.usefixtures("engine_library")
def test_a_context_beyond_the_learned_positions_is_refused(shared_dir: Path) -> None:
    folder = shared_dir / "oracles" / "gpt2"
    settings = EngineSettings(model_path=str(folder), n_ctx=257, n_seqs=1, n_batch=8)
    with pytest.raises(ModelError, match="n_ctx is 257, but this gpt2 model has learned 256 positions"):
        Engine.open(folder / "model.gguf", settings)


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("case", ["mistral", "phi3"])
def test_a_window_of_all_layers_hides_what_lies_before(shared_dir: Path, case: str) -> None:
    """A layer sees 15 positions before its own: the last token sees that many times the layers, and no more."""
    folder = shared_dir / "oracles" / case
    tokens = json.loads((folder / "prompt.json").read_text())["tokens"]
    window = Override(key=f"{'llama' if case == 'mistral' else case}.attention.sliding_window", value=16)
    seen = {}
    for overrides in [(), (window,)]:
        settings = EngineSettings(
            model_path=str(folder), n_ctx=256, n_seqs=2, n_batch=128, k_type="f32", v_type="f32", overrides=overrides
        )
        engine = Engine.open(folder / "model.gguf", settings)
        for beyond in (0, 1):
            changed = len(tokens) - 1 - 15 * engine.info.n_layer - beyond
            other = [*tokens[:changed], 7, *tokens[changed + 1 :]]
            logits = [last_logits(engine, t, 128, use_cache=False, beside=tokens[:1]) for t in (tokens, other)]
            seen[bool(overrides), beyond] = logits[0] != logits[1]
        engine.close()
    assert seen == {(False, 0): True, (False, 1): True, (True, 0): True, (True, 1): False}
