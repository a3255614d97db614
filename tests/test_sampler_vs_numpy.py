"""The sampler chain against the same chain in NumPy float64, sorted in full: sets, probabilities, tokens, draws.

The C files are built into a small library of their own, since the chain is not part of the engine's boundary.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

CLIB = Path(__file__).resolve().parent.parent / "clib"
IGNORE_EOS = 1
BORDERLINE = 1e-6  # a sum over the whole vocabulary is in float: a cut this close to a step may fall on either side

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


class Sampling(ctypes.Structure):
    _fields_ = [
        ("struct_size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
        ("temperature", ctypes.c_float),
        ("top_p", ctypes.c_float),
        ("min_p", ctypes.c_float),
        ("repeat_penalty", ctypes.c_float),
        ("presence_penalty", ctypes.c_float),
        ("frequency_penalty", ctypes.c_float),
        ("top_k", ctypes.c_int32),
        ("repeat_last_n", ctypes.c_int32),
    ]


class Sampled(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("logprob", ctypes.c_float)]


CANDIDATE = np.dtype([("token", np.int32), ("prob", np.float32)])


@dataclass
class Case:
    """One call of lt_sample."""

    logits: Floats
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repeat_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_last_n: int = 64
    seed: int = 0
    history: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    eog: Ids = field(default_factory=lambda: np.zeros(0, np.int32))
    mask: npt.NDArray[np.bool_] | None = None


@dataclass
class Outcome:
    token: int
    logprob: float
    ids: Ids
    probs: npt.NDArray[np.float64]
    borderline: bool = False  # the reference's cut or draw is too close to call


# ---- the C chain ----


class Library:
    """The chain behind ctypes; keeps one sampler per vocabulary size, as used ones must behave like fresh ones."""

    def __init__(self, path: Path) -> None:
        self.lib = ctypes.CDLL(str(path))
        self.lib.lt_sample.restype = Sampled
        self.samplers: dict[int, ctypes.c_void_p] = {}

    def sampler(self, n_vocab: int) -> ctypes.c_void_p:
        if n_vocab not in self.samplers:
            handle = ctypes.c_void_p()
            assert self.lib.lt_sampler_create(ctypes.byref(handle), n_vocab) == 0
            self.samplers[n_vocab] = handle
        return self.samplers[n_vocab]

    def sample(self, case: Case) -> Sampled:
        params = Sampling(
            struct_size=ctypes.sizeof(Sampling),
            flags=IGNORE_EOS if case.eog.size else 0,
            **{entry[0]: getattr(case, entry[0]) for entry in Sampling._fields_[2:]},
        )
        bits = None if case.mask is None else packed(case.mask)
        return self.lib.lt_sample(  # type: ignore[no-any-return]
            self.sampler(case.logits.size),
            ctypes.byref(params),
            case.logits.ctypes.data_as(ctypes.c_void_p),
            case.history.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int32(case.history.size),
            case.eog.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int32(case.eog.size),
            None if bits is None else bits.ctypes.data_as(ctypes.c_void_p),
        )

    def run(self, case: Case) -> Outcome:
        sampled = self.sample(case)
        n_vocab = case.logits.size
        out = np.zeros(n_vocab, CANDIDATE)
        n = self.lib.lt_sample_candidates(self.sampler(n_vocab), out.ctypes.data_as(ctypes.c_void_p), n_vocab)
        return Outcome(sampled.token, sampled.logprob, out["token"][:n], out["prob"][:n].astype(np.float64))

    def close(self) -> None:
        for handle in self.samplers.values():
            self.lib.lt_sampler_destroy(handle)


def packed(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint32]:
    padded = np.zeros((mask.size + 31) // 32 * 32, np.bool_)
    padded[: mask.size] = mask
    return np.packbits(padded, bitorder="little").view("<u4").astype(np.uint32)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("sampler") / "sampler.so"
    sources = [*sorted((CLIB / "src/sample").glob("*.c")), CLIB / "src/core/memory.c", CLIB / "src/core/status.c"]
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", f"-I{CLIB}/include", f"-I{CLIB}/src"]
    subprocess.run([compiler, *flags, *map(str, sources), "-lm", "-o", str(target)], check=True)
    built = Library(target)
    yield built
    built.close()


# ---- the reference ----


def penalized(case: Case) -> Floats:
    work = case.logits.copy()
    if case.mask is not None:
        work[~case.mask] = -np.inf
    work[case.eog] = -np.inf
    n = case.history.size if case.repeat_last_n < 0 else min(case.repeat_last_n, case.history.size)
    ids, counts = np.unique(case.history[case.history.size - n :], return_counts=True)
    repeat, presence, frequency = map(np.float32, (case.repeat_penalty, case.presence_penalty, case.frequency_penalty))
    old = work[ids]
    new = np.where(old > 0, old / repeat, old * repeat) - (counts.astype(np.float32) * frequency + presence)
    work[ids] = np.where(np.isneginf(old), old, new)
    return work


def philox_uniform(seed: int, position: int) -> float:
    word = 0xFFFFFFFF
    c = [position & word, position >> 32, 0, 0]
    k = [seed & word, seed >> 32]
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & word, (a >> 32) ^ c[3] ^ k[1], a & word]
        k = [(k[0] + 0x9E3779B9) & word, (k[1] + 0xBB67AE85) & word]
    return float(((c[0] << 32 | c[1]) >> 11) * 2.0**-53)


def reference(case: Case) -> Outcome:
    nothing = Outcome(-1, 0.0, np.zeros(0, np.int32), np.zeros(0))
    raw = case.logits.astype(np.float64)
    if np.isnan(raw).any() or (raw == np.inf).any() or (raw == -np.inf).all():
        return nothing
    work = penalized(case).astype(np.float64)
    alive = np.flatnonzero(work > -np.inf)
    if alive.size == 0:
        return nothing
    order = alive[np.argsort(-work[alive], kind="stable")]
    x = work[order] - work[order[0]]
    n, borderline = (1, False) if case.temperature <= 0 else n_survivors(case, x)
    scaled = np.exp(x[:n] / np.float64(np.float32(case.temperature))) if case.temperature > 0 else np.ones(1)
    probs = scaled / scaled.sum()
    cumulative = np.cumsum(probs)
    u = philox_uniform(case.seed, case.history.size)
    place = min(int(np.searchsorted(cumulative, u, side="right")), n - 1)
    borderline = borderline or (n > 1 and bool(np.abs(cumulative[:-1] - u).min() < BORDERLINE))
    token = int(order[place])
    finite = raw[raw > -np.inf]
    logprob = raw[token] - finite.max() - np.log(np.exp(finite - finite.max()).sum())
    return Outcome(token, float(logprob), order[:n].astype(np.int32), probs, borderline)


def n_survivors(case: Case, x: npt.NDArray[np.float64]) -> tuple[int, bool]:
    n = min(case.top_k, x.size) if case.top_k > 0 else x.size
    weights = np.exp(x[:n])
    n_min_p = max(1, int((weights >= np.float64(np.float32(case.min_p))).sum())) if case.min_p > 0 else n
    if case.top_p >= 1:
        return n_min_p, False
    cumulative = np.cumsum(weights)
    target = np.float64(np.float32(case.top_p)) * cumulative[-1]
    n_top_p = min(int(np.searchsorted(cumulative, target, side="left")) + 1, n)
    close = bool(np.abs(cumulative / cumulative[-1] - np.float32(case.top_p)).min() < BORDERLINE)
    whole_vocabulary = not 0 < case.top_k < case.logits.size
    return min(n_top_p, n_min_p), close and whole_vocabulary and n_top_p <= n_min_p + 1


# ---- random cases ----


def random_logits(rng: np.random.Generator, n: int) -> Floats:
    x: Floats = (rng.standard_normal(n) * rng.choice([0.1, 1, 4, 30])).astype(np.float32)
    kind = rng.integers(10)
    if kind <= 1:
        x[:] = np.round(x * 2) / 2  # many ties
    elif kind == 2:
        x[:] = x[0]
    elif kind == 3:
        x[rng.random(n) < 0.7] = -np.inf
    elif kind == 4:
        x[np.arange(n) != rng.integers(n)] = -np.inf  # one survivor
    elif kind == 5 and rng.random() < 0.5:
        x[rng.integers(n)] = rng.choice([np.nan, np.inf])
    elif kind == 5:
        x[:] = -np.inf
    return x


def random_case(rng: np.random.Generator, n: int) -> Case:
    def sometimes(value: float | np.integer, otherwise: float, chance: float = 0.5) -> float:
        return float(value) if rng.random() < chance else otherwise

    return Case(
        logits=random_logits(rng, n),
        temperature=sometimes(rng.choice([0.0, -1.0]), float(rng.choice([0.01, 0.5, 0.8, 1.0, 3.0])), 0.1),
        top_k=int(sometimes(rng.integers(1, n + 2), float(rng.choice([0, -1, 40])))),
        top_p=sometimes(rng.random(), 1.0),
        min_p=sometimes(rng.random() ** 3, 0.0),
        repeat_penalty=sometimes(0.5 + rng.random() * 1.5, 1.0),
        presence_penalty=sometimes(rng.normal(), 0.0, 0.3),
        frequency_penalty=sometimes(rng.normal(), 0.0, 0.3),
        repeat_last_n=int(rng.choice([-1, 0, 1, 64, 1000])),
        seed=int(rng.integers(0, 2**64, dtype=np.uint64)),
        history=rng.integers(0, n, rng.integers(0, 120), dtype=np.int32),
        eog=rng.integers(0, n, rng.integers(1, 3), dtype=np.int32) if rng.random() < 0.2 else np.zeros(0, np.int32),
        mask=rng.random(n) < rng.choice([0.02, 0.5, 0.98]) if rng.random() < 0.3 else None,
    )


def check(case: Case, ours: Outcome, expected: Outcome) -> None:
    if expected.token < 0:
        assert ours.token == -1 and ours.ids.size == 0
        return
    np.testing.assert_array_equal(ours.ids, expected.ids)
    np.testing.assert_allclose(ours.probs, expected.probs, rtol=2e-6, atol=1e-30)
    assert ours.token == expected.token
    assert ours.logprob == pytest.approx(expected.logprob, rel=3e-7, abs=2e-6)


def compare(library: Library, cases: Iterator[Case]) -> int:
    """Checks every case; returns how many were too close to call."""
    n_borderline = 0
    for i, case in enumerate(cases):
        expected = reference(case)
        if expected.borderline:
            n_borderline += 1
            continue
        try:
            check(case, library.run(case), expected)
        except AssertionError as error:
            raise AssertionError(f"case {i}: {case}") from error
    return n_borderline


def test_small_vocabularies(library: Library) -> None:
    rng = np.random.default_rng(20240229)
    sizes = [1, 2, 31, 32, 33, 63, 64, 65, 128, 129, 500, 1000]
    n_borderline = compare(library, (random_case(rng, int(rng.choice(sizes))) for _ in range(10_000)))
    assert n_borderline < 10


@pytest.mark.parametrize("n_vocab", [12_345, 49_152, 128_256])
def test_large_vocabularies(library: Library, n_vocab: int) -> None:
    rng = np.random.default_rng(n_vocab)
    n_borderline = compare(library, (random_case(rng, n_vocab) for _ in range(50)))
    assert n_borderline < 5


@pytest.mark.parametrize("top_k", [0, 20])
def test_draws_follow_the_probabilities(library: Library, top_k: int) -> None:
    n_draws = 100_000
    logits = np.linspace(2, -2, 25).astype(np.float32)
    zeros = np.zeros(n_draws, np.int32)
    case = Case(logits, temperature=1.3, top_k=top_k)
    expected = reference(case)
    counts = np.zeros(logits.size)
    for i in range(n_draws):
        case.seed, case.history = i // 1000, zeros[: i % 1000]  # 100 seeds, 1000 positions each
        counts[library.sample(case).token] += 1
    share = np.zeros(logits.size)
    share[expected.ids] = expected.probs
    assert counts[share == 0].sum() == 0
    share, counts = share[share > 0] * n_draws, counts[share > 0]
    chi_square = ((counts - share) ** 2 / share).sum()
    degrees = share.size - 1
    assert chi_square < degrees + 3.1 * np.sqrt(2 * degrees)  # about 1 in 500


def test_neighbouring_seeds_and_positions_are_unrelated(library: Library) -> None:
    logits = np.zeros(64, np.float32)
    zeros = np.zeros(1000, np.int32)

    def tokens(seed: int) -> Ids:
        drawn = [library.sample(Case(logits, seed=seed, history=zeros[:i])).token for i in range(1000)]
        return np.array(drawn, np.int32)

    a, b = tokens(1), tokens(2)
    assert (a == tokens(1)).all()
    assert (a == b).mean() < 0.04 and (a[1:] == a[:-1]).mean() < 0.04 and (a[1:] == b[:-1]).mean() < 0.04
