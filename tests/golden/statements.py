"""Models that transformers lacks, stated in float64 from the code published with them: each class is named as in the
checkpoint's configuration, knows the checkpoint's tensors, and says what one block does with rows x [n, n_embd].
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tests.golden.weights import N_VOCAB

Config = dict[str, Any]
Floats = np.ndarray
Weights = dict[str, Floats]
Shapes = dict[str, tuple[int, ...]]


def rms(x: Floats, weight: Floats, eps: float) -> Floats:
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight


def layer_norm(x: Floats, weight: Floats, bias: Floats | float, eps: float) -> Floats:
    x = x - x.mean(axis=-1, keepdims=True)
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + eps) * weight + bias


def silu(x: Floats) -> Floats:
    return x / (1 + np.exp(-x))


def gelu_tanh(x: Floats) -> Floats:
    return 0.5 * x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x**3)))


def rotate(x: Floats, base: float = 10000.0) -> Floats:
    """x [n, heads, dim] turned by its row's number: dimension i with i + dim / 2."""
    half = x.shape[-1] // 2
    angle = np.arange(len(x))[:, None, None] * base ** (-np.arange(half) / half)
    low, high = x[..., :half], x[..., half:]
    return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], -1)


def alibi(n_head: int) -> Floats:
    return 2.0 ** (-8.0 * np.arange(1, n_head + 1) / n_head)  # powers of two only


