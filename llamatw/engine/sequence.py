"""A request inside the engine: its prompt, its wishes, how far it has come.  Pure data; no clock, thread or ctypes."""

from __future__ import annotations

import enum

import msgspec


class Status(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class FinishReason(enum.Enum):
    """Why a sequence ended.  STOP_WORD is decided by the reply, which sees text; the rest here."""

    EOS = "eos"
    LIMIT = "limit"  # n_predict reached
    CONTEXT = "context"  # the KV pool is full for it
    ABORT = "abort"  # the client went away or the reply found a stop word
    ERROR = "error"  # this sequence alone failed: Delta.error says why


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """The sampler chain's settings, already range-checked.  Field meanings: lt_sampling in llamatw.h."""

    seed: int = 0  # 0..2**64-1; the web layer draws one when the client asks for a random seed
    temperature: float = 0.8
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64
    ignore_eos: bool = False


class GenerationParams(msgspec.Struct, frozen=True, kw_only=True):
    """What submit() takes beside the prompt."""

    sampling: SamplingParams = SamplingParams()
    max_tokens: int = -1  # -1: until EOS or the context is full; 0: evaluate the prompt only
    cache_prompt: bool = True
    scope: int = 0  # prefix-cache scope
    slot: int = -1  # wished lane


class Timings(msgspec.Struct, kw_only=True):
    """Milliseconds and counts of one sequence, as `timings` shows them."""

    prompt_n: int = 0  # prompt tokens computed (not from cache)
    cache_n: int = 0  # prompt tokens from the prefix cache
    prompt_ms: float = 0.0  # start of prefill to first sampled token
    predicted_n: int = 0
    predicted_ms: float = 0.0  # first sampled token to the last


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence's share of one step's results, as it crosses to the reactor."""

    tokens: tuple[int, ...] = ()
    text: str = ""  # what the tokens completed; whole characters
    finish: FinishReason | None = None
    error: Exception | None = None  # with finish ERROR
    prompt_done: int = 0  # prompt tokens that are in the cache now
