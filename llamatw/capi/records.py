"""The plain data that crosses the C boundary, as everybody else sees it: no ctypes, no handle that can dangle."""

from __future__ import annotations

import enum
import struct
from array import array
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from llamatw.errors import EngineFailure

if TYPE_CHECKING:
    import numpy as np

    Logits = np.ndarray[Any, np.dtype[np.float32]]


class Code(enum.IntEnum):
    """LT_E_* of llamatw.h."""

    OK = 0
    ARG = -1
    NOMEM = -2
    IO = -3
    FORMAT = -4
    UNSUPPORTED = -5
    KV_FULL = -6
    CAP = -7
    LIMIT = -8


class OutFlag(enum.IntFlag):
    """LT_OUT_* of llamatw.h."""

    TOKEN = 1
    EOG = 2
    FULL = 4
    PARTIAL = 8
    NAN = 16


# The usual chain, first to last.
SAMPLERS = tuple("penalties dry top_n_sigma top_k tfs_z typical_p top_p min_p xtc temperature".split())


class KVFull(EngineFailure):
    """The step ran nothing: there are not enough free KV pages.  Close a sequence and try again."""

    def __init__(self, message: str = "the KV cache has no free page") -> None:
        super().__init__(message, Code.KV_FULL)


class Choices(msgspec.Struct, frozen=True):
    """(token, value) pairs, best first, as they come from the engine: 8 bytes each (lt_choice), since answers may hold
    a hundred of them for each of thousands of tokens."""

    data: bytes = b""

    @classmethod
    def of(cls, pairs: Iterable[tuple[int, float]]) -> Choices:
        return cls(b"".join(_CHOICE.pack(*pair) for pair in pairs))

    def __iter__(self) -> Iterator[tuple[int, float]]:
        return _CHOICE.iter_unpack(self.data)

    def __len__(self) -> int:
        return len(self.data) // _CHOICE.size

    def __getitem__(self, part: slice) -> Choices:
        """A run of them."""
        begin, end, _ = part.indices(len(self))
        return Choices(self.data[begin * _CHOICE.size : end * _CHOICE.size])


_CHOICE = struct.Struct("=if")
_NO_CHOICES = Choices()


class Breakers(msgspec.Struct, frozen=True):
    """Sequences of ids at which DRY's repetitions end: one behind the other, in ascending order of their first ids."""

    ids: array[int] = array("i")
    ends: array[int] = array("i")


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """The sampler chain's settings, already range-checked.  Field meanings: lt_sampling in llamatw.h."""

    seed: int = 0  # 0..2**64-1; the web layer draws one when the client asks for a random seed
    temperature: float = 0.8
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    tfs_z: float = 1.0
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    min_keep: int = 0
    repeat_last_n: int = 64
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    penalize_nl: bool = True
    penalty_prompt: tuple[int, ...] | None = None  # stands for the prompt in the penalties
    n_prompt: int = 0  # with penalty_prompt: ids of the history that are prompt
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = 64
    dry_sequence_breakers: tuple[str, ...] = ("\n", ":", '"', "*")
    breakers: Breakers = Breakers()  # what those texts come to; empty unless DRY is on
    mirostat: int = 0  # 1 or 2: instead of the samplers that leave out candidates
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    adaptive_decay: float = 0.9
    logit_bias: tuple[tuple[int, float], ...] = ()  # (id, what is added to its logit); -inf: not sampled
    ignore_eos: bool = False
    logprobs: bool = True  # Out.logprob is wanted; n_probs and scores have it anyway
    n_probs: int = 0  # alternatives that are told of each token
    post_sampling_probs: bool = False  # Out.chances of a greedy choice: that one alone
    scores: bool = False  # Out.scores, of the history's own tokens
    samplers: tuple[str, ...] = SAMPLERS
    state: tuple[float, float] | None = None  # Out.state of the history's last token, for a sequence that goes on

    @property
    def chain(self) -> tuple[str, ...]:
        """Samplers by the names of LT_SAMPLER_*."""
        if self.mirostat:
            return "penalties", "dry", "temperature", f"mirostat_{self.mirostat}"
        names = tuple(name for name in self.samplers if name != "adaptive_p")
        return (*names, "adaptive_p") if self._is_adaptive else names

    @property
    def is_stateless(self) -> bool:
        """Whether what is sampled for a position depends on the history alone."""
        return not self.mirostat and not self._is_adaptive

    @property
    def _is_adaptive(self) -> bool:
        return self.adaptive_target >= 0 and "adaptive_p" in self.samplers


