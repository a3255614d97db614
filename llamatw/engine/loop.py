"""StepLoop: the one thread that owns the C engine.

    inbox (submit, abort, stop)  ->  drain -> plan -> step -> commit  ->  one callFromThread with the step's deltas

The loop goes on to the next step at once; the reactor writes meanwhile.  It blocks only when nobody runs or waits.
"""

from __future__ import annotations

import queue
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, Protocol

import msgspec
from twisted.logger import Logger

from llamatw.capi.engine import Progress
from llamatw.capi.records import EngineInfo, EngineStats, KVFull, ModelInfo, Out, Row, VocabInfo
from llamatw.engine.gbnf import GrammarLike
from llamatw.engine.scheduler import Deltas, Scheduler, Slots
from llamatw.engine.sequence import FinishReason, Sequence
from llamatw.engine.shift import check_context
from llamatw.engine.stats import Snapshot, slot_states
from llamatw.engine.watchdog import Heartbeat
from llamatw.errors import LlamatwError
from llamatw.settings import EngineSettings

_REST_S = 0.1
_SNAPSHOT_S = 0.02  # between two of them while nobody comes or goes, as one costs more than a token's way
_MAX_FAILURES = 3  # failing steps in a row that we put down to their sequences; then it is the engine


class VocabLike(Protocol):
    """What a Vocab and a FakeVocab both are."""

    info: VocabInfo

    def tokenize(self, text: str | bytes, *, add_special: bool = False, parse_special: bool = False) -> list[int]: ...
    def detokenize(self, ids: list[int], *, special: bool = False) -> bytes: ...
    def ends(self) -> list[int]: ...
    def pieces(self) -> list[bytes]: ...
    def token_text(self, token: int) -> str: ...


class EngineLike(Slots, Protocol):
    """What an Engine and a FakeEngine both are."""

    info: EngineInfo
    model: ModelInfo

    @property
    def vocab(self) -> VocabLike: ...
    def open_grammar(self, text: str, *, words: tuple[str, ...] = (), tokens: tuple[int, ...] = ()) -> GrammarLike: ...
    def step(self, rows: list[Row]) -> list[Out]: ...
    def advance(self, seq: int) -> bytes: ...
    def read_page(self, seq: int, page: int) -> bytearray: ...
    def write_page(self, seq: int, page: int, data: bytes) -> None: ...
    def forget(self, ids: array[int], scope: int = 0, n_keep: int = 0) -> None: ...
    def stats(self) -> EngineStats: ...
    def close(self) -> None: ...


Opener = Callable[[EngineSettings, Progress], EngineLike]


class Listener(Protocol):
    """Who hears of it, always through `call`."""

    def loaded(self, engine: EngineLike) -> None: ...
    def failed(self, error: Exception) -> None: ...
    def deliver(self, deltas: Deltas) -> None: ...


class Submit(msgspec.Struct, frozen=True):
    seq: Sequence
    now: float  # when it was submitted: seconds, of the loop's clock


class Abort(msgspec.Struct, frozen=True):
    id: int
    reason: FinishReason


class Rest(msgspec.Struct, frozen=True):
    """Its reader is behind: no more for now; or goes on."""

    id: int
    rests: bool


class Call(msgspec.Struct, frozen=True):
    """Work between two steps, for what is no step: it holds up everybody's tokens, so it must be short."""

    work: Callable[[EngineLike, Scheduler], Any]
    result: Future[Any]


class Stop(msgspec.Struct, frozen=True):
    """Finish what there is, then end."""


Message = Submit | Abort | Rest | Call | Stop


