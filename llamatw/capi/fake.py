"""A scripted engine with an Engine's methods, for tests of everything above: no library, no model, no time.

Its vocabulary is the 256 bytes and four control tokens.  What it says depends on the history and the seed alone, so a
sequence that is closed and reopened goes on as if nothing had happened.  Pages are counted as in the real pool, though
nobody shares them; faults are injected by the test.
"""

from __future__ import annotations

import codecs
import hashlib
import time
from array import array
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Sequence

import msgspec

from llamatw.capi.engine import Progress
from llamatw.capi.fake_grammar import FakeGrammar
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
    VocabInfo,
)
from llamatw.capi.vocab import id_array
from llamatw.errors import EngineFailure
from llamatw.settings import EngineSettings

BOS, EOS, IM_START, IM_END = 256, 257, 258, 259
N_VOCAB = 260
PAGE = 64
CONTROL = {BOS: "<s>", EOS: "</s>", IM_START: "<|im_start|>", IM_END: "<|im_end|>"}
CHAT_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

Reply = Callable[["array[int]", int], int]  # (history, seed) -> next token


def babble(history: array[int], seed: int) -> int:
    """Small letters and spaces, then, after a few dozen, the end.  Every token of the history has its say."""
    digest = hashlib.blake2b(history.tobytes(), key=seed.to_bytes(8, "little"), digest_size=2).digest()
    return EOS if digest[0] < 6 else b"abcdefghijklmnopqrstuvwxyz      "[digest[1] % 32]


