"""The vocabulary as samplers' settings need it: ids of texts, and of what breaks DRY's repetitions."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Iterator
from functools import cached_property

from llamatw.engine.sequence import Breakers
from llamatw.engine.service import EngineService
from llamatw.errors import BadRequest

MAX_BREAKERS = 16
MAX_TEXT_BYTES = 64  # of a breaker, and of a text in logit_bias
_MAX_BREAKER_IDS = 1 << 16  # LT_MAX_BREAKER_IDS
_MAX_KEPT = 16  # lists of breakers


class Words:
    """Any thread.  What has been worked out for some breakers is kept: it needs a walk through the vocabulary."""

    def __init__(self, engine: EngineService) -> None:
        self._engine = engine
        self._kept: OrderedDict[tuple[str, ...], Breakers] = OrderedDict()

    @property
    def n_vocab(self) -> int:
        return self._engine.info.n_vocab

    def tokenize(self, text: str | bytes) -> list[int]:
        """Text within text: no BOS, no control tokens."""
        return self._engine.tokenize(text, add_special=False, parse_special=False)

    def breakers(self, texts: tuple[str, ...]) -> Breakers:
        """All ways in which one of the texts can stand in a history: within a token, or from a token's end on."""
        kept = self._kept.get(texts)
        if kept is None:
            kept = self._kept[texts] = _packed({ids for text in texts for ids in self._sequences(text.encode())})
            while len(self._kept) > _MAX_KEPT:
                self._kept.popitem(last=False)
        return kept

    def _sequences(self, text: bytes) -> Iterator[tuple[int, ...]]:
        tails = [tuple(self.tokenize(text[n:])) if n < len(text) else () for n in range(len(text) + 1)]
        for token, piece in enumerate(self._pieces):
            for n in _overlaps(piece, text):
                yield (token, *tails[n])

    @cached_property
    def _pieces(self) -> list[bytes]:
        """Of every id; control tokens have none."""
        return [self._engine.detokenize_bytes([token]) for token in range(self.n_vocab)]


def _overlaps(piece: bytes, text: bytes) -> Iterator[int]:
    """How much of text can end a piece; all of it, when it stands anywhere in the piece."""
    if text in piece:
        yield len(text)
    else:
        yield from (n for n in range(1, len(text)) if piece.endswith(text[:n]))


def _packed(sequences: set[tuple[int, ...]]) -> Breakers:
    ids, ends = array("i"), array("i")
    for sequence in sorted(sequences):
        ids.extend(sequence)
        ends.append(len(ids))
    if len(ids) > _MAX_BREAKER_IDS:
        field = "dry_sequence_breakers"
        raise BadRequest(f"{field}: too much of the vocabulary holds one of these texts", field)
    return Breakers(ids, ends)
