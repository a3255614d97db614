"""A loaded model and its KV pool.  One thread owns an Engine and makes every call; vocab and grammars may be shared."""

from __future__ import annotations

import ctypes
import os
from array import array
from collections.abc import Iterable, Sequence
from typing import Any, Self

from llamatw.capi import _abi
from llamatw.capi._lib import check, check_open, library
from llamatw.capi.gguf import Gguf, path_bytes
from llamatw.capi.grammar import Grammar
from llamatw.capi.overrides import Metadata, look_up, model_overrides, raw_overrides
from llamatw.capi.records import (
    Choices,
    Code,
    EngineInfo,
    EngineStats,
    KVFull,
    ModelInfo,
    Out,
    OutFlag,
    Row,
    SamplingParams,
)
from llamatw.capi.vocab import Vocab, id_array
from llamatw.errors import EngineFailure, ModelError
from llamatw.settings import EngineSettings

__all__ = ["Engine", "EngineInfo", "EngineStats", "KVFull", "ModelInfo", "Out", "OutFlag", "Progress", "Row"]

_DEFAULT_MAX_CTX = 8192
_NOTHING: Metadata = {}
_ROW, _OUT, _RESULT, _STATS = map(_abi.layout, (_abi.Row, _abi.Out, _abi.Result, _abi.Stats))


class Progress:
    """How far a load has come.  C writes it, any thread reads it, cancel() makes the load fail soon."""

    def __init__(self) -> None:
        self.cell = ctypes.c_int32(0)
        self.cancelled = False

    @property
    def value(self) -> float:
        """0..1"""
        return min(max(self.cell.value, 0), 1000) / 1000

    def cancel(self) -> None:
        self.cancelled = True
        self.cell.value = -1


