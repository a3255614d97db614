"""The engine in float32 against tiny models with published configurations, computed by Hugging Face transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import EngineSettings

CASES = """
    llama-mha llama-gqa-llama3rope llama-linear mistral ministral3 internlm2 baichuan-7b granite minicpm ernie4_5
    smollm3 glm4 phi3 phi3-longrope qwen2 qwen3 hunyuan-dense olmo olmo2 exaone4 stablelm command-r cohere2 gemma
    gemma3 gemma4 gpt2 starcoder bloom mpt starcoder2 gptneox phi2 falcon-7b
    mixtral qwen3moe olmoe granitemoe gpt-oss glm4moe exaone-moe llama4
""".split()
GREEDY = SamplingParams(temperature=0)


def open_case(folder: Path) -> tuple[Engine, dict[str, list[int]], np.ndarray]:
    settings = EngineSettings(model_path=str(folder), n_ctx=256, n_seqs=2, n_batch=96, k_type="f32", v_type="f32")
    prompt = json.loads((folder / "prompt.json").read_text())
    return Engine.open(folder / "model.gguf", settings), prompt, np.load(folder / "logits.npy")


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_text(shared_dir: Path, case: str) -> None:
    engine, prompt, expected = open_case(shared_dir / "oracles" / case)
    tokens = prompt["tokens"]
    logits = np.empty((len(tokens), engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(tokens, GREEDY)
    greedy = [engine.step([Row(seq, len(tokens), logits)])[0].token]
    greedy += [engine.step([Row(seq, 1)])[0].token for _ in prompt["greedy"][1:]]
    engine.close()
    difference = float(np.abs(logits - expected).max())
    print(f"{case}: max |logit difference| {difference:.2e}")
    assert difference < 2e-3
    assert greedy == prompt["greedy"]
