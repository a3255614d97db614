"""Who runs next.  Deterministic: no clock (times are told), no thread, no ctypes.

There is no prefill mode and no decode mode: in every sequence n_computed chases n_total, and a plan says how far each
may go in this step.  Decoding rows come first, one token each; what is left of the step's budget goes to prompts.  When
pages run out one sequence is closed and waits again: one that rests before others, then one whose context has not been
shifted, which costs less to get back, and of those the youngest.

        submit             plan: a lane is free            commit: EOS, limit, context, timeout, error
    ----------->  waiting  -------------------->  running  ------------------------------------------->  finished
                     ^                               |
                     '------------- starve ----------'

Lanes go to the owner (API key) that has fewest of them; how prompts are read, reading.py says.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from llamatw.capi.records import Choices, Code, KVFull, Out, OutFlag, Row, SamplingParams
from llamatw.engine.budget import StepBudget
from llamatw.engine.constraint import Guard
from llamatw.engine.guesses import MAX_ROWS
from llamatw.engine.lanes import Lanes
from llamatw.engine.reading import Reading
from llamatw.engine.sequence import Delta, FinishReason, Sequence, Status, TokenProbs
from llamatw.engine.shift import of_generation, to_keep
from llamatw.engine.stats import Counters
from llamatw.engine.turns import solvent
from llamatw.errors import EngineFailure, LlamatwError, Unavailable
from llamatw.settings import MAX_DRAFT

Deltas = list[tuple[int, Delta]]  # with the sequence's id

# Plain numbers: an IntFlag's operators are Python, and each token asks five times.
_TOKEN, _EOG, _FULL, _PARTIAL, _NAN = map(int, OutFlag)
_NO_SCORES = Choices()
_CUT_CHARACTER = "\N{REPLACEMENT CHARACTER}"  # stands for the bytes of a character that was never finished


class Slots(Protocol):
    """Where sequences live: the engine, or a fake in tests."""

    def open_seq(
        self, prompt: Iterable[int], sampling: SamplingParams, scope: int = 0, use_cache: bool = True
    ) -> tuple[int, int]: ...
    def adopt(self, seq: int) -> int: ...
    def shift_seq(self, seq: int, n_keep: int, n_discard: int) -> None: ...
    def close_seq(self, seq: int, keep: bool = True) -> None: ...


class Scheduler:
    """running and waiting are in no order that matters; ids are in order of arrival."""

    def __init__(
        self,
        slots: Slots,
        n_seqs: int,
        n_batch: int,
        step_target_ms: float,
        n_draft: int = MAX_DRAFT,
        n_ctx: int = 0,
        group_w: int = 0,
        continuous: bool = True,
    ) -> None:
        """n_ctx: of a full context, for those that shift.  group_w: of a self-extend window, which a row must not
        cross and whose cells are nobody else's; 0: none.  continuous: sequences join those that run; else they
        wait until all lanes are free, and start together."""
        self.running: list[Sequence] = []
        self.waiting: list[Sequence] = []
        self.lanes = Lanes(n_seqs)
        self.counters = Counters()
        self.budget = StepBudget(n_batch, step_target_ms)
        self.guest: int | None = None  # a sequence that is no request's: the first to go when pages run out
        self._reading = Reading(slots.adopt, self.counters, group_w)
        self._now = 0.0  # as told last
        self._step_s = 0.0  # that the last step took
        self._slots = slots
        self._n_batch = n_batch
        self._n_draft_max = n_draft
        self._n_ctx = n_ctx
        self._continuous = continuous
        self._starved = False  # nobody is admitted until somebody has left, or rests
        self._deltas: Deltas = []

    @property
    def is_idle(self) -> bool:
        return not self.running and not self.waiting

    def submit(self, seq: Sequence, now: float) -> None:
        self.counters.count_submitted()
        seq.arrived, self._now = now, max(now, self._now)
        self.waiting.append(seq)

    def abort(self, id: int, reason: FinishReason = FinishReason.ABORT) -> None:
        """Forgets a sequence, of which nobody wants to hear again; its pages stay as prefix cache."""
        for seq in (*self.running, *self.waiting):
            if seq.id == id:
                self._leave(seq, reason)
                return

    @property
    def is_at_rest(self) -> bool:
        """Everybody who runs rests, and nobody can come."""
        can_admit = bool(self.waiting) and self.lanes.has_free and not self._starved
        return bool(self.running) and all(seq.rests for seq in self.running) and not can_admit

    def rest(self, id: int, rests: bool) -> None:
        """A sequence that rests keeps its lane and pages; but it is the first to make room, so those who had to may
        try again."""
        for seq in (*self.running, *self.waiting):
            if seq.id == id:
                seq.rests = rests
                self._starved = self._starved and not rests
                seq.last_token = max(seq.last_token, self._now)  # the pause is no gap of ours

    def plan(self, now: float) -> list[Row]:
        """The rows of the next step; empty when nobody runs."""
        self._now = now
        self._end_late(now)
        self._admit(now)
        self._shift()
        decoding = solvent([seq for seq in self.running if seq.is_decoding and not seq.rests], self._step_s)
        if len(decoding) > self._n_batch:  # by turns, then
            decoding = (decoding[self.counters.n_steps % len(decoding) :] + decoding)[: self._n_batch]
        reading = self._reading.rows(self.running, self.budget.chunk(len(decoding)))
        rows = self._guarded(self._decoding(decoding, reading) + reading)
        self.counters.n_steps += bool(rows)
        return rows

    def commit(self, rows: list[Row], outs: list[Out], now: float, step_ms: float) -> None:
        """A step ran: takes its results in.  now in seconds, of the clock that plan() is told."""
        self._now, self._step_s = now, step_ms / 1e3
        running = {seq.handle: seq for seq in self.running}
        chunks = [row.advance for row in rows if not running[row.seq].is_decoding]
        n_chunk, n_before = sum(chunks), sum(len(seq.generated) for seq in running.values())
        outs_of: dict[int, list[Out]] = {row.seq: [] for row in rows}
        for out in outs:
            outs_of[out.seq].append(out)
        for row in rows:
            self._advance(running[row.seq], row.advance, outs_of[row.seq], now)
        n_predicted = sum(len(seq.generated) for seq in running.values()) - n_before
        if not any(out.n_drafted for out in outs):  # guesses are there because nobody needs the time
            self.budget.learn(len(rows) - len(chunks), n_chunk, step_ms)
        self.counters.count_step(len(rows), n_chunk, n_predicted, step_ms)

    def starve(self) -> None:
        """The step found no pages and ran nothing: somebody makes room; who is alone can never have more."""
        if self.guest is not None:
            handle, self.guest = self.guest, None
            self._slots.close_seq(handle, keep=False)
            return
        loser = max(self.running, key=lambda seq: (seq.rests, not seq.n_dropped, seq.id))
        if len(self.running) == 1:
            self._finish(loser, FinishReason.CONTEXT)
            return
        guard = loser.guard
        self._release(loser, keep=True)
        loser.status = Status.WAITING
        loser.n_replay += loser.n_held
        if loser.n_dropped or loser.is_full:  # once more from just before its context was full for the first time
            loser.n_dropped, loser.is_full = 0, False
            n_since = len(loser.prompt) + len(loser.generated) - self._n_ctx + 1
            loser.n_replay = max(n_since, loser.n_held)
        loser.n_held = 0
        loser.guard = None if loser.n_replay else guard  # which has followed all of its tokens
        self.waiting.append(loser)
        self._starved = True
        self.counters.n_starved += 1

    def fail(self, rows: Iterable[Row], error: LlamatwError) -> None:
        """The step failed: its sequences end with the reason, the others never notice."""
        handles = {row.seq for row in rows}
        for seq in [seq for seq in self.running if seq.handle in handles]:
            self._finish(seq, FinishReason.ERROR, error)

    def take_deltas(self) -> Deltas:
        """What has happened since the last call, for the reactor."""
        deltas, self._deltas = self._deltas, []
        return deltas

    def check(self) -> None:
        """Asserts the invariants; for tests and idle moments."""
        ids = [seq.id for seq in (*self.running, *self.waiting)]
        assert len(ids) == len(set(ids)), f"twice: {sorted(ids)}"
        assert all(seq.status is Status.RUNNING and seq.handle >= 0 for seq in self.running)
        assert all(seq.status is Status.WAITING and seq.handle == -1 for seq in self.waiting)
        taken = [(lane, seq.id) for lane, seq in enumerate(self.lanes.now) if seq is not None]
        assert sorted((seq.slot, seq.id) for seq in self.running) == taken
        assert len({seq.handle for seq in self.running}) == len(self.running)
        assert all(0 <= seq.n_computed < seq.n_total for seq in self.running)

    def _end_late(self, now: float) -> None:
        """Who waits past its time gets an error, who runs an end."""
        for seq in [seq for seq in self.waiting if seq.is_late(now) and not seq.generated]:
            self._finish(seq, FinishReason.ERROR, Unavailable("the request's time limit passed while it waited"))
        for seq in [seq for seq in (*self.running, *self.waiting) if seq.is_late(now)]:
            self._finish(seq, FinishReason.TIMEOUT)

    def _admit(self, now: float) -> None:
        if self.running and not self._continuous:
            return
        while self.waiting and self.lanes.has_free and not self._starved:
            n_lanes = Counter(seq.params.owner for seq in self.running)
            seq = min(self.waiting, key=lambda seq: (n_lanes[seq.params.owner], seq.id))
            self.waiting.remove(seq)
            try:
                self._open(seq, now)
            except LlamatwError as error:
                self._finish(seq, FinishReason.ERROR, error)

    def _open(self, seq: Sequence, now: float) -> None:
        seq.guard = seq.guard or seq.new_guard()
        sampling, scope, use_cache = seq.sampling(), seq.params.scope, seq.params.cache_prompt
        seq.handle, seq.n_computed = self._slots.open_seq(seq.history(), sampling, scope, use_cache)
        seq.status = Status.RUNNING
        self.lanes.enter(seq)
        self._reading.begin(seq)
        self.running.append(seq)
        if seq.started is None:
            seq.started = now
            self.counters.count_started(seq)
            self._reading.count_cached(seq, seq.n_computed)

    def _shift(self) -> None:
        """Makes room in full contexts.  When there are no pages for that, somebody has to give up some first."""
        while full := [seq for seq in self.running if seq.is_full and not seq.rests]:
            try:
                self._shift_one(full[0])
            except KVFull:
                self.starve()
            except LlamatwError as error:
                self._finish(full[0], FinishReason.ERROR, error)

    def _shift_one(self, seq: Sequence) -> None:
        n_keep = to_keep(seq.params.n_keep, len(seq.prompt), self._n_ctx)
        drop = of_generation(seq.n_computed, n_keep, seq.params.n_discard)
        self._slots.shift_seq(seq.handle, drop.first, drop.n)
        seq.is_full = False
        seq.n_dropped += drop.n
        seq.n_computed -= drop.n

    def _decoding(self, decoding: list[Sequence], reading: list[Row]) -> list[Row]:
        """A row for each, and guesses where there is room.  What a grammar forces is guessed beside prompts, too: it is
        seldom wrong."""
        n_left = self._n_batch - sum(row.advance for row in reading)
        share = (min(MAX_ROWS, n_left) - len(decoding)) // max(len(decoding), 1)
        spares = [share if seq.guard or not reading else 0 for seq in decoding]
        return [
            Row(seq.handle, 1, n_draft=self._n_draft(seq, spare)) for seq, spare in zip(decoding, spares, strict=True)
        ]

    def _guarded(self, rows: list[Row]) -> list[Row]:
        """Rows that sample get their grammar's masks; a sequence whose grammar cannot go on ends."""
        guarded = {seq.handle: seq for seq in self.running if seq.guard}
        return [row for row in rows if row.seq not in guarded or self._guard(guarded[row.seq], row)]

    def _guard(self, seq: Sequence, row: Row) -> bool:
        assert seq.guard is not None
        if row.advance < seq.n_behind:
            return True
        try:
            row.mask, draft = seq.guard.row(row.n_draft)
        except LlamatwError as error:
            self._finish(seq, FinishReason.ERROR, error)
            return False
        row.n_draft, row.draft = len(draft), draft or None
        return True

    def _n_draft(self, seq: Sequence, spare: int) -> int:
        """Guesses for a row: none beyond the last token that may be generated."""
        limit, most = seq.params.max_tokens, min(spare, seq.params.n_draft, self._n_draft_max)
        if limit >= 0:
            most = min(most, limit - len(seq.generated) - 1)
        if most <= 0 or seq.n_replay:
            return 0
        return most if seq.guard else min(seq.guesses.wish(), most)

    def _advance(self, seq: Sequence, advance: int, outs: list[Out], now: float) -> None:
        """outs has one more for each guess that was right."""
        scores = seq.new_scores(outs[0]) if outs[0].scores else None
        seq.n_computed += advance + len(outs) - 1
        if scores:
            self._emit(seq, scores=scores)
        if n_drafted := outs[0].n_drafted:
            seq.guesses.learn(n_drafted, len(outs) - 1)
            self.counters.count_draft(n_drafted, len(outs) - 1)
        for out in outs:
            if seq.status is Status.FINISHED:
                return
            if out.flags & _NAN:
                self._finish(seq, FinishReason.ERROR, _nothing_to_sample(seq))
            elif not out.flags & _TOKEN:
                self._emit(seq)
            else:
                self._time_token(seq, now)
                self._append(seq, out)
                if seq.guard is not None:
                    self._follow(seq, seq.guard, out.token)

    def _follow(self, seq: Sequence, guard: Guard, token: int) -> None:
        """What may follow the token it has just got."""
        try:
            guard.advance(token)
        except LlamatwError as error:
            self._finish(seq, FinishReason.ERROR, error)

    def _time_token(self, seq: Sequence, now: float) -> None:
        if seq.n_replay:  # it has been shown already
            return
        self.counters.count_token(seq, now)
        seq.first_token = now if seq.first_token is None else seq.first_token
        seq.last_token = now

    def _append(self, seq: Sequence, out: Out) -> None:
        if seq.params.max_tokens == 0:  # the prompt is in the cache: that was all
            self._finish(seq, FinishReason.LIMIT)
            return
        seq.has_line = seq.has_line or "\n" in out.text
        if not out.flags & _EOG:
            seq.n_held = seq.n_held + 1 if out.flags & _PARTIAL else 0
        tokens: tuple[int, ...] = ()
        probs: tuple[TokenProbs, ...] = ()
        text = ""
        if seq.n_replay:  # it has been shown already
            seq.n_replay -= 1
        else:
            tokens, text, probs = (out.token,), out.text, _probs(seq, out)
            seq.append(out)
        finish = _finish_reason(seq, out.flags)
        if finish is None:
            self._emit(seq, tokens=tokens, text=text, probs=probs)
        else:
            cut = _CUT_CHARACTER if seq.n_held else ""
            self._finish(seq, finish, tokens=tokens, text=text + cut, probs=probs)

    def _finish(
        self,
        seq: Sequence,
        reason: FinishReason,
        error: Exception | None = None,
        tokens: tuple[int, ...] = (),
        text: str = "",
        probs: tuple[TokenProbs, ...] = (),
    ) -> None:
        self._leave(seq, reason)
        self._emit(seq, tokens=tokens, text=text, probs=probs, finish=reason, error=error)

    def _leave(self, seq: Sequence, reason: FinishReason) -> None:
        if seq.status is Status.RUNNING:
            self._release(seq, keep=reason is not FinishReason.ERROR)
            self.counters.count_request(self._now - (seq.started or self._now))
            self._starved = False
        elif seq in self.waiting:
            self.waiting.remove(seq)
        seq.status = Status.FINISHED
        self.counters.count_finish(seq, reason, self._now)

    def _release(self, seq: Sequence, keep: bool) -> None:
        """Takes it out of the engine, its lane and running."""
        handle, seq.handle, seq.guard = seq.handle, -1, None
        self.running.remove(seq)
        self._reading.leave(seq, self.running)
        self.lanes.leave(seq)
        self._slots.close_seq(handle, keep)

    def _emit(
        self,
        seq: Sequence,
        tokens: tuple[int, ...] = (),
        text: str = "",
        probs: tuple[TokenProbs, ...] = (),
        scores: Choices = _NO_SCORES,
        finish: FinishReason | None = None,
        error: Exception | None = None,
    ) -> None:
        delta = Delta(
            tokens=tokens,
            probs=probs,
            scores=scores,
            text=text,
            finish=finish,
            error=error,
            prompt_done=seq.prompt_done(),
            slot=seq.slot,
            n_dropped=seq.n_dropped,
            timings=seq.timings(self._now),
        )
        self._deltas.append((seq.id, delta))


def _probs(seq: Sequence, out: Out) -> tuple[TokenProbs, ...]:
    if not seq.params.wants_probs:
        return ()
    return (TokenProbs(out.token, out.logprob, out.prob, out.top, out.chances),)


def _finish_reason(seq: Sequence, flags: int) -> FinishReason | None:
    if flags & _EOG:
        return FinishReason.EOS
    if 0 <= seq.params.max_tokens <= len(seq.generated):
        return FinishReason.LIMIT
    if not flags & _FULL:
        return None
    seq.is_full = seq.params.shifts
    return None if seq.is_full else FinishReason.CONTEXT


def _nothing_to_sample(seq: Sequence) -> LlamatwError:
    if seq.guard is None:
        return EngineFailure("the model's output was not finite", Code.FORMAT)
    return seq.guard.failure("none of the tokens that may follow can be sampled: see ignore_eos and logit_bias")
