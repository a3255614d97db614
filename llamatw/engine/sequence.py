"""A request inside the engine: its prompt, its wishes, how far it has come.  Pure data; no clock, thread or ctypes."""

from __future__ import annotations

import enum
from array import array

import msgspec

from llamatw.capi.records import SAMPLERS, Breakers, Choices, Out, SamplingParams
from llamatw.engine.constraint import Constraint, Guard
from llamatw.engine.guesses import Guesses
from llamatw.settings import MAX_DRAFT

__all__ = [
    "SAMPLERS",
    "Breakers",
    "Choices",
    "Delta",
    "FinishReason",
    "GenerationParams",
    "SamplingParams",
    "Sequence",
    "Status",
    "Timings",
    "TokenProbs",
]


class Status(enum.Enum):
    WAITING = "waiting"
    RUNNING = "running"
    FINISHED = "finished"


class FinishReason(enum.Enum):
    """Why a sequence ended.  The reply, which sees text, tells of stop words."""

    EOS = "eos"
    LIMIT = "limit"  # max_tokens reached
    CONTEXT = "context"  # the KV pool is full for it
    TIMEOUT = "timeout"  # a time limit of the request has passed
    WORD = "word"  # the reply found a stop word
    ABORT = "abort"  # the client went away, or the server stops
    ERROR = "error"  # this sequence alone failed: Delta.error says why


class GenerationParams(msgspec.Struct, frozen=True, kw_only=True):
    """What submit() takes beside the prompt."""

    sampling: SamplingParams = SamplingParams()
    wants_probs: bool = False  # each delta carries its tokens' probabilities
    max_tokens: int = -1  # negative: until EOS or the context is full; 0: evaluate the prompt only
    cache_prompt: bool = True
    scope: int = 0  # prefix-cache scope
    owner: int = 0  # whose it is: owners get equal shares
    slot: int = -1  # wished lane
    shifts: bool = False  # a full context loses tokens instead of ending: see shift.py
    n_keep: int = 0  # tokens that stay then, -1: the prompt
    n_discard: int = 0  # tokens that go; 0: half of the others
    cuts_prompt: bool = False  # so does a prompt that is too long
    timeout_s: float | None = None  # from arrival to the last token
    predict_timeout_s: float | None = None  # from the first token to the last; heeded once a line has ended
    n_draft: int = MAX_DRAFT  # guesses in a step at the most
    constraint: Constraint | None = None  # what it may say


class Timings(msgspec.Struct, frozen=True, kw_only=True):
    """Milliseconds and counts of one sequence, as `timings` shows them."""

    prompt_n: int = 0  # prompt tokens computed (not from cache)
    cache_n: int = 0  # prompt tokens from the prefix cache
    prompt_ms: float = 0.0  # start of prefill to the first sampled token, or to now
    predicted_n: int = 0
    predicted_ms: float = 0.0  # first sampled token to the last
    draft_n: int = 0  # guesses that were computed along
    draft_n_accepted: int = 0  # those that were right


class TokenProbs(msgspec.Struct, frozen=True):
    """What a token was chosen among.  Out says more of the fields."""

    token: int
    logprob: float
    prob: float
    top: Choices
    chances: Choices

    @property
    def n_bytes(self) -> int:
        return len(self.top.data) + len(self.chances.data)


