"""TokenStream: what a route holds of its sequence.  Reactor thread only."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from llamatw.engine.sequence import Delta, FinishReason, Timings

_MANY_BYTES, _FEW_BYTES = 64 << 10, 16 << 10  # that nobody has read: its sequence rests, goes on


class TokenStream:
    """Deltas in order; the last one has `finish` set.  Cancelling whoever awaits next() aborts the sequence, so a
    client's departure needs no code in a route.  A route that stops reading for another reason calls cancel().  While a
    reader is far behind, its sequence rests."""

    def __init__(
        self,
        id: int,
        n_prompt: int,
        abort: Callable[[int, FinishReason], None],
        rest: Callable[[int, bool], None] = lambda id, rests: None,
        owner: int = 0,
        n_bytes: int = 0,
    ) -> None:
        self.id = id
        self.n_prompt = n_prompt
        self.owner = owner
        self.n_bytes = n_bytes  # of the request that it came with
        self.truncated = False  # the prompt was, or the context since
        self.n_dropped = 0  # tokens that the context has lost
        self.slot = -1  # known with the first delta
        self.timings = Timings()  # as of the newest delta that arrived
        self.finish: FinishReason | None = None  # set when the last delta has arrived, perhaps still unread
        self.pending_bytes = 0  # of text and probabilities that nobody has read yet
        self._abort = abort
        self._rest = rest
        self._rests = False
        self._unread: deque[Delta] = deque()
        self._waiting: Deferred[None] | None = None

    def __aiter__(self) -> TokenStream:
        return self

    async def __anext__(self) -> Delta:
        """The next delta; ends after the one that has `finish`."""
        while not self._unread:
            if self.finish is not None:
                raise StopAsyncIteration
            self._waiting = Deferred(lambda _: self._leave())
            await self._waiting
        delta = self._unread.popleft()
        self.pending_bytes -= delta.n_bytes
        if self._rests and self.pending_bytes < _FEW_BYTES:
            self._rests = False
            self._rest(self.id, False)
        return delta

    next = __anext__

    def push(self, delta: Delta) -> None:
        """The engine's side.  What comes after the end is dropped."""
        if self.finish is not None:
            return
        self.slot, self.timings, self.finish = delta.slot, delta.timings, delta.finish
        self.n_dropped = delta.n_dropped
        self.truncated = self.truncated or delta.n_dropped > 0 or delta.finish is FinishReason.CONTEXT
        self._unread.append(delta)
        self.pending_bytes += delta.n_bytes
        if self.pending_bytes > _MANY_BYTES and not self._rests and self.finish is None:
            self._rests = True
            self._rest(self.id, True)
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def cancel(self, reason: FinishReason = FinishReason.ABORT) -> None:
        """Aborts the sequence; what was unread is dropped and a reader gets a last delta that gives the reason."""
        if self.finish is None:
            self._abort(self.id, reason)
            self._unread.clear()
            self.pending_bytes = 0
            self.push(Delta(finish=reason, slot=self.slot, timings=self.timings))

    def _leave(self) -> None:
        self._waiting = None
        self.cancel()
