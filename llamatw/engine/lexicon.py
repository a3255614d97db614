"""The vocabulary as constraints need it: text in the middle of text, where a tokenizer puts no space in front."""

from __future__ import annotations

from functools import cached_property

from llamatw.engine.loop import VocabLike

_HEAD = b"\n"  # text in front of text keeps a tokenizer from putting a space there


class Lexicon:
    """Any thread."""

    def __init__(self, vocab: VocabLike) -> None:
        self._vocab = vocab
        self.n_tokens = vocab.info.n_tokens

    def piece(self, token: int) -> bytes:
        """Empty for those that show none."""
        return self.pieces[token]

    def name(self, token: int) -> bytes:
        """Also of a control token."""
        return self._vocab.detokenize([token], special=True)

    def said(self, token: int) -> bytes:
        return self.piece(token) or self.name(token)

    @cached_property
    def ends(self) -> list[int]:
        """Ids that end generation."""
        return self._vocab.ends()

    @cached_property
    def pieces(self) -> list[bytes]:
        return self._vocab.pieces()

    def everything(self, but_ends: bool = False) -> bytes:
        """A mask that allows every token; but_ends: none that ends generation."""
        return self._everything[but_ends]

    def tokenize(self, text: bytes) -> list[int]:
        """Text in the middle of text, for guesses: where head and text have become one token there are none."""
        if not text:
            return []
        if not self._vocab.info.add_space_prefix:
            return self._vocab.tokenize(text)
        head, ids = self._vocab.tokenize(_HEAD), self._vocab.tokenize(_HEAD + text)
        return ids[len(head) :] if ids[: len(head)] == head else []

    def spelled(self, text: bytes, *, parse_special: bool = False) -> list[int]:
        """Tokens with just this text; none where the tokenizer changes it."""
        ids = self._vocab.tokenize(text, parse_special=True) if parse_special else self.tokenize(text)
        return ids if b"".join(map(self.said, ids)) == text else []

    @cached_property
    def _everything(self) -> tuple[bytes, bytes]:
        bits = (1 << self.n_tokens) - 1
        ends = sum(1 << token for token in self.ends)
        n_bytes = (self.n_tokens + 31) // 32 * 4
        return bits.to_bytes(n_bytes, "little"), (bits & ~ends).to_bytes(n_bytes, "little")