def attend(q: Floats, k: Floats, v: Floats, slopes: Floats | None = None) -> Floats:
    """q [n, heads, dim], k and v with as many heads or a divisor of it; gives [n, heads * dim]."""
    n, n_head, dim = q.shape
    k, v = (np.repeat(t, n_head // t.shape[1], axis=1) for t in (k, v))
    scores = np.einsum("qhd,khd->hqk", q, k) / dim**0.5
    distance = np.arange(n)[:, None] - np.arange(n)
    if slopes is not None:
        scores = scores - slopes[:, None, None] * distance
    scores = np.where(distance < 0, -np.inf, scores)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.einsum("hqk,khd->qhd", weights / weights.sum(axis=-1, keepdims=True), v).reshape(n, -1)


class Model:
    """What is the same in all."""

    embedding, norm, head = "transformer.wte.weight", "transformer.ln_f", "lm_head.weight"
    layer = "transformer.h.{}."
    eps_name = "layer_norm_epsilon"

    def __init__(self, config: Config, weights: Weights) -> None:
        self.c, self.w, self.eps = config, weights, config.get(self.eps_name, 1e-6)
        self.prefix = ""

    def __call__(self, name: str, x: Floats) -> Floats:
        """A linear map of this block."""
        return x @ self.w[f"{self.prefix}{name}.weight"].T + self.w.get(f"{self.prefix}{name}.bias", 0.0)

    def normed(self, name: str, x: Floats) -> Floats:
        name = self.prefix + name
        if f"{name}.bias" in self.w:
            return layer_norm(x, self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.eps)
        return rms(x, self.w[f"{name}.weight"], self.eps)

    def logits(self, ids: list[int]) -> Floats:
        x = self.w[self.embedding][ids]
        for i in range(self.n_layer(self.c)):
            self.prefix = self.layer.format(i)
            x = self.block(i, x)
        self.prefix = ""
        return self.normed(self.norm, x) @ self.w.get(self.head, self.w[self.embedding]).T

    def block(self, i: int, x: Floats) -> Floats:
        raise NotImplementedError

    @staticmethod
    def n_layer(config: Config) -> int:
        return int(config.get("num_hidden_layers") or config.get("n_layer") or config["num_layers"])

    @classmethod
    def shapes(cls, config: Config) -> Shapes:
        n_embd = cls.sizes(config)[0]
        found = {cls.embedding: (N_VOCAB, n_embd), **cls.norm_shapes(cls.norm, n_embd)}
        found |= {cls.head: (N_VOCAB, n_embd)} if cls.head else {}
        for i in range(cls.n_layer(config)):
            found |= {cls.layer.format(i) + name: shape for name, shape in cls.block_shapes(config, i).items()}
        return found

    @staticmethod
    def sizes(config: Config) -> tuple[int, int, int]:
        """Width, of q, of k."""
        n_embd = config.get("hidden_size") or config["n_embd"]
        heads = config.get("num_attention_heads") or config["n_head"]
        return n_embd, n_embd, n_embd // heads * config.get("num_key_value_heads", heads)

    @classmethod
    def norm_shapes(cls, name: str, n: int) -> Shapes:
        return {f"{name}.weight": (n,)}

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        raise NotImplementedError


class WithBiases(Model):
    """Norms with biases."""

    @classmethod
    def norm_shapes(cls, name: str, n: int) -> Shapes:
        return {f"{name}.weight": (n,), f"{name}.bias": (n,)}


class XverseForCausalLM(Model):
    embedding, norm, layer, eps_name = "model.embed_tokens.weight", "model.norm", "model.layers.{}.", "rms_norm_eps"

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n_embd, q, k = cls.sizes(config)
        n_ff = config["intermediate_size"]
        found = cls.norm_shapes("input_layernorm", n_embd) | cls.norm_shapes("post_attention_layernorm", n_embd)
        found |= {f"self_attn.{part}_proj.weight": (n, n_embd) for part, n in (("q", q), ("k", k), ("v", k))}
        found |= {f"mlp.{part}_proj.weight": (n_ff, n_embd) for part in ("gate", "up")}
        return found | {"self_attn.o_proj.weight": (n_embd, q), "mlp.down_proj.weight": (n_embd, n_ff)}

    def block(self, i: int, x: Floats) -> Floats:
        h = self.normed("input_layernorm", x)
        dim = self.c["hidden_size"] // self.c["num_attention_heads"]
        q, k, v = (self(f"self_attn.{part}_proj", h).reshape(len(x), -1, dim) for part in "qkv")
        x = x + self("self_attn.o_proj", attend(rotate(q), rotate(k), v))
        return x + self.mlp(self.normed("post_attention_layernorm", x))

    def mlp(self, h: Floats) -> Floats:
        return self("mlp.down_proj", silu(self("mlp.gate_proj", h)) * self("mlp.up_proj", h))


class OrionForCausalLM(WithBiases, XverseForCausalLM):
    """As that, but layer norms (whose eps is called rms_norm_eps)."""


class DeepseekForCausalLM(XverseForCausalLM):
    """DeepSeek 1: all but the first MLPs are experts, weighed by the softmax over all, beside shared ones."""

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        found = super().block_shapes(config, i)
        if i < config["first_k_dense_replace"]:
            return found
        found = {name: shape for name, shape in found.items() if not name.startswith("mlp.")}
        n_embd, n_ff, n_experts = config["hidden_size"], config["moe_intermediate_size"], config["n_routed_experts"]
        widths = {f"experts.{e}": n_ff for e in range(n_experts)} | {
            "shared_experts": config["n_shared_experts"] * n_ff
        }
        for part, n in widths.items():
            found |= {f"mlp.{part}.{way}_proj.weight": (n, n_embd) for way in ("gate", "up")}
            found |= {f"mlp.{part}.down_proj.weight": (n_embd, n)}
        return found | {"mlp.gate.weight": (n_experts, n_embd)}

    def gated(self, part: str, h: Floats) -> Floats:
        return self(f"{part}.down_proj", silu(self(f"{part}.gate_proj", h)) * self(f"{part}.up_proj", h))

    def mlp(self, h: Floats) -> Floats:
        if f"{self.prefix}mlp.gate.weight" not in self.w:
            return self.gated("mlp", h)
        scores = np.exp(self("mlp.gate", h))
        scores /= scores.sum(axis=-1, keepdims=True)
        best = np.argsort(scores, axis=-1)[:, ::-1][:, : self.c["num_experts_per_tok"]]
        y = self.gated("mlp.shared_experts", h)
        for e in range(scores.shape[1]):
            chosen = (best == e).any(axis=-1, keepdims=True)
            y = y + np.where(chosen, scores[:, e : e + 1] * self.gated(f"mlp.experts.{e}", h), 0.0)
        return y


class PlamoForCausalLM(XverseForCausalLM):
    """Attention and MLP see the same rows; query head i reads key head i modulo their number."""

    layer = "model.layers.layers.{}."

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        found = super().block_shapes(config, i)
        del found["input_layernorm.weight"], found["post_attention_layernorm.weight"]
        return found | {"norm.weight": (config["hidden_size"],)}

    def block(self, i: int, x: Floats) -> Floats:
        h = self.normed("norm", x)
        dim = self.c["hidden_size"] // self.c["num_attention_heads"]
        q, k, v = (self(f"self_attn.{part}_proj", h).reshape(len(x), -1, dim) for part in "qkv")
        k, v = (np.tile(t, (1, q.shape[1] // t.shape[1], 1)) for t in (rotate(k), v))
        return x + self("self_attn.o_proj", attend(rotate(q), k, v)) + self.mlp(h)


class BaichuanForCausalLM(XverseForCausalLM):
    """13B: q, k, v in one matrix; a price for distance instead of a rotation."""

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n_embd = config["hidden_size"]
        found = {
            k: v
            for k, v in super().block_shapes(config, i).items()
            if k[-13:] not in ("q_proj.weight", "k_proj.weight", "v_proj.weight")
        }
        return found | {"self_attn.W_pack.weight": (3 * n_embd, n_embd)}

    def block(self, i: int, x: Floats) -> Floats:
        n_head = self.c["num_attention_heads"]
        fused = self("self_attn.W_pack", self.normed("input_layernorm", x)).reshape(len(x), 3, n_head, -1)
        x = x + self("self_attn.o_proj", attend(fused[:, 0], fused[:, 1], fused[:, 2], alibi(n_head)))
        return x + self.mlp(self.normed("post_attention_layernorm", x))


class QWenLMHeadModel(Model):
    """Qwen 1: the MLP's first matrix is multiplied, the second goes through silu; intermediate_size counts both."""

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n, ff = config["hidden_size"], config["intermediate_size"] // 2
        found: Shapes = {
            "ln_1.weight": (n,),
            "ln_2.weight": (n,),
            "attn.c_proj.weight": (n, n),
            "mlp.c_proj.weight": (n, ff),
        }
        found |= {"attn.c_attn.weight": (3 * n, n), "attn.c_attn.bias": (3 * n,)}
        return found | {"mlp.w1.weight": (ff, n), "mlp.w2.weight": (ff, n)}

    def block(self, i: int, x: Floats) -> Floats:
        fused = self("attn.c_attn", self.normed("ln_1", x)).reshape(len(x), 3, self.c["num_attention_heads"], -1)
        base = self.c["rotary_emb_base"]
        x = x + self("attn.c_proj", attend(rotate(fused[:, 0], base), rotate(fused[:, 1], base), fused[:, 2]))
        h = self.normed("ln_2", x)
        return x + self("mlp.c_proj", self("mlp.w1", h) * silu(self("mlp.w2", h)))


class ExaoneForCausalLM(Model):
    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n_embd, q, k = cls.sizes(config)
        ff = config["intermediate_size"]
        found: Shapes = {"ln_1.weight": (n_embd,), "ln_2.weight": (n_embd,)}
        found |= {f"attn.attention.{part}_proj.weight": (n, n_embd) for part, n in (("q", q), ("k", k), ("v", k))}
        found |= {"attn.attention.out_proj.weight": (n_embd, q), "mlp.c_proj.weight": (n_embd, ff)}
        return found | {"mlp.c_fc_0.weight": (ff, n_embd), "mlp.c_fc_1.weight": (ff, n_embd)}

    def block(self, i: int, x: Floats) -> Floats:
        h = self.normed("ln_1", x)
        dim = self.c["hidden_size"] // self.c["num_attention_heads"]
        q, k, v = (self(f"attn.attention.{part}_proj", h).reshape(len(x), -1, dim) for part in "qkv")
        x = x + self("attn.attention.out_proj", attend(rotate(q), rotate(k), v))
        h = self.normed("ln_2", x)
        return x + self("mlp.c_proj", silu(self("mlp.c_fc_0", h)) * self("mlp.c_fc_1", h))


class GPTRefactForCausalLM(Model):
    """One head of keys, a price for distance, layer norms without biases, no matrix of biases anywhere."""

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n = config["n_embd"]
        kv, ff = 2 * (n // config["n_head"]), 256 * -(-int(8 * n / 3) // 256)
        found: Shapes = {"ln_1.weight": (n,), "ln_2.weight": (n,), "attn.q.weight": (n, n), "attn.kv.weight": (kv, n)}
        return found | {
            "attn.c_proj.weight": (n, n),
            "mlp.gate_up_proj.weight": (2 * ff, n),
            "mlp.c_proj.weight": (n, ff),
        }

    def normed(self, name: str, x: Floats) -> Floats:
        return layer_norm(x, self.w[f"{self.prefix}{name}.weight"], 0.0, self.eps)

    def block(self, i: int, x: Floats) -> Floats:
        h, n_head = self.normed("ln_1", x), self.c["n_head"]
        q = self("attn.q", h).reshape(len(x), n_head, -1)
        k, v = np.split(self("attn.kv", h)[:, None, :], 2, axis=-1)
        x = x + self("attn.c_proj", attend(q, k, v, alibi(n_head)))
        gate, up = np.split(self("mlp.gate_up_proj", self.normed("ln_2", x)), 2, axis=-1)
        return x + self("mlp.c_proj", silu(gate) * up)


class CodeShellForCausalLM(WithBiases):
    """StarCoder's block with grouped keys and a rotation."""

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n, ff = config["n_embd"], 4 * config["n_embd"]
        fused = n + 2 * (n // config["n_head"]) * config["num_query_groups"]
        found = cls.norm_shapes("ln_1", n) | cls.norm_shapes("ln_2", n)
        for name, n_out, n_in in (
            ("attn.c_attn", fused, n),
            ("attn.c_proj", n, n),
            ("mlp.c_fc", ff, n),
            ("mlp.c_proj", n, ff),
        ):
            found |= {f"{name}.weight": (n_out, n_in), f"{name}.bias": (n_out,)}
        return found

    def block(self, i: int, x: Floats) -> Floats:
        n, n_head, groups = self.c["n_embd"], self.c["n_head"], self.c["num_query_groups"]
        fused = self("attn.c_attn", self.normed("ln_1", x)).reshape(len(x), -1, n // n_head)
        q, k, v = np.split(fused, [n_head, n_head + groups], axis=1)
        x = x + self("attn.c_proj", attend(rotate(q), rotate(k), v))
        return x + self("mlp.c_proj", gelu_tanh(self("mlp.c_fc", self.normed("ln_2", x))))


class OpenELMForCausalLM(Model):
    """Each layer has its own numbers of heads and its own width of the MLP."""

    embedding, norm, head, layer = (
        "transformer.token_embeddings.weight",
        "transformer.norm",
        "",
        "transformer.layers.{}.",
    )

    @staticmethod
    def n_layer(config: Config) -> int:
        return int(config["num_transformer_layers"])

    @staticmethod
    def sizes(config: Config) -> tuple[int, int, int]:
        return config["model_dim"], 0, 0

    @classmethod
    def block_shapes(cls, config: Config, i: int) -> Shapes:
        n, dim, ff = config["model_dim"], config["head_dim"], int(config["ffn_multipliers"][i] * config["model_dim"])
        heads, groups = config["num_query_heads"][i], config["num_kv_heads"][i]
        found: Shapes = {
            "attn_norm.weight": (n,),
            "ffn_norm.weight": (n,),
            "attn.q_norm.weight": (dim,),
            "attn.k_norm.weight": (dim,),
        }
        found |= {"attn.qkv_proj.weight": ((heads + 2 * groups) * dim, n), "attn.out_proj.weight": (n, heads * dim)}
        return found | {"ffn.proj_1.weight": (2 * ff, n), "ffn.proj_2.weight": (n, ff)}

    def block(self, i: int, x: Floats) -> Floats:
        heads, groups = self.c["num_query_heads"][i], self.c["num_kv_heads"][i]
        fused = self("attn.qkv_proj", self.normed("attn_norm", x)).reshape(len(x), -1, self.c["head_dim"])
        q, k, v = np.split(fused, [heads, heads + groups], axis=1)
        q, k = rotate(self.normed("attn.q_norm", q)), rotate(self.normed("attn.k_norm", k))
        x = x + self("attn.out_proj", attend(q, k, v))
        gate, up = np.split(self("ffn.proj_1", self.normed("ffn_norm", x)), 2, axis=-1)
        return x + self("ffn.proj_2", silu(gate) * up)
