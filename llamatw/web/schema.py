"""Request bodies: what they may hold, and what they come to for the engine.

A body is decoded strictly by body.py (a bool is no number, a string is no number), checked against the tables of
limits.py, and folded into an Order.  Whatever is wrong is a BadRequest or NotSupported that names the field.
"""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec

from llamatw.engine.constraint import Constraint
from llamatw.engine.sequence import GenerationParams, SamplingParams
from llamatw.errors import BadRequest, NotSupported
from llamatw.settings import MAX_DRAFT, SystemPrompt
from llamatw.web.constraints import ResponseFormat
from llamatw.web.limits import LIMITS, UNSERVED

MAX_STOPS = 16
MAX_STOP_BYTES = 256
_UNTIL_FULL = -2  # n_predict
_SHAPES = ("grammar", "json_schema", "response_format", "tools")
_USUAL_TOP = 20  # alternatives where `logprobs: true` says no number

Number = int | float | None
Flag = bool | None
Text = str | None
Objects = list[dict[str, Any]] | None
Object = dict[str, Any] | None


class StreamOptions(msgspec.Struct):
    include_usage: Flag = None


class Generating(msgspec.Struct, kw_only=True):
    """Fields that every generating route knows; null is the same as absent."""

    serves: ClassVar[frozenset[str]] = frozenset()  # names of UNSERVED that this route serves after all
    zero_asks: ClassVar[bool] = False  # `logprobs: 0` is a wish, too: for the tokens' own

    stream: Flag = None
    stream_options: StreamOptions | None = None
    stop: str | list[str | None] | None = None
    cache_prompt: Flag = None
    ignore_eos: Flag = None
    n_predict: Number = None
    max_tokens: Number = None
    max_completion_tokens: Number = None
    temperature: Number = None
    top_k: Number = None
    top_p: Number = None
    min_p: Number = None
    repeat_penalty: Number = None
    repeat_last_n: Number = None
    presence_penalty: Number = None
    frequency_penalty: Number = None
    seed: Number = None
    id_slot: Number = None
    slot_id: Number = None
    n_keep: Number = None
    n_discard: Number = None
    sse_ping_interval: Number = None
    n: Number = None
    n_cmpl: Number = None
    t_max_predict_ms: Number = None
    speculative_n_max: Number = msgspec.field(default=None, name="speculative.n_max")
    n_indent: Number = None
    return_tokens: Flag = None
    return_progress: Flag = None
    timings_per_token: Flag = None
    verbose: Flag = None
    response_fields: list[str] | None = None
    best_of: Number = None
    logit_bias: list[Any] | dict[str, Any] | None = None
    samplers: str | list[str] | None = None
    typical_p: Number = None
    tfs_z: Number = None
    dynatemp_range: Number = None
    dynatemp_exponent: Number = None
    top_n_sigma: Number = None
    xtc_probability: Number = None
    xtc_threshold: Number = None
    dry_multiplier: Number = None
    dry_base: Number = None
    dry_allowed_length: Number = None
    dry_penalty_last_n: Number = None
    dry_sequence_breakers: list[str] | None = None
    mirostat: Number = None
    mirostat_tau: Number = None
    mirostat_eta: Number = None
    adaptive_target: Number = None
    adaptive_decay: Number = None
    min_keep: Number = None
    penalize_nl: Flag = None
    penalty_prompt: str | list[Any] | None = None
    n_probs: Number = None
    post_sampling_probs: Flag = None
    grammar: Text = None
    grammar_lazy: Flag = None
    grammar_triggers: list[Any] | None = None
    preserved_tokens: list[Any] | None = None
    json_schema: msgspec.Raw = msgspec.field(default_factory=msgspec.Raw)
    response_format: ResponseFormat | None = None
    # Known, not served yet: refused when they ask for something.
    lora: Objects = None
    n_cache_reuse: Number = None
    backend_sampling: Flag = None
    reasoning_budget_tokens: Number = None
    thinking_budget_tokens: Number = None
    reasoning_budget_message: Text = None
    reasoning_budget_start_tag: Text = None
    reasoning_budget_end_tag: Text = None
    reasoning_budget_end_tags: list[str] | None = None
    reasoning_control: Flag = None
    reasoning_format: Text = None
    chat_format: int | str | None = None
    chat_parser: Text = None
    parse_tool_calls: Flag = None
    generation_prompt: Text = None


class CompletionRequest(Generating, kw_only=True):
    """POST /completion."""

    prompt: Any = None
    logprobs: int | bool | None = None
    system_prompt: SystemPrompt | None = None
    image_data: Objects = None
    multimodal_data: list[Any] | None = None
    echo: Flag = None
    suffix: Text = None


