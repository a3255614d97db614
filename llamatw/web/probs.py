"""Token probabilities on the wire: an entry for each token.

    engine                      native entry                          OpenAI entry
    logprob, top (raw logits)   id token bytes logprob top_logprobs   the same
    chances (all samplers)      content probs [prob tok_str]
    prob, chances               prob top_probs: with post_sampling_probs only, in both

Text completions have lists of tokens, log-probabilities and places beside the entries.

An entry's token is the text of its bytes alone: a part of a character shows as U+FFFD there, `bytes` have it exactly.
Control tokens have no text, as in the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from llamatw.engine.sequence import Choices, TokenProbs
from llamatw.web.generation import Placed
from llamatw.web.schema import Order

Json = dict[str, Any]

_N_TEXTS = 1 << 14


class Text(msgspec.Struct, frozen=True):
    """A token as clients see it."""

    token: str
    bytes: list[int]
    old: str  # as the old server showed it: a byte that is no character by itself has a name


class Entries:
    """Makes them, as JSON: an answer may have megabytes of them, which its own encoding then only copies."""

    def __init__(self, detokenize: Callable[[list[int]], bytes]) -> None:
        self._text = lru_cache(_N_TEXTS)(lambda token: _text(detokenize([token])))

    def native(self, entries: Iterable[Placed], order: Order) -> Json:
        """`completion_probabilities` with old and new keys, or nothing where it is not wanted."""
        if not order.shows.probs:
            return {}
        post = order.params.sampling.post_sampling_probs
        shown = [_raw({**self._entry(probs, post), **self._old(probs)}) for _, probs in entries]
        return {"completion_probabilities": shown}

    def openai(self, entries: Iterable[Placed], order: Order) -> Json | None:
        """`logprobs` of a chat's choice; None: not wanted."""
        if not order.shows.probs:
            return None
        post = order.params.sampling.post_sampling_probs
        return {"content": [_raw(self._entry(probs, post)) for _, probs in entries]}

    def text(self, entries: Sequence[Placed], order: Order) -> Json | None:
        """Of a text completion's choice: as lists, too, with places in the text."""
        shown = self.openai(entries, order)
        if shown is None:
            return None
        return {
            **shown,
            "tokens": [self._text(probs.token).token for _, probs in entries],
            "token_logprobs": [probs.logprob for _, probs in entries],
            "top_logprobs": [self._by_text(probs) for _, probs in entries],
            "text_offset": [start for start, _ in entries],
        }

    def _by_text(self, entry: TokenProbs) -> dict[str, float]:
        """The alternatives and the token itself; of tokens with the same text the best."""
        found: dict[str, float] = {}
        for token, value in (*entry.top, (entry.token, entry.logprob)):
            found.setdefault(self._text(token).token, value)
        return found

    def _entry(self, entry: TokenProbs, post_sampling: bool) -> Json:
        shown = {**self._shown(entry.token, "logprob", entry.logprob), "top_logprobs": self._list(entry.top, "logprob")}
        if post_sampling:
            shown |= {"prob": entry.prob, "top_probs": self._list(entry.chances, "prob")}
        return shown

    def _list(self, choices: Choices, name: str) -> list[Json]:
        return [self._shown(token, name, value) for token, value in choices]

    def _shown(self, token: int, name: str, value: float) -> Json:
        text = self._text(token)
        return {"id": token, "token": text.token, "bytes": text.bytes, name: value}

    def _old(self, entry: TokenProbs) -> Json:
        probs = [{"prob": value, "tok_str": self._text(token).old} for token, value in entry.chances]
        return {"content": self._text(entry.token).old, "probs": probs}


def _raw(entry: Json) -> msgspec.Raw:
    return msgspec.Raw(msgspec.json.encode(entry))


def _text(raw: bytes) -> Text:
    text = raw.decode("utf-8", "replace")
    is_part = len(raw) == 1 and raw[0] >= 0x80
    return Text(text, list(raw), f"byte: \\x{raw[0]:02x}" if is_part else text)


def size(entries: Sequence[Placed]) -> int:
    """The work of showing them, in tokens."""
    return sum(4 + len(probs.top) + len(probs.chances) for _, probs in entries)
