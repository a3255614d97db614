"""What generations look like on the wire: pure functions from what happened to response objects.

Native answers carry the old server's keys and today's, always, so that a client of either finds what it reads.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from llamatw import __version__
from llamatw.engine.sequence import GenerationParams, SamplingParams, Timings
from llamatw.errors import ContextExceeded, LlamatwError
from llamatw.web import constraints, sampling
from llamatw.web.generation import Generation, Piece, Progress, StopType

Json = dict[str, Any]

FINGERPRINT = f"llamatw-{__version__}"

# Settings that clients know and this build does not serve: their values that ask for nothing.
_NEUTRAL: Json = {
    "preserved_tokens": [],
    "lora": [],
}

encode = msgspec.json.encode


def error_body(error: LlamatwError) -> Json:
    body: Json = {"code": error.status, "message": error.message, "type": error.type, "param": error.param}
    if isinstance(error, ContextExceeded):
        body |= {"n_prompt_tokens": error.n_prompt_tokens, "n_ctx": error.n_ctx}
    return {"error": body}


def settings(
    params: GenerationParams,
    *,
    model: str,
    n_ctx: int,
    stop: Sequence[str] = (),
    stream: bool = False,
    timed: bool = False,
) -> Json:
    """`generation_settings`: what was really used."""
    return {
        "n_ctx": n_ctx,
        "model": model,
        **_sampling_settings(params.sampling),
        **_NEUTRAL,
        **constraints.shown(params.constraint.wish if params.constraint else None),
        "n_predict": params.max_tokens,
        "max_tokens": params.max_tokens,
        "n_keep": params.n_keep,
        "n_discard": params.n_discard,
        "cache_prompt": params.cache_prompt,
        "stop": list(stop),
        "stream": stream,
        "timings_per_token": timed,
    }


def _sampling_settings(used: SamplingParams) -> Json:
    fields = msgspec.structs.asdict(used)
    for name in ("penalty_prompt", "n_prompt", "breakers", "state", "logprobs", "scores"):
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
    return {name: value for name, value in used.items() if name not in ("stop", "stream", "timings_per_token")}


def default_settings(params: GenerationParams, *, model: str, n_ctx: int, seed: float | None) -> Json:
    """/props: flat, as the old server; under `params`, as today's.  seed None: another one each time."""
    flat = settings(params, model=model, n_ctx=n_ctx, stream=True)
    flat["seed"] = -1 if seed is None else int(seed)
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


def partials(index: int, generation: Generation, piece: Piece, timed: bool, probs: Json) -> Iterator[Json]:
    """The streamed events of /completion that a piece makes.  probs: what goes with its text."""
    more: Json = {"timings": timings(generation.timings)} if timed else {}
    for progress in piece.progress:
        yield {**_partial(index, generation), **more, **prompt_progress(progress)}
    if piece.text or piece.tokens:
        yield {**_partial(index, generation), "content": piece.text, "tokens": piece.tokens, **more, **probs}


def prompt_progress(progress: Progress) -> Json:
    return {"prompt_progress": msgspec.structs.asdict(progress)}


def _partial(index: int, generation: Generation) -> Json:
    return {
        "index": index,
        "content": "",
        "tokens": [],
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


def usage(generations: Sequence[Generation], n: int) -> Json:
    """n: answers to each prompt, which counts once."""
    n_prompt = sum(generation.n_prompt for generation in generations[::n])
    n_cached = sum(generation.timings.cache_n for generation in generations[::n])
    n_completion = sum(len(generation.tokens) for generation in generations)
    return {
        "completion_tokens": n_completion,
        "prompt_tokens": n_prompt,
        "total_tokens": n_prompt + n_completion,
        "prompt_tokens_details": {"cached_tokens": n_cached},
    }


def choice(index: int, content: Json, reason: str | None = None, logprobs: Json | None = None) -> Json:
    """content: what the dialect calls a text."""
    return {"index": index, **content, "finish_reason": reason, "logprobs": logprobs}