class TokenizeRequest(msgspec.Struct):
    content: Any = None
    add_special: Flag = None
    parse_special: Flag = None
    with_pieces: Flag = None


class DetokenizeRequest(msgspec.Struct):
    tokens: list[int] | None = None


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """What a request says beside its body."""

    owner: int = 0  # number of its API key; 0 where there are none
    timeout_s: float | None = None  # from arrival to the last token
    n_bytes: int = 0  # of its body
    served: list[Any] = []  # where what is generated for it is noted


class SlotFileRequest(msgspec.Struct):
    """POST /slots/{id}?action=save and restore."""

    filename: str


class Shows(msgspec.Struct, frozen=True, kw_only=True):
    """What an answer holds beside its text."""

    usage: bool  # at the end of an OpenAI stream
    tokens: bool
    progress: bool  # of reading the prompt, in a stream
    timings: bool  # in every event of a stream
    native: bool  # the native answer, within an OpenAI answer
    probs: bool  # of the tokens
    thoughts_apart: bool  # from the answer, where they are told from it
    fields: tuple[str, ...]  # only those of an answer in one piece; (): all


class Order(msgspec.Struct, frozen=True, kw_only=True):
    """What a generating request comes to."""

    params: GenerationParams
    stop: tuple[str, ...]
    stream: bool
    n_indent: int  # of generated lines, at the least
    shows: Shows
    n: int  # answers to each prompt
    n_made: int  # of which these are the best; equal in a stream
    n_field: str  # by which name so many were asked for
    n_bytes: int  # of the request
    served: list[Any]  # as in Caller
    ping_s: int | None  # None: the server's own interval; -1: no comments


def check(request: Generating) -> None:
    """Ranges first, so that nonsense is 400 also where a sensible value would be 501."""
    stop_words(request.stop)
    for name, limit in LIMITS.items():
        value = getattr(request, name.replace(".", "_"), None)
        if value is None:
            continue
        if not limit.holds(value) or (limit.whole and value != int(value)):
            raise BadRequest(f"{name} must be {limit}, not {_shown(value)}", name)
    for name, asks in UNSERVED.items():
        value = getattr(request, name, None)
        if value is not None and name not in request.serves and asks(value):
            raise NotSupported(f"{name} is not supported in this build", name)


def order(
    request: Generating,
    sampling: SamplingParams,
    *,
    n_predict: int,
    n_slots: int,
    caller: Caller,
    constraint: Constraint | None = None,
    shifts: bool = False,
    cuts_prompt: bool = False,
    verbose: bool = False,
) -> Order:
    """Fills in the defaults of a checked request; n_predict is the server's own limit (-1: none, -2: none, and by
    default until the context is full), shifts says whether full contexts go on, cuts_prompt whether prompts that are
    too long are cut then, verbose is the server's."""
    limit = _capped(_whole(_one_of(request, "n_predict", "max_tokens", "max_completion_tokens"), -1), n_predict)
    predict_ms = _whole(request.t_max_predict_ms, -1)
    n_probs, post_probs = _n_probs(request), bool(request.post_sampling_probs)
    scores = n_probs is not None and bool(getattr(request, "echo", False))  # of the prompt
    n, n_made, n_field = _n_answers(request)
    wants_probs = n_probs is not None or n_made > n
    params = GenerationParams(
        sampling=msgspec.structs.replace(
            sampling,
            logprobs=wants_probs,
            n_probs=n_probs or 0,
            post_sampling_probs=post_probs,
            scores=scores,
        ),
        wants_probs=wants_probs,
        max_tokens=limit,
        cache_prompt=request.cache_prompt is not False and not scores,  # scores are not kept in the cache
        slot=_slot(request, n_slots),
        owner=caller.owner,
        scope=caller.owner,  # nobody learns from the time of an answer what another key has asked
        timeout_s=caller.timeout_s,
        predict_timeout_s=None if predict_ms < 0 else predict_ms / 1e3,
        shifts=shifts and limit != _UNTIL_FULL,
        n_keep=_whole(request.n_keep, 0),
        n_discard=_whole(request.n_discard, 0),
        cuts_prompt=shifts and cuts_prompt,
        n_draft=min(_whole(request.speculative_n_max, MAX_DRAFT), MAX_DRAFT) if sampling.is_stateless else 0,
        constraint=constraint,
    )
    return Order(
        params=params,
        stop=stop_words(request.stop),
        stream=bool(request.stream),
        n_indent=_whole(request.n_indent, 0),
        shows=_shows(request, verbose, n_probs is not None),
        n=n,
        n_made=n_made,
        n_field=n_field,
        n_bytes=caller.n_bytes,
        served=caller.served,
        ping_s=None if request.sse_ping_interval is None else int(request.sse_ping_interval),
    )


