"""Tiny models with recurrent layers and random weights, for tests that need no download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from bench import shapes

N_EMBD, N_FF, N_VOCAB, N_LAYER = 64, 96, 512, 4
N_INNER, N_STATE, N_HEAD, N_GROUP, N_TAPS = 128, 16, 8, 2, 4

NUMBERS = {
    "inner_size": N_INNER,
    "state_size": N_STATE,
    "time_step_rank": N_HEAD,
    "group_count": N_GROUP,
    "conv_kernel": N_TAPS,
}

Tensors = dict[str, tuple[int, ...]]  # numpy's order: what is summed over comes last


def _mamba(layer: int) -> Tensors:
    return {
        "ssm_in.weight": (2 * N_INNER, N_EMBD),
        "ssm_conv1d.weight": (N_INNER, N_TAPS),
        "ssm_conv1d.bias": (N_INNER,),
        "ssm_x.weight": (N_HEAD + 2 * N_STATE, N_INNER),
        "ssm_dt.weight": (N_INNER, N_HEAD),
        "ssm_dt.bias": (N_INNER,),
        "ssm_a": (N_INNER, N_STATE),
        "ssm_d": (N_INNER,),
        "ssm_out.weight": (N_EMBD, N_INNER),
    }


def _mamba2(layer: int) -> Tensors:
    channels = N_INNER + 2 * N_GROUP * N_STATE
    return {
        "ssm_in.weight": (N_INNER + channels + N_HEAD, N_EMBD),
        "ssm_conv1d.weight": (channels, N_TAPS),
        "ssm_conv1d.bias": (channels,),
        "ssm_dt.bias": (N_HEAD,),
        "ssm_a": (N_HEAD, 1),
        "ssm_d": (N_HEAD, 1),
        "ssm_norm.weight": (N_GROUP, N_INNER // N_GROUP),
        "ssm_out.weight": (N_EMBD, N_INNER),
    }


def _delta() -> Tensors:
    channels = N_INNER + 2 * N_GROUP * N_STATE
    return {
        "attn_qkv.weight": (channels, N_EMBD),
        "attn_gate.weight": (N_INNER, N_EMBD),
        "ssm_alpha.weight": (N_HEAD, N_EMBD),
        "ssm_beta.weight": (N_HEAD, N_EMBD),
        "ssm_conv1d.weight": (channels, N_TAPS),
        "ssm_dt.bias": (N_HEAD,),
        "ssm_a": (N_HEAD,),
        "ssm_norm.weight": (N_INNER // N_HEAD,),
        "ssm_out.weight": (N_EMBD, N_INNER),
    }


def _gated_attention() -> Tensors:
    return {
        "attn_q.weight": (4 * 2 * 32, N_EMBD),
        "attn_k.weight": (2 * 32, N_EMBD),
        "attn_v.weight": (2 * 32, N_EMBD),
        "attn_output.weight": (N_EMBD, 4 * 32),
        "attn_q_norm.weight": (32,),
        "attn_k_norm.weight": (32,),
    }


def _mlp() -> Tensors:
    return {
        "post_attention_norm.weight": (N_EMBD,),
        "ffn_gate.weight": (N_FF, N_EMBD),
        "ffn_up.weight": (N_FF, N_EMBD),
        "ffn_down.weight": (N_EMBD, N_FF),
    }


def _qwen35(layer: int) -> Tensors:
    return {**(_gated_attention() if layer % 4 == 3 else _delta()), **_mlp()}


LAYERS: dict[str, Callable[[int], Tensors]] = {"mamba": _mamba, "mamba2": _mamba2, "qwen35": _qwen35}


def write(arch: str, path: Path, numbers: dict[str, int] | None = None, parts: Tensors | None = None) -> Path:
    """The same arguments give the same file.  numbers: more or other values of keys `ssm.*`; parts: more or other
    tensors of the layers, () to leave one out."""
    writer = gguf.GGUFWriter(path, arch)
    writer.add_block_count(N_LAYER)
    writer.add_context_length(4096)
    writer.add_embedding_length(N_EMBD)
    writer.add_vocab_size(N_VOCAB)
    writer.add_layer_norm_rms_eps(1e-5)
    for name, n in {**NUMBERS, **(numbers or {})}.items():
        put = writer.add_bool if isinstance(n, bool) else writer.add_uint32
        put(f"{arch}.ssm.{name}", n)
    _add_attention(writer, arch)
    shapes.add_vocabulary(writer, N_VOCAB)
    for name, values in _tensors(arch, np.random.default_rng(1), parts or {}):
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add_attention(writer: gguf.GGUFWriter, arch: str) -> None:
    has_attention = arch == "qwen35"
    writer.add_head_count(4 if has_attention else 0)
    writer.add_feed_forward_length(N_FF if has_attention else 0)
    if has_attention:
        writer.add_head_count_kv(2)
        writer.add_key_length(32)
        writer.add_value_length(32)
        writer.add_rope_dimension_count(16)
        writer.add_uint32(f"{arch}.full_attention_interval", 4)


def _tensors(arch: str, draw: np.random.Generator, parts: Tensors) -> Any:
    everywhere = {"token_embd.weight": (N_VOCAB, N_EMBD), "output_norm.weight": (N_EMBD,)}
    layers = {
        f"blk.{i}.{name}": shape
        for i in range(N_LAYER)
        for name, shape in {"attn_norm.weight": (N_EMBD,), **LAYERS[arch](i), **parts}.items()
    }
    for name, shape in {**everywhere, **layers}.items():
        if shape:
            yield name, _values(name, shape, draw).astype(np.float32)


def _values(name: str, shape: tuple[int, ...], draw: np.random.Generator) -> np.ndarray[Any, np.dtype[np.float64]]:
    if name.endswith(("dt_norm.weight", "b_norm.weight", "c_norm.weight")):
        return np.ones(shape)
    if name.endswith("norm.weight"):
        return draw.uniform(0.7, 1.3, shape)
    if name.endswith("ssm_a"):
        return -draw.uniform(0.1, 4.0, shape)
    if name.endswith(("bias", "ssm_d")):
        return draw.normal(0, 0.5, shape)
    return draw.normal(0, 1.5 * shape[-1] ** -0.5, shape)
