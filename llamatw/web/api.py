"""What all routes share: the engine, the settings, the chat template, bodies in and answers out."""

from __future__ import annotations

import re
from collections.abc import Callable, Coroutine, Iterable
from contextlib import ExitStack
from functools import cached_property
from typing import Any, NoReturn, TypeVar

import msgspec
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from werkzeug.exceptions import HTTPException

from llamatw.engine.constraint import Constraint, Wish
from llamatw.engine.sequence import Delta, FinishReason, GenerationParams, SamplingParams
from llamatw.engine.service import EngineService
from llamatw.engine.shift import of_prompt
from llamatw.engine.stream import TokenStream
from llamatw.errors import BadRequest, LlamatwError, NotFound, Unavailable
from llamatw.settings import SystemPrompt, WebSettings
from llamatw.text import templates
from llamatw.text.chat import ChatTemplate
from llamatw.text.thoughts import Tags
from llamatw.web import constraints, prompts, reply, sampling, schema
from llamatw.web.body import decode
from llamatw.web.compiling import Compiling
from llamatw.web.generation import Generation
from llamatw.web.probs import Entries
from llamatw.web.sse import MAX_STALL_S, EventStream, frame
from llamatw.web.words import Words

JSON = b"application/json; charset=utf-8"
NATIVE_REPEAT_PENALTY = 1.1
OPENAI_REPEAT_PENALTY = 1.0
_LONG = 64 << 10  # characters or tokens
_TIMEOUT_HEADER = b"x-request-timeout"
_MAX_TIMEOUT_S = 86_400
_SECONDS = re.compile(rb"[0-9]{1,9}(\.[0-9]{1,24})?")

_ETAG = re.compile(rb'(?:W/)?("[^"]*+")')

T = TypeVar("T")
Request = Any  # twisted.web.server.Request, which has no types


