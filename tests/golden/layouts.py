"""Files that llama.cpp's converter does not write, or no more: its tables know the names, the rest is here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gguf
import torch
from conversion import TextModel, get_model_class

StableLM: Any = get_model_class("StableLmForCausalLM")
Qwen3VLMoe: Any = get_model_class("Qwen3VLMoeForConditionalGeneration")
Baichuan: Any = get_model_class("BaichuanForCausalLM")


class GptJ(TextModel):
    model_arch = gguf.MODEL_ARCH.GPTJ

    def set_gguf_parameters(self) -> None:
        super().set_gguf_parameters()
        self.gguf_writer.add_feed_forward_length(self.hparams["n_inner"] or 4 * self.hparams["n_embd"])
        self.gguf_writer.add_rope_dimension_count(self.hparams["rotary_dim"])


class StableLmNorms(StableLM):
    """The norms of all heads, stacked."""

    model_arch = gguf.MODEL_ARCH.STABLELM

    def modify_tensors(
        self, data_torch: torch.Tensor, name: str, bid: int | None
    ) -> Iterable[tuple[str, torch.Tensor]]:
        if "layernorm.norms." not in name:
            yield from super().modify_tensors(data_torch, name, bid)
            return
        held = self.__dict__.setdefault("held", {})
        part = name.split(".norms.")[0]
        held.setdefault(part, []).append(data_torch)
        n_heads = self.hparams["num_attention_heads" if "q_layernorm" in name else "num_key_value_heads"]
        if len(held[part]) == n_heads:
            yield self.map_tensor_name(part + ".weight"), torch.stack(held[part])


class Plamo(TextModel):
    """Heads of queries that share one of keys side by side, for numbers of heads other than the one real model's."""

    model_arch = gguf.MODEL_ARCH.PLAMO

    def modify_tensors(
        self, data_torch: torch.Tensor, name: str, bid: int | None
    ) -> Iterable[tuple[str, torch.Tensor]]:
        groups, n_embd = self.hparams["num_key_value_heads"], self.hparams["hidden_size"]
        each = self.hparams["num_attention_heads"] // groups
        if name.endswith("q_proj.weight"):
            data_torch = data_torch.reshape(each, groups, -1, n_embd).swapaxes(0, 1).reshape(n_embd, n_embd)
        if name.endswith("o_proj.weight"):
            data_torch = data_torch.reshape(n_embd, each, groups, -1).swapaxes(1, 2).reshape(n_embd, n_embd)
        yield self.map_tensor_name(name), data_torch


class BaichuanUnpacked(Baichuan):
    """The converter's way for q, k, v; its way for all others never ends."""

    model_arch = gguf.MODEL_ARCH.BAICHUAN

    def modify_tensors(
        self, data_torch: torch.Tensor, name: str, bid: int | None
    ) -> Iterable[tuple[str, torch.Tensor]]:
        if name.endswith("W_pack.weight"):
            yield from super().modify_tensors(data_torch, name, bid)
        else:
            yield self.map_tensor_name(name), data_torch


class Qwen3VLMoeRows(Qwen3VLMoe):
    """Published checkpoints have an expert's inputs as rows, those that transformers writes today have its outputs."""

    model_arch = gguf.MODEL_ARCH.QWEN3VLMOE

    def modify_tensors(
        self, data_torch: torch.Tensor, name: str, bid: int | None
    ) -> Iterable[tuple[str, torch.Tensor]]:
        yield from super().modify_tensors(data_torch.mT if ".mlp.experts." in name else data_torch, name, bid)


OWN: dict[str, Any] = {
    "GPTJForCausalLM": GptJ,
    "StableLmForCausalLM": StableLmNorms,
    "PlamoForCausalLM": Plamo,
    "Qwen3VLMoeForConditionalGeneration": Qwen3VLMoeRows,
    "BaichuanForCausalLM": BaichuanUnpacked,
}
