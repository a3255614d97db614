"""Text <-> token ids.  A Vocab is immutable; any thread may call any method, also while another closes it."""

from __future__ import annotations

import ctypes
import threading
from array import array
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import accumulate, pairwise

from llamatw.capi import _abi
from llamatw.capi._lib import check, check_open, library
from llamatw.capi.gguf import Gguf
from llamatw.capi.records import Code, VocabInfo
from llamatw.errors import BadRequest, Unavailable

_KINDS = {1: "spm", 2: "bpe", 3: "wpm", 4: "ugm", 5: "rwkv"}


def id_array(ids: Iterable[int], n_vocab: int) -> array[int]:
    """ids as C int32s; BadRequest names the first that is no token of the vocabulary."""
    ids = ids if isinstance(ids, (list, tuple, array)) else list(ids)
    for value in ids:
        if not 0 <= value < n_vocab:
            raise BadRequest(f"token id {value} is out of range: the vocabulary has {n_vocab} tokens", "tokens")
    return array("i", ids)


class Vocab:
    """An lt_vocab: its own, or one borrowed from an engine, which then closes it."""

    def __init__(self, handle: int, *, borrowed: bool = False) -> None:
        self._lib = library()
        self._handle: int | None = handle
        self._borrowed = borrowed
        self._idle = threading.Condition()  # guards _handle and _n_users; notified when nobody is inside a call
        self._n_users = 0
        self.info = self._describe()

    @classmethod
    def open(cls, gguf: Gguf) -> Vocab:
        handle = ctypes.c_void_p()
        check_open(library().lt_vocab_open(ctypes.byref(handle), gguf.handle))
        assert handle.value is not None
        return cls(handle.value)

    def close(self) -> None:
        """Waits for the calls that other threads are in; later calls raise Unavailable."""
        with self._idle:
            handle, self._handle = self._handle, None
            self._idle.wait_for(lambda: self._n_users == 0)
        if not self._borrowed:
            self._lib.lt_vocab_close(handle)

    def __enter__(self) -> Vocab:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def tokenize(self, text: str | bytes, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else bytes(text)
        flags = _abi.TOK_ADD_SPECIAL * add_special | _abi.TOK_PARSE_SPECIAL * parse_special
        need, cap = ctypes.c_size_t(), len(raw) + 8  # seldom more tokens than bytes
        with self.in_use() as handle:
            while True:
                out = (ctypes.c_int32 * cap)()
                code = self._lib.lt_tokenize(handle, raw, len(raw), flags, out, cap, ctypes.byref(need))
                if code != Code.CAP:
                    check(code)
                    return out[: need.value]
                cap = need.value

    def detokenize(self, ids: Iterable[int], *, special: bool = False) -> bytes:
        """Raw bytes: the ids may end, or begin, in the middle of a character."""
        tokens = id_array(ids, self.info.n_tokens)
        source = (ctypes.c_int32 * len(tokens)).from_buffer(tokens) if tokens else None
        flags = _abi.DETOK_SPECIAL * special
        need, cap = ctypes.c_size_t(), 16 * len(tokens) + 16
        with self.in_use() as handle:
            while True:
                out = ctypes.create_string_buffer(cap)
                code = self._lib.lt_detokenize(handle, source, len(tokens), flags, out, cap, ctypes.byref(need))
                if code != Code.CAP:
                    check(code)
                    return out.raw[: need.value]
                cap = need.value

    def ends(self) -> list[int]:
        """Ids that end generation."""
        with self.in_use() as handle:
            return [token for token in range(self.info.n_tokens) if self._lib.lt_token_is_eog(handle, token) == 1]

    def pieces(self) -> list[bytes]:
        """What each token shows in the middle of a text; empty for those that show nothing."""
        need, sizes = ctypes.c_size_t(), (ctypes.c_uint32 * self.info.n_tokens)()
        with self.in_use() as handle:
            self._lib.lt_vocab_pieces(handle, None, 0, sizes, ctypes.byref(need))
            out = ctypes.create_string_buffer(need.value)
            check(self._lib.lt_vocab_pieces(handle, out, need, sizes, ctypes.byref(need)))
        raw, ends = out.raw, list(accumulate(sizes, initial=0))
        return [raw[start:end] for start, end in pairwise(ends)]

    def token_text(self, token: int) -> str:
        """A token as text, control tokens too; "" for -1, which stands for "the model has none"."""
        return "" if token < 0 else self.detokenize([token], special=True).decode("utf-8", "replace")

    @contextmanager
    def in_use(self) -> Iterator[int]:
        """The handle, which close() leaves alone meanwhile.  For this package only."""
        with self._idle:
            if self._handle is None:
                raise Unavailable("the model has been closed")
            handle = self._handle
            self._n_users += 1
        try:
            yield handle
        finally:
            with self._idle:
                self._n_users -= 1
                self._idle.notify_all()

    def _describe(self) -> VocabInfo:
        raw = _abi.Vocab()
        check(self._lib.lt_vocab_describe(self._handle, ctypes.byref(raw)))
        return VocabInfo(
            n_tokens=raw.n_tokens,
            bos=raw.bos,
            eos=raw.eos,
            eot=raw.eot,
            unk=raw.unk,
            pad=raw.pad,
            add_bos=bool(raw.add_bos),
            add_eos=bool(raw.add_eos),
            add_space_prefix=bool(raw.add_space_prefix),
            kind=_KINDS.get(raw.kind, "unknown"),
            sep=raw.sep,
            add_sep=bool(raw.add_sep),
        )
