"""One sequence as a route sees it: deltas of the engine in, text that may be shown out, and how it ended."""

from __future__ import annotations

import enum
from types import TracebackType

import msgspec

from llamatw.engine.sequence import FinishReason, Timings
from llamatw.engine.stream import TokenStream
from llamatw.errors import Unavailable
from llamatw.text.stops import StopScanner


class StopType(enum.Enum):
    """The `stop_type` of a finished completion."""

    NONE = "none"
    EOS = "eos"
    LIMIT = "limit"
    WORD = "word"


class Piece(msgspec.Struct, frozen=True):
    """What one delta adds: its tokens, and the text that they and what was held back set free."""

    text: str
    tokens: tuple[int, ...]


class Generation:
    """Iterate it to the end, then read the fields.  As a context manager it lets go of its sequence on any way out."""

    def __init__(self, stream: TokenStream, stop: tuple[str, ...] = ()) -> None:
        self.n_prompt = stream.n_prompt
        self.slot = -1
        self.text = ""
        self.tokens: list[int] = []
        self.stop_type = StopType.NONE
        self.stopping_word = ""
        self.timings = Timings()
        self._stream = stream
        self._scanner = StopScanner(stop)

    @property
    def truncated(self) -> bool:
        """The context was full before the model was done: it ended, or lost tokens."""
        return self._stream.truncated

    @property
    def n_past(self) -> int:
        """Tokens in its context that are computed: all but the last."""
        n_total = self.n_prompt + len(self.tokens) - self._stream.n_dropped
        return n_total - 1 if self.tokens else n_total

    def __enter__(self) -> Generation:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.cancel()

    def __aiter__(self) -> Generation:
        return self

    async def __anext__(self) -> Piece:
        """The next piece; raises the sequence's own error, and Unavailable when the server gives it up."""
        while self.stop_type is StopType.NONE:
            delta = await self._stream.next()
            if delta.finish is FinishReason.ERROR:
                raise delta.error or Unavailable("the sequence was given up")
            if delta.finish is FinishReason.ABORT:
                raise Unavailable("the sequence was given up")
            self.slot, self.timings = delta.slot, delta.timings
            self.tokens += delta.tokens
            text = self._scanner.feed(delta.text)
            if self._scanner.word:
                self.stop_type, self.stopping_word = StopType.WORD, self._scanner.word
                self._stream.cancel(FinishReason.WORD)
            elif delta.finish is not None:
                text += self._scanner.finish()
                self.stop_type = StopType.EOS if delta.finish is FinishReason.EOS else StopType.LIMIT
            self.text += text
            if delta.tokens or text:
                return Piece(text, delta.tokens)
        raise StopAsyncIteration

    async def finish(self) -> Generation:
        """Runs to the end, for answers in one piece."""
        async for _ in self:
            pass
        return self
