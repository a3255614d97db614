"""From a request's fields to the sampler chain's settings: names of samplers, biases, ids for what is given as text.

Whatever is wrong is a BadRequest that names the field.  Numbers have been checked against limits.py before.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from llamatw.engine.sequence import SAMPLERS, SamplingParams
from llamatw.errors import BadRequest
from llamatw.web.words import MAX_BREAKERS, MAX_TEXT_BYTES, Words

if TYPE_CHECKING:
    from llamatw.web.schema import Generating

MAX_BIASES = 1024
MAX_PENALTY_PROMPT = 1 << 16
MAX_BIAS = 100
_RANDOM_SEEDS = (-1, 2**32 - 1)  # the second is -1 as clients with 32-bit seeds know it
_FORBIDDEN = float("-inf")

# Letters and names as the old and the new server have them -> ours.
_LETTERS = {
    "e": "penalties",
    "d": "dry",
    "s": "top_n_sigma",
    "k": "top_k",
    "f": "tfs_z",
    "y": "typical_p",
    "p": "top_p",
    "m": "min_p",
    "x": "xtc",
    "t": "temperature",
    "i": "infill",
    "a": "adaptive_p",
}
_NAMES = {name: name for name in _LETTERS.values()} | {
    "typ_p": "typical_p",
    "typ": "typical_p",
    "typical": "typical_p",
    "tfs": "tfs_z",
    "nucleus": "top_p",
    "temp": "temperature",
}
_SHOWN = {"typical_p": "typ_p"}

_REALS = (
    *("temperature", "dynatemp_range", "dynatemp_exponent", "top_p", "min_p", "tfs_z", "typical_p", "top_n_sigma"),
    *("xtc_probability", "xtc_threshold", "presence_penalty", "frequency_penalty", "dry_multiplier", "dry_base"),
    *("repeat_penalty", "mirostat_tau", "mirostat_eta", "adaptive_target", "adaptive_decay"),
)
_WHOLES = ("top_k", "min_keep", "repeat_last_n", "dry_allowed_length", "dry_penalty_last_n", "mirostat")


def params(request: Generating, repeat_penalty: float, words: Words) -> SamplingParams:
    seed = -1 if request.seed is None else int(request.seed)
    given: dict[str, Any] = {"repeat_penalty": repeat_penalty}
    given |= {name: float(value) for name in _REALS if (value := getattr(request, name)) is not None}
    given |= {name: int(value) for name in _WHOLES if (value := getattr(request, name)) is not None}
    settings = SamplingParams(
        **given,
        seed=secrets.randbelow(2**32 - 1) if seed in _RANDOM_SEEDS else seed,
        ignore_eos=bool(request.ignore_eos),
        penalize_nl=request.penalize_nl is not False,
        penalty_prompt=_penalty_prompt(request.penalty_prompt, words),
        logit_bias=_logit_bias(request.logit_bias, words),
        samplers=SAMPLERS if request.samplers is None else chain(request.samplers),
        dry_sequence_breakers=_breaker_texts(request.dry_sequence_breakers),
    )
    return _with_breakers(settings, words)


def size(request: Generating, words: Words) -> int:
    """The work that params() is, in characters to tokenize."""
    biases = MAX_TEXT_BYTES * len(request.logit_bias or ())
    walk = words.n_vocab if request.dry_multiplier else 0  # for the breakers
    return biases + len(request.penalty_prompt or ()) + walk


def shown(settings: SamplingParams) -> list[str]:
    """The chain that is really used, by the names that clients know; mirostat is a setting of its own."""
    return [_SHOWN.get(name, name) for name in settings.chain if not name.startswith("mirostat")]


# ---- samplers ----


def chain(names: str | list[str]) -> tuple[str, ...]:
    """A list of names, or a string of letters."""
    known = _LETTERS if isinstance(names, str) else _NAMES
    found = [known.get(name if isinstance(names, str) else name.replace("-", "_")) for name in names]
    for name, ours in zip(names, found, strict=True):
        if ours is None:
            raise BadRequest(f"samplers: there is no sampler {name[:40]!r}", "samplers")
        if found.count(ours) > 1:
            raise BadRequest(f"samplers: {name!r} stands twice in the chain", "samplers")
    return tuple(filter(None, found))


# ---- logit bias ----


def _logit_bias(given: list[Any] | dict[str, Any] | None, words: Words) -> tuple[tuple[int, float], ...]:
    """[[id or text, number or false], ...] or {"id or text": number or false}; of an id given twice the last counts."""
    pairs = [(_id_or_text(key), value) for key, value in given.items()] if isinstance(given, dict) else given or []
    if len(pairs) > MAX_BIASES:
        raise _bad_bias(f"has {len(pairs)} entries, the limit is {MAX_BIASES}")
    biases: dict[int, float] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise _bad_bias("each entry must be a pair of a token and a bias")
        biases.update(dict.fromkeys(_bias_ids(pair[0], words), _bias(pair[1])))
    if len(biases) > MAX_BIASES:
        raise _bad_bias(f"its texts have {len(biases)} tokens, the limit is {MAX_BIASES}")
    if sum(bias == _FORBIDDEN for bias in biases.values()) == words.n_vocab:
        raise _bad_bias("it forbids every token")
    return tuple(biases.items())


def _id_or_text(key: str) -> int | str:
    return int(key) if re.fullmatch(r"-?[0-9]{1,18}", key) else key


def _bias_ids(token: object, words: Words) -> Iterable[int]:
    if isinstance(token, str):
        return _text_ids(token, "logit_bias", words)
    if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < words.n_vocab:
        raise _bad_bias(f"a token must be a text or an id from 0 to {words.n_vocab - 1}, not {str(token)[:40]}")
    return (token,)


def _bias(value: object) -> float:
    if value is False:
        return _FORBIDDEN
    if not isinstance(value, int | float) or value is True or not -MAX_BIAS <= value <= MAX_BIAS:
        raise _bad_bias(f"a bias must be false or a number from -{MAX_BIAS} to {MAX_BIAS}, not {str(value)[:40]}")
    return float(value)


def _bad_bias(reason: str) -> BadRequest:
    return BadRequest(f"logit_bias: {reason}", "logit_bias")


def _text_ids(text: str, field: str, words: Words) -> list[int]:
    if not 1 <= len(text.encode()) <= MAX_TEXT_BYTES:
        raise BadRequest(f"{field}: a text must have 1 to {MAX_TEXT_BYTES} bytes", field)
    return words.tokenize(text)


# ---- penalty prompt, DRY ----


def _penalty_prompt(given: str | list[Any] | None, words: Words) -> tuple[int, ...] | None:
    if given is None:
        return None
    ids = words.tokenize(given) if isinstance(given, str) else given
    if len(ids) > MAX_PENALTY_PROMPT:
        raise BadRequest(f"penalty_prompt has {len(ids)} tokens, the limit is {MAX_PENALTY_PROMPT}", "penalty_prompt")
    for token in ids:
        if not isinstance(token, int) or isinstance(token, bool) or not 0 <= token < words.n_vocab:
            reason = f"must hold ids from 0 to {words.n_vocab - 1}, not {str(token)[:40]}"
            raise BadRequest(f"penalty_prompt: a list {reason}", "penalty_prompt")
    return tuple(ids)


def _breaker_texts(given: list[str] | None) -> tuple[str, ...]:
    if given is None:
        return SamplingParams().dry_sequence_breakers
    field = "dry_sequence_breakers"
    if not 1 <= len(given) <= MAX_BREAKERS:
        raise BadRequest(f"{field} must hold 1 to {MAX_BREAKERS} texts, not {len(given)}", field)
    for text in given:
        if not 1 <= len(text.encode()) <= MAX_TEXT_BYTES:
            raise BadRequest(f"{field}: a text must have 1 to {MAX_TEXT_BYTES} bytes", field)
    return tuple(given)


def _with_breakers(settings: SamplingParams, words: Words) -> SamplingParams:
    if not settings.dry_multiplier or "dry" not in settings.chain:
        return settings
    return msgspec.structs.replace(settings, breakers=words.breakers(settings.dry_sequence_breakers))