class Delta(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence's share of one step's results, as it crosses to the reactor."""

    tokens: tuple[int, ...] = ()
    probs: tuple[TokenProbs, ...] = ()  # one for each of tokens, where they are wanted
    scores: Choices = Choices()  # of the prompt, see Out.scores: each token once, in order, before there are tokens
    text: str = ""  # what the tokens completed; whole characters
    finish: FinishReason | None = None
    error: Exception | None = None  # with finish ERROR
    prompt_done: int = 0  # prompt tokens that are in the cache now
    slot: int = -1  # its lane
    n_dropped: int = 0  # tokens that shifts have taken out of its context
    timings: Timings = Timings()  # so far

    @property
    def n_bytes(self) -> int:
        """What is kept of it until somebody reads it."""
        return len(self.text.encode()) + sum(entry.n_bytes for entry in self.probs) + len(self.scores.data)


class Sequence(msgspec.Struct, kw_only=True, eq=False):
    """The scheduler's view of one request.  The engine knows a history:

        prompt | generated, without the last n_replay of them
        computed ^^^^^^^^^^^         n_computed chases n_total

    n_replay > 0 after the engine had to forget the sequence in the middle of a character: the held-back bytes went too,
    so those tokens are sampled once more (the same ones: RNG and logits depend on position alone), not shown twice.
    A context that was shifted is got back in the same way: from its first full state on.
    """

    id: int
    prompt: array[int]
    params: GenerationParams = GenerationParams()
    status: Status = Status.WAITING
    slot: int = -1
    handle: int = -1  # the engine's name for it while RUNNING
    generated: list[int] = msgspec.field(default_factory=list)
    states: list[tuple[float, float]] = msgspec.field(default_factory=list)  # behind each generated one: see append()
    n_computed: int = 0
    n_replay: int = 0
    n_dropped: int = 0  # tokens that shifts have taken out of the history
    n_held: int = 0  # tokens at the end of the history whose text waits for the rest of a character
    n_scored: int = 0  # tokens of its prompt, behind the first, whose scores have been told
    n_cached: int = 0  # prompt tokens that the prefix cache or other sequences supplied when it first ran
    due: int = 0  # place among those that read prompts: see Scheduler._prompts
    n_known: int = 0  # tokens of its prompt that others have computed
    overlaps: dict[int, int] = msgspec.field(default_factory=dict)  # other sequences' ids: tokens in common
    guesses: Guesses = msgspec.field(default_factory=Guesses)
    guard: Guard | None = None  # its place in the constraint, once it has run
    is_full: bool = False  # its context must be shifted before it goes on
    rests: bool = False  # its reader is behind
    has_line: bool = False  # some of its text ends a line
    arrived: float = 0.0  # seconds, of whatever clock submit(), plan() and commit() are told
    started: float | None = None
    first_token: float | None = None
    last_token: float = 0.0

    @property
    def n_total(self) -> int:
        """Length of the history that the engine knows."""
        return len(self.prompt) + len(self.generated) - self.n_replay - self.n_dropped

    @property
    def n_behind(self) -> int:
        return self.n_total - self.n_computed

    @property
    def is_decoding(self) -> bool:
        """It costs one token a step and somebody is waiting for that token."""
        return self.n_total - self.n_computed == 1 and len(self.generated) > self.n_replay

    def is_late(self, now: float) -> bool:
        """A time limit of its own has passed."""
        whole, predict, first = self.params.timeout_s, self.params.predict_timeout_s, self.first_token
        if whole is not None and now - self.arrived > whole:
            return True
        return predict is not None and self.has_line and first is not None and now - first > predict

    @property
    def n_shareable(self) -> int:
        """Computed tokens of prompt + generated that hold for others, too: none that a shift has moved."""
        return 0 if self.n_dropped else self.n_computed

    def history(self) -> array[int]:
        """What a new engine sequence must be opened with to go on from here; not for a context that was shifted."""
        return self.prompt + array("i", self.generated[: len(self.generated) - self.n_replay])

    def append(self, out: Out) -> None:
        """A token more.  Where samplers have a state, it is kept: a sequence that is reopened goes on from it."""
        self.generated.append(out.token)
        if not self.params.sampling.is_stateless:
            self.states.append(out.state)

    def new_scores(self, out: Out) -> Choices:
        """What a row that began at n_computed has for those who hear of it: a sequence that was reopened computes its
        prompt once more, and what it has said."""
        size = 1 + self.params.sampling.n_probs
        begin, end = self.n_scored - self.n_computed, len(self.prompt) - 1 - self.n_computed
        new = out.scores[size * begin : size * end]
        self.n_scored += len(new) // size
        return new

    def sampling(self) -> SamplingParams:
        """And with which settings."""
        n_known = len(self.generated) - self.n_replay
        if not self.states or not n_known:
            return self.params.sampling
        return msgspec.structs.replace(self.params.sampling, state=self.states[n_known - 1])

    def new_guard(self) -> Guard | None:
        """And at which place in its constraint."""
        constraint, n_known = self.params.constraint, len(self.generated) - self.n_replay
        return None if constraint is None else Guard(constraint, self.generated[:n_known])

    def prompt_done(self) -> int:
        """Prompt tokens in the KV cache, or once were."""
        return len(self.prompt) if self.generated else min(self.n_computed, len(self.prompt))

    def timings(self, now: float) -> Timings:
        started, first = self.started, self.first_token
        read = now if first is None else first
        return Timings(
            prompt_n=max(self.prompt_done() - self.n_cached, 0),
            cache_n=self.n_cached,
            prompt_ms=0.0 if started is None else 1e3 * (read - started),
            predicted_n=len(self.generated),
            predicted_ms=0.0 if first is None else 1e3 * (self.last_token - first),
            draft_n=self.guesses.n_drafted,
            draft_n_accepted=self.guesses.n_right,
        )
