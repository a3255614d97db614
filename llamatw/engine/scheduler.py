"""Who runs next.  Deterministic: no clock (times are told), no thread, no ctypes.

There is no prefill mode and no decode mode: in every sequence n_computed chases n_total, and a plan says how far each
may go in this step.  Decoding rows come first, one token each; what is left of the step's budget goes to prompts in
order of arrival.  When pages run out the youngest sequence is closed and put in front of the queue: the oldest always
gets on.

        submit             plan: a lane is free            commit: EOS, limit, context, error
    ----------->  waiting  -------------------->  running  ----------------------------------->  finished
                     ^                               |
                     '------------- starve ----------'
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from llamatw.capi.records import Code, Out, OutFlag, Row, SamplingParams
from llamatw.engine.budget import StepBudget
from llamatw.engine.sequence import Delta, FinishReason, Sequence, Status
from llamatw.engine.stats import Counters
from llamatw.errors import EngineFailure, LlamatwError

Deltas = list[tuple[int, Delta]]  # with the sequence's id

_CUT_CHARACTER = "\N{REPLACEMENT CHARACTER}"  # stands for the bytes of a character that was never finished


class Memory(NamedTuple):
    """The ids that a lane has in the prefix cache, unless they were evicted since."""

    scope: int
    ids: array[int]


_NOTHING = Memory(0, array("i"))


class Slots(Protocol):
    """Where sequences live: the engine, or a fake in tests."""

    def open_seq(
        self, prompt: Iterable[int], sampling: SamplingParams, scope: int = 0, use_cache: bool = True
    ) -> tuple[int, int]: ...
    def close_seq(self, seq: int, keep: bool = True) -> None: ...


class Scheduler:
    """Invariant (see check): running and waiting are in order of arrival, and all of running arrived before waiting."""

    def __init__(self, slots: Slots, n_seqs: int, n_batch: int, step_target_ms: float) -> None:
        self.running: list[Sequence] = []
        self.waiting: deque[Sequence] = deque()
        self.lanes: list[Sequence | None] = [None] * n_seqs
        self.counters = Counters()
        self.budget = StepBudget(n_batch, step_target_ms)
        self._memories = [_NOTHING] * n_seqs
        self._slots = slots
        self._n_batch = n_batch
        self._starved = False  # nobody is admitted until somebody has left
        self._deltas: Deltas = []

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting

    def submit(self, seq: Sequence) -> None:
        self.counters.n_requests += 1
        self.waiting.append(seq)

    def abort(self, id: int) -> None:
        """Forgets a sequence, of which nobody wants to hear again; its pages stay as prefix cache."""
        for seq in (*self.running, *self.waiting):
            if seq.id == id:
                self._leave(seq, FinishReason.ABORT)
                return

    def plan(self, now: float) -> list[Row]:
        """The rows of the next step; empty when nobody runs."""
        self._admit(now)
        rows = [Row(seq.handle, 1) for seq in self.running if seq.is_decoding][: self._n_batch]
        left = self.budget.chunk(len(rows))
        for seq in self.running:
            if left > 0 and not seq.is_decoding:
                rows.append(Row(seq.handle, min(seq.n_behind, left)))
                left -= rows[-1].advance
        self.counters.n_steps += bool(rows)
        return rows

    def commit(self, rows: list[Row], outs: list[Out], now: float, step_ms: float) -> None:
        """A step ran: takes its results in.  now in seconds, of the clock that plan() is told."""
        running = {seq.handle: seq for seq in self.running}
        chunks = [row.advance for row in rows if not running[row.seq].is_decoding]
        n_chunk, n_before = sum(chunks), sum(len(seq.generated) for seq in running.values())
        for row, out in zip(rows, outs, strict=True):
            self._advance(running[row.seq], row.advance, out, now)
        n_predicted = sum(len(seq.generated) for seq in running.values()) - n_before
        self.budget.learn(len(rows) - len(chunks), n_chunk, step_ms)
        self.counters.count_step(n_chunk, n_predicted, step_ms)

    def starve(self) -> None:
        """The step found no pages and ran nothing: the youngest makes room; who is alone can never have more."""
        youngest = self.running[-1]
        if len(self.running) == 1:
            self._finish(youngest, FinishReason.CONTEXT)
            return
        self._release(youngest, keep=True)
        youngest.status = Status.WAITING
        youngest.n_replay += youngest.n_held
        youngest.n_held = 0
        self.waiting.appendleft(youngest)
        self._starved = True
        self.counters.n_starved += 1

    def fail(self, rows: Iterable[Row], error: LlamatwError) -> None:
        """The step failed: its sequences end with the reason, the others never notice."""
        handles = {row.seq for row in rows}
        for seq in [seq for seq in self.running if seq.handle in handles]:
            self._finish(seq, FinishReason.ERROR, error)

    def memory(self, lane: int) -> Memory:
        """What the lane computes, or did last."""
        seq = self.lanes[lane]
        return self._memories[lane] if seq is None else _memory_of(seq)

    def remember(self, lane: int, memory: Memory = _NOTHING) -> None:
        """An idle lane's memory becomes this."""
        self._memories[lane] = memory

    def take_deltas(self) -> Deltas:
        """What has happened since the last call, for the reactor."""
        deltas, self._deltas = self._deltas, []
        return deltas

    def check(self) -> None:
        """Asserts the invariants; for tests and idle moments."""
        ids = [seq.id for seq in (*self.running, *self.waiting)]
        assert ids == sorted(set(ids)), f"out of order: {ids}"
        assert all(seq.status is Status.RUNNING and seq.handle >= 0 for seq in self.running)
        assert all(seq.status is Status.WAITING and seq.handle == -1 for seq in self.waiting)
        assert sorted(seq.slot for seq in self.running) == [n for n, seq in enumerate(self.lanes) if seq is not None]
        assert all(seq is self.lanes[seq.slot] for seq in self.running)
        assert len({seq.handle for seq in self.running}) == len(self.running)
        assert all(0 <= seq.n_computed < seq.n_total for seq in self.running)

    def _admit(self, now: float) -> None:
        while self.waiting and None in self.lanes and not self._starved:
            seq = self.waiting.popleft()
            try:
                self._open(seq, now)
            except LlamatwError as error:
                self._finish(seq, FinishReason.ERROR, error)

    def _open(self, seq: Sequence, now: float) -> None:
        sampling, scope, use_cache = seq.params.sampling, seq.params.scope, seq.params.cache_prompt
        seq.handle, seq.n_computed = self._slots.open_seq(seq.history(), sampling, scope, use_cache)
        seq.status = Status.RUNNING
        seq.slot = self._free_lane(seq.slot if seq.slot >= 0 else seq.params.slot)
        self.lanes[seq.slot] = seq
        self.running.append(seq)
        if seq.started is None:
            seq.started, seq.n_cached = now, seq.n_computed
            self.counters.n_cached_tokens += seq.n_cached

    def _free_lane(self, wish: int) -> int:
        return wish if 0 <= wish < len(self.lanes) and self.lanes[wish] is None else self.lanes.index(None)

    def _advance(self, seq: Sequence, advance: int, out: Out, now: float) -> None:
        seq.n_computed += advance
        if out.flags & OutFlag.NAN:
            self._finish(seq, FinishReason.ERROR, EngineFailure("the model's output was not finite", Code.FORMAT))
        elif not out.flags & OutFlag.TOKEN:
            self._emit(seq)
        else:
            seq.first_token = now if seq.first_token is None else seq.first_token
            seq.last_token = now
            self._append(seq, out)

    def _append(self, seq: Sequence, out: Out) -> None:
        if seq.params.max_tokens == 0:  # the prompt is in the cache: that was all
            self._finish(seq, FinishReason.LIMIT)
            return
        if not out.flags & OutFlag.EOG:
            seq.n_held = seq.n_held + 1 if out.flags & OutFlag.PARTIAL else 0
        tokens: tuple[int, ...] = ()
        if seq.n_replay:
            seq.n_replay -= 1
        else:
            tokens = (out.token,)
            seq.generated.append(out.token)
        finish = _finish_reason(seq, out.flags)
        if finish is None:
            self._emit(seq, tokens=tokens, text=out.text)
        else:
            cut = _CUT_CHARACTER if seq.n_held else ""
            self._finish(seq, finish, tokens=tokens, text=out.text + cut)

    def _finish(
        self,
        seq: Sequence,
        reason: FinishReason,
        error: Exception | None = None,
        tokens: tuple[int, ...] = (),
        text: str = "",
    ) -> None:
        self._leave(seq, reason)
        self._emit(seq, tokens=tokens, text=text, finish=reason, error=error)

    def _leave(self, seq: Sequence, reason: FinishReason) -> None:
        if seq.status is Status.RUNNING:
            self._release(seq, keep=reason is not FinishReason.ERROR)
            self._starved = False
        elif seq in self.waiting:
            self.waiting.remove(seq)
        seq.status = Status.FINISHED
        self.counters.finished[reason.value] += 1

    def _release(self, seq: Sequence, keep: bool) -> None:
        """Takes it out of the engine, its lane and running."""
        handle, seq.handle = seq.handle, -1
        self.running.remove(seq)
        self.lanes[seq.slot] = None
        self._memories[seq.slot] = _memory_of(seq)
        self._slots.close_seq(handle, keep)

    def _emit(
        self,
        seq: Sequence,
        tokens: tuple[int, ...] = (),
        text: str = "",
        finish: FinishReason | None = None,
        error: Exception | None = None,
    ) -> None:
        delta = Delta(
            tokens=tokens,
            text=text,
            finish=finish,
            error=error,
            prompt_done=seq.prompt_done(),
            slot=seq.slot,
            timings=seq.timings(),
        )
        self._deltas.append((seq.id, delta))


def _finish_reason(seq: Sequence, flags: OutFlag) -> FinishReason | None:
    if flags & OutFlag.EOG:
        return FinishReason.EOS
    if 0 <= seq.params.max_tokens <= len(seq.generated):
        return FinishReason.LIMIT
    return FinishReason.CONTEXT if flags & OutFlag.FULL else None


def _memory_of(seq: Sequence) -> Memory:
    return Memory(seq.params.scope, seq.history()[: seq.n_computed])
