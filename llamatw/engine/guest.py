"""Short calls between two steps that move a history out of the engine or into it; each is a page copy at the most.

The engine has one sequence more than there are lanes, so that this needs no lane: the guest's.  Its handle stands in
scheduler.guest.  Requests come first: when pages run out, the scheduler closes the guest before anybody starves, and
the guest's next call finds that out.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from llamatw.capi.records import Code, KVFull, SamplingParams
from llamatw.engine.lanes import Memory
from llamatw.engine.loop import EngineLike
from llamatw.engine.scheduler import Scheduler
from llamatw.engine.turns import n_common
from llamatw.errors import BadRequest, EngineFailure, Unavailable

T = TypeVar("T")
_RETRY_AFTER_S = 1


class Export(NamedTuple):
    """What a lane has in the cache, held while its pages are read."""

    memory: Memory
    handle: int | None  # None: it has nothing


def open_export(engine: EngineLike, scheduler: Scheduler, lane: int, scope: int) -> Export:
    """What the prefix cache has of a lane's history; while it runs, what it has computed so far."""
    scope, ids = _memory(scheduler, lane, scope)
    ids = ids[: engine.info.n_ctx - 1]
    if not ids:
        return Export(Memory(scope, ids), None)
    # The cache never gives all of a prompt, so one id more is asked for.
    handle, n_cached = _enter(engine, scheduler, Memory(scope, ids + ids[:1]), use_cache=True)
    return Export(Memory(scope, ids[:n_cached]), handle)


def read(engine: EngineLike, scheduler: Scheduler, export: Export, page: int) -> bytearray:
    assert export.handle is not None, "only an empty export has no handle, and it has no page"
    _check_here(scheduler, export.handle)
    return engine.read_page(export.handle, page)


def open_import(engine: EngineLike, scheduler: Scheduler, memory: Memory) -> tuple[int, int]:
    """Handle, and the first page that the prefix cache does not have already."""
    handle, n_cached = _enter(engine, scheduler, memory, use_cache=True)
    return handle, n_cached // engine.info.page_tokens


def write(engine: EngineLike, scheduler: Scheduler, handle: int, page: int, data: bytes) -> None:
    _check_here(scheduler, handle)
    try:
        _with_pages(lambda: engine.write_page(handle, page, data))
    except EngineFailure as error:
        if error.code != Code.FORMAT:
            raise
        raise BadRequest(f"the file holds what no engine writes: {error.message}", "filename") from None


def settle(engine: EngineLike, scheduler: Scheduler, handle: int | None, lane: int, memory: Memory) -> None:
    """All pages are there: they enter the prefix cache, and the lane remembers them."""
    check_idle(scheduler, lane)
    if handle is not None:
        _check_here(scheduler, handle)
        scheduler.guest = None
        engine.close_seq(handle, True)
    scheduler.lanes.remember(lane, memory)


def leave(engine: EngineLike, scheduler: Scheduler, handle: int) -> None:
    """Nothing of what was imported stays.  A guest that has gone already is none."""
    if scheduler.guest == handle:
        scheduler.guest = None
        engine.close_seq(handle, False)


def erase(engine: EngineLike, scheduler: Scheduler, lane: int, scope: int) -> int:
    """The lane forgets, and the prefix cache what no other lane remembers of it; how many ids it had."""
    check_idle(scheduler, lane)
    scope, ids = _memory(scheduler, lane, scope)
    if ids:
        scheduler.lanes.remember(lane)
        others = [scheduler.lanes.memory(other) for other in range(len(scheduler.lanes)) if other != lane]
        engine.forget(
            ids, scope, max((n_common(ids, other.ids) for other in others if other.scope == scope), default=0)
        )
    return len(ids)


def check_idle(scheduler: Scheduler, lane: int) -> None:
    if scheduler.lanes.now[lane] is not None:
        raise Unavailable(f"slot {lane} is processing a request", retry_after=_RETRY_AFTER_S)


def open_probe(engine: EngineLike, scheduler: Scheduler, ids: array[int]) -> int:
    """A history that is computed token by token: advance()."""
    return _enter(engine, scheduler, Memory(0, ids), use_cache=False)[0]


def advance(engine: EngineLike, scheduler: Scheduler, handle: int) -> bytes:
    _check_here(scheduler, handle)
    return _with_pages(lambda: engine.advance(handle))


def _enter(engine: EngineLike, scheduler: Scheduler, memory: Memory, use_cache: bool) -> tuple[int, int]:
    handle, n_cached = engine.open_seq(memory.ids, SamplingParams(), memory.scope, use_cache)
    scheduler.guest = handle
    return handle, n_cached


def _check_here(scheduler: Scheduler, handle: int) -> None:
    if scheduler.guest != handle:
        raise _no_room()


def _with_pages(work: Callable[[], T]) -> T:
    try:
        return work()
    except KVFull:
        raise _no_room() from None


def _no_room() -> Unavailable:
    return Unavailable("running requests need all of the KV cache", retry_after=_RETRY_AFTER_S)


def _memory(scheduler: Scheduler, lane: int, scope: int) -> Memory:
    """What the lane has of this scope: to one API key, a lane that another one used last is empty."""
    memory = scheduler.lanes.memory(lane)
    return memory if memory.scope == scope else Memory(scope, array("i"))
