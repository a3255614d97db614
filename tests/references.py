"""Tiny models with outputs that somebody else has computed: how the engine is compared with them, and docs/models.md.

LLAMATW_MODELS=DIR pytest tests/test_oracles.py tests/test_golden_models.py     each comparison leaves DIR/CASE.json
python -m tests.references DIR                                                  the page, from these
"""

from __future__ import annotations

import json
import os
import sys
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams

TOLERANCE = 2e-3
GREEDY = SamplingParams(temperature=0)

# What an architecture's files are called by those who download them.
MODELS = {
    "arcee": "AFM 4.5B",
    "baichuan": "Baichuan 7B, 13B; Baichuan 2",
    "bailingmoe": "Ling Lite, Plus",
    "bailingmoe2": "Ling 2, Ring 2",
    "bloom": "BLOOM, BLOOMZ",
    "chatglm": "ChatGLM 3, GLM-4 9B",
    "codeshell": "CodeShell 7B",
    "cohere2": "Command R7B, Command A",
    "command-r": "Command R, R+, Aya 23",
    "deepseek": "DeepSeek MoE 16B",
    "deepseek2": "DeepSeek V2, V3, R1; Kimi K2",
    "dots1": "dots.llm1",
    "ernie4_5": "ERNIE 4.5 0.3B",
    "ernie4_5-moe": "ERNIE 4.5 21B-A3B, 300B-A47B",
    "exaone": "EXAONE 3, 3.5",
    "exaone-moe": "K-EXAONE",
    "exaone4": "EXAONE 4",
    "falcon": "Falcon 7B, 40B, 180B",
    "falcon-h1": "Falcon H1",
    "gemma": "Gemma 2B, 7B; CodeGemma",
    "gemma2": "Gemma 2",
    "gemma3": "Gemma 3 (text)",
    "gemma4": "Gemma 4, dense without per-layer embeddings (text)",
    "glm4": "GLM-4 0414 9B, 32B; GLM-Z1",
    "glm4moe": "GLM-4.5, 4.6, Air",
    "gpt-oss": "gpt-oss 20B, 120B",
    "gpt2": "GPT-2",
    "gptj": "GPT-J 6B",
    "gptneox": "Pythia, Dolly 2, StableLM alpha",
    "granite": "Granite 3 dense",
    "granitehybrid": "Granite 4",
    "granitemoe": "Granite 3 MoE",
    "hunyuan-dense": "Hunyuan 0.5B to 7B",
    "hunyuan-moe": "Hunyuan A13B",
    "internlm2": "InternLM 2, 2.5",
    "jais2": "Jais 2",
    "jamba": "Jamba",
    "lfm2": "LFM2",
    "lfm2moe": "LFM2 8B-A1B",
    "llama": "Llama 1 to 3.3, Mistral, Mixtral, Nemo, TinyLlama, SmolLM, Yi, Vicuna, R1 distillates",
    "llama4": "Llama 4 Scout, Maverick (text)",
    "mamba": "Mamba, Falcon Mamba",
    "mamba2": "Mamba 2, Codestral Mamba",
    "minicpm": "MiniCPM 1, 2",
    "minicpm3": "MiniCPM 3",
    "minimax-m2": "MiniMax M2",
    "mistral3": "Ministral 3, Mistral Small from 3.2, Devstral 2",
    "mpt": "MPT 7B, 30B",
    "nemotron": "Minitron, Nemotron 4",
    "nemotron_h": "Nemotron Nano 2",
    "nemotron_h_moe": "Nemotron 3 Nano",
    "olmo": "OLMo 1",
    "olmo2": "OLMo 2, 3",
    "olmoe": "OLMoE",
    "openelm": "OpenELM",
    "orion": "Orion 14B",
    "phi2": "Phi 1, 1.5, 2",
    "phi3": "Phi 3, 3.5, 4",
    "phimoe": "Phi 3.5 MoE",
    "plamo": "PLaMo 13B",
    "qwen": "Qwen 1",
    "qwen2": "Qwen 2, 2.5, Coder, QwQ, R1 distillates",
    "qwen2moe": "Qwen 1.5 MoE, Qwen 2 57B-A14B",
    "qwen2vl": "Qwen 2 VL, 2.5 VL (text)",
    "qwen3": "Qwen 3",
    "qwen35": "Qwen 3.5 dense",
    "qwen35moe": "Qwen 3.5 MoE",
    "qwen3moe": "Qwen 3 30B-A3B, 235B-A22B, Coder",
    "qwen3next": "Qwen 3 Next",
    "qwen3vl": "Qwen 3 VL (text)",
    "qwen3vlmoe": "Qwen 3 VL MoE (text)",
    "refact": "Refact 1.6B",
    "seed_oss": "Seed-OSS 36B",
    "smollm3": "SmolLM 3",
    "stablelm": "StableLM 3B, 2 1.6B, 12B",
    "starcoder": "StarCoder, SantaCoder",
    "starcoder2": "StarCoder 2",
    "xverse": "XVERSE",
}