class Engine:
    """An lt_engine.  A failing call raises EngineFailure (KVFull: a step found no pages) and changes nothing."""

    def __init__(self, handle: int, gguf: Gguf, overridden: Metadata = _NOTHING) -> None:
        self._lib = library()
        self._handle: int | None = handle
        self.info = self._describe()
        self.vocab = Vocab(self._lib.lt_engine_vocab(handle), borrowed=True)
        self.model = _model_info(gguf, overridden, self.info, self.vocab)
        self._rows = (_abi.Row * self.info.n_seqs)()
        self._result = _abi.Result()
        self._stats = _abi.Stats()

    @classmethod
    def open(cls, path: str | os.PathLike[str], settings: EngineSettings, progress: Progress | None = None) -> Self:
        """Loads the model at path (settings.model_path is what the user asked for, path where that is)."""
        lib, handle = library(), ctypes.c_void_p()
        with Gguf.open(path) as gguf:
            overridden = model_overrides(settings, gguf)
            options = _options(settings, gguf, overridden, progress)
            check_open(lib.lt_engine_open(ctypes.byref(handle), path_bytes(path), ctypes.byref(options)))
            assert handle.value is not None
            try:
                return cls(handle.value, gguf, overridden)
            except BaseException:
                lib.lt_engine_close(handle)
                raise

    def close(self) -> None:
        """Waits for tokenizers in other threads, then frees everything.  Closing twice is fine."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self.vocab.close()
            self._lib.lt_engine_close(handle)

    def open_grammar(self, text: str, *, words: tuple[str, ...] = (), tokens: tuple[int, ...] = ()) -> Grammar:
        """Compiles GBNF, see Grammar.open.  Any thread."""
        return Grammar.open(self.vocab, text, words=words, tokens=tokens)

    def stats(self) -> EngineStats:
        check(self._lib.lt_engine_read_stats(self._handle, ctypes.byref(self._stats)))
        return EngineStats(*_STATS.unpack_from(self._stats))

    def open_seq(
        self, prompt: Iterable[int], sampling: SamplingParams, scope: int = 0, use_cache: bool = True
    ) -> tuple[int, int]:
        """A new sequence for prompt: its handle, and how many tokens of it came from the prefix cache."""
        tokens = prompt if isinstance(prompt, array) and prompt.typecode == "i" else id_array(prompt, self.info.n_vocab)
        ids = (ctypes.c_int32 * len(tokens)).from_buffer(tokens) if tokens else None
        wishes, held = self._sampling(sampling, use_cache)
        seq, n_cached = ctypes.c_int32(), ctypes.c_int32()
        where = (ctypes.byref(seq), ctypes.byref(n_cached))
        check(self._lib.lt_seq_open(self._handle, ids, len(tokens), scope, ctypes.byref(wishes), *where))
        del held  # the lists' memory had to live until here
        return seq.value, n_cached.value

    def step(self, rows: Sequence[Row]) -> list[Out]:
        """All rows or none; the answers stand in row order, one for each row and one more for each right guess."""
        if len(rows) > len(self._rows):
            raise EngineFailure(f"{len(rows)} rows in a step, the engine has {len(self._rows)} sequences", Code.LIMIT)
        held = [self._fill(place, row) for place, row in enumerate(rows)]
        code = self._lib.lt_step(self._handle, self._rows, len(rows), ctypes.byref(self._result))
        del held  # the masks' memory had to live until here
        check(code)
        outs, texts, n_outs, _ = _RESULT.unpack_from(self._result)
        return [_out(raw, texts) for raw in _OUT.iter_unpack(ctypes.string_at(outs, n_outs * _OUT.size))]

    def adopt(self, seq: int) -> int:
        """Takes what others have computed of its history meanwhile; how much of it is computed then."""
        n_computed = ctypes.c_int32()
        check(self._lib.lt_seq_adopt(self._handle, seq, ctypes.byref(n_computed)))
        return n_computed.value

    def close_seq(self, seq: int, keep: bool = True) -> None:
        """keep: its pages stay as prefix cache."""
        check(self._lib.lt_seq_close(self._handle, seq, int(keep)))

    def seq_room(self, seq: int) -> int:
        """How many tokens one row may advance it at most: to the end of the context or of its self-extend window."""
        n = ctypes.c_int32()
        check(self._lib.lt_seq_room(self._handle, seq, ctypes.byref(n)))
        return n.value

    def shift_seq(self, seq: int, n_keep: int, n_discard: int) -> None:
        """Tokens n_keep .. n_keep + n_discard - 1 leave the history, those after them move down: lt_seq_shift."""
        check(self._lib.lt_seq_shift(self._handle, seq, n_keep, n_discard))

    def advance(self, seq: int) -> bytes:
        """Computes one more token of a history, alone: the raw logits after it, n_vocab float32."""
        logits = (ctypes.c_float * self.info.n_vocab)()
        row = _abi.Row(seq=seq, advance=1, logits=ctypes.addressof(logits))
        check(self._lib.lt_step(self._handle, ctypes.byref(row), 1, ctypes.byref(self._result)))
        return bytes(logits)

    def read_page(self, seq: int, page: int) -> bytearray:
        """info.page_bytes of keys and values: tokens page * info.page_tokens and on, zeros where none is computed."""
        data, need = bytearray(self.info.page_bytes), ctypes.c_size_t()
        out = (ctypes.c_char * len(data)).from_buffer(data)
        check(self._lib.lt_seq_read_page(self._handle, seq, page, out, len(data), ctypes.byref(need)))
        return data

    def write_page(self, seq: int, page: int, data: bytes) -> None:
        """The next page of a history, from read_page of an engine like this one, instead of computing it."""
        check(self._lib.lt_seq_write_page(self._handle, seq, page, data, len(data)))

    def forget(self, ids: array[int], scope: int = 0, n_keep: int = 0) -> None:
        """Takes the end of a history out of the prefix cache: what nobody else uses beyond the first n_keep ids."""
        raw = (ctypes.c_int32 * len(ids)).from_buffer(ids) if ids else None
        check(self._lib.lt_cache_forget(self._handle, raw, len(ids), n_keep, scope))

    def _fill(self, place: int, row: Row) -> object:
        """What must live until the step has run is returned."""
        held, draft, mask, logits = None, 0, 0, 0
        if row.draft is not None:
            if len(row.draft) != row.n_draft:
                raise ValueError(f"{len(row.draft)} guesses are given, n_draft is {row.n_draft}")
            draft = row.draft.buffer_info()[0]
        if row.mask is not None:
            held = self._held_mask(row)
            mask = ctypes.addressof(held)
        if row.logits is not None:
            shape, wanted = row.logits.shape, (row.advance, self.info.n_vocab)
            if shape != wanted or row.logits.dtype != "float32" or not row.logits.flags.c_contiguous:
                raise ValueError(f"logits must be C-contiguous float32 {wanted}, not {row.logits.dtype} {shape}")
            logits = row.logits.ctypes.data
        _ROW.pack_into(self._rows, place * _ROW.size, row.seq, row.advance, row.n_draft, 0, draft, mask, logits)
        return held

    def _held_mask(self, row: Row) -> ctypes.Array[ctypes.c_char]:
        bits = bytes(row.mask)
        wanted = (1 + row.n_draft) * ((self.info.n_vocab + 31) // 32 * 4)
        if len(bits) != wanted:
            raise ValueError(f"the mask has {len(bits)} bytes, {self.info.n_vocab} tokens need {wanted}")
        return ctypes.create_string_buffer(bits, len(bits))

    def _sampling(self, sampling: SamplingParams, use_cache: bool) -> tuple[_abi.Sampling, object]:
        """And what must live as long."""
        raw = _abi.Sampling()
        self._lib.lt_sampling_init(ctypes.byref(raw))
        raw.flags = _abi.SAMPLE_IGNORE_EOS * sampling.ignore_eos | _abi.SAMPLE_NO_CACHE * (not use_cache)
        raw.flags |= _abi.SAMPLE_SPARE_NEWLINE * (not sampling.penalize_nl)
        raw.flags |= _abi.SAMPLE_POST_PROBS * sampling.post_sampling_probs | _abi.SAMPLE_SCORE * sampling.scores
        raw.flags |= _abi.SAMPLE_NO_LOGPROB * (not sampling.logprobs)
        for name in _NUMBERS:
            setattr(raw, name, getattr(sampling, name))
        chain = [_abi.SAMPLERS[name] for name in sampling.chain]
        raw.chain[: len(chain)], raw.n_chain = chain, len(chain)
        if sampling.state is not None:
            raw.flags |= _abi.SAMPLE_RESUME
            raw.state[:] = sampling.state
        return raw, _fill_lists(raw, sampling)

    def _describe(self) -> EngineInfo:
        raw = _abi.Info()
        check(self._lib.lt_engine_describe(self._handle, ctypes.byref(raw)))
        arch = raw.arch.decode("utf-8", "replace")
        return EngineInfo(**{**_fields(raw), "arch": arch, "can_shift": bool(raw.can_shift)})


_NO_CHOICES = Choices()
_NUMBERS = [
    name
    for name, kind, *_ in _abi.Sampling._fields_
    if name in SamplingParams.__struct_fields__ and kind in (ctypes.c_float, ctypes.c_int32, ctypes.c_uint64)
]


def _fill_lists(raw: _abi.Sampling, sampling: SamplingParams) -> object:
    bias = (_abi.Bias * len(sampling.logit_bias))(*[_abi.Bias(*pair) for pair in sampling.logit_bias])
    prompt = array("i", sampling.penalty_prompt or ())
    breakers = sampling.breakers
    raw.bias, raw.n_bias = bias, len(bias)
    raw.breakers, raw.breaker_ends = breakers.ids.buffer_info()[0], breakers.ends.buffer_info()[0]
    raw.n_breakers = len(breakers.ends)
    raw.penalty_prompt, raw.n_penalty_prompt = prompt.buffer_info()[0], len(prompt)
    return bias, prompt, breakers


def _fields(raw: ctypes.Structure) -> dict[str, Any]:
    return {field[0]: getattr(raw, field[0]) for field in raw._fields_ if field[0] != "reserved"}


def _out(raw: tuple[Any, ...], texts: int) -> Out:
    """raw: the fields of an lt_out; texts: where its step's texts are."""
    seq, flags, token, logprob, text_off, text_len, n_drafted, state_0, state_1, prob, *choices = raw
    n_top, n_chances, top, chances, scores, n_scores, _ = choices
    return Out(
        seq,
        flags,
        token,
        logprob,
        ctypes.string_at(texts + text_off, text_len).decode("utf-8", "replace") if text_len else "",
        n_drafted,
        (state_0, state_1),
        prob,
        _choices(top, n_top) if n_top else _NO_CHOICES,
        _choices(chances, n_chances) if n_chances else _NO_CHOICES,
        _choices(scores, n_scores) if n_scores else _NO_CHOICES,
    )


