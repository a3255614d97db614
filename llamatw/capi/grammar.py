"""Grammars: a Grammar is compiled once and shared; a GrammarState is one sequence's place in it.

Any thread may use both, a state one thread at a time.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

from llamatw.capi import _abi
from llamatw.capi._lib import check, failure, library
from llamatw.capi.records import Code
from llamatw.capi.vocab import Vocab
from llamatw.errors import BadRequest

_ABOUT_THE_GRAMMAR = (Code.ARG, Code.FORMAT, Code.LIMIT)


class Grammar:
    """An lt_grammar.  It keeps the vocabulary's memory alive, also when the Vocab is closed."""

    def __init__(self, handle: int, n_vocab: int) -> None:
        self._lib = library()
        self._handle: int | None = handle
        self.n_vocab = n_vocab

    @classmethod
    def open(
        cls,
        vocab: Vocab,
        text: str,
        *,
        root: str = "root",
        words: Sequence[str] = (),
        tokens: Sequence[int] = (),
        after_trigger: bool = False,
    ) -> Grammar:
        """Compiles GBNF.  With words or tokens it waits for one of them.  BadRequest says what is wrong, and where."""
        opts = _options(root, words, tokens, after_trigger)
        raw, handle = text.encode("utf-8", "surrogatepass"), ctypes.c_void_p()
        with vocab.in_use() as vocabulary:
            code = library().lt_grammar_open(ctypes.byref(handle), vocabulary, raw, len(raw), ctypes.byref(opts))
        if code in _ABOUT_THE_GRAMMAR:
            raise BadRequest(failure(code).message, "grammar")
        check(code)
        assert handle.value is not None
        return cls(handle.value, vocab.info.n_tokens)

    def begin(self) -> GrammarState:
        """A state at the beginning."""
        out = ctypes.c_void_p()
        check(self._lib.lt_gstate_open(ctypes.byref(out), self._handle))
        assert out.value is not None
        return GrammarState(out.value, self.n_vocab)

    def close(self) -> None:
        """States that are open stay usable."""
        handle, self._handle = self._handle, None
        self._lib.lt_grammar_close(handle)

    def __enter__(self) -> Grammar:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _options(root: str, words: Sequence[str], tokens: Sequence[int], after_trigger: bool) -> _abi.GrammarOpts:
    if any("\0" in text for text in (root, *words)):
        raise BadRequest("U+0000 cannot be part of a rule's name or a trigger", "grammar")
    if any(not -(2**31) <= token < 2**31 for token in tokens):
        raise BadRequest("a trigger token is out of range", "grammar")
    return _abi.GrammarOpts(
        struct_size=ctypes.sizeof(_abi.GrammarOpts),
        flags=_abi.GRAMMAR_AFTER_TRIGGER * after_trigger,
        root=root.encode("utf-8", "surrogatepass"),
        words=(ctypes.c_char_p * len(words))(*(word.encode("utf-8", "surrogatepass") for word in words)),
        tokens=(ctypes.c_int32 * len(tokens))(*tokens),
        n_words=len(words),
        n_tokens=len(tokens),
    )


class GrammarState:
    """An lt_gstate."""

    def __init__(self, handle: int, n_vocab: int) -> None:
        self._lib = library()
        self._handle: int | None = handle
        self._n_vocab = n_vocab

    def fork(self) -> GrammarState:
        out = ctypes.c_void_p()
        check(self._lib.lt_gstate_fork(ctypes.byref(out), self._handle))
        assert out.value is not None
        return GrammarState(out.value, self._n_vocab)

    def copy_from(self, other: GrammarState) -> None:
        """Becomes what other is; both are of one grammar."""
        check(self._lib.lt_gstate_copy(self._handle, other._handle))

    def close(self) -> None:
        handle, self._handle = self._handle, None
        self._lib.lt_gstate_close(handle)

    def __enter__(self) -> GrammarState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def advance(self, token: int) -> bool:
        """Takes the token: False when the grammar refuses it, and the state is as before."""
        code: int = self._lib.lt_gstate_advance(self._handle, token)
        check(code)
        return code == 1

    def mask(self) -> tuple[bytes, int]:
        """One bit per token, in 32-bit words, as Row.mask takes it, and how many tokens are allowed."""
        n_words = (self._n_vocab + 31) // 32
        words, n_allowed = (ctypes.c_uint32 * n_words)(), ctypes.c_int32()
        check(self._lib.lt_gstate_mask(self._handle, words, n_words, ctypes.byref(n_allowed)))
        return bytes(words), n_allowed.value

    def forced(self, n_bytes: int = 256) -> bytes:
        """At most n_bytes bytes that must follow."""
        out, n = ctypes.create_string_buffer(n_bytes), ctypes.c_size_t()
        check(self._lib.lt_gstate_forced(self._handle, out, n_bytes, ctypes.byref(n)))
        return out.raw[: n.value]

    @property
    def is_complete(self) -> bool:
        """Whether the text may end here."""
        return bool(self._flags() & _abi.GSTATE_COMPLETE)

    @property
    def is_waiting(self) -> bool:
        """Whether no trigger has come yet."""
        return bool(self._flags() & _abi.GSTATE_WAITING)

    def _flags(self) -> int:
        flags: int = self._lib.lt_gstate_flags(self._handle)
        check(flags)
        return flags