class Row(msgspec.Struct):
    """One sequence's share of a step: compute `advance` more tokens of its history."""

    seq: int
    advance: int
    logits: Logits | None = None  # float32 [advance, n_vocab], C-contiguous: filled with raw logits
    n_draft: int = 0  # tokens after the history that may be guessed and computed along: see lt_step
    draft: array[int] | None = None  # the n_draft guesses, when they are not to be looked up
    mask: Any = (
        None  # bytes-like, one bit per token: 1 = may be sampled; ceil(n_vocab / 32) words for each of 1 + draft
    )


class Out(msgspec.Struct, frozen=True):
    """What a step gave one row; a row whose guesses are right gets several.  `token` is -1 unless flags has TOKEN;
    `logprob` is under the raw logits, 0 where nobody wants it."""

    seq: int
    flags: int  # OutFlag
    token: int
    logprob: float
    text: str  # whole characters that this token completed
    n_drafted: int = 0  # guesses computed with the row, right or wrong
    state: tuple[float, float] = (0.0, 1.0)  # of the samplers, behind this token: see SamplingParams.state
    prob: float = 0.0  # the token's chance of being drawn, after all samplers
    top: Choices = _NO_CHOICES  # the best under the raw logits, with their log-probabilities; n_probs of them
    chances: Choices = _NO_CHOICES  # the likeliest to be drawn, with their chances; as many, or all that there are
    scores: Choices = _NO_CHOICES  # for each known token after those computed: itself, then its n_probs of `top`


class EngineInfo(msgspec.Struct, frozen=True, kw_only=True):
    """lt_engine_info."""

    n_params: int
    weight_bytes: int
    kv_bytes: int
    scratch_bytes: int
    page_bytes: int  # of one page of the KV cache, all layers
    state_bytes: int = 0  # of a sequence's recurrent layers; with them, no guesses or saved histories
    n_ctx: int
    n_ctx_train: int
    n_vocab: int
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_seqs: int
    n_batch: int
    n_pages: int
    page_tokens: int
    n_threads: int = 1
    n_threads_batch: int = 1
    n_nodes: int = 1
    n_tensors_unused: int = 0
    can_shift: bool = True  # no recurrent layers, and keys can be turned to another position
    arch: str


class EngineStats(msgspec.Struct, frozen=True):
    """lt_engine_stats, in its order."""

    n_steps: int = 0
    tokens_computed: int = 0
    tokens_cached: int = 0
    step_ns: int = 0  # in lt_step
    model_ns: int = 0  # of those, in layers and output head
    pages_free: int = 0
    pages_cached: int = 0
    pages_used: int = 0
    seqs_open: int = 0


class VocabInfo(msgspec.Struct, frozen=True, kw_only=True):
    """lt_vocab_info; ids are -1 when the model has none."""

    n_tokens: int
    bos: int
    eos: int
    eot: int
    unk: int
    pad: int
    add_bos: bool
    add_eos: bool
    add_space_prefix: bool
    kind: str  # "spm", "bpe", "wpm" (WordPiece), "ugm" (unigram) or "rwkv"
    sep: int = -1
    add_sep: bool = False


class TensorInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One row of a GGUF tensor directory."""

    name: str
    shape: tuple[int, ...]  # elements per dimension, fastest first
    type: int  # ggml type number
    type_name: str
    n_bytes: int
    offset: int  # from the start of the data section of its file
    file: int  # index of the split file that holds it


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may be told about the loaded model."""

    path: str
    arch: str
    name: str  # general.name, or the file's name
    n_ctx: int
    n_ctx_train: int
    n_vocab: int
    n_embd: int
    n_params: int
    size_bytes: int  # of the tensors in the file
    is_recurrent: bool = False  # some layers have a state: no guesses or saved slots
    can_shift: bool = True  # not so, and keys can be turned: context shifts, self-extend
    chat_template: str | None
    bos_token: str  # text of the token, "" when the model has none
    eos_token: str
    add_bos: bool
    metadata: dict[str, str | int | float | bool]  # every scalar of the file
