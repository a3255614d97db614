"""What a case of a tiny model is: a class, its configuration, and what that shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.golden.weights import N_VOCAB

Config = dict[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    of: str  # a class of transformers, or of statements.py
    shows: str
    config: Config
    converter: Config = field(default_factory=dict)  # fields of older configurations that only the converter asks for
    metadata: dict[str, tuple[str, str | None, Any]] = field(
        default_factory=dict
    )  # what files have and the converter does not write


BASE: Config = {
    "vocab_size": N_VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
    "tie_word_embeddings": False,
}


def case(name: str, of: str, shows: str, bare: bool = False, **config: Any) -> Case:
    """bare: of BASE only what every configuration has."""
    extra = {key: config.pop(key) for key in ("converter", "metadata") if key in config}
    base = {k: v for k, v in BASE.items() if not bare or k.endswith("_id") or k == "vocab_size"}
    return Case(name, of, shows, base | config, **extra)


def rope(base: float = 10000.0, **more: Any) -> Config:
    return {"rope_type": "default", "rope_theta": base, **more}
