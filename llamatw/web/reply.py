"""What generations look like on the wire: pure functions from what happened to response objects.

Native answers carry the old server's keys and today's, always, so that a client of either finds what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from llamatw import __version__
from llamatw.engine.sequence import GenerationParams, SamplingParams, Timings
from llamatw.errors import ContextExceeded, LlamatwError
from llamatw.web import sampling
from llamatw.web.generation import Generation, Piece, StopType

Json = dict[str, Any]

FINGERPRINT = f"llamatw-{__version__}"

# Settings that clients know and this build does not serve: their values that ask for nothing.
_NEUTRAL: Json = {
    "n_probs": 0,
    "post_sampling_probs": False,
    "grammar": "",
    "grammar_lazy": False,
    "grammar_triggers": [],
    "preserved_tokens": [],
    "timings_per_token": False,
    "lora": [],
}

encode = msgspec.json.encode


def error_body(error: LlamatwError) -> Json:
    body: Json = {"code": error.status, "message": error.message, "type": error.type, "param": error.param}
    if isinstance(error, ContextExceeded):
        body |= {"n_prompt_tokens": error.n_prompt_tokens, "n_ctx": error.n_ctx}
    return {"error": body}


def settings(
    params: GenerationParams, *, model: str, n_ctx: int, stop: Sequence[str] = (), stream: bool = False
) -> Json:
    """`generation_settings`: what was really used."""
    return {
        "n_ctx": n_ctx,
        "model": model,
        **_sampling_settings(params.sampling),
        **_NEUTRAL,
        "n_predict": params.max_tokens,
        "max_tokens": params.max_tokens,
        "n_keep": params.n_keep,
        "n_discard": params.n_discard,
        "cache_prompt": params.cache_prompt,
        "stop": list(stop),
        "stream": stream,
    }


def _sampling_settings(used: SamplingParams) -> Json:
    fields = msgspec.structs.asdict(used)
    for name in ("penalty_prompt", "n_prompt", "breakers", "state"):
        del fields[name]
    return {
        **fields,
        "samplers": sampling.shown(used),
        "penalty_prompt_tokens": used.penalty_prompt or [],
        "use_penalty_prompt_tokens": used.penalty_prompt is not None,
        "logit_bias": [[token, None if math.isinf(bias) else bias] for token, bias in used.logit_bias],
    }


def lane_settings(params: GenerationParams, *, model: str, n_ctx: int) -> Json:
    """The `params` of /slots, without what only the reply knows."""
    used = settings(params, model=model, n_ctx=n_ctx)
    return {name: value for name, value in used.items() if name not in ("stop", "stream")}


def default_settings(*, model: str, n_ctx: int, n_predict: int, repeat_penalty: float) -> Json:
    """/props: flat, as the old server; under `params`, as today's."""
    usual = SamplingParams(repeat_penalty=repeat_penalty)
    flat = settings(GenerationParams(sampling=usual, max_tokens=n_predict), model=model, n_ctx=n_ctx, stream=True)
    flat["seed"] = -1
    return {**flat, "id": 0, "is_processing": False, "params": flat}


def timings(measured: Timings) -> Json:
    """Rates are zero where nothing was measured; the first token costs no decoding step."""
    n_steps = max(measured.predicted_n - 1, 0)
    return {
        "cache_n": measured.cache_n,
        "prompt_n": measured.prompt_n,
        "prompt_ms": measured.prompt_ms,
        "prompt_per_token_ms": _ratio(measured.prompt_ms, measured.prompt_n),
        "prompt_per_second": _ratio(1e3 * measured.prompt_n, measured.prompt_ms),
        "predicted_n": measured.predicted_n,
        "predicted_ms": measured.predicted_ms,
        "predicted_per_token_ms": _ratio(measured.predicted_ms, n_steps),
        "predicted_per_second": _ratio(1e3 * n_steps, measured.predicted_ms),
        "draft_n": measured.draft_n,
        "draft_n_accepted": measured.draft_n_accepted,
    }


def _ratio(value: float, unit: float) -> float:
    return value / unit if unit > 0 else 0.0


# ---- native ------------------------------------------------------------------------------------------------------


def partial(index: int, generation: Generation, piece: Piece) -> Json:
    """One streamed event of /completion."""
    return {
        "index": index,
        "content": piece.text,
        "tokens": piece.tokens,
        "stop": False,
        "id_slot": generation.slot,
        "slot_id": generation.slot,
        "multimodal": False,
        "tokens_predicted": len(generation.tokens),
        "tokens_evaluated": generation.n_prompt,
    }


def completion(
    index: int, generation: Generation, *, prompt: object, model: str, settings: Json, tokens: bool, streamed: bool
) -> Json:
    """The answer of /completion, or the last event of its stream, which repeats no text."""
    return {
        "index": index,
        "content": "" if streamed else generation.text,
        "tokens": generation.tokens if tokens and not streamed else [],
        "id_slot": generation.slot,
        "slot_id": generation.slot,
        "stop": True,
        "model": model,
        "tokens_predicted": len(generation.tokens),
        "tokens_evaluated": generation.n_prompt,
        "tokens_cached": generation.n_past,
        "generation_settings": settings,
        "prompt": prompt,
        "has_new_line": "\n" in generation.text,
        "truncated": generation.truncated,
        "stopped_eos": generation.stop_type is StopType.EOS,
        "stopped_limit": generation.stop_type is StopType.LIMIT,
        "stopped_word": generation.stop_type is StopType.WORD,
        "stop_type": generation.stop_type.value,
        "stopping_word": generation.stopping_word,
        "timings": timings(generation.timings),
    }


def select(answer: Json, fields: Sequence[str]) -> Json:
    """`response_fields`: only those; "a/b" picks from inside and keeps its name.  None asked for: everything."""
    if not fields:
        return answer
    picked = {}
    for field in fields:
        value: Any = answer
        for name in field.split("/"):
            value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
        if value is not _ABSENT:
            picked[field] = value
    return picked


_ABSENT = object()


# ---- OpenAI ------------------------------------------------------------------------------------------------------


def finish_reason(generation: Generation) -> str:
    return "length" if generation.stop_type is StopType.LIMIT else "stop"


def usage(generations: Sequence[Generation]) -> Json:
    """Of the answers to one prompt."""
    n_prompt, n_completion = generations[0].n_prompt, sum(len(generation.tokens) for generation in generations)
    return {
        "completion_tokens": n_completion,
        "prompt_tokens": n_prompt,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": {"cached_tokens": generations[0].timings.cache_n},
    }


def chat_completion(generations: Sequence[Generation], envelope: Json) -> Json:
    return {
        **envelope,
        "object": "chat.completion",
        "choices": [_chat_choice(index, generation) for index, generation in enumerate(generations)],
        "usage": usage(generations),
        "timings": timings(generations[0].timings),
    }


def _chat_choice(index: int, generation: Generation) -> Json:
    message = {"role": "assistant", "content": generation.text}
    return {"index": index, "message": message, "finish_reason": finish_reason(generation), "logprobs": None}


def chat_chunk(envelope: Json, index: int, delta: Json, reason: str | None = None) -> Json:
    choice = {"index": index, "delta": delta, "finish_reason": reason, "logprobs": None}
    return {**envelope, "object": "chat.completion.chunk", "choices": [choice]}


def usage_chunk(generations: Sequence[Generation], envelope: Json) -> Json:
    """What `stream_options.include_usage` asks for, after the last choice."""
    return {**envelope, "object": "chat.completion.chunk", "choices": [], "usage": usage(generations)}