def _shows(request: Generating, verbose: bool, probs: bool) -> Shows:
    return Shows(
        usage=bool(request.stream_options and request.stream_options.include_usage),
        tokens=bool(request.return_tokens),
        progress=bool(request.return_progress and request.stream),
        timings=bool(request.timings_per_token),
        native=verbose if request.verbose is None else request.verbose,
        probs=probs,
        thoughts_apart=request.reasoning_format != "none",
        fields=tuple(request.response_fields or ()),
    )


def _n_answers(request: Generating) -> tuple[int, int, str]:
    """To each prompt: how many are told, how many are made, and the field that says so."""
    n = _whole(_one_of(request, "n", "n_cmpl"), 1)
    best_of = _whole(request.best_of, n)
    if best_of < n:
        raise BadRequest(f"best_of must be at least n, which is {n}, not {best_of}", "best_of")
    if best_of > n and request.stream:
        raise BadRequest(
            f"best_of above n, which is {n}, cannot be streamed: which is best is known at the end", "best_of"
        )
    if best_of > n:
        return n, best_of, "best_of"
    return n, n, "n" if request.n_cmpl is None else "n_cmpl"


def _capped(limit: int, cap: int) -> int:
    if cap < 0:
        return cap if limit == -1 else limit
    return min(limit, cap) if limit >= 0 else cap


def fill(request: Generating, defaults: dict[str, Any]) -> None:
    """The server's own defaults, where the request says nothing; a shape of the answer only where it states none."""
    is_shaped = any(_is_given(request, name) for name in _SHAPES)
    for name, value in defaults.items():
        if not _is_given(request, name) and not (is_shaped and name in _SHAPES):
            setattr(request, name, value)


def _is_given(request: Generating, name: str) -> bool:
    value = getattr(request, name, None)
    return value is not None and not (isinstance(value, msgspec.Raw) and bytes(value) in (b"", b"null"))


def filled(defaults: dict[str, Any]) -> Generating:
    """A request that says nothing, checked; raises what is wrong with the server's own defaults."""
    nothing = Generating()
    fill(nothing, defaults)
    check(nothing)
    return nothing


def _n_probs(request: Generating) -> int | None:
    """How many alternatives are told of each token; None: no probabilities at all."""
    asked, is_chat = getattr(request, "logprobs", None), hasattr(request, "top_logprobs")
    asked = None if asked is False else asked
    if is_chat and asked is None and getattr(request, "top_logprobs", None):
        raise BadRequest("top_logprobs needs logprobs: true", "top_logprobs")
    if not is_chat and asked is True:
        raise BadRequest(f"logprobs must be {LIMITS['logprobs']}, not true", "logprobs")
    if asked is None:
        return _whole(request.n_probs, 0) or None
    n = _one_of(request, "n_probs", "top_logprobs" if is_chat else "logprobs")
    return _whole(n, _USUAL_TOP) if n or is_chat or request.zero_asks else None


def stop_words(stop: str | list[str | None] | None) -> tuple[str, ...]:
    words = [stop] if isinstance(stop, str) else [word for word in stop or () if word is not None]
    if len(words) > MAX_STOPS:
        raise BadRequest(f"stop has {len(words)} strings, the limit is {MAX_STOPS}", "stop")
    for word in words:
        if not 1 <= len(word.encode()) <= MAX_STOP_BYTES:
            raise BadRequest(
                f"each stop string must have 1 to {MAX_STOP_BYTES} bytes, not {len(word.encode())}", "stop"
            )
    return tuple(words)


def _one_of(request: Generating, *names: str) -> Number:
    """Old and new spellings of one setting: any of them, but not two that differ."""
    given = {name: getattr(request, name) for name in names if getattr(request, name) is not None}
    if len(set(given.values())) > 1:
        raise BadRequest(f"{' and '.join(given)} are spellings of one setting and differ", next(iter(given)))
    return next(iter(given.values()), None)


def _slot(request: Generating, n_slots: int) -> int:
    slot = _whole(_one_of(request, "id_slot", "slot_id"), -1)
    if slot >= n_slots:
        name = "id_slot" if request.id_slot is not None else "slot_id"
        raise BadRequest(f"{name} must be a whole number from -1 to {n_slots - 1}, not {slot}", name)
    return slot


def _whole(value: Number, default: int) -> int:
    return default if value is None else int(value)


def _shown(value: float) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return str(value) if abs(value) < 2**64 else "a number of more than 64 bits"
