"""EngineService: all that web/ sees of the engine.  Reactor thread only; (de)tokenize and compile: any thread."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from typing import Any, Literal, Protocol, TypeVar, cast

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from llamatw.capi.engine import Engine, Progress
from llamatw.capi.records import ModelInfo as ModelInfo  # web/ takes it from here
from llamatw.engine.admission import Admission
from llamatw.engine.compiler import Compiler
from llamatw.engine.constraint import Constraint, Wish
from llamatw.engine.loop import Abort, Call, EngineLike, Opener, Rest, StepLoop, Stop, Submit, VocabLike
from llamatw.engine.scheduler import Deltas, Scheduler
from llamatw.engine.sequence import Delta, FinishReason, GenerationParams, Sequence
from llamatw.engine.shift import of_prompt
from llamatw.engine.stats import Snapshot
from llamatw.engine.stream import TokenStream
from llamatw.engine.watchdog import Watchdog
from llamatw.errors import BadRequest, ContextExceeded, LlamatwError, Unavailable
from llamatw.settings import EngineSettings

T = TypeVar("T")
State = Literal["loading", "ready", "failed", "stopped"]
Spawn = Callable[["Reactor", StepLoop], Deferred[None]]

_GRACE_S = 5.0
_RETRY_AFTER_S = 1  # while loading
_QUEUE_CONTEXTS = 16  # prompts that may run and wait, in contexts


class Reactor(Protocol):
    """What we need of one."""

    def callFromThread(self, f: Callable[..., object], *args: object) -> None: ...
    def callLater(self, delay: float, f: Callable[..., object], *args: object) -> Any: ...


def open_model(settings: EngineSettings, progress: Progress) -> EngineLike:
    """With one sequence more than lanes: the guest's."""
    with_guest = msgspec.structs.replace(settings, n_seqs=settings.n_seqs + 1, n_guests=1)
    return Engine.open(settings.model_path, with_guest, progress)


def in_thread(reactor: Reactor, loop: StepLoop) -> Deferred[None]:
    """Runs the loop in a pool of its own one thread; fires when it has ended."""
    pool = ThreadPool(1, 1, "llamatw-engine")
    pool.start()

    def end(result: Failure | None) -> Failure | None:
        pool.stop()
        return result

    return deferToThreadPool(cast(Any, reactor), pool, loop.run).addBoth(end)


def _numa_effect(settings: EngineSettings, engine: EngineLike) -> str:
    n_nodes = engine.info.n_nodes
    if n_nodes == 1:
        return "there is one NUMA node for this process, so nothing had to be done"
    effects = {
        "distribute": f"threads and memory go round {n_nodes} NUMA nodes",
        "isolate": f"threads and memory stay on one of {n_nodes} NUMA nodes",
        "numactl": f"threads and memory stay where the process was bound, among {n_nodes} NUMA nodes",
    }
    return effects[settings.numa]


