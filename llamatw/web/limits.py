"""Which numbers a request may hold, and which wishes this build cannot serve yet.  Tables only; schema.py applies them.

A number outside its range is refused, never clamped.  A field that clients know but we do not implement is refused when
its value asks for something; the value that asks for nothing is fine, since many clients send every field they know.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

INT32_MAX = 2**31 - 1


class Limit(msgspec.Struct, frozen=True):
    low: float
    high: float
    whole: bool = True

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def __str__(self) -> str:
        if self.whole:
            return f"a whole number from {int(self.low)} to {int(self.high)}"
        return f"a number from {self.low:g} to {self.high:g}"


def _real(low: float, high: float) -> Limit:
    return Limit(low, high, whole=False)


LIMITS: dict[str, Limit] = {
    # served
    "n_predict": Limit(-2, INT32_MAX),
    "max_tokens": Limit(-2, INT32_MAX),
    "max_completion_tokens": Limit(-2, INT32_MAX),
    "temperature": _real(-100, 100),  # below 0 is greedy, as 0 is
    "top_k": Limit(-1, INT32_MAX),
    "top_p": _real(0, 1),
    "min_p": _real(0, 1),
    "repeat_penalty": _real(0.001, 100),  # it divides, in single precision
    "repeat_last_n": Limit(-1, INT32_MAX),
    "presence_penalty": _real(-100, 100),
    "frequency_penalty": _real(-100, 100),
    "typical_p": _real(0, 1),
    "tfs_z": _real(0, 1),
    "dynatemp_range": _real(0, 100),
    "dynatemp_exponent": _real(0, 100),
    "top_n_sigma": _real(-1, 100),
    "xtc_probability": _real(0, 1),
    "xtc_threshold": _real(0, 1),
    "dry_multiplier": _real(0, 100),
    "dry_base": _real(1, 100),
    "dry_allowed_length": Limit(0, INT32_MAX),
    "dry_penalty_last_n": Limit(-1, INT32_MAX),
    "mirostat": Limit(0, 2),
    "mirostat_tau": _real(0, 100),
    "mirostat_eta": _real(0, 1),
    "adaptive_target": _real(-1, 1),
    "adaptive_decay": _real(0, 0.99),
    "min_keep": Limit(0, 1 << 20),
    "seed": Limit(-1, 2**64 - 1),
    "id_slot": Limit(-1, INT32_MAX),  # and below the number of slots
    "slot_id": Limit(-1, INT32_MAX),
    "n": Limit(1, 256),  # and no more than the server takes at once
    "n_cmpl": Limit(1, 256),
    "t_max_predict_ms": Limit(-1, INT32_MAX),
    "speculative.n_max": Limit(0, 16),
    "n_keep": Limit(-1, INT32_MAX),  # as many as there are, if there are fewer
    "n_discard": Limit(0, INT32_MAX),
    "sse_ping_interval": Limit(-1, 86_400),
    "best_of": Limit(1, 256),
    "n_indent": Limit(0, INT32_MAX),
    "n_probs": Limit(0, 100),  # LT_MAX_PROBS
    "logprobs": Limit(0, 100),
    "top_logprobs": Limit(0, 20),
    # known, see UNSERVED
    "n_cache_reuse": Limit(0, INT32_MAX),
    "reasoning_budget_tokens": Limit(-1, INT32_MAX),
    "thinking_budget_tokens": Limit(-1, INT32_MAX),
}

Asks = Callable[[Any], bool]


def _not(neutral: object) -> Asks:
    return lambda value: value != neutral


def _above(neutral: float) -> Asks:
    return lambda value: value > neutral


def _not_in(*neutral: object) -> Asks:
    return lambda value: value not in neutral


UNSERVED: dict[str, Asks] = {
    "tools": bool,
    "tool_choice": _not_in("none", "auto"),
    "functions": bool,
    "function_call": _not_in("none", "auto"),
    "image_data": bool,
    "multimodal_data": bool,
    "lora": bool,
    "n_cache_reuse": _above(0),
    "backend_sampling": bool,
    "chat_format": _not_in(0, "Content-only"),
    "chat_parser": bool,
    "parse_tool_calls": bool,
    "generation_prompt": bool,
    "echo": bool,
    "suffix": bool,
    "chat_template": bool,
    "reasoning_effort": _not("none"),
    "reasoning_format": _not_in("none", "auto"),
    "reasoning_budget_tokens": _above(-1),
    "thinking_budget_tokens": _above(-1),
    "reasoning_budget_message": bool,
    "reasoning_budget_start_tag": bool,
    "reasoning_budget_end_tag": bool,
    "reasoning_budget_end_tags": bool,
    "reasoning_control": bool,
    "modalities": _not(["text"]),
    "audio": bool,
}
