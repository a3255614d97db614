"""What stands for a Grammar in a FakeEngine: `root ::= "one" | "two"`, texts of bytes and nothing else."""

from __future__ import annotations

import re

from llamatw.errors import BadRequest

_RULE = re.compile(r'root ::= ("[^"\\]*")( \| "[^"\\]*")*')


class FakeGrammar:
    def __init__(
        self, text: str, n_vocab: int, ends: tuple[int, ...], words: tuple[str, ...], tokens: tuple[int, ...]
    ) -> None:
        if not _RULE.fullmatch(text):
            raise BadRequest('grammar: this is not root ::= "text" | "text"', "grammar")
        self.n_vocab = n_vocab
        self.ends = ends
        self.triggers = tuple(word.encode() for word in words)
        self.tokens = tokens
        self.texts = [text.encode() for text in re.findall(r'"([^"]*)"', text)]

    def begin(self) -> FakeGrammarState:
        return FakeGrammarState(self)

    def close(self) -> None: ...


class FakeGrammarState:
    def __init__(self, grammar: FakeGrammar) -> None:
        self._grammar = grammar
        self._said = b""
        self._waits = bool(grammar.triggers or grammar.tokens)

    def fork(self) -> FakeGrammarState:
        copy = FakeGrammarState(self._grammar)
        copy.copy_from(self)
        return copy

    def copy_from(self, other: FakeGrammarState) -> None:
        self._said, self._waits = other._said, other._waits

    def close(self) -> None: ...

    def advance(self, token: int) -> bool:
        if not self._mask() >> token & 1:
            return False
        self._said += bytes([token]) if token < 256 else b""
        word = next((word for word in self._grammar.triggers if self._said.endswith(word)), None)
        if self._waits and (word is not None or token in self._grammar.tokens):
            self._waits, self._said = False, word or b""
        return True

    def mask(self) -> tuple[bytes, int]:
        bits = self._mask()
        return bits.to_bytes((self._grammar.n_vocab + 31) // 32 * 4, "little"), bits.bit_count()

    def forced(self, n_bytes: int = 256) -> bytes:
        left = self._left()
        return left[0][:n_bytes] if len(left) == 1 and not self._waits else b""

    def _left(self) -> list[bytes]:
        return [text[len(self._said) :] for text in self._grammar.texts if text.startswith(self._said)]

    def _mask(self) -> int:
        if self._waits:
            return (1 << self._grammar.n_vocab) - 1
        allowed = {rest[0] for rest in self._left() if rest}
        allowed.update(self._grammar.ends if b"" in self._left() else ())
        return sum(1 << token for token in allowed)
