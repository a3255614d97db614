"""The sampler chain in NumPy float64, each sampler by its definition over all candidates, sorted in full.

It shares nothing with the engine but the random numbers' definition.  Where a cut or a draw is too close to call in the
engine's precision, the outcome says so instead of deciding.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

BORDERLINE = 1e-6  # a sum over the whole vocabulary is in float: a cut this close to a step may fall on either side
ROUGH = 1e-5  # the same for what is computed from several such sums
FLOAT_MAX = float(np.finfo(np.float32).max)

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ids = npt.NDArray[np.int32]

NO_IDS = np.zeros(0, np.int32)


@dataclass
class Lexicon:
    """What samplers know of a vocabulary."""

    pieces: list[bytes]
    eog: list[int]
    eot: int


@dataclass
class Case:
    """One call of lt_sample; the fields from temperature to n_prompt as in lt_sampling."""

    logits: Floats
    chain: tuple[str, ...]
    temperature: float = 1.0
    dynatemp_range: float = 0.0
    dynatemp_exponent: float = 1.0
    top_p: float = 1.0
    min_p: float = 0.0
    tfs_z: float = 1.0
    typical_p: float = 1.0
    top_n_sigma: float = -1.0
    xtc_probability: float = 0.0
    xtc_threshold: float = 0.1
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    dry_multiplier: float = 0.0
    dry_base: float = 1.75
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    adaptive_target: float = -1.0
    adaptive_decay: float = 0.9
    top_k: int = 0
    min_keep: int = 0
    repeat_last_n: int = 64
    dry_allowed_length: int = 2
    dry_penalty_last_n: int = -1
    n_prompt: int = 0
    seed: int = 0
    history: Ids = field(default_factory=lambda: NO_IDS)
    penalty_prompt: Ids = field(default_factory=lambda: NO_IDS)
    breakers: list[tuple[int, ...]] = field(default_factory=list)
    bias: dict[int, float] = field(default_factory=dict)
    ignore_eos: bool = False
    spare_newline: bool = False
    mask: npt.NDArray[np.bool_] | None = None
    state: tuple[float, float] = (0.0, 1.0)

    def single(self, name: str) -> float:
        """A float setting as the engine has it."""
        return float(np.float32(getattr(self, name)))


@dataclass
class Outcome:
    token: int
    logprob: float
    ids: Ids
    probs: Doubles
    state: tuple[float, float]
    borderline: bool = False  # the reference's cut or draw is too close to call


NOTHING = Outcome(-1, 0.0, NO_IDS, np.zeros(0), (0.0, 1.0))


@dataclass
class Candidates:
    """Survivors, best first: ids, logits, the temperature that these are still to be divided by."""

    ids: Ids
    logits: Doubles
    temperature: float = 1.0
    given: Doubles | None = None  # probabilities that are no powers of the logits
    borderline: bool = False

    @property
    def scaled(self) -> Doubles:
        return np.asarray((self.logits - self.logits[0]) / self.temperature)

    @property
    def probs(self) -> Doubles:
        if self.given is not None:
            return self.given
        weights = np.exp(self.scaled)
        return np.asarray(weights / weights.sum())

    @property
    def surprises(self) -> Doubles:
        """In nats."""
        return np.asarray(np.log(np.exp(self.scaled).sum()) - self.scaled)

    def entropy(self) -> float:
        return float((self.probs * self.surprises).sum())

    def keep(self, which: npt.NDArray[np.bool_] | slice) -> Candidates:
        return replace(self, ids=self.ids[which], logits=self.logits[which])

    def note(self, margin: npt.ArrayLike, tolerance: float = BORDERLINE) -> None:
        """Something was decided by this distance."""
        margin = np.abs(np.asarray(margin, dtype=np.float64))
        self.borderline |= bool(margin.size and margin.min() < tolerance)

    def settled(self) -> Candidates:
        """As single-precision logits, at temperature 1."""
        logits = np.clip(self.logits / self.temperature, -FLOAT_MAX, FLOAT_MAX).astype(np.float32)
        return ranked(self.ids, logits.astype(np.float64), self.borderline)


def ranked(ids: Ids, logits: Doubles, borderline: bool) -> Candidates:
    order = np.lexsort((ids, -logits))
    return Candidates(ids[order], logits[order], borderline=borderline)


# ---- samplers ----


def tail(ids: list[int], n: int) -> list[int]:
    return ids if n < 0 else ids[len(ids) - min(n, len(ids)) :]


def penalties(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    said = [*case.penalty_prompt.tolist(), *case.history[case.n_prompt :].tolist()]
    counts = Counter(tail(said, case.repeat_last_n))
    repeat, presence, frequency = map(np.float32, (case.repeat_penalty, case.presence_penalty, case.frequency_penalty))
    if case.repeat_last_n == 0 or (repeat == 1 and presence == 0 and frequency == 0):
        return c
    c = c.settled()
    for place, token in enumerate(c.ids.tolist()):
        if not counts[token] or (case.spare_newline and lexicon.pieces[token] == b"\n"):
            continue
        old = np.float32(c.logits[place])
        new = old / repeat if old > 0 else old * repeat
        c.logits[place] = new - (np.float32(counts[token]) * frequency + presence)
    return ranked(c.ids, np.clip(c.logits, -FLOAT_MAX, FLOAT_MAX), c.borderline)


def common_end(a: list[int], b: list[int]) -> int:
    n = 0
    while n < min(len(a), len(b)) and a[-1 - n] == b[-1 - n]:
        n += 1
    return n


def behind_last_breaker(ids: list[int], breakers: list[tuple[int, ...]]) -> int:
    """How many ids stand behind the breaker that begins last; of several, behind the longest."""
    for begin in reversed(range(len(ids))):
        lengths = [len(one) for one in breakers if tuple(ids[begin : begin + len(one)]) == one]
        if lengths:
            return len(ids) - begin - max(lengths)
    return len(ids)


def dry(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    ids = tail(case.history.tolist(), case.dry_penalty_last_n)
    limit = behind_last_breaker(ids, case.breakers)
    if case.dry_multiplier == 0 or len(ids) < 2 or limit < case.dry_allowed_length:
        return c
    longest: dict[int, int] = {}
    for follower in range(1, len(ids)):
        length = min(common_end(ids[:follower], ids), limit)
        if length >= case.dry_allowed_length:
            longest[ids[follower]] = max(longest.get(ids[follower], 0), length)
    c = c.settled()
    for place, token in enumerate(c.ids.tolist()):
        if token in longest:
            excess = longest[token] - case.dry_allowed_length
            with np.errstate(over="ignore"):
                penalty = np.float64(case.single("dry_multiplier")) * np.float64(case.single("dry_base")) ** excess
            c.logits[place] = np.float32(max(c.logits[place] - penalty, -FLOAT_MAX))
    return ranked(c.ids, c.logits, c.borderline)


def top_n_sigma(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.top_n_sigma <= 0:
        return c
    below = c.logits[0] - c.logits
    cut = case.single("top_n_sigma") * c.logits.std()
    c.note((below - cut)[below > 0] / max(cut, 1e-30), ROUGH)
    return c.keep(below <= cut)


def top_k(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    return c.keep(slice(max(case.top_k, case.min_keep))) if case.top_k > 0 else c


def tfs_z(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.tfs_z >= 1 or c.ids.size <= 2:
        return c
    bends = np.abs(np.diff(c.probs, 2))
    c.note(bends.sum() - 1e-6, 1e-9)
    shares = np.full(bends.size, 1 / bends.size) if bends.sum() <= 1e-6 else bends / bends.sum()
    so_far = np.cumsum(shares)
    z = case.single("tfs_z")
    c.note(so_far - z, 1e-9)
    cuts = [i for i in np.flatnonzero(so_far > z) if i >= max(case.min_keep, 1)]
    return c.keep(slice(cuts[0] if cuts else None))


def typical_p(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.typical_p >= 1:
        return c
    entropy, surprises, p = c.entropy(), c.surprises, case.single("typical_p")
    if (c.logits == c.logits[0]).all():
        entropy = surprises[0]  # without rounding
    scores = np.abs(surprises - entropy)
    is_right = surprises >= entropy
    tied = np.isin(np.arange(scores.size), np.flatnonzero(np.diff(c.logits) == 0))
    c.note(scores[tied & (scores > 0)], ROUGH)  # of equal ones it decides which come first
    order = np.lexsort((np.where(is_right, 1, -1) * np.arange(scores.size), is_right, scores))
    so_far = np.cumsum(c.probs[order])
    c.note(so_far - p)
    enough = np.flatnonzero((so_far > p) & (np.arange(1, scores.size + 1) >= case.min_keep))
    n = int(enough[0]) + 1 if enough.size else scores.size
    within, outside = scores[order[n - 1]], scores[order[n:]]
    c.note((outside - within)[c.logits[order[n:]] != c.logits[order[n - 1]]], ROUGH)
    which = np.zeros(scores.size, np.bool_)
    which[order[:n]] = True
    return c.keep(which)


def top_p(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.top_p >= 1:
        return c
    so_far, p = np.cumsum(c.probs), case.single("top_p")
    c.note(so_far - p)
    enough = np.flatnonzero((so_far >= p) & (np.arange(1, so_far.size + 1) >= case.min_keep))
    return c.keep(slice(int(enough[0]) + 1 if enough.size else None))


def min_p(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.min_p <= 0:
        return c
    ratios = np.exp(c.scaled)
    c.note((ratios - case.single("min_p"))[1:], 1e-14)
    return c.keep(slice(max(1, case.min_keep, int((ratios >= case.single("min_p")).sum()))))


def xtc(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.xtc_threshold > 0.5 or uniform(case.seed, case.history.size, 1) >= case.single("xtc_probability"):
        return c
    threshold = case.single("xtc_threshold")
    c.note(c.probs - threshold, BORDERLINE * threshold)
    n = int((c.probs >= threshold).sum())
    return c.keep(slice(n - 1, None)) if n > 1 and c.ids.size - (n - 1) >= case.min_keep else c


def temperature(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    t, spread = case.single("temperature"), case.single("dynatemp_range")
    if t > 0 and spread > 0:
        low, n = max(0.0, t - spread), c.ids.size
        share = max(c.entropy() / np.log(n), 0.0) if n > 1 else 0.0
        t = low + (t + spread - low) * share ** case.single("dynatemp_exponent") if n > 1 else 1.0
    return c.keep(slice(1)) if t <= 0 else replace(c, temperature=c.temperature * t)


def infill(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    """Ends with logits that are the logarithms of what each was left with."""
    ids = c.ids[:128].tolist()
    shares = np.where(c.scaled[:128] > -700, c.probs[:128], 0)  # less is nothing
    probs = dict(zip(ids, (shares / shares.sum()).tolist(), strict=True))
    ends = {token for token in ids if token in lexicon.eog}
    part = sum(probs[token] for token in ids if token in ends)
    c.note(3 * part * len(ids) - (1 - part), 1e-9)
    if 3 * part * len(ids) > 1 - part:
        probs = {token: p for token, p in probs.items() if token in ends and p > 0}
    else:
        merge(ids, probs, ends, lexicon)
        probs = likely(c, probs, ends, 0.2)
        n_text = len(probs.keys() - ends)
        if n_text:
            probs = likely(c, probs, ends, 1 / (n_text + 1))
        elif lexicon.eot >= 0 and allows(case, lexicon, c, lexicon.eot):
            probs = {lexicon.eot: 1.0}
    if not probs:
        return c
    left = np.array(list(probs), np.int32)
    logits = np.log(np.array(list(probs.values()))).astype(np.float32).astype(np.float64)
    return ranked(left, logits, c.borderline)


def merge(ids: list[int], probs: dict[int, float], ends: set[int], lexicon: Lexicon) -> None:
    for a in ids:
        for b in ids:
            if a == b or {a, b} & ends or not probs[a] or not probs[b] or not lexicon.pieces[a]:
                continue
            if lexicon.pieces[b].startswith(lexicon.pieces[a]):
                winner, loser = (b, a) if probs[b] > probs[a] else (a, b)
                probs[winner] += probs[loser]
                probs[loser] = 0.0


def likely(c: Candidates, probs: dict[int, float], ends: set[int], floor: float) -> dict[int, float]:
    total = sum(probs.values())
    c.note([p / total - floor for token, p in probs.items() if token not in ends], 1e-9)
    return {token: p for token, p in probs.items() if p > 0 and (token in ends or p / total >= floor)}


def allows(case: Case, lexicon: Lexicon, c: Candidates, token: int) -> bool:
    """Whether it has a logit that filters with a front end have not taken away; only those cases are built."""
    return bool(biased(case, lexicon)[token] > -np.inf)


def mirostat_1(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    n = min(c.ids.size, 100)
    if n < 2:
        return c
    t = np.log(np.arange(2, n + 1) / np.arange(1, n))
    b = -np.diff(c.logits[:n]) / c.temperature
    s = max(float((t * b).sum() / (t * t).sum()), 1e-6)
    e, n_vocab = s - 1, case.logits.size
    share = 1 / np.log(n_vocab) if abs(e * np.log(n_vocab)) < 1e-6 else e / -np.expm1(-e * np.log(n_vocab))
    log_k = (np.log(share) + np.float32(case.state[0]) * np.log(2)) / s
    if log_k >= np.log(n_vocab):
        c.note(log_k - np.log(n_vocab), 1e-9)
        return c
    k = np.exp(log_k)
    if k > 0.5:
        c.note((k - np.round(k)) / k, 1e-9)
    return c.keep(slice(max(int(k), 1)))


def mirostat_2(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    margin = c.surprises / np.log(2) - np.float32(case.state[0])
    c.note(margin[1:])
    return c.keep(slice(max(1, int((margin <= 0).sum()))))


def adaptive_p(c: Candidates, case: Case, lexicon: Lexicon) -> Candidates:
    if case.adaptive_target < 0:
        return c
    target = np.clip(2 * case.single("adaptive_target") - np.float32(case.state[0]) / np.float64(case.state[1]), 0, 1)
    distance = np.abs(c.probs - target) / 0.3
    weights = np.exp(-10 * distance**2 / (1 + distance))
    return replace(c, given=weights / weights.sum())


SAMPLERS: dict[str, Callable[[Candidates, Case, Lexicon], Candidates]] = {
    "penalties": penalties,
    "dry": dry,
    "top_n_sigma": top_n_sigma,
    "top_k": top_k,
    "tfs_z": tfs_z,
    "typical_p": typical_p,
    "top_p": top_p,
    "min_p": min_p,
    "xtc": xtc,
    "temperature": temperature,
    "infill": infill,
    "mirostat_1": mirostat_1,
    "mirostat_2": mirostat_2,
    "adaptive_p": adaptive_p,
}


# ---- from logits to a token ----


def uniform(seed: int, position: int, stream: int) -> float:
    """Philox4x32-10."""
    word = 0xFFFFFFFF
    c = [position & word, position >> 32, stream, 0]
    k = [seed & word, seed >> 32]
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & word, (a >> 32) ^ c[3] ^ k[1], a & word]
        k = [(k[0] + 0x9E3779B9) & word, (k[1] + 0xBB67AE85) & word]
    return float(((c[0] << 32 | c[1]) >> 11) * 2.0**-53)


def biased(case: Case, lexicon: Lexicon) -> Floats:
    work = case.logits.copy()
    if case.mask is not None:
        work[~case.mask] = -np.inf
    if case.ignore_eos:
        work[[token for token in lexicon.eog if token not in case.bias]] = -np.inf
    for token, bias in case.bias.items():
        old = work[token]
        work[token] = old if old == -np.inf else np.float32(old + np.float32(bias))
    return work


def learned(case: Case, before: Doubles, c: Candidates, place: int) -> tuple[float, float]:
    last, (a, b) = case.chain[-1] if case.chain else "", case.state
    if last.startswith("mirostat"):
        surprise = -np.log2(c.probs[place])
        return float(a - case.single("mirostat_eta") * (surprise - case.single("mirostat_tau"))), b
    if last == "adaptive_p" and case.adaptive_target >= 0:
        decay = case.single("adaptive_decay")
        return float(before[place] + decay * a), float(1 + decay * b)
    return case.state


def reference(case: Case, lexicon: Lexicon) -> Outcome:
    raw = case.logits.astype(np.float64)
    if np.isnan(raw).any() or (raw == np.inf).any() or (raw == -np.inf).all():
        return NOTHING
    work = biased(case, lexicon).astype(np.float64)
    alive = np.flatnonzero(work > -np.inf).astype(np.int32)
    if alive.size == 0:
        return NOTHING
    c = ranked(alive, work[alive], False)
    for name in case.chain:
        c = SAMPLERS[name](c, case, lexicon)
    so_far = np.cumsum(c.probs)
    u = uniform(case.seed, case.history.size, 0)
    place = min(int(np.searchsorted(so_far, u, side="right")), c.ids.size - 1)
    c.note(so_far[:-1] - u)
    token = int(c.ids[place])
    finite = raw[raw > -np.inf]
    logprob = raw[token] - finite.max() - np.log(np.exp(finite - finite.max()).sum())
    state = learned(case, replace(c, given=None).probs, c, place)
    return Outcome(token, float(logprob), c.ids.astype(np.int32), c.probs, state, c.borderline)
