"""Counters that only grow, histograms, rates over the last moments, and the snapshot that other threads read."""

from __future__ import annotations

import msgspec

from llamatw.capi.records import EngineStats
from llamatw.engine.histogram import SECONDS, TOKENS, Distribution, Histogram
from llamatw.engine.sequence import FinishReason, GenerationParams, Sequence
from llamatw.settings import MAX_DRAFT

_REQUEST_MEMORY = 0.9  # of the mean at each new request
_RATE_MEMORY = 0.95  # of a rate's sums, at each step that adds to them
_GIVEN_UP = (FinishReason.ABORT, FinishReason.ERROR)


class Rate:
    """Tokens per second of the steps that computed such tokens, recent steps counting more."""

    def __init__(self) -> None:
        self._tokens = 0.0
        self._ms = 0.0

    def add(self, n_tokens: int, ms: float) -> None:
        if n_tokens:
            self._tokens = _RATE_MEMORY * self._tokens + n_tokens
            self._ms = _RATE_MEMORY * self._ms + ms

    @property
    def per_second(self) -> float:
        return 1e3 * self._tokens / self._ms if self._ms else 0.0


class SlotState(msgspec.Struct, frozen=True, kw_only=True):
    """One lane, as /slots shows it: what it does, or did last.  One that was never used has zeros and no params."""

    id: int
    is_processing: bool = False
    task: int = -1  # the sequence's id
    n_prompt: int = 0
    n_cached: int = 0
    n_computed: int = 0
    n_decoded: int = 0
    has_line: bool = False  # some of its text ends a line
    params: GenerationParams | None = None


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The engine after its last step.  Immutable: the loop makes a new one, whoever wants looks at it."""

    slots: tuple[SlotState, ...] = ()
    n_waiting: int = 0
    n_steps: int = 0  # steps that the loop has tried: stands still only when idle or stuck
    n_starved: int = 0  # sequences closed and requeued because pages ran out
    n_requests: int = 0
    n_prompt_tokens: int = 0  # computed
    n_cached_tokens: int = 0
    n_predicted_tokens: int = 0
    prompt_ms: float = 0.0  # of steps that carried prompt tokens
    predicted_ms: float = 0.0  # of steps that only decoded
    finished: dict[str, int] = {}  # by FinishReason value
    prompt_per_second: float = 0.0
    predicted_per_second: float = 0.0
    step_ms: float = 0.0  # of the last step
    request_s: float = 1.0  # that requests have held a lane for, of late
    n_rows: int = 0  # sequences in a step, summed over all steps that ran
    n_tokens_max: int = 0  # tokens of the longest sequence so far, prompt included
    cancelled: dict[str, int] = {}  # aborted sequences by phase: queue, prefill, decode
    n_drafts: int = 0  # rows that carried guesses
    n_drafted: int = 0  # guesses
    n_right: tuple[int, ...] = ()  # right guesses, by place in their row
    queue_s: Distribution = Distribution()  # arrival to the first step's plan
    first_token_s: Distribution = Distribution()  # arrival to the first token
    gap_s: Distribution = Distribution()  # a token to the next one of its sequence; 0 within a step
    step_s: Distribution = Distribution()
    whole_s: Distribution = Distribution()  # arrival to end; this and the next two: of sequences not given up
    prompt_tokens: Distribution = Distribution()
    output_tokens: Distribution = Distribution()
    engine: EngineStats = EngineStats()

    @property
    def n_processing(self) -> int:
        return sum(slot.is_processing for slot in self.slots)


class Counters:
    """What the scheduler counts as it goes.  Loop thread only."""

    def __init__(self) -> None:
        self.n_steps = 0
        self.n_starved = 0
        self.n_requests = 0
        self.n_prompt_tokens = 0
        self.n_cached_tokens = 0
        self.n_predicted_tokens = 0
        self.prompt_ms = 0.0
        self.predicted_ms = 0.0
        self.step_ms = 0.0
        self.request_s = 1.0
        self.finished = {reason.value: 0 for reason in FinishReason}
        self.prompt_rate = Rate()
        self.predicted_rate = Rate()
        self.n_rows = 0
        self.n_tokens_max = 0
        self.cancelled = {"queue": 0, "prefill": 0, "decode": 0}
        self.n_drafts = 0
        self.n_drafted = 0
        self.n_right = [0] * MAX_DRAFT
        self.queue_s = Histogram(SECONDS)
        self.first_token_s = Histogram(SECONDS)
        self.gap_s = Histogram(SECONDS)
        self.step_s = Histogram(SECONDS)
        self.whole_s = Histogram(SECONDS)
        self.prompt_tokens = Histogram(TOKENS)
        self.output_tokens = Histogram(TOKENS)

    def count_submitted(self) -> None:
        self.n_requests += 1

    def count_started(self, seq: Sequence) -> None:
        """It has left the queue for the first time."""
        assert seq.started is not None
        self.queue_s.add(seq.started - seq.arrived)

    def count_token(self, seq: Sequence, now: float) -> None:
        """It is given a token.  To be told before the sequence's own times change."""
        if seq.params.max_tokens == 0:
            return  # sampled, but shown to nobody
        if seq.first_token is None:
            self.first_token_s.add(now - seq.arrived)
        else:
            self.gap_s.add(now - seq.last_token)

    def count_draft(self, n_drafted: int, n_right: int) -> None:
        """A row carried n_drafted guesses, at least one, of which the first n_right were right."""
        self.n_drafts += 1
        self.n_drafted += n_drafted
        for place in range(n_right):
            self.n_right[place] += 1

    def count_finish(self, seq: Sequence, reason: FinishReason, now: float) -> None:
        self.finished[reason.value] += 1
        self.n_tokens_max = max(self.n_tokens_max, seq.n_computed)
        if reason is FinishReason.ABORT:
            self.cancelled[_phase(seq)] += 1
        if reason not in _GIVEN_UP:
            self.whole_s.add(now - seq.arrived)
            self.prompt_tokens.add(len(seq.prompt))
            self.output_tokens.add(len(seq.generated))

    def count_step(self, n_rows: int, n_chunk: int, n_predicted: int, ms: float) -> None:
        """One step of n_rows sequences that computed n_chunk prompt tokens and sampled n_predicted."""
        self.step_ms = ms
        self.step_s.add(ms / 1e3)
        self.n_rows += n_rows
        self.n_prompt_tokens += n_chunk
        self.n_predicted_tokens += n_predicted
        self.prompt_rate.add(n_chunk, ms)
        if n_chunk:
            self.prompt_ms += ms
        else:
            self.predicted_ms += ms
            self.predicted_rate.add(n_predicted, ms)

    def count_request(self, seconds: float) -> None:
        """A request has held a lane for so long."""
        self.request_s += (1 - _REQUEST_MEMORY) * (seconds - self.request_s)

    def snapshot(self, slots: tuple[SlotState, ...], n_waiting: int, engine: EngineStats) -> Snapshot:
        return Snapshot(
            slots=slots,
            n_waiting=n_waiting,
            n_steps=self.n_steps,
            n_starved=self.n_starved,
            n_requests=self.n_requests,
            n_prompt_tokens=self.n_prompt_tokens,
            n_cached_tokens=self.n_cached_tokens,
            n_predicted_tokens=self.n_predicted_tokens,
            prompt_ms=self.prompt_ms,
            predicted_ms=self.predicted_ms,
            finished=dict(self.finished),
            prompt_per_second=self.prompt_rate.per_second,
            predicted_per_second=self.predicted_rate.per_second,
            step_ms=self.step_ms,
            request_s=self.request_s,
            n_rows=self.n_rows,
            n_tokens_max=max([self.n_tokens_max, *(slot.n_computed for slot in slots if slot.is_processing)]),
            cancelled=dict(self.cancelled),
            n_drafts=self.n_drafts,
            n_drafted=self.n_drafted,
            n_right=tuple(self.n_right),
            queue_s=self.queue_s.copy(),
            first_token_s=self.first_token_s.copy(),
            gap_s=self.gap_s.copy(),
            step_s=self.step_s.copy(),
            whole_s=self.whole_s.copy(),
            prompt_tokens=self.prompt_tokens.copy(),
            output_tokens=self.output_tokens.copy(),
            engine=engine,
        )


def slot_states(lanes: list[Sequence | None], past: list[SlotState]) -> tuple[SlotState, ...]:
    """What every lane is doing or, where it is idle, did last; in lane order."""
    return tuple(before if seq is None else slot_state(seq) for seq, before in zip(lanes, past, strict=True))


def slot_state(seq: Sequence, is_processing: bool = True) -> SlotState:
    return SlotState(
        id=seq.slot,
        is_processing=is_processing,
        task=seq.id,
        n_prompt=len(seq.prompt),
        n_cached=seq.n_cached,
        n_computed=seq.n_computed,
        n_decoded=len(seq.generated),
        has_line=seq.has_line,
        params=seq.params,
    )


def _phase(seq: Sequence) -> str:
    if seq.started is None:
        return "queue"
    return "prefill" if seq.first_token is None else "decode"
