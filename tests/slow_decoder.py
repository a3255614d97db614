"""A decoder in float64 that reads one token at a time and keeps its keys unturned: a position is looked up when a key
is used, so that it may change at any time.  Slow, and an independent statement of what changed positions mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import numpy as np

N_EMBD, N_FF, N_HEAD, N_HEAD_KV, D_HEAD, N_VOCAB, N_CTX = 64, 96, 4, 2, 32, 277, 1024
EPS, ROPE_BASE, LOCAL_BASE, WINDOW, YARN_CONTEXT = 1e-5, 20000.0, 10000.0, 48, 64

Floats = np.ndarray


@dataclass(frozen=True)
class Kind:
    """What models differ in."""

    arch: str
    n_layer: int = 2
    n_rot: int = D_HEAD
    scaling: str = "none"  # of rope: none, linear, yarn
    factor: float = 1.0
    qk_norm: bool = False

    @property
    def gemma(self) -> bool:
        return self.arch == "gemma3"

    def sees_window(self, layer: int) -> bool:
        return self.gemma and (layer + 1) % 6 != 0


KINDS = {
    "llama": Kind("llama"),
    "one-layer": Kind("llama", n_layer=1),
    "partial-rope": Kind("llama", n_rot=16),
    "linear": Kind("llama", scaling="linear", factor=3.0),
    "yarn": Kind("llama", scaling="yarn", factor=4.0),
    "qwen3": Kind("qwen3", qk_norm=True),
    "gemma3": Kind("gemma3", n_layer=6, qk_norm=True),
}


class Weights:
    """Random ones, of one seed."""

    def __init__(self, kind: Kind) -> None:
        self.kind, draw = kind, np.random.default_rng(3)
        matrices = {
            "attn_q": (N_HEAD * D_HEAD, N_EMBD),
            "attn_k": (N_HEAD_KV * D_HEAD, N_EMBD),
            "attn_v": (N_HEAD_KV * D_HEAD, N_EMBD),
            "attn_output": (N_EMBD, N_HEAD * D_HEAD),
            "ffn_gate": (N_FF, N_EMBD),
            "ffn_up": (N_FF, N_EMBD),
            "ffn_down": (N_EMBD, N_FF),
        }
        norms = {"attn_norm": N_EMBD, "ffn_norm": N_EMBD}
        norms |= {"attn_q_norm": D_HEAD, "attn_k_norm": D_HEAD} if kind.qk_norm else {}
        norms |= {"post_attention_norm": N_EMBD, "post_ffw_norm": N_EMBD} if kind.gemma else {}
        self.tensors = {name: _matrix(draw, (N_VOCAB, N_EMBD)) for name in ("token_embd", "output")}
        self.tensors["output_norm"] = _norm(draw, N_EMBD)
        for i in range(kind.n_layer):
            self.tensors |= {f"blk.{i}.{name}": _matrix(draw, shape) for name, shape in matrices.items()}
            self.tensors |= {f"blk.{i}.{name}": _norm(draw, n) for name, n in norms.items()}

    def write(self, path: Path) -> None:
        kind, w = self.kind, gguf.GGUFWriter(path, self.kind.arch)
        w.add_block_count(kind.n_layer)
        w.add_embedding_length(N_EMBD)
        w.add_feed_forward_length(N_FF)
        w.add_context_length(N_CTX)
        w.add_head_count(N_HEAD)
        w.add_head_count_kv(N_HEAD_KV)
        w.add_key_length(D_HEAD)
        w.add_value_length(D_HEAD)
        w.add_rope_dimension_count(kind.n_rot)
        w.add_rope_freq_base(ROPE_BASE)
        w.add_layer_norm_rms_eps(EPS)
        if kind.gemma:  # llama, too, has a window when its file says so
            w.add_sliding_window(WINDOW)
        if kind.scaling != "none":
            w.add_rope_scaling_type(gguf.RopeScalingType(kind.scaling))
            w.add_rope_scaling_factor(kind.factor)
            w.add_rope_scaling_orig_ctx_len(YARN_CONTEXT)
        tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
        w.add_tokenizer_model("llama")
        w.add_token_list(tokens + [f"word{i}" for i in range(N_VOCAB - len(tokens))])
        w.add_token_scores([0.0] * N_VOCAB)
        w.add_token_types([2, 3, 3, *[6] * 256, *[1] * (N_VOCAB - 259)])
        for name, values in self.tensors.items():
            w.add_tensor(f"{name}.weight", values)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()


def _matrix(draw: np.random.Generator, shape: tuple[int, int]) -> Floats:
    return draw.normal(0, 1.5 * shape[1] ** -0.5, shape).astype(np.float32)


def _norm(draw: np.random.Generator, n: int) -> Floats:
    return draw.uniform(0.5, 1.5, n).astype(np.float32)


class SlowDecoder:
    """cells[j] = [(key, value) of each layer]; positions[j] is where it stands now."""

    def __init__(self, weights: Weights) -> None:
        self.kind = weights.kind
        self.w = {name: values.astype(np.float64) for name, values in weights.tensors.items()}
        self.cells: list[list[tuple[Floats, Floats]]] = []
        self.positions: list[int] = []

    def feed(self, token: int, position: int) -> Floats:
        """Logits after one more token."""
        self.cells.append([])
        self.positions.append(position)
        x = self.w["token_embd"][token] * (N_EMBD**0.5 if self.kind.gemma else 1.0)
        for i in range(self.kind.n_layer):
            x = x + self._post(f"blk.{i}.post_attention_norm", self._attend(i, self._norm(f"blk.{i}.attn_norm", x)))
            x = x + self._post(f"blk.{i}.post_ffw_norm", self._mlp(i, self._norm(f"blk.{i}.ffn_norm", x)))
        return self.w["output"] @ self._norm("output_norm", x)

    def shift(self, n_keep: int, n_discard: int) -> None:
        """Cells are dropped; those after them get the positions that close the gap."""
        del self.cells[n_keep : n_keep + n_discard]
        self.positions = list(range(len(self.cells)))

    def _norm(self, name: str, x: Floats) -> Floats:
        return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + EPS) * self.w[name]

    def _post(self, name: str, x: Floats) -> Floats:
        return self._norm(name, x) if self.kind.gemma else x

    def _mlp(self, i: int, x: Floats) -> Floats:
        gate, up = self.w[f"blk.{i}.ffn_gate"] @ x, self.w[f"blk.{i}.ffn_up"] @ x
        z = 2 * np.sqrt(2 / np.pi) * (gate + 0.044715 * gate**3) if self.kind.gemma else gate
        return self.w[f"blk.{i}.ffn_down"] @ (gate / (1 + np.exp(-z)) * up)

    def _attend(self, i: int, x: Floats) -> Floats:
        q, k, v = ((self.w[f"blk.{i}.attn_{part}"] @ x).reshape(-1, D_HEAD) for part in "qkv")
        if self.kind.qk_norm:
            q, k = self._norm(f"blk.{i}.attn_q_norm", q), self._norm(f"blk.{i}.attn_k_norm", k)
        self.cells[-1].append((k, v))
        first = max(0, len(self.cells) - WINDOW) if self.kind.sees_window(i) else 0
        seen = range(first, len(self.cells))
        keys = np.stack([self._turn(i, self.cells[j][i][0], self.positions[j]) for j in seen])
        values = np.stack([self.cells[j][i][1] for j in seen])
        q = self._turn(i, q, self.positions[-1]).reshape(N_HEAD_KV, -1, D_HEAD)
        scores = np.einsum("hgd,jhd->hgj", q, keys) / D_HEAD**0.5
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self.w[f"blk.{i}.attn_output"] @ np.einsum("hgj,jhd->hgd", weights, values).reshape(-1)

    def _turn(self, layer: int, x: Floats, position: int) -> Floats:
        """x [heads, D_HEAD] at a position."""
        frequency, magnitude = frequencies(self.kind, self.kind.sees_window(layer))
        turned, n = x.copy(), self.kind.n_rot
        cos, sin = np.cos(position * frequency) * magnitude, np.sin(position * frequency) * magnitude
        adjacent = self.kind.arch == "llama"
        low, high = (slice(0, n, 2), slice(1, n, 2)) if adjacent else (slice(0, n // 2), slice(n // 2, n))
        turned[:, low] = x[:, low] * cos - x[:, high] * sin
        turned[:, high] = x[:, high] * cos + x[:, low] * sin
        return turned


def frequencies(kind: Kind, window_layer: bool) -> tuple[Floats, float]:
    """[n_rot / 2] and the magnitude of sines and cosines (YaRN: arXiv 2309.00071)."""
    pairs = np.arange(kind.n_rot // 2)
    if window_layer:
        return LOCAL_BASE ** (-2 * pairs / kind.n_rot), 1.0
    plain = ROPE_BASE ** (-2 * pairs / kind.n_rot)
    if kind.scaling != "yarn":
        return plain / kind.factor, 1.0

    def pair_of(turns: float) -> float:
        return float(kind.n_rot * np.log(YARN_CONTEXT / (turns * 2 * np.pi)) / (2 * np.log(ROPE_BASE)))

    low, high = max(0, np.floor(pair_of(32))), min(kind.n_rot - 1, np.ceil(pair_of(1)))
    share = 1 - np.clip((pairs - low) / max(0.001, high - low), 0, 1)
    return plain / kind.factor * (1 - share) + plain * share, 1 + 0.1 * float(np.log(kind.factor))


class SlowSelfExtend:
    """Positions as the server of 2024 keeps them: cells are found by the range that their position is in."""

    def __init__(self, positions: list[int], group: int, width: int) -> None:
        self.positions, self.group, self.width = positions, group, width
        self.ga_i = self.n_past = 0

    def next_position(self) -> int:
        """Of the token that is computed now, after regrouping."""
        group, width, small = self.group, self.width, self.width // self.group
        bd = small * (group - 1)
        while self.n_past >= self.ga_i + width:
            ib = group * self.ga_i // width
            self._shift(self.ga_i, self.n_past, ib * bd)
            self._divide(self.ga_i + ib * bd, self.ga_i + ib * bd + width)
            self._shift(self.ga_i + ib * bd + width, self.n_past + ib * bd, small - ib * bd - width)
            self.n_past -= bd
            self.ga_i += small
        self.n_past += 1
        return self.n_past - 1

    def _shift(self, first: int, end: int, by: int) -> None:
        self.positions[:] = [p + by if first <= p < end else p for p in self.positions]

    def _divide(self, first: int, end: int) -> None:
        self.positions[:] = [p // self.group if first <= p < end else p for p in self.positions]
