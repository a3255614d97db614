"""Token probabilities on the wire: an entry for each token.

    engine                      native entry                          OpenAI entry
    logprob, top (raw logits)   id token bytes logprob top_logprobs   the same
    chances (all samplers)      content probs [prob tok_str]
    prob, chances               prob top_probs: with post_sampling_probs only, in both

Text completions have lists of tokens, log-probabilities and places beside the entries, and such lists of an echoed
prompt in front of them.

An entry's token is the text of its bytes alone: a part of a character shows as U+FFFD there, `bytes` have it exactly.
Control tokens have no text, as in the answer; but in the lists of a prompt, which may hold them, they have.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Protocol

import msgspec

from llamatw.engine.sequence import Choices, TokenProbs
from llamatw.web.generation import Generation, Placed
from llamatw.web.schema import Order

Json = dict[str, Any]

_N_TEXTS = 1 << 14


class Text(msgspec.Struct, frozen=True):
    """A token as clients see it."""

    token: str
    bytes: list[int]
    old: str  # as the old server showed it: a byte that is no character by itself has a name


class Detokenize(Protocol):
    def __call__(self, ids: list[int], *, special: bool = False) -> bytes: ...


class Prompt(msgspec.Struct, frozen=True):
    """One that its answer begins with."""

    text: str
    ids: list[int]
    n_hidden: int  # of ids: those in front are the system prompt's


class Entries:
    """Makes them, as JSON: an answer may have megabytes of them, which its own encoding then only copies."""

    def __init__(self, detokenize: Detokenize) -> None:
        @lru_cache(_N_TEXTS)
        def text(token: int, special: bool = False) -> Text:
            twice = detokenize([token, token], special=special)  # of which the first may have lost a space
            return _text(twice[len(twice) // 2 :])

        self._text = text

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

    def text(self, entries: Sequence[Placed], order: Order, begin: int = 0) -> Json | None:
        """Of a text completion's choice: as lists, too, with places in the text.  begin: of what is generated."""
        shown = self.openai(entries, order)
        if shown is None:
            return None
        return {
            **shown,
            "tokens": [self._text(probs.token).token for _, probs in entries],
            "token_logprobs": [probs.logprob for _, probs in entries],
            "top_logprobs": [_raw(self._by_text([*probs.top, (probs.token, probs.logprob)])) for _, probs in entries],
            "text_offset": [begin + start for start, _ in entries],
        }

    def prompt(self, prompt: Prompt, scores: Iterable[Choices], n_probs: int) -> Json:
        """The same lists of a prompt, as far as it has been read.  Nothing stands before its first token, so that has
        null.  `content` has none of these tokens."""
        logprobs: list[float | None] = [None]
        tops: list[msgspec.Raw | None] = [None]
        for token, top in _scored(scores, 1 + n_probs):
            logprobs.append(token[1])
            tops.append(_raw(self._by_text([*top, token], special=True)))
        told = slice(prompt.n_hidden, min(len(logprobs), len(prompt.ids)))
        n_told = len(logprobs[told])
        texts = [self._text(token, special=True) for token in prompt.ids[prompt.n_hidden :]]
        return {
            "content": [],
            "tokens": [text.token for text in texts[:n_told]],
            "token_logprobs": logprobs[told],
            "top_logprobs": tops[told],
            "text_offset": _offsets(texts, prompt.text)[:n_told],
        }

    def _by_text(self, values: Iterable[tuple[int, float]], special: bool = False) -> dict[str, float]:
        """The alternatives and the token itself; of tokens with the same text the first, which is the best."""
        found: dict[str, float] = {}
        for token, value in values:
            found.setdefault(self._text(token, special).token, value)
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


def _scored(scores: Iterable[Choices], size: int) -> Iterator[tuple[tuple[int, float], list[tuple[int, float]]]]:
    """A prompt's tokens, each with its alternatives."""
    for part in scores:
        for begin in range(0, len(part), size):
            token, *top = part[begin : begin + size]
            yield token, [choice for choice in top if choice[0] >= 0]


def _offsets(pieces: Iterable[Text], text: str) -> list[int]:
    """Where in the text each piece begins.  What they have and the text has not, such as BOS, stands in front of it."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    ends = [0]
    for piece in pieces:
        ends.append(ends[-1] + len(decoder.decode(bytes(piece.bytes))))
    n_more = max(ends[-1] + len(decoder.decode(b"", final=True)) - len(text), 0)
    return [max(end - n_more, 0) for end in ends[:-1]]


def size(generation: Generation) -> int:
    """The work of showing its entries and its prompt's, in tokens."""
    n_scores = sum(map(len, generation.scores))
    return n_scores + sum(4 + len(probs.top) + len(probs.chances) for _, probs in generation.probs)
