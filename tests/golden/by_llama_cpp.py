"""Makes the reference outputs of blocks that other cases have, with experts that these have as well, by llama.cpp.

    python -m tests.golden.by_llama_cpp [CASE...]     by hand only: needs llama-cpp-python

There is no checkpoint and nothing is converted: keys and tensors are those that llama.cpp asks for, weights are drawn.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import llama_cpp
import numpy as np

from tests.golden import weights
from tests.golden.outputs import Run, choose, save

EMBD, FF, EXPERT_FF, SHARED_FF, HEAD, EXPERTS = 64, 96, 32, 32, 16, 4
Shapes = dict[str, list[int]]  # rows first


def attention(heads_kv: int = 2, *, fused: bool = False, normed: bool = False) -> Shapes:
    q, kv = [4 * HEAD, EMBD], [heads_kv * HEAD, EMBD]
    parts = {"attn_qkv": [q[0] + 2 * kv[0], EMBD]} if fused else {"attn_q": q, "attn_k": kv, "attn_v": kv}
    norms = {"attn_q_norm": [HEAD], "attn_k_norm": [HEAD]} if normed else {}
    return {**parts, "attn_output": [EMBD, q[0]], **norms}


def mlp(suffix: str = "", width: int = FF, *, gated: bool = True) -> Shapes:
    shapes = {f"ffn_up{suffix}": [width, EMBD], f"ffn_down{suffix}": [EMBD, width]}
    return {f"ffn_gate{suffix}": [width, EMBD], **shapes} if gated else shapes


def experts(*, gated: bool = True, shared: bool = True) -> Shapes:
    stacks = {name: [EXPERTS, *shape] for name, shape in mlp("_exps", EXPERT_FF, gated=gated).items()}
    return {"ffn_gate_inp": [EXPERTS, EMBD], **stacks, **(mlp("_shexp", SHARED_FF, gated=gated) if shared else {})}


CONVOLUTION = {"shortconv.conv": [EMBD, 3], "shortconv.in_proj": [3 * EMBD, EMBD], "shortconv.out_proj": [EMBD, EMBD]}
MAMBA2 = {"ssm_conv1d": [192, 4], "ssm_in": [328, EMBD], "ssm_norm": [2, 64], "ssm_out": [EMBD, 128]}
MAMBA2_BARE = {"ssm_conv1d.bias": [192], "ssm_dt.bias": [8], "ssm_d": [8, 1]}
SSM = {"conv_kernel": 4, "state_size": 16, "group_count": 2, "inner_size": 128, "time_step_rank": 8}
MIXTURE = {"expert_count": EXPERTS, "expert_used_count": 2, "expert_feed_forward_length": EXPERT_FF}
SHARED = {"expert_shared_count": 1, "expert_shared_feed_forward_length": SHARED_FF, "expert_weights_scale": 1.5}
NORMALISED = {"expert_weights_norm": True}

Layer = tuple[Shapes, Shapes]  # with ".weight", and with names as they are
NORMS = {"attn_norm": [EMBD], "ffn_norm": [EMBD]}
BIASED: Shapes = {"exp_probs_b.bias": [EXPERTS]}
CASES: dict[str, tuple[str, dict[str, Any], list[Layer]]] = {
    "bailingmoe": (
        "experts whose weights sum to one, a shared one",
        {**MIXTURE, **SHARED, **NORMALISED, "leading_dense_block_count": 0, "rope.dimension_count": HEAD},
        [({**NORMS, **attention(), **experts()}, {})] * 2,
    ),
    "bailingmoe2": (
        "a dense layer first; half a head rotates; sigmoid with selection bias",
        {**MIXTURE, **SHARED, **NORMALISED, "leading_dense_block_count": 1, "rope.dimension_count": HEAD // 2}
        | {"expert_gating_func": 2, "expert_group_count": 2, "expert_group_used_count": 1},
        [
            ({**NORMS, **attention(fused=True, normed=True), **mlp()}, {}),
            ({**NORMS, **attention(fused=True, normed=True), **experts()}, BIASED),
        ],
    ),
    "lfm2moe": (
        "convolutions and attention, a dense layer first, sigmoid with selection bias",
        {**MIXTURE, "leading_dense_block_count": 1, "expert_gating_func": 2, "shortconv.l_cache": 3}
        | {"attention.head_count_kv": [0, 2, 0]},
        [
            ({**NORMS, **CONVOLUTION, **mlp()}, {}),
            ({**NORMS, **attention(normed=True), **experts(shared=False)}, BIASED),
            ({**NORMS, **CONVOLUTION, **experts(shared=False)}, BIASED),
        ],
    ),
    "nemotron_h_moe": (
        "Mamba 2, attention without rotation and experts without gates, one of them a layer",
        {**MIXTURE, **SHARED, **NORMALISED, **{f"ssm.{key}": n for key, n in SSM.items()}, "expert_gating_func": 2}
        | {"attention.head_count_kv": [0, 0, 2, 0], "feed_forward_length": [0, EXPERT_FF, 0, EXPERT_FF]}
        | {"expert_group_count": 1, "expert_group_used_count": 1, "rope.dimension_count": HEAD},
        [
            ({"attn_norm": [EMBD], **MAMBA2}, MAMBA2_BARE),
            ({"attn_norm": [EMBD], **experts(gated=False)}, BIASED),
            ({"attn_norm": [EMBD], **attention()}, {}),
            ({"attn_norm": [EMBD], **experts(gated=False)}, BIASED),
        ],
    ),
}


def entry(value: Any) -> tuple[str, str | None, Any]:
    kinds = {bool: "BOOL", int: "UINT32", float: "FLOAT32"}
    return ("ARRAY", kinds[type(value[0])], value) if isinstance(value, list) else (kinds[type(value)], None, value)


def describe(arch: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    shows, numbers, layers = CASES[arch]
    usual = {"block_count": len(layers), "context_length": 512, "embedding_length": EMBD, "feed_forward_length": FF}
    usual |= {"attention.head_count": 4, "attention.head_count_kv": 2, "vocab_size": weights.N_VOCAB}
    usual |= {"attention.key_length": HEAD, "attention.value_length": HEAD, "rope.freq_base": 1e5}
    metadata = {f"{arch}.{key}": entry(value) for key, value in (usual | numbers).items()}
    kind = "layer_norm_epsilon" if arch == "nemotron_h_moe" else "layer_norm_rms_epsilon"
    metadata[f"{arch}.attention.{kind}"] = entry(1e-5)
    norm = "token_embd_norm.weight" if arch == "lfm2moe" else "output_norm.weight"
    tensors: Shapes = {"token_embd.weight": [weights.N_VOCAB, EMBD], norm: [EMBD]}
    tensors |= {} if arch == "lfm2moe" else {"output.weight": [weights.N_VOCAB, EMBD]}
    constants = {}
    for i, (named, bare) in enumerate(layers):
        tensors |= {f"blk.{i}.{name}.weight": shape for name, shape in named.items()}
        tensors |= {f"blk.{i}.{name}": shape for name, shape in bare.items()}
        if "ssm_in" in named:
            constants[f"blk.{i}.ssm_a"] = -np.arange(1, 9, dtype=np.float32).reshape(8, 1) / 4
    description = {"arch": arch, "metadata": metadata, "tensors": tensors, "copies": {}}
    return {**description, "by": "llama.cpp", "shows": shows}, constants


def run_of(path: Path) -> Run:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers, params.use_mmap = 0, False
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
    assert model

    def run(ids: list[int]) -> np.ndarray:
        options = llama_cpp.llama_context_default_params()
        options.n_ctx, options.type_k, options.type_v, options.flash_attn_type = 256, 0, 0, 0
        context, batch = llama_cpp.llama_init_from_model(model, options), llama_cpp.llama_batch_init(len(ids), 0, 1)
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.logits[i] = token, i, 1, 1
            batch.seq_id[i][0] = 0
        assert llama_cpp.llama_decode(context, batch) == 0
        shape = (len(ids), weights.N_VOCAB)
        logits = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), shape).copy()
        llama_cpp.llama_batch_free(batch)
        llama_cpp.llama_free(context)
        return logits

    return run


def make(arch: str, folder: Path) -> None:
    description, constants = describe(arch)

    def run_with(seed: int) -> Run:
        path = folder / f"{seed}.gguf"
        weights.write(path, description | {"seed": seed}, constants)
        return run_of(path)

    save(arch, description, constants, choose(run_with))


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        with tempfile.TemporaryDirectory() as directory:
            make(name, Path(directory))
