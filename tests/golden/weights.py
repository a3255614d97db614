"""Weights drawn by name: a tiny model is made again anywhere from its description, without the library that ran it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np

N_VOCAB = 288


def draw(name: str, shape: list[int], seed: int) -> np.ndarray:
    """Float32 [shape], rows first.  Raw bits only: NumPy may change one day how it makes numbers of them."""
    bits = np.random.PCG64(np.random.SeedSequence([seed, *name.encode()])).random_raw(int(np.prod(shape)))
    unit = ((bits >> np.uint64(40)).astype(np.float64) / 2**23 - 1).reshape(shape)  # -1..1
    if name.endswith(".bias"):
        values = 0.3 * unit
    elif "norm" in name or len(shape) == 1:
        values = 1 + 0.4 * unit
    else:  # queries and keys are larger, so that attention picks
        values = unit * (3.0 / shape[-1]) ** 0.5 * (1.6 if ".attn_q" in name or ".attn_k" in name else 1)
    return values.astype(np.float32)


def tensors(description: dict[str, Any], constants: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every tensor of a GGUF file: drawn, a copy of another one, or a constant of the converter."""
    drawn = {name: draw(name, shape, description["seed"]) for name, shape in description["tensors"].items()}
    return drawn | {name: drawn[of] for name, of in description["copies"].items()} | constants


def write(path: Path, description: dict[str, Any], constants: dict[str, np.ndarray]) -> None:
    """The GGUF file, with the same small vocabulary for all."""
    writer = gguf.GGUFWriter(path, description["arch"])
    for key, (kind, item_kind, value) in description["metadata"].items():
        sub_type = None if item_kind is None else gguf.GGUFValueType[item_kind]
        writer.add_key_value(key, value, gguf.GGUFValueType[kind], sub_type)
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens + [f"word{i}" for i in range(N_VOCAB - len(tokens))])
    writer.add_token_scores([0.0] * N_VOCAB)
    writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (N_VOCAB - 259)])
    for name, values in tensors(description, constants).items():
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
