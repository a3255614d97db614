"""Saves: slots that are saved to files, restored from them, erased.  One at a time, in the reactor's thread.

    save      lane's ids, its pages held -> page by page: engine -> pool -> draft -> renamed
    restore   file checked from end to end -> page by page: pool -> engine -> the lane remembers

Every await is one page: in the engine's thread between two steps, or in the reactor's pool, where files are read and
written.  A piece of work goes on to its end when its client leaves; whatever fails, the slot stays as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import Future
from functools import partial
from typing import Any, BinaryIO, TypeVar

import msgspec
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.threads import deferToThreadPool

from llamatw.capi.records import EngineInfo
from llamatw.engine import guest
from llamatw.engine.loop import EngineLike
from llamatw.engine.savedir import Draft, SaveDirectory, explained
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.service import EngineService
from llamatw.engine.session import Reader, Stamp, Writer
from llamatw.errors import NotFound, TooManyRequests, Unavailable

T = TypeVar("T")
_MAX_WAITING = 16
_N_PROBE = 8  # tokens whose logits are the model's fingerprint


class Moved(msgspec.Struct, frozen=True):
    """What a save or a restore came to."""

    n_tokens: int
    n_bytes: int
    ms: float


class Saves:
    """Raises BadRequest, NotFound, TooManyRequests, Unavailable, InsufficientStorage; others are the operator's."""

    def __init__(self, engine: EngineService, path: str | None, reactor: Any) -> None:
        """path: the directory; None: nothing can be saved or restored, see `directory`."""
        self.directory = None if path is None else SaveDirectory(path)
        self._engine = engine
        self._reactor = reactor
        self._turn = DeferredLock()
        self._stamp: Stamp | None = None
        self._n_ctx = 0

    def save(self, directory: SaveDirectory, lane: int, name: str, scope: int) -> Deferred[Moved]:
        return self._to_the_end(lambda: self._timed(self._save(directory, lane, name, scope)))

    def restore(self, directory: SaveDirectory, lane: int, name: str, scope: int) -> Deferred[Moved]:
        return self._to_the_end(lambda: self._timed(self._restore(directory, lane, name, scope)))

    def erase(self, lane: int, scope: int) -> Deferred[int]:
        """How many tokens the slot had."""
        return self._to_the_end(lambda: self._erase(lane, scope))

    # ---- turns ----

    def _to_the_end(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Deferred[T]:
        """Who cancels what comes back hears no more of the work, which goes on."""
        if len(self._turn.waiting) >= _MAX_WAITING:
            raise TooManyRequests(f"{_MAX_WAITING} slots wait to be saved or restored", retry_after=1)
        answer: Deferred[T] = Deferred()
        Deferred.fromCoroutine(self._in_turn(work)).chainDeferred(answer)
        return answer

    async def _in_turn(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        await self._turn.acquire()
        try:
            return await work()
        finally:
            self._turn.release()

    async def _timed(self, work: Coroutine[Any, Any, tuple[int, int]]) -> Moved:
        started = self._reactor.seconds()
        n_tokens, n_bytes = await work
        return Moved(n_tokens, n_bytes, round(1e3 * (self._reactor.seconds() - started), 3))

    # ---- save ----

    async def _save(self, directory: SaveDirectory, lane: int, name: str, scope: int) -> tuple[int, int]:
        stamp = await self._known_stamp()
        export = await self._call(partial(guest.open_export, lane=lane, scope=scope))
        async with self._staying(export.handle):
            draft = await self._pool(partial(directory.create, name))
            try:
                await self._fill(draft, name, stamp, export)
                return len(export.memory.ids), await self._pool(draft.commit)
            finally:
                await self._pool(draft.discard)

    async def _fill(self, draft: Draft, name: str, stamp: Stamp, export: guest.Export) -> None:
        writer = await self._on_disk(name, lambda: Writer(draft.file, stamp, export.memory))
        for page in range(stamp.n_pages(len(export.memory.ids))):
            data = await self._call(partial(guest.read, export=export, page=page))
            await self._on_disk(name, partial(writer.page, data))
        await self._on_disk(name, writer.end)

    async def _on_disk(self, name: str, work: Callable[[], T]) -> T:
        def explained_work() -> T:
            with explained(name):
                return work()

        return await self._pool(explained_work)

    # ---- restore ----

    async def _restore(self, directory: SaveDirectory, lane: int, name: str, scope: int) -> tuple[int, int]:
        stamp = await self._known_stamp()
        await self._call(lambda _, scheduler: guest.check_idle(scheduler, lane))
        file, size = await self._pool(partial(directory.open, name))
        try:
            reader = await self._on_disk(name, lambda: self._checked(file, size, stamp))
            if reader.memory.scope != scope:
                raise NotFound(f"{name} was saved with another API key")
            await self._import(name, reader, lane)
            return len(reader.memory.ids), size
        finally:
            await self._pool(file.close)

    def _checked(self, file: BinaryIO, size: int, stamp: Stamp) -> Reader:
        """In the pool: all of the file is sound."""
        reader = Reader(file, size, stamp, self._n_ctx - 1)
        reader.check()
        return reader

    async def _import(self, name: str, reader: Reader, lane: int) -> None:
        if not reader.n_pages:
            await self._call(partial(guest.settle, handle=None, lane=lane, memory=reader.memory))
            return
        handle, first = await self._call(partial(guest.open_import, memory=reader.memory))
        async with self._staying(handle):
            for page in range(first, reader.n_pages):
                data = await self._on_disk(name, partial(reader.page, page))
                await self._call(partial(guest.write, handle=handle, page=page, data=data))
            await self._call(partial(guest.settle, handle=handle, lane=lane, memory=reader.memory))

    # ---- erase ----

    async def _erase(self, lane: int, scope: int) -> int:
        return await self._call(partial(guest.erase, lane=lane, scope=scope))

    # ---- the model's fingerprint ----

    async def _known_stamp(self) -> Stamp:
        if self._stamp is None:
            self._stamp = await self._make_stamp()
        return self._stamp

    async def _make_stamp(self) -> Stamp:
        info = await self._call(_info)
        settings = self._engine.settings
        self._n_ctx = info.n_ctx
        return Stamp(
            model=await self._fingerprint(info),
            k_type=settings.k_type,
            v_type=settings.v_type,
            n_vocab=info.n_vocab,
            page_tokens=info.page_tokens,
            page_bytes=info.page_bytes,
        )

    async def _fingerprint(self, info: EngineInfo) -> bytes:
        """32 bytes of what the model says and what its file says it is.

        The logits' bits after each of a few ids spread over the vocabulary depend on every matrix, on RoPE and on the
        types of keys and values, and, by batch invariance, on nothing else.  What a short prompt cannot show, such as
        windows, is in the file's numbers for its architecture and in the settings of self-extend.  A token a call:
        neighbours do not wait longer than for a step of their own.
        """
        said = hashlib.sha256(repr(self._described(info)).encode())
        ids = array("i", [(2 * i + 1) * info.n_vocab // (2 * _N_PROBE) for i in range(_N_PROBE)])
        handle = await self._call(partial(guest.open_probe, ids=ids))
        async with self._staying(handle):
            for _ in ids:
                said.update(await self._call(partial(guest.advance, handle=handle)))
        return said.digest()

    def _described(self, info: EngineInfo) -> list[object]:
        metadata, settings = self._engine.info.metadata, self._engine.settings
        numbers = sorted((key, value) for key, value in metadata.items() if key.startswith(f"{info.arch}."))
        shape = (info.n_layer, info.n_head, info.n_head_kv, info.n_embd)
        return [info.arch, shape, numbers, settings.group_n, settings.group_w]

    # ---- the two threads ----

    def _call(self, work: Callable[[EngineLike, Scheduler], T]) -> Deferred[T]:
        """In the engine's thread, between two steps."""
        done: Deferred[T] = Deferred()

        def finished(future: Future[T]) -> None:
            self._reactor.callFromThread(_pass_on, future, done)

        self._engine.call(work).add_done_callback(finished)
        return done

    def _pool(self, work: Callable[[], T]) -> Deferred[T]:
        """In a thread of the reactor's pool."""
        done: Deferred[T] = deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work)
        return done

    @contextlib.asynccontextmanager
    async def _staying(self, handle: int | None) -> AsyncIterator[None]:
        """The guest leaves at the end; an engine that has stopped has closed it."""
        try:
            yield
        finally:
            if handle is not None:
                with contextlib.suppress(Unavailable):
                    await self._call(partial(guest.leave, handle=handle))


def _info(engine: EngineLike, scheduler: Scheduler) -> EngineInfo:
    return engine.info


def _pass_on(future: Future[T], done: Deferred[T]) -> None:
    if future.cancelled():
        done.errback(Unavailable("the server is stopping"))
        return
    error = future.exception()
    if error is None:
        done.callback(future.result())
    else:
        done.errback(error)
