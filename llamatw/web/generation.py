"""One sequence as a route sees it: deltas of the engine in, text that may be shown out, and how it ended."""

from __future__ import annotations

import enum
from collections import deque
from types import TracebackType
from typing import NamedTuple

import msgspec

from llamatw.engine.sequence import Choices, Delta, FinishReason, Timings, TokenProbs
from llamatw.engine.stream import TokenStream
from llamatw.errors import Unavailable
from llamatw.text.indent import IndentScanner
from llamatw.text.stops import StopScanner


class StopType(enum.Enum):
    """The `stop_type` of a finished completion."""

    NONE = "none"
    EOS = "eos"
    LIMIT = "limit"
    WORD = "word"


class Progress(msgspec.Struct, frozen=True):
    """How far a prompt has been read: tokens of it, those from the cache, those that are done, milliseconds so far."""

    total: int
    cache: int
    processed: int
    time_ms: float


class Placed(NamedTuple):
    """A token's probabilities, and where its text begins: characters from the start of the generation."""

    start: int
    probs: TokenProbs


class Piece(msgspec.Struct, frozen=True):
    """What one delta adds: its tokens, the text that they and what was held back set free, and the probabilities of the
    tokens that this text is made of, where they are wanted."""

    text: str
    tokens: tuple[int, ...]
    progress: tuple[Progress, ...] = ()
    probs: tuple[Placed, ...] = ()


class _Unshown:
    """Probabilities of tokens whose text is still held back.

        tokens    "He" "llo" (c3) (a9) "\n"        (c3) (a9): two halves of a character
        start       0    2    5    5    6
        end         2    5    6    6    7

    A token that completes no character is shown with the next one that does."""

    def __init__(self) -> None:
        self._n_fed = 0  # characters
        self._open: list[TokenProbs] = []  # they wait for text
        self._closed: deque[tuple[int, Placed]] = deque()  # with the end

    def feed(self, delta: Delta) -> None:
        self._open += delta.probs
        if delta.text:
            start, self._n_fed = self._n_fed, self._n_fed + len(delta.text)
            self._closed += [(self._n_fed, Placed(start, entry)) for entry in self._open]
            self._open.clear()

    def upto(self, n_shown: int) -> tuple[Placed, ...]:
        """Those of tokens that are shown to their ends."""
        taken = []
        while self._closed and self._closed[0][0] <= n_shown:
            taken.append(self._closed.popleft()[1])
        return tuple(taken)

    def before(self, n_shown: int) -> tuple[Placed, ...]:
        """Those of tokens that are shown at least in part: the text ends there."""
        return tuple(placed for _, placed in self._closed if placed.start < n_shown)

    def rest(self) -> tuple[Placed, ...]:
        return (*(placed for _, placed in self._closed), *(Placed(self._n_fed, entry) for entry in self._open))


class Generation:
    """Iterate it to the end, then read the fields.  As a context manager it lets go of its sequence on any way out."""

    def __init__(
        self, stream: TokenStream, stop: tuple[str, ...] = (), n_indent: int = 0, tells_progress: bool = False
    ) -> None:
        """tells_progress: there are pieces while the prompt is read, too."""
        self.n_prompt = stream.n_prompt
        self.slot = -1
        self.text = ""
        self.tokens: list[int] = []
        self.probs: list[Placed] = []  # after finish()
        self.scores: list[Choices] = []  # of the prompt's tokens so far, see Delta
        self.stop_type = StopType.NONE
        self.stopping_word = ""
        self.timings = Timings()
        self._stream = stream
        self._words = StopScanner(stop)
        self._lines = IndentScanner(n_indent)
        self._unshown = _Unshown()
        # Prompt tokens that progress was told of; -1: not even that it begins.
        self._n_read = -1 if tells_progress and self.n_prompt else self.n_prompt

    @property
    def truncated(self) -> bool:
        """The context was full before the model was done: it ended, or lost tokens."""
        return self._stream.truncated

    @property
    def n_past(self) -> int:
        """Tokens in its context that are computed: all but the last."""
        n_total = self.n_prompt + len(self.tokens) - self._stream.n_dropped
        return n_total - 1 if self.tokens else n_total

    @property
    def likelihood(self) -> float:
        """The mean of its tokens' log-probabilities; 0 where there are none."""
        return sum(placed.probs.logprob for placed in self.probs) / len(self.probs) if self.probs else 0.0

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
            if delta.scores:
                self.scores.append(delta.scores)
            text, progress, probs = self._shown(delta), self._progress(delta), self._probs(delta)
            if delta.tokens or text or progress:
                return Piece(text, delta.tokens, progress, probs)
        raise StopAsyncIteration

    async def finish(self) -> Generation:
        """Runs to the end, for answers in one piece."""
        async for piece in self:
            self.probs += piece.probs
        return self

    def _shown(self, delta: Delta) -> str:
        """The text that it sets free; notes the end of the generation and what has ended it."""
        text = self._words.feed(delta.text)
        if delta.finish is not None and not self._words.word:
            text += self._words.finish()
        text = self._lines.feed(text)
        if self._lines.is_short:
            self.stop_type = StopType.LIMIT
            self._stream.cancel(FinishReason.LIMIT)
        elif self._words.word:
            self.stop_type, self.stopping_word = StopType.WORD, self._words.word
            self._stream.cancel(FinishReason.WORD)
        elif delta.finish is not None:
            self.stop_type = StopType.EOS if delta.finish is FinishReason.EOS else StopType.LIMIT
        if self.stop_type is not StopType.NONE:
            text += self._lines.finish()
        self.text += text
        return text

    def _probs(self, delta: Delta) -> tuple[Placed, ...]:
        """Those that go with the text so far.  What was cut off has none, unless the token begins before the cut."""
        self._unshown.feed(delta)
        if self.stop_type is StopType.NONE:
            return self._unshown.upto(len(self.text))
        is_cut = self._words.word or self._lines.is_short
        return self._unshown.before(len(self.text)) if is_cut else self._unshown.rest()

    def _progress(self, delta: Delta) -> tuple[Progress, ...]:
        """The first time, also where it began: with what the cache had."""
        if delta.prompt_done <= self._n_read:
            return ()
        is_first, self._n_read = self._n_read < 0, delta.prompt_done
        cached = delta.timings.cache_n
        now = Progress(self.n_prompt, cached, delta.prompt_done, delta.timings.prompt_ms)
        return (Progress(self.n_prompt, cached, cached, 0.0), now) if is_first else (now,)