def _choices(where: int, n: int) -> Choices:
    return Choices(ctypes.string_at(where, n * ctypes.sizeof(_abi.Choice)))


def _options(settings: EngineSettings, gguf: Gguf, overridden: Metadata, progress: Progress | None) -> _abi.Opts:
    raw = _abi.Opts()
    library().lt_engine_opts_init(ctypes.byref(raw))
    raw.n_ctx, raw.n_full = _contexts(settings, gguf, overridden)
    raw.overrides, raw.n_overrides = raw_overrides(overridden)
    raw.n_seqs, raw.n_batch = settings.n_seqs, settings.n_batch
    raw.k_type, raw.v_type = _abi.KV_TYPES[settings.k_type], _abi.KV_TYPES[settings.v_type]
    raw.n_threads, raw.n_threads_batch = settings.n_threads, settings.n_threads_batch
    raw.numa = _abi.NUMAS[settings.numa]
    raw.load = _abi.LOADS[settings.load]
    raw.group_n, raw.group_w = settings.group_n, settings.group_w
    raw.cache_bytes = _default_cache_bytes() if settings.cache_mib is None else settings.cache_mib << 20
    raw.flags = _abi.OPEN_MLOCK * settings.mlock
    if progress is not None:
        raw.progress = ctypes.pointer(progress.cell)
    return raw