@dataclass(frozen=True)
class Reference:
    name: str
    by: str  # who computed it: transformers, numpy, llama.cpp, or shared (transformers, in the shared reference data)
    shows: str
    tokens: list[int]
    greedy: list[int]
    logits: np.ndarray  # [len(rows), n_vocab]
    rows: np.ndarray  # positions in tokens


@dataclass(frozen=True)
class Result:
    name: str
    by: str
    shows: str
    arch: str
    difference: float  # the largest between two logits


def compare(engine: Engine, reference: Reference) -> None:
    """Logits of the prompt and the greedy ids after it; closes the engine."""
    n = len(reference.tokens)
    logits = np.empty((n, engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(reference.tokens, GREEDY)
    greedy = [engine.step([Row(seq, n, logits)])[0].token]
    greedy += [engine.step([Row(seq, 1)])[0].token for _ in reference.greedy[1:]]
    difference = float(np.abs(logits[reference.rows] - reference.logits).max())
    if folder := os.environ.get("LLAMATW_MODELS"):
        result = Result(reference.name, reference.by, reference.shows, engine.model.arch, difference)
        Path(folder).mkdir(parents=True, exist_ok=True)
        Path(folder, f"{reference.name}.json").write_text(json.dumps(asdict(result)))
    engine.close()
    print(f"{reference.name}: max |logit difference| {difference:.2e}")
    assert difference < TOLERANCE
    assert greedy == reference.greedy


PAGE = """# Architectures

Generated by `make models` from the tests' results. Each architecture is compared, in float32, with tiny models of
random weights that somebody else has computed: the largest difference between two logits of a prompt is given, and the
greedy text after it is the same wherever that is below {tolerance}. Bits are the same on every machine, so these
figures are, too.

- Cases in *italics* are of reference data that projects share (`LLAMATW_SHARED`): files by llama.cpp's converter,
  logits by Hugging Face transformers.
- Others are in `tests/golden`, which says how they were made: metadata and layout by llama.cpp's converter, logits by
  transformers or, where marked +, by a statement of the published code in NumPy, or, where marked ^, by llama.cpp
  from the same file.
- Two real models, SmolLM2 135M (`llama`) and Gemma 3 270M (`gemma3`), are compared with transformers on the very same
  quantised weights (`tests/test_reference.py`).

| architecture | models | largest difference by case |
|---|---|---|
{rows}

## What the cases of tests/golden show

| case | architecture | shows |
|---|---|---|
{cases}
"""


def page(results: list[Result]) -> str:
    """docs/models.md"""
    cases = defaultdict(list)
    for result in sorted(results, key=lambda result: (result.by != "shared", result.name)):
        cases[result.arch].append(_cell(result))
    rows = (f"| `{arch}` | {MODELS[arch]} | {', '.join(cells)} |" for arch, cells in sorted(cases.items()))
    own = sorted((r for r in results if r.by != "shared"), key=lambda r: r.name)
    shown = (f"| {r.name} | `{r.arch}` | {r.shows} |" for r in own)
    return PAGE.format(tolerance=TOLERANCE, rows="\n".join(rows), cases="\n".join(shown))


def _cell(result: Result) -> str:
    name = (
        f"*{result.name}*"
        if result.by == "shared"
        else result.name + {"numpy": "+", "llama.cpp": "^"}.get(result.by, "")
    )
    figure = f"{result.difference:.1e}"
    return f"{name} {figure if result.difference < TOLERANCE else f'**{figure}**'}"


if __name__ == "__main__":
    found = [Result(**json.loads(path.read_text())) for path in Path(sys.argv[1]).glob("*.json")]
    if not any(result.by == "shared" for result in found):
        sys.exit("the shared reference data is not here (LLAMATW_SHARED names it): the page would lack its cases")
    print(page(found), end="")