class EngineService(Service):
    """state goes from loading to ready or failed, and at last to stopped; failure says why in a sentence."""

    log = Logger()

    def __init__(
        self,
        settings: EngineSettings,
        reactor: Reactor,
        opener: Opener = open_model,
        spawn: Spawn = in_thread,
        clock: Callable[[], float] = time.perf_counter,
        prepare: Callable[[Compiler], Deferred[None]] = lambda compiler: succeed(None),
    ) -> None:
        """prepare: has the compiler read the vocabulary, which holds up everybody, before there is anybody."""
        self.settings = settings
        self.state: State = "loading"
        self.failure: str | None = None
        self._reactor = reactor
        self._spawn = spawn
        self._clock = clock
        self._loop = StepLoop(settings, opener, self, reactor.callFromThread, clock)
        self._watchdog = Watchdog()
        self._ended: Deferred[None] = succeed(None)
        self._vocab: VocabLike | None = None
        self._model: ModelInfo | None = None
        self._streams: dict[int, TokenStream] = {}
        self._admission: Admission | None = None
        self._compiler: Compiler | None = None
        self._prepare = prepare
        self._ids = count()

    def startService(self) -> None:
        Service.startService(self)  # type: ignore[no-untyped-call]
        self._ended = self._spawn(self._reactor, self._loop)

    def stopService(self) -> Deferred[None]:
        """Lets the streams finish within a grace time, then ends them; fires when the engine has been closed."""
        Service.stopService(self)  # type: ignore[no-untyped-call]
        self.state = "stopped"
        self._loop.progress.cancel()
        self._loop.post(Stop())
        if self._compiler is not None:
            self._compiler.stop()  # what is compiled now would be refused afterwards
        grace = self._reactor.callLater(_GRACE_S, self._end_streams, Unavailable("the server is stopping"))

        def ended(_: None) -> None:
            self._loop.cancel_calls()
            if grace.active():
                grace.cancel()

        return self._ended.addErrback(self._complain).addCallback(ended)

    @property
    def progress(self) -> float:
        """Of loading, 0..1."""
        return 1.0 if self._model is not None else self._loop.progress.value

    @property
    def info(self) -> ModelInfo:
        """Unavailable until the model has been loaded."""
        if self._model is None:
            raise self._unavailable()
        return self._model

    @property
    def capacity(self) -> int:
        """Sequences that may run and wait at a time."""
        return self.settings.n_seqs + self.settings.max_queue

    def metadata(self, key: str) -> str | int | float | bool | None:
        """A scalar of the model file."""
        return self.info.metadata.get(key)

    def snapshot(self) -> Snapshot:
        return self._loop.snapshot

    def stuck(self) -> str | None:
        """Why the engine's thread counts as stuck, in a sentence; None while it is well.  Never asks the thread."""
        return self._watchdog.look(self._loop.heartbeat, self.snapshot().step_s, self._clock())

    def tokenize(self, text: str | bytes, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        return self._loaded_vocab().tokenize(text, add_special=add_special, parse_special=parse_special)

    def detokenize(self, ids: list[int], *, special: bool = False) -> str:
        return self._loaded_vocab().detokenize(ids, special=special).decode("utf-8", "replace")

    def detokenize_bytes(self, ids: list[int], *, special: bool = False) -> bytes:
        """Raw: the ids may be a part of a character."""
        return self._loaded_vocab().detokenize(ids, special=special)

    def kept_constraint(self, wish: Wish) -> Constraint | None:
        """One that has been compiled lately."""
        return self._loaded_compiler().kept(wish)

    def compile(self, wish: Wish) -> Constraint:
        """Takes up to some hundred milliseconds.  BadRequest names the wish's field."""
        return self._loaded_compiler().compile(wish)

    def submit(self, prompt: list[int], params: GenerationParams, n_bytes: int = 0) -> TokenStream:
        """Queues a sequence, which came in a request of n_bytes.  Raises BadRequest, ContextExceeded, TooManyRequests
        or Unavailable."""
        if self.state != "ready" or self._admission is None:
            raise self._unavailable()
        fitting = of_prompt(prompt, params.n_keep, self.info.n_ctx) if params.cuts_prompt else prompt
        prompt, truncated = fitting, len(fitting) < len(prompt)
        self._check_prompt(prompt)
        seq = Sequence(id=next(self._ids), prompt=array("i", prompt), params=params)
        stream = TokenStream(seq.id, len(prompt), self._abort, self._rest, params.owner, n_bytes)
        stream.truncated = truncated
        self._admission.check(stream, self._streams.values(), self._loop.snapshot)
        self._streams[seq.id] = stream
        self._loop.post(Submit(seq, self._clock()))
        return stream

    def call(self, work: Callable[[EngineLike, Scheduler], T]) -> Future[T]:
        """Has the engine's thread do some short work between two steps.  Unavailable when there is no engine."""
        if self.state != "ready":
            raise self._unavailable()
        result: Future[T] = Future()
        self._loop.post(Call(work, result))
        return result

    def _check_prompt(self, prompt: list[int]) -> None:
        model = self.info
        if not prompt:
            raise BadRequest("the prompt has no tokens", "prompt")
        if len(prompt) + 1 > model.n_ctx:
            raise ContextExceeded(len(prompt), model.n_ctx)
        if min(prompt) < 0 or max(prompt) >= model.n_vocab:
            wrong = next(token for token in prompt if not 0 <= token < model.n_vocab)
            raise BadRequest(f"token id {wrong} is out of range: the vocabulary has {model.n_vocab} tokens", "prompt")

    def _rules(self, n_ctx: int) -> Admission:
        settings = self.settings
        max_tokens = settings.max_queue_tokens or _QUEUE_CONTEXTS * n_ctx
        return Admission(settings.n_seqs, self.capacity, max_tokens, settings.max_queue_bytes)

    def _unavailable(self) -> Unavailable:
        if self.state == "loading":
            return Unavailable("Loading model", retry_after=_RETRY_AFTER_S)
        if self.state == "failed":
            return Unavailable(f"the model cannot be served: {self.failure}")
        return Unavailable("the server is stopping")

    def _loaded_vocab(self) -> VocabLike:
        if self._vocab is None:
            raise self._unavailable()
        return self._vocab

    def _loaded_compiler(self) -> Compiler:
        if self._compiler is None:
            raise self._unavailable()
        return self._compiler

    def _abort(self, id: int, reason: FinishReason = FinishReason.ABORT) -> None:
        self._streams.pop(id, None)
        self._loop.post(Abort(id, reason))

    def _rest(self, id: int, rests: bool) -> None:
        self._loop.post(Rest(id, rests))

    def _complain(self, failure: Failure) -> None:
        self.log.failure("the engine's thread ended badly", failure)

    def _end_streams(self, error: LlamatwError) -> None:
        for id, stream in list(self._streams.items()):
            self._abort(id)
            stream.push(Delta(finish=FinishReason.ERROR, error=error, slot=stream.slot, timings=stream.timings))

    # The loop's listener, called in the reactor's thread.

    def loaded(self, engine: EngineLike) -> None:
        self._compiler = Compiler(engine.vocab, engine.open_grammar)
        self._prepare(self._compiler).addErrback(self._unread).addCallback(lambda _: self._begin(engine))

    def _unread(self, failure: Failure) -> None:
        self.log.failure("the vocabulary cannot be read for schemas", failure)

    def _begin(self, engine: EngineLike) -> None:
        if self.state != "loading":
            return  # stopped meanwhile
        self._model, self._vocab = engine.model, engine.vocab
        self._admission = self._rules(engine.info.n_ctx)
        self.state = "ready"
        if self.settings.numa != "none":
            self.log.info(
                "--numa {wish}: {effect}", wish=self.settings.numa, effect=_numa_effect(self.settings, engine)
            )

    def failed(self, error: Exception) -> None:
        self.failure = error.message if isinstance(error, LlamatwError) else f"{type(error).__name__}: {error}"
        if self.state != "stopped":
            self.state = "failed"
            self.log.error("the engine failed: {failure}", failure=self.failure)
        self._loop.cancel_calls()
        self._end_streams(Unavailable(self.failure))

    def deliver(self, deltas: Deltas) -> None:
        for id, delta in deltas:
            stream = self._streams.get(id)
            if stream is None:
                continue  # cancelled while the step ran
            if delta.finish is not None:
                del self._streams[id]
            stream.push(delta)
