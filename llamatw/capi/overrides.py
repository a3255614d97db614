"""Metadata that flags put in the place of a file's: --override-kv as it stands, the flags about positions as keys."""

from __future__ import annotations

import ctypes
from typing import Any

from llamatw.capi import _abi
from llamatw.capi.gguf import Gguf, Scalar
from llamatw.settings import EngineSettings, Positions

Metadata = dict[str, Scalar]

_F32, _BOOL, _STRING, _I64 = 6, 7, 8, 11
_OURS = ("general.name", "tokenizer.chat_template")  # texts that are read on this side


def model_overrides(settings: EngineSettings, gguf: Gguf) -> Metadata:
    """All overridden keys; a flag of its own beats --override-kv."""
    given = {override.key: override.value for override in settings.overrides}
    arch = look_up(gguf, given, "general.architecture")
    return given | _position_keys(settings.positions, f"{arch}.rope.", gguf, given)


def _position_keys(wish: Positions, prefix: str, gguf: Gguf, given: Metadata) -> Metadata:
    found: dict[str, Scalar | None] = {
        "freq_base": wish.base,
        "scaling.type": wish.scaling or _implied_scaling(wish, prefix, gguf, given),
        "scaling.factor": wish.factor,
        "scaling.original_context_length": wish.original_ctx,
        "scaling.yarn_ext_factor": wish.ext_factor,
        "scaling.attn_factor": wish.attn_factor,
        "scaling.yarn_beta_slow": wish.beta_slow,
        "scaling.yarn_beta_fast": wish.beta_fast,
    }
    keys = {prefix + name: value for name, value in found.items() if value is not None}
    if wish.scaling == "none" and gguf.get(f"{prefix}scale_linear") is not None:
        keys[f"{prefix}scale_linear"] = 1.0  # the older key holds whatever the type says
    return keys


def _implied_scaling(wish: Positions, prefix: str, gguf: Gguf, given: Metadata) -> str | None:
    """A factor for a model that scales nothing by itself divides evenly."""
    own = look_up(gguf, given, f"{prefix}scaling.type")
    return "linear" if wish.factor is not None and own in (None, "none") else None


def look_up(gguf: Gguf, overridden: Metadata, key: str) -> Any:
    """A value as the engine will see it; None when there is none."""
    return overridden[key] if key in overridden else gguf.get(key)


def raw_overrides(metadata: Metadata) -> tuple[Any, int]:
    """An array of lt_override, and how many they are: those that the library reads."""
    read = {key: value for key, value in metadata.items() if key not in _OURS or not isinstance(value, str)}
    raw = (_abi.Override * len(read))()
    for entry, (key, value) in zip(raw, read.items(), strict=True):
        entry.key = key.encode()
        if isinstance(value, bool):
            entry.type, entry.i = _BOOL, int(value)
        elif isinstance(value, int):
            entry.type, entry.i = _I64, value
        elif isinstance(value, float):
            entry.type, entry.f = _F32, value
        else:
            entry.type, entry.str = _STRING, value.encode()
    return (ctypes.cast(raw, ctypes.POINTER(_abi.Override)) if read else None), len(read)
