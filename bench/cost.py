"""What a test costs at the least, and so how fast the machine's multiply-adds and memory let it be."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from bench.roofline import Roofline
from bench.workload import N_BATCH, Test
from llamatw.capi.gguf import Gguf

KV_BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "i16": 2 + 4 / 64, "q8_0": 1 + 2 / 32}  # of an element, with its scale


class Cost(msgspec.Struct, frozen=True):
    """Of a model.  Sliding windows of attention are not considered."""

    body_macs: int  # multiply-adds of one token in the layers' matrices
    head_macs: int  # and in the output matrix
    weight_bytes: int  # of those matrices, but for
    expert_bytes: int  # all experts'
    expert_share: float  # of which a token goes to so many
    attention_macs: int  # of one token, for each token it looks back on
    kv_bytes: float  # of one token in the KV cache

    def limit(self, test: Test, roofline: Roofline) -> float:
        """Tokens per second if multiply-adds, all at the int8 rate, or the bytes to read were all there is to it."""
        n_outputs = n_tokens = test.n_seqs * test.n_new
        n_steps = test.n_new
        if test.kind == "pp":
            n_outputs, n_steps = 1, math.ceil(test.n / N_BATCH)
        context = test.n_before + test.n_new / 2
        macs = n_tokens * (self.body_macs + context * self.attention_macs) + n_outputs * self.head_macs
        rows = n_tokens // n_steps
        read = 1 - math.pow(1 - self.expert_share, rows)  # of the experts, if rows choose at random
        weight_bytes = self.weight_bytes + read * self.expert_bytes
        n_bytes = n_steps * (weight_bytes + test.n_seqs * context * self.kv_bytes)
        return n_tokens / max(macs / roofline.int8_all, n_bytes / roofline.read_all)


def of_model(path: str, k_type: str, v_type: str) -> Cost:
    """From the tensor directory: matrices of the layers, and the one that makes logits (often the embedding's)."""
    with Gguf.open(path) as gguf:
        matrices = {t.name: t for t in gguf.tensors() if len(t.shape) > 1}
        metadata = gguf.scalars()
    experts = [t for name, t in matrices.items() if name.endswith("_exps.weight")]
    layers = [t for name, t in matrices.items() if name.startswith("blk.") and t not in experts]
    head = matrices.get("output.weight") or matrices["token_embd.weight"]
    n_layer, n_head, n_head_kv, k_dim, v_dim = _attention(metadata)
    share = _expert_share(metadata)
    return Cost(
        body_macs=sum(math.prod(t.shape) for t in layers) + round(share * sum(math.prod(t.shape) for t in experts)),
        head_macs=math.prod(head.shape),
        weight_bytes=sum(t.n_bytes for t in layers) + head.n_bytes,
        expert_bytes=sum(t.n_bytes for t in experts),
        expert_share=share,
        attention_macs=n_layer * n_head * (k_dim + v_dim),
        kv_bytes=n_layer * n_head_kv * (k_dim * KV_BYTES[k_type] + v_dim * KV_BYTES[v_type]),
    )


def _expert_share(metadata: dict[str, Any]) -> float:
    arch = metadata["general.architecture"]
    return int(metadata.get(f"{arch}.expert_used_count", 0)) / int(metadata.get(f"{arch}.expert_count", 1) or 1)


def _attention(metadata: dict[str, Any]) -> tuple[int, int, int, int, int]:
    """Layers, heads, KV heads, dimensions of a key, of a value."""
    arch = metadata["general.architecture"]
    n_head = int(metadata[f"{arch}.attention.head_count"])
    usual = int(metadata[f"{arch}.embedding_length"]) // n_head
    k_dim, v_dim = (int(metadata.get(f"{arch}.attention.{name}_length", usual)) for name in ("key", "value"))
    n_head_kv = int(metadata.get(f"{arch}.attention.head_count_kv", n_head))
    return int(metadata[f"{arch}.block_count"]), n_head, n_head_kv, k_dim, v_dim