class Api:
    """Handed to every dialect's routes."""

    log = Logger()

    def __init__(self, engine: EngineService, settings: WebSettings, reactor: Any) -> None:
        self.engine = engine
        self.settings = settings
        self.reactor = reactor
        self.system = settings.system_prompt
        self.n_refused = {429: 0, 503: 0}  # requests that a route refused, by status
        self.entries = Entries(engine.detokenize_bytes)
        self._words = Words(engine)
        self._compiling = Compiling(reactor, engine.compile)

    @property
    def model(self) -> str:
        """The name that clients see."""
        return self.settings.aliases[0] if self.settings.aliases else self.engine.info.path

    @property
    def n_slots(self) -> int:
        return self.engine.settings.n_seqs

    @cached_property
    def template(self) -> ChatTemplate:
        """What flags and model come to, compiled once; while loading it raises Unavailable and stays unknown."""
        info = self.engine.info
        source = templates.choose(self.settings.chat_template, info.chat_template, self.settings.jinja)
        return ChatTemplate(source, bos=info.bos_token, eos=info.eos_token)

    def body(self, request: Request, kind: type[T]) -> T:
        """The request's body, once the engine can serve it."""
        _ = self.engine.info
        raw = request.content.read()
        if self.settings.verbose:
            self.log.debug("{path} {body}", path=_shown(request.path), body=raw[:4096].decode("utf-8", "replace"))
        return decode(kind, raw)

    async def order(
        self,
        request: Request,
        body: schema.Generating,
        repeat_penalty: float,
        cuts_prompt: bool = False,
        thought: Callable[[], Tags | None] = lambda: None,
    ) -> schema.Order:
        """Checks everything and fills in the defaults.  thought: what the answer may begin with, once that is asked."""
        schema.fill(body, self.settings.defaults)
        schema.check(body)
        timeout_s, began = _timeout_s(request), self.reactor.seconds()
        wish = constraints.wish(body, self.engine)
        if wish is not None:
            wish = constraints.behind_thought(wish, thought(), self.engine)
        order = schema.order(
            body,
            await self._sampling(body, repeat_penalty),
            n_predict=self.settings.n_predict,
            n_slots=self.n_slots,
            constraint=None if wish is None else await self._constraint(wish, request.owner, timeout_s),
            caller=schema.Caller(
                owner=request.owner,
                timeout_s=timeout_s and timeout_s - (self.reactor.seconds() - began),
                n_bytes=request.n_received,
                served=request.generations,
            ),
            shifts=self.engine.settings.context_shift,
            cuts_prompt=cuts_prompt,
            verbose=self.settings.verbose,
        )
        self._check_room(order, n_prompts=1)
        return order

    def _check_room(self, order: schema.Order, n_prompts: int) -> int:
        """How many sequences it comes to."""
        n_all = n_prompts * order.n_made
        if n_all > self.engine.capacity:
            reason = f"{n_all} answers are asked for, this server takes {self.engine.capacity} at once"
            raise BadRequest(f"{order.n_field}: {reason}", order.n_field)
        return n_all

    async def _sampling(self, body: schema.Generating, repeat_penalty: float) -> SamplingParams:
        def work() -> SamplingParams:
            return sampling.params(body, repeat_penalty, self._words)

        return await self.run(work, sampling.size(body, self._words))

    async def default_params(self, repeat_penalty: float) -> GenerationParams:
        """What a request that says nothing comes to."""
        nothing = schema.filled(self.settings.defaults)
        return schema.order(
            nothing,
            await self._sampling(nothing, repeat_penalty),
            n_predict=self.settings.n_predict,
            n_slots=self.n_slots,
            caller=schema.Caller(),
        ).params

    async def _constraint(self, wish: Wish, owner: int, timeout_s: float | None) -> Constraint:
        if kept := self.engine.kept_constraint(wish):
            return kept

        def late(*_: object) -> NoReturn:
            raise Unavailable(f"{wish.field}: the request's time limit passed before it was compiled")

        compiled = self._compiling.compiled(wish, owner)
        return await (compiled if timeout_s is None else compiled.addTimeout(timeout_s, self.reactor, late))

    async def run(self, work: Callable[[], T], size: int) -> T:
        """Work on so many characters or tokens: at once, or in the thread pool when it would hold up the reactor."""
        if size <= _LONG:
            return work()
        result: Deferred[T] = deferToThreadPool(self.reactor, self.reactor.getThreadPool(), work)
        return await result

    async def ids(self, prompt: prompts.Prompt, *, add_special: bool = True, parse_special: bool = True) -> list[int]:
        def work() -> list[int]:
            return prompts.to_ids(prompt, self.engine.tokenize, add_special=add_special, parse_special=parse_special)

        return await self.run(work, prompts.size(prompt))

    async def prompt_ids(self, texts: list[prompts.Prompt], system: SystemPrompt | None = None) -> list[list[int]]:
        """Prompts behind the system prompt; system: the one that they bring."""
        head = await self.system_ids(system or self.system)
        return [head + await self.ids(prompt, add_special=not head) for prompt in texts]

    async def system_ids(self, system: SystemPrompt) -> list[int]:
        return await self.ids([system.prompt], parse_special=False) if system.prompt else []

    async def check_system(self, system: SystemPrompt) -> None:
        """Refused when it would leave no room for a prompt."""
        n_tokens, n_ctx = len(await self.system_ids(system)), self.engine.info.n_ctx
        if n_tokens + 2 > n_ctx:
            raise BadRequest(f"system_prompt has {n_tokens} tokens, the context is {n_ctx}", "system_prompt")

    def start(self, stack: ExitStack, ids: list[list[int]], order: schema.Order) -> list[Generation]:
        """Queues sequences, order.n_made for each prompt, one after the other; they end with the stack.  They share
        their prompt's pages and differ in their seeds.  An empty prompt is answered with nothing, at once."""
        n_all = self._check_room(order, len(ids))
        seeded = [_reseeded(order.params, index) for index in range(order.n_made)]
        generations = []
        for prompt in ids:
            for params in [self._behind(prompt, params) for params in seeded]:
                stream = self.engine.submit(prompt, params, order.n_bytes // n_all) if prompt else _nothing()
                generation = Generation(stream, order.stop, order.n_indent, order.shows.progress)
                generations.append(stack.enter_context(generation))
        order.served.extend(generations)
        return generations

    def _behind(self, prompt: list[int], params: GenerationParams) -> GenerationParams:
        """What stands for the prompt in the penalties must know how long that will be."""
        if params.sampling.penalty_prompt is None:
            return params
        fitting = of_prompt(prompt, params.n_keep, self.engine.info.n_ctx) if params.cuts_prompt else prompt
        changed = msgspec.structs.replace(params.sampling, n_prompt=len(fitting))
        return msgspec.structs.replace(params, sampling=changed)

    def event_stream(self, request: Request, order: schema.Order) -> EventStream:
        max_stall_s = min(MAX_STALL_S, self.settings.timeout_s)
        events = EventStream(request, self.reactor, ping_s=order.ping_s, max_stall_s=max_stall_s)
        events.open()
        return events


async def finished(generations: list[Generation], order: schema.Order) -> list[Generation]:
    """Runs all to the end.  Of each prompt's the best are told: those whose tokens were the likeliest on average."""
    for generation in generations:
        await generation.finish()
    if order.n_made == order.n:
        return generations
    told = []
    for first in range(0, len(generations), order.n_made):
        made = generations[first : first + order.n_made]
        told += sorted(made, key=lambda generation: generation.likelihood, reverse=True)[: order.n]
    return told


async def together(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """All at the same time; the first that fails ends the others."""
    try:
        await gatherResults([Deferred.fromCoroutine(work) for work in works], consumeErrors=True)
    except FirstError as error:
        error.subFailure.raiseException()


def _reseeded(params: GenerationParams, index: int) -> GenerationParams:
    changed = msgspec.structs.replace(params.sampling, seed=(params.sampling.seed + index) % 2**64)
    return msgspec.structs.replace(params, sampling=changed)


def _timeout_s(request: Request) -> float | None:
    """X-Request-Timeout: seconds from arrival to the last token."""
    value = request.getHeader(_TIMEOUT_HEADER)
    if value is None:
        return None
    seconds = float(value) if _SECONDS.fullmatch(value) else 0.0
    if not 0 < seconds <= _MAX_TIMEOUT_S:
        raise BadRequest(
            f"the header X-Request-Timeout must be a number of seconds up to {_MAX_TIMEOUT_S}, not {_shown(value)!r}"
        )
    return seconds


def _nothing() -> TokenStream:
    stream = TokenStream(-1, 0, lambda *_: None)
    stream.push(Delta(finish=FinishReason.LIMIT))
    return stream


async def stream(events: EventStream, work: Coroutine[Any, Any, None], last: bytes = b"") -> bytes:
    """Runs the work that sends frames.  The status has gone out: an error can only be the stream's last event."""
    try:
        await work
    except CancelledError:
        raise  # the client has gone
    except LlamatwError as error:
        await events.send(frame(reply.encode(reply.error_body(error))))
    except Exception:
        Api.log.failure("a stream failed")
        await events.send(frame(reply.encode(reply.error_body(LlamatwError("internal error")))))
    await events.send(last)
    events.close()
    return b""


def answer(request: Request, value: object, status: int = 200) -> bytes:
    data = reply.encode(value)
    request.setResponseCode(status)
    request.setHeader(b"content-type", JSON)
    request.setHeader(b"content-length", b"%d" % len(data))
    return data


def answer_error(request: Request, error: LlamatwError, **more: object) -> bytes:
    if error.retry_after is not None:
        request.setHeader(b"retry-after", b"%d" % error.retry_after)
    if error.status == 401:
        request.setHeader(b"www-authenticate", b"Bearer")
    return answer(request, {**more, **reply.error_body(error)}, error.status)


def is_known(request: Request, etag: bytes) -> bool:
    """Names what the answer will be; True, and a 304, where the client has it.  A proxy that compresses has made the
    client's name a weak one, which here is as good."""
    request.setHeader(b"etag", etag)
    asked = b",".join(request.requestHeaders.getRawHeaders(b"if-none-match", []))
    if asked.strip() != b"*" and etag not in _ETAG.findall(asked):
        return False
    request.setResponseCode(304)
    return True


def handle_errors(app: Klein, api: Api) -> None:
    """The edge of Klein: whatever a route raises becomes a JSON error with an honest status."""

    @app.handle_errors(HTTPException)
    def no_such_route(request: Request, failure: Any) -> bytes:
        return answer_error(request, NotFound(f"File Not Found: no {_shown(request.method)} {_shown(request.path)}"))

    @app.handle_errors(LlamatwError)
    def refused(request: Request, failure: Any) -> bytes:
        if failure.value.status in api.n_refused:
            api.n_refused[failure.value.status] += 1
        return answer_error(request, failure.value)

    @app.handle_errors(Exception)
    def broken(request: Request, failure: Any) -> bytes:
        Api.log.failure("{method} {path} failed", failure, method=request.method, path=request.path)
        return answer_error(request, LlamatwError("internal error"))


def _shown(value: bytes) -> str:
    return value[:200].decode("utf-8", "replace")