class FakeVocab:
    """Bytes are tokens; Vocab's methods."""

    info = VocabInfo(
        n_tokens=N_VOCAB,
        bos=BOS,
        eos=EOS,
        eot=IM_END,
        unk=-1,
        pad=-1,
        add_bos=True,
        add_eos=False,
        add_space_prefix=False,
        kind="bpe",
    )

    def tokenize(self, text: str | bytes, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        raw = text.encode("utf-8", "replace") if isinstance(text, str) else text
        ids = [BOS] if add_special else []
        while raw:
            token = next((t for t, name in CONTROL.items() if parse_special and raw.startswith(name.encode())), raw[0])
            ids.append(token)
            raw = raw[len(CONTROL.get(token, " ")) :]
        return ids

    def detokenize(self, ids: Iterable[int], *, special: bool = False) -> bytes:
        return b"".join(
            bytes([token]) if token < 256 else CONTROL[token].encode() * special for token in id_array(ids, N_VOCAB)
        )

    def is_eog(self, token: int) -> bool:
        return token in (EOS, IM_END)

    def ends(self) -> list[int]:
        return [EOS, IM_END]

    def pieces(self) -> list[bytes]:
        return [self.detokenize([token]) for token in range(N_VOCAB)]

    def token_text(self, token: int) -> str:
        return "" if token < 0 else self.detokenize([token], special=True).decode("utf-8", "replace")


class _Open(msgspec.Struct, eq=False):
    """An open sequence."""

    history: array[int]
    n_prompt: int
    n_computed: int
    scope: int
    use_cache: bool
    sampling: SamplingParams
    n_unaltered: int | None = None  # tokens at its head that no shift and no window has changed; None: all
    decoder: codecs.IncrementalDecoder = msgspec.field(
        default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace")
    )


class FakeEngine:
    """Set `say` (what every sequence answers, as text) or `reply` (a function of history and seed)."""

    def __init__(self, settings: EngineSettings | None = None, say: str | None = None, reply: Reply = babble) -> None:
        settings = settings or EngineSettings(model_path="fake.gguf", n_ctx=1024)
        self.say = say
        self.reply = reply
        self.faults: deque[Exception | None] = deque()  # one for each coming step: raised instead, unless None
        self.is_nan: Callable[[array[int]], bool] = lambda history: False
        self.step_s = 0.0  # how long a step takes
        self.steps: list[list[tuple[int, int]]] = []  # (seq, advance) of every step that ran
        self.closed = False
        self.vocab = FakeVocab()
        self.info = _info(settings)
        self.model = _model(self.info, settings.model_path)
        self._group = settings.group_n, settings.group_w
        self._open: dict[int, _Open] = {}
        self._kept: OrderedDict[tuple[int, bytes], array[int]] = OrderedDict()  # prefix cache, oldest first
        self._prompt_ends: dict[bytes, int] = {}  # history at close -> where its prompt ended
        self._n_cached = 0

    @classmethod
    def opener(cls, engine: FakeEngine) -> Callable[[EngineSettings, Progress], FakeEngine]:
        """What EngineService takes: hands out this engine."""
        return lambda settings, progress: engine

    def close(self) -> None:
        self.closed = True

    def stats(self) -> EngineStats:
        used = sum(_pages(seq.n_computed) for seq in self._open.values())
        cached = sum(_pages(len(history)) for history in self._kept.values())
        return EngineStats(
            n_steps=len(self.steps),
            tokens_computed=sum(advance for rows in self.steps for _, advance in rows),
            tokens_cached=self._n_cached,
            pages_free=self.info.n_pages - used - cached,
            pages_cached=cached,
            pages_used=used,
            seqs_open=len(self._open),
        )

    def open_seq(
        self, prompt: Iterable[int], sampling: SamplingParams, scope: int = 0, use_cache: bool = True
    ) -> tuple[int, int]:
        history = id_array(prompt, N_VOCAB)
        if not 1 <= len(history) <= self.info.n_ctx:
            raise EngineFailure(f"a prompt of {len(history)} tokens, the limit is {self.info.n_ctx}", Code.LIMIT)
        if len(self._open) == self.info.n_seqs:
            raise EngineFailure(f"all {self.info.n_seqs} sequences are open", Code.LIMIT)
        n_cached = self._longest_prefix(history, scope) if use_cache else 0
        n_prompt = self._prompt_ends.pop(history.tobytes(), len(history))
        handle = min(set(range(self.info.n_seqs)) - self._open.keys())
        self._open[handle] = _Open(history, n_prompt, n_cached, scope, use_cache, sampling)
        self._n_cached += n_cached
        return handle, n_cached

    def open_grammar(self, text: str, *, words: tuple[str, ...] = (), tokens: tuple[int, ...] = ()) -> FakeGrammar:
        return FakeGrammar(text, N_VOCAB, ends=(EOS, IM_END), words=words, tokens=tokens)

    def step(self, rows: Sequence[Row]) -> list[Out]:
        time.sleep(self.step_s)
        fault = self.faults.popleft() if self.faults else None
        if fault is not None:
            raise fault
        self._check(rows)
        self._reserve(rows)
        self.steps.append([(row.seq, row.advance) for row in rows])
        return [out for row in rows for out in self._run(row)]

    def adopt(self, seq: int) -> int:
        mine = self._open[seq]
        if not mine.use_cache:
            raise EngineFailure(f"sequence {seq} must not take anything from the cache", Code.ARG)
        if mine.n_unaltered is not None:
            return mine.n_computed
        n_computed = max(self._longest_prefix(mine.history, mine.scope), mine.n_computed)
        self._n_cached += n_computed - mine.n_computed
        mine.n_computed = n_computed
        return n_computed

    def close_seq(self, seq: int, keep: bool = True) -> None:
        self._opened(seq)
        gone = self._open.pop(seq)
        for cut in range(4):  # it may be reopened without the tokens of an unfinished character
            end = len(gone.history) - cut
            if end > gone.n_prompt:
                self._prompt_ends[gone.history[:end].tobytes()] = gone.n_prompt
        history = _unaltered(gone)
        if keep and history:
            self._kept[gone.scope, history.tobytes()] = history
            self._evict(0)

    def seq_room(self, seq: int) -> int:
        if seq not in self._open:
            raise EngineFailure(f"sequence {seq} is not open", Code.ARG)
        (group_n, group_w), n_computed = self._group, self._open[seq].n_computed
        in_context = self.info.n_ctx - n_computed
        return in_context if group_n == 1 else min(in_context, group_w - n_computed % group_w)

    def shift_seq(self, seq: int, n_keep: int, n_discard: int) -> None:
        shifted = self._open.get(seq)
        if shifted is None or n_keep < 0 or n_discard < 1 or n_keep + n_discard > shifted.n_computed:
            raise EngineFailure(f"bad shift: sequence {seq}, n_keep {n_keep}, n_discard {n_discard}", Code.ARG)
        if self._group[0] > 1:
            raise EngineFailure("with self-extend a context is not shifted", Code.UNSUPPORTED)
        before = shifted.n_computed if shifted.n_unaltered is None else shifted.n_unaltered
        shifted.n_unaltered = min(n_keep, before)
        del shifted.history[n_keep : n_keep + n_discard]
        shifted.n_computed -= n_discard
        shifted.n_prompt -= n_discard  # what it has said stays said

    def advance(self, seq: int) -> bytes:
        self.step([Row(seq, 1)])
        history = self._open[seq].history[: self._open[seq].n_computed]
        return hashlib.blake2b(self.info.arch.encode() + history.tobytes()).digest()

    def read_page(self, seq: int, page: int) -> bytearray:
        """The ids themselves, and -1 where no token is."""
        opened = self._opened(seq)
        ids = opened.history[: opened.n_computed][page * PAGE :][:PAGE] if page >= 0 else array("i")
        if not ids:
            raise EngineFailure(f"page {page} of sequence {seq} has no computed token", Code.ARG)
        return bytearray((ids + array("i", [-1] * (PAGE - len(ids)))).tobytes())

    def write_page(self, seq: int, page: int, data: bytes) -> None:
        opened = self._opened(seq)
        if page != opened.n_computed // PAGE or opened.n_computed == len(opened.history):
            raise EngineFailure(f"page {page} of sequence {seq} is not its next", Code.ARG)
        ids = opened.history[page * PAGE :][:PAGE]
        if data != (ids + array("i", [-1] * (PAGE - len(ids)))).tobytes():
            raise EngineFailure("a page of another history", Code.FORMAT)
        end = page * PAGE + len(ids)
        self._reserve([Row(seq, end - opened.n_computed)])
        opened.n_computed = end

    def forget(self, ids: array[int], scope: int = 0, n_keep: int = 0) -> None:
        """Pages are not shared here: the history is forgotten as far as n_keep, and longer runs of it."""
        if not 1 <= len(ids) <= self.info.n_ctx + 1 or n_keep < 0:
            raise EngineFailure(f"{len(ids)} ids, {n_keep} to be kept", Code.ARG)
        for (where, key), history in list(self._kept.items()):
            if where == scope and _common(history, ids) > n_keep:
                del self._kept[where, key]
                if history[:n_keep]:
                    self._kept[scope, history[:n_keep].tobytes()] = history[:n_keep]

    def _opened(self, seq: int) -> _Open:
        if seq not in self._open:
            raise EngineFailure(f"sequence {seq} is not open", Code.ARG)
        return self._open[seq]

    def _check(self, rows: Sequence[Row]) -> None:
        for row in rows:
            seq = self._open.get(row.seq)
            if seq is None or not 1 <= row.advance <= len(seq.history) - seq.n_computed:
                raise EngineFailure(f"bad row: sequence {row.seq}, advance {row.advance}", Code.ARG)
            if row.advance > self.seq_room(row.seq):
                raise EngineFailure(f"sequence {row.seq}: {row.advance} tokens are beyond its room", Code.LIMIT)
            may_guess = seq.sampling.is_stateless and (row.mask is None or row.draft is not None)
            if row.n_draft and (not may_guess or seq.n_computed + row.advance < len(seq.history)):
                raise EngineFailure(f"bad row: sequence {row.seq}, n_draft {row.n_draft}", Code.ARG)
        n_tokens = sum(row.advance + row.n_draft for row in rows)
        if len({row.seq for row in rows}) != len(rows) or n_tokens > self.info.n_batch:
            raise EngineFailure(f"a step of {n_tokens} tokens, the limit is {self.info.n_batch}", Code.LIMIT)

    def _reserve(self, rows: Sequence[Row]) -> None:
        advances = {row.seq: row.advance for row in rows}
        need = sum(_pages(seq.n_computed + advances.get(handle, 0)) for handle, seq in self._open.items())
        if need > self.info.n_pages:
            raise KVFull(f"the step needs {need} pages, the pool has {self.info.n_pages}")
        self._evict(need)

    def _evict(self, n_used: int) -> None:
        n_used = max(n_used, sum(_pages(seq.n_computed) for seq in self._open.values()))
        while n_used + sum(_pages(len(history)) for history in self._kept.values()) > self.info.n_pages:
            self._kept.popitem(last=False)

    def _run(self, row: Row) -> list[Out]:
        """Guesses that are not given are what it will say, but for the last, which is wrong."""
        seq = self._open[row.seq]
        n_guesses = min(row.n_draft, self.seq_room(row.seq) - row.advance + 1)
        if self._group[0] > 1 and seq.n_computed == self._group[1]:
            seq.n_unaltered = 0
        scores = _scores(seq, row.advance)
        seq.n_computed += row.advance
        if self.is_nan(seq.history):
            return [Out(row.seq, OutFlag.NAN, -1, 0.0, "")]
        if seq.n_computed < len(seq.history):
            return [Out(row.seq, OutFlag(0), -1, 0.0, "", scores=scores)]
        outs = [msgspec.structs.replace(self._say(row, seq, 0), scores=scores)]
        while len(outs) < n_guesses + (row.draft is not None) and self._goes_on(row, outs):
            seq.n_computed += 1
            outs.append(self._say(row, seq, len(outs)))
        return outs

    @staticmethod
    def _goes_on(row: Row, outs: list[Out]) -> bool:
        """The last guess was right, and something can follow."""
        is_right = row.draft is None or row.draft[len(outs) - 1] == outs[-1].token
        return is_right and not outs[-1].flags & (OutFlag.EOG | OutFlag.FULL | OutFlag.NAN)

    def _say(self, row: Row, seq: _Open, n: int) -> Out:
        """The row's n-th answer."""
        token = self._next(seq) if row.mask is None else _allowed(self._next(seq), row.mask, n)
        if token < 0:
            return Out(row.seq, OutFlag.NAN, -1, 0.0, "")
        seq.history.append(token)
        is_eog = self.vocab.is_eog(token)
        text = "" if token >= 256 else seq.decoder.decode(bytes([token]))
        flags = OutFlag.TOKEN | OutFlag.EOG * is_eog | OutFlag.FULL * (len(seq.history) >= self.info.n_ctx)
        flags |= OutFlag.PARTIAL * bool(seq.decoder.getstate()[0])
        top, chances = _choices(token, seq.sampling)
        prob = 1.0 if seq.sampling.temperature <= 0 else 0.5
        return Out(row.seq, OutFlag(flags), token, -0.5, text, row.n_draft, prob=prob, top=top, chances=chances)

    def _next(self, seq: _Open) -> int:
        if self.say is None:
            token = self.reply(seq.history, seq.sampling.seed)
        else:
            said, n_said = self.say.encode(), len(seq.history) - seq.n_prompt
            token = said[n_said] if n_said < len(said) else EOS
        return ord(".") if seq.sampling.ignore_eos and self.vocab.is_eog(token) else token

    def _longest_prefix(self, history: array[int], scope: int) -> int:
        known = [kept for (where, _), kept in self._kept.items() if where == scope]
        known += [_unaltered(seq) for seq in self._open.values() if seq.scope == scope]
        return min(max((_common(history, other) for other in known), default=0), len(history) - 1)


def _choices(token: int, sampling: SamplingParams) -> tuple[Choices, Choices]:
    """The ids after the token, each half as likely as the one before."""
    ids = [(token + i) % N_VOCAB for i in range(sampling.n_probs)]
    top = Choices.of((id, -0.5 - i) for i, id in enumerate(ids))
    is_single = bool(ids) and sampling.post_sampling_probs and sampling.temperature <= 0
    chances = [(token, 1.0)] if is_single else [(id, 0.5 ** (i + 1)) for i, id in enumerate(ids)]
    return top, Choices.of(chances)


def _scores(seq: _Open, advance: int) -> Choices:
    """A token is the less likely the further behind it stands, its two successors come right after it."""
    if not seq.sampling.scores:
        return Choices()
    pairs: list[tuple[int, float]] = []
    for place in range(seq.n_computed + 1, min(seq.n_computed + advance + 1, len(seq.history))):
        pairs += [(seq.history[place], -0.25 * place), *_choices(seq.history[place], seq.sampling)[0]]
    return Choices.of(pairs)


def _allowed(token: int, masks: bytes, n: int) -> int:
    """The token, or the first one after it, coming round, that the n-th mask allows; -1: none."""
    n_bytes = (N_VOCAB + 31) // 32 * 4
    bits = int.from_bytes(masks[n * n_bytes : (n + 1) * n_bytes], "little")
    order = (*range(token, N_VOCAB), *range(token))
    return next((other for other in order if bits >> other & 1), -1)


def _unaltered(seq: _Open) -> array[int]:
    """What another sequence may take of it: whole pages only once something has changed."""
    if seq.n_unaltered is None:
        return seq.history[: seq.n_computed]
    return seq.history[: seq.n_unaltered // PAGE * PAGE]


def _common(a: array[int], b: array[int]) -> int:
    length = min(len(a), len(b))
    return next((n for n in range(length) if a[n] != b[n]), length)


def _pages(n_tokens: int) -> int:
    return -(-n_tokens // PAGE)


def _info(settings: EngineSettings) -> EngineInfo:
    n_pages = _pages(settings.n_ctx or 1024)
    return EngineInfo(
        n_params=1000,
        weight_bytes=4000,
        kv_bytes=0,
        scratch_bytes=0,
        page_bytes=4 * PAGE,
        n_ctx=n_pages * PAGE,
        n_ctx_train=8192,
        n_vocab=N_VOCAB,
        n_embd=8,
        n_layer=1,
        n_head=1,
        n_head_kv=1,
        n_seqs=settings.n_seqs,
        n_batch=settings.n_batch,
        n_pages=n_pages,
        page_tokens=PAGE,
        arch="fake",
    )


def _model(info: EngineInfo, path: str) -> ModelInfo:
    return ModelInfo(
        path=path,
        arch=info.arch,
        name="fake",
        n_ctx=info.n_ctx,
        n_ctx_train=info.n_ctx_train,
        n_vocab=info.n_vocab,
        n_embd=info.n_embd,
        n_params=info.n_params,
        size_bytes=info.weight_bytes,
        chat_template=CHAT_TEMPLATE,
        bos_token=CONTROL[BOS],
        eos_token=CONTROL[EOS],
        add_bos=True,
        metadata={"general.architecture": info.arch, "general.name": "fake"},
    )