class StepLoop:
    """run() is the thread; post() may be called from any other.  call(f, x) has f(x) called in the reactor's thread."""

    log = Logger()

    def __init__(
        self,
        settings: EngineSettings,
        opener: Opener,
        listener: Listener,
        call: Callable[..., object],
        clock: Callable[[], float],
    ) -> None:
        self.progress = Progress()
        self.snapshot = Snapshot()  # replaced, never changed
        self._next_snapshot = 0.0  # when it is due: seconds, of the clock
        self._moves = (0, 0)  # requests that had come and gone when it was made
        self.heartbeat: Heartbeat | None = None  # as well; what the thread is in that may take long, else None
        self._settings = settings
        self._opener = opener
        self._listener = listener
        self._call = call
        self._clock = clock
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._unread: Message | None = None  # taken out of the inbox while waiting
        self._engine: EngineLike | None = None
        self._scheduler: Scheduler | None = None
        self._stopping = False
        self._n_failures = 0

    def post(self, message: Message) -> None:
        self._inbox.put(message)

    def run(self) -> None:
        """The thread: from opening the engine to closing it."""
        for _ in self.turns(block=True):
            pass

    def turns(self, block: bool) -> Iterator[None]:
        """Opens, goes round until told to stop, closes.  What goes wrong ends here, as an error to the listener."""
        try:
            engine = self._open()
            yield
            while self._turn(engine, block):
                yield
        except Exception as error:
            self._fail(error)
        finally:
            self._close()

    @property
    def is_idle(self) -> bool:
        """Nothing to do until the next message."""
        scheduler = self._scheduler
        at_rest = scheduler is not None and (scheduler.is_idle or scheduler.is_at_rest)
        return at_rest and self._inbox.empty() and not self._stopping

    def _open(self) -> EngineLike:
        engine = self._engine = self._opener(self._settings, self.progress)
        info = engine.info
        settings = self._settings
        if settings.context_shift:
            check_context(engine.model)
        self._scheduler = Scheduler(
            engine,
            settings.n_seqs,
            info.n_batch,
            settings.step_target_ms,
            n_draft=0 if engine.model.is_recurrent else settings.n_draft,
            n_ctx=info.n_ctx,
            group_w=settings.group_w,
            continuous=settings.continuous,
        )
        self._publish(engine, self._scheduler)
        self._call(self._listener.loaded, engine)
        return engine

    def _turn(self, engine: EngineLike, block: bool) -> bool:
        """Once round; False when it is time to end."""
        scheduler = self._scheduler
        assert scheduler is not None
        if block:
            self._wait(scheduler)
        self._drain(engine, scheduler)
        while rows := scheduler.plan(self._clock()):
            if self._step(engine, scheduler, rows):
                break
        self._publish(engine, scheduler)
        return not (self._stopping and scheduler.is_idle)

    def _close(self) -> None:
        engine, self._engine = self._engine, None
        self.cancel_calls()
        if engine is not None:
            engine.close()

    def cancel_calls(self) -> None:
        """Calls that nobody will carry out any more end with CancelledError; other messages are of no use either."""
        while not self._inbox.empty():
            message = self._inbox.get()
            if isinstance(message, Call):
                message.result.cancel()

    def _wait(self, scheduler: Scheduler) -> None:
        """For a message, when there is nothing else to do; time limits of those who rest are looked at now and then."""
        if scheduler.is_at_rest:
            with suppress(queue.Empty):
                self._unread = self._inbox.get(timeout=_REST_S)
        elif scheduler.is_idle and not self._stopping:
            self._unread = self._inbox.get()

    def _drain(self, engine: EngineLike, scheduler: Scheduler) -> None:
        while self._unread is not None or not self._inbox.empty():
            message, self._unread = self._unread or self._inbox.get(), None
            match message:
                case Submit(seq, now):
                    scheduler.submit(seq, now)
                case Abort(id, reason):
                    scheduler.abort(id, reason)
                case Rest(id, rests):
                    scheduler.rest(id, rests)
                case Call(work, result):
                    self.heartbeat = Heartbeat(self._clock())
                    _carry_out(work, result, engine, scheduler)
                    self.heartbeat = None
                case Stop():
                    self._stopping = True

    def _step(self, engine: EngineLike, scheduler: Scheduler, rows: list[Row]) -> bool:
        """False: the step ran nothing for lack of pages; somebody has made room, plan again."""
        started = self._clock()
        self.heartbeat = Heartbeat(started, _parts(scheduler, rows))
        try:
            outs = engine.step(rows)
        except KVFull:
            scheduler.starve()
            return False
        except LlamatwError as error:
            self._blame(scheduler, rows, error)
            return True
        finally:
            self.heartbeat = None
        now = self._clock()
        self._n_failures = 0
        scheduler.commit(rows, outs, now, 1e3 * (now - started))
        return True

    def _blame(self, scheduler: Scheduler, rows: list[Row], error: LlamatwError) -> None:
        self._n_failures += 1
        if self._n_failures >= _MAX_FAILURES:
            raise error
        self.log.error("a step of {n} sequences failed: {error}", n=len(rows), error=error.message)
        scheduler.fail(rows, error)

    def _publish(self, engine: EngineLike, scheduler: Scheduler) -> None:
        now, moves = self._clock(), (scheduler.counters.n_requests, scheduler.lanes.n_moves)
        if now >= self._next_snapshot or moves != self._moves or self.is_idle:
            n_waiting = len(scheduler.waiting)
            slots = slot_states(scheduler.lanes.now, scheduler.lanes.past)
            self.snapshot = scheduler.counters.snapshot(slots, n_waiting, engine.stats())
            self._next_snapshot, self._moves = now + _SNAPSHOT_S, moves
        deltas = scheduler.take_deltas()
        if deltas:
            self._call(self._listener.deliver, deltas)

    def _fail(self, error: Exception) -> None:
        if not isinstance(error, LlamatwError):
            self.log.failure("the engine's loop ended")
        idle = tuple(msgspec.structs.replace(slot, is_processing=False) for slot in self.snapshot.slots)
        self.snapshot = msgspec.structs.replace(self.snapshot, slots=idle, n_waiting=0)
        self._call(self._listener.failed, error)


def _parts(scheduler: Scheduler, rows: list[Row]) -> tuple[tuple[int, int], ...]:
    """Ids of a step's sequences, each with the number of tokens that it computes."""
    ids = {seq.handle: seq.id for seq in scheduler.running}
    return tuple((ids[row.seq], row.advance) for row in rows)


def _carry_out(
    work: Callable[[EngineLike, Scheduler], Any], result: Future[Any], engine: EngineLike, scheduler: Scheduler
) -> None:
    if result.set_running_or_notify_cancel():
        try:
            result.set_result(work(engine, scheduler))
        except Exception as error:
            result.set_exception(error)