def _default_cache_bytes() -> int:
    """A sixteenth of the memory that there is for this process, at most 2 GiB."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        with open("/sys/fs/cgroup/memory.max", encoding="ascii") as file:
            memory = min(memory, int(file.read()))
    except (OSError, ValueError):
        pass  # no cgroup, or one without a limit, which says "max"
    return min(memory // 16, 2 << 30)


def _contexts(settings: EngineSettings, gguf: Gguf, overridden: Metadata) -> tuple[int, int]:
    """Tokens of one context, and how many of those there are.  0 tokens let the engine take the model's training
    context; it also has the words for a file that states none."""
    n_ctx = settings.n_ctx
    if n_ctx is None or (n_ctx == 0 and not settings.unified):
        n_train = look_up(gguf, overridden, f"{look_up(gguf, overridden, 'general.architecture')}.context_length")
        n_train = n_train if isinstance(n_train, int) and n_train > 0 else 0
        n_ctx = n_train if n_ctx == 0 else min(n_train, _DEFAULT_MAX_CTX)
    if settings.unified or not n_ctx:
        return n_ctx, 1
    if n_ctx < settings.n_lanes:
        raise ModelError(f"a context of {n_ctx} tokens cannot be divided by {settings.n_lanes} slots")
    return n_ctx // settings.n_lanes, settings.n_lanes


def _model_info(gguf: Gguf, overridden: Metadata, info: EngineInfo, vocab: Vocab) -> ModelInfo:
    metadata = gguf.scalars() | overridden
    template = metadata.get("tokenizer.chat_template")
    return ModelInfo(
        path=gguf.path,
        arch=info.arch,
        name=str(metadata.get("general.name") or os.path.basename(gguf.path)),
        n_ctx=info.n_ctx,
        n_ctx_train=info.n_ctx_train,
        n_vocab=info.n_vocab,
        n_embd=info.n_embd,
        n_params=info.n_params,
        size_bytes=sum(tensor.n_bytes for tensor in gguf.tensors()),
        is_recurrent=info.state_bytes > 0,
        can_shift=info.can_shift,
        chat_template=template if isinstance(template, str) else None,
        bos_token=vocab.token_text(vocab.info.bos),
        eos_token=vocab.token_text(vocab.info.eos),
        add_bos=vocab.info.add_bos,
        metadata=metadata,
    )
