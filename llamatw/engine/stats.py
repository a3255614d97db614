"""Counters that only grow, rates over the last moments, and the snapshot that other threads read."""

from __future__ import annotations

import msgspec

from llamatw.capi.records import EngineStats
from llamatw.engine.sequence import FinishReason, GenerationParams, Sequence

_REQUEST_MEMORY = 0.9  # of the mean at each new request
_RATE_MEMORY = 0.95  # of a rate's sums, at each step that adds to them


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
    """One lane, as /slots shows it.  An idle lane has zeros and no params."""

    id: int
    is_processing: bool = False
    task: int = -1  # the sequence's id
    n_prompt: int = 0
    n_cached: int = 0
    n_computed: int = 0
    n_decoded: int = 0
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
    n_drafted: int = 0  # guesses
    n_drafted_right: int = 0
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
        self.n_drafted = 0
        self.n_drafted_right = 0
        self.finished = {reason.value: 0 for reason in FinishReason}
        self.prompt_rate = Rate()
        self.predicted_rate = Rate()

    def count_step(self, n_chunk: int, n_predicted: int, ms: float) -> None:
        """One step that computed n_chunk prompt tokens and sampled n_predicted."""
        self.step_ms = ms
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

    def count_draft(self, n_drafted: int, n_right: int) -> None:
        self.n_drafted += n_drafted
        self.n_drafted_right += n_right

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
            n_drafted=self.n_drafted,
            n_drafted_right=self.n_drafted_right,
            engine=engine,
        )


def slot_states(lanes: list[Sequence | None]) -> tuple[SlotState, ...]:
    """What every lane is doing, in lane order."""
    return tuple(SlotState(id=lane) if seq is None else _slot_state(seq) for lane, seq in enumerate(lanes))


def _slot_state(seq: Sequence) -> SlotState:
    return SlotState(
        id=seq.slot,
        is_processing=True,
        task=seq.id,
        n_prompt=len(seq.prompt),
        n_cached=seq.n_cached,
        n_computed=seq.n_computed,
        n_decoded=len(seq.generated),
        params=seq.params,
    )
