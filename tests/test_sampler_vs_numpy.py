"""The sampler chain against the same chain in NumPy (sampler_reference.py): survivors, probabilities, tokens, states.

The C files are built into a small library of their own, since the chain is not part of the engine's boundary.
LLAMATW_SAMPLER_CASES: random logit vectors for each sampler.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi import _abi
from tests.sampler_reference import SAMPLERS, Case, Floats, Ids, Lexicon, Outcome, reference

CLIB = Path(__file__).resolve().parent.parent / "clib"
N_CASES = int(os.environ.get("LLAMATW_SAMPLER_CASES", "300"))
MAX_HISTORY = 200
LAST = ("mirostat_1", "mirostat_2", "adaptive_p")
USUAL = ("penalties", "dry", "top_n_sigma", "top_k", "tfs_z", "typical_p", "top_p", "min_p", "xtc", "temperature")


class Sampled(ctypes.Structure):
    _fields_ = [("token", ctypes.c_int32), ("logprob", ctypes.c_float), ("state", ctypes.c_float * 2)]


PIECE = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, ctypes.POINTER(ctypes.c_uint32))


class RawLexicon(ctypes.Structure):
    _fields_ = [
        ("n_vocab", ctypes.c_int32),
        ("eog", ctypes.c_void_p),
        ("n_eog", ctypes.c_int32),
        ("eot", ctypes.c_int32),
        ("vocab", ctypes.c_void_p),
        ("piece", PIECE),
    ]


CANDIDATE = np.dtype([("token", np.int32), ("prob", np.float32)])


# ---- the C chain ----


class Sampler:
    """A sampler for one vocabulary, whose pieces are short and often begin alike."""

    def __init__(self, lib: ctypes.CDLL, n_vocab: int) -> None:
        rng = np.random.default_rng(n_vocab)
        texts = [b"", b"\n", b"a", b"b", b"ab", b"abc", b"bb", b"ba", b"c", b"cab"]
        pieces = [texts[i] for i in rng.integers(0, len(texts), n_vocab)]
        eog = sorted({n_vocab // 3, n_vocab - 1})
        self.lexicon = Lexicon(pieces, eog, eog[0] if n_vocab % 2 else -1)
        buffers = {text: ctypes.create_string_buffer(text) for text in texts}

        @PIECE
        def piece(_: int, token: int, n_bytes: ctypes._Pointer[ctypes.c_uint32]) -> int:
            n_bytes[0] = len(pieces[token])
            return ctypes.addressof(buffers[pieces[token]])

        ids = np.array(eog, np.int32)
        self._held = (buffers, ids, piece)
        raw = RawLexicon(n_vocab, ids.ctypes.data, ids.size, self.lexicon.eot, None, piece)
        self.handle = ctypes.c_void_p()
        assert lib.lt_sampler_create(ctypes.byref(self.handle), ctypes.byref(raw), MAX_HISTORY) == 0


class Library:
    """The chain behind ctypes; keeps one sampler per vocabulary size, as used ones must behave like fresh ones."""

    def __init__(self, path: Path) -> None:
        self.lib = ctypes.CDLL(str(path))
        self.lib.lt_sample.restype = Sampled
        self.samplers: dict[int, Sampler] = {}

    def sampler(self, n_vocab: int) -> Sampler:
        if n_vocab not in self.samplers:
            self.samplers[n_vocab] = Sampler(self.lib, n_vocab)
        return self.samplers[n_vocab]

    def sample(self, case: Case) -> Sampled:
        params, held = sampling(case)
        assert self.lib.lt_sampling_check(ctypes.byref(params), case.logits.size) == 0, case
        bits = None if case.mask is None else packed(case.mask)
        result = self.lib.lt_sample(
            self.sampler(case.logits.size).handle,
            ctypes.byref(params),
            case.logits.ctypes.data_as(ctypes.c_void_p),
            case.history.ctypes.data_as(ctypes.c_void_p),
            ctypes.c_int32(case.history.size),
            None if bits is None else bits.ctypes.data_as(ctypes.c_void_p),
            (ctypes.c_float * 2)(*case.state),
        )
        del held
        return result  # type: ignore[no-any-return]

    def run(self, case: Case) -> Outcome:
        sampled = self.sample(case)
        n_vocab = case.logits.size
        out = np.zeros(n_vocab, CANDIDATE)
        handle = self.sampler(n_vocab).handle
        n = self.lib.lt_sample_candidates(handle, out.ctypes.data_as(ctypes.c_void_p), n_vocab)
        state = (sampled.state[0], sampled.state[1])
        return Outcome(sampled.token, sampled.logprob, out["token"][:n], out["prob"][:n].astype(np.float64), state)

    def close(self) -> None:
        for sampler in self.samplers.values():
            self.lib.lt_sampler_destroy(sampler.handle)


def sampling(case: Case) -> tuple[_abi.Sampling, object]:
    """The settings, and what has to live as long."""
    names = {entry[0] for entry in _abi.Sampling._fields_} & set(Case.__dataclass_fields__)
    simple = names - {"chain", "bias", "breakers", "penalty_prompt", "state"}
    params = _abi.Sampling(**{name: getattr(case, name) for name in simple})
    params.flags = _abi.SAMPLE_IGNORE_EOS * case.ignore_eos | _abi.SAMPLE_SPARE_NEWLINE * case.spare_newline
    params.n_chain = len(case.chain)
    params.chain[: len(case.chain)] = [_abi.SAMPLERS[name] for name in case.chain]
    bias = (_abi.Bias * len(case.bias))(*[_abi.Bias(token, value) for token, value in case.bias.items()])
    breakers = sorted(case.breakers, key=lambda ids: ids[0])
    ids = np.array([token for one in breakers for token in one], np.int32)
    ends = np.cumsum([len(one) for one in breakers]).astype(np.int32)
    params.bias, params.n_bias = bias, len(case.bias)
    params.breakers, params.breaker_ends, params.n_breakers = ids.ctypes.data, ends.ctypes.data, ends.size
    params.penalty_prompt, params.n_penalty_prompt = case.penalty_prompt.ctypes.data, case.penalty_prompt.size
    return params, (bias, ids, ends)


def packed(mask: np.typing.NDArray[np.bool_]) -> np.typing.NDArray[np.uint32]:
    padded = np.zeros((mask.size + 31) // 32 * 32, np.bool_)
    padded[: mask.size] = mask
    return np.packbits(padded, bitorder="little").view("<u4").astype(np.uint32)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    target = tmp_path_factory.mktemp("sampler") / "sampler.so"
    core = [CLIB / "src/core" / name for name in ("cpuid.c", "memory.c", "status.c")]
    sources = [*sorted((CLIB / "src/sample").glob("*.c")), *core]
    flags = ["-std=gnu11", "-O2", "-fPIC", "-shared", "-ffp-contract=off", f"-I{CLIB}/include", f"-I{CLIB}/src"]
    subprocess.run([compiler, *flags, *map(str, sources), "-lm", "-o", str(target)], check=True)
    built = Library(target)
    yield built
    built.close()


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


def random_history(rng: np.random.Generator, n_vocab: int) -> Ids:
    """Now and then one that repeats itself."""
    n = int(rng.integers(0, 120))
    if rng.random() < 0.5:
        return rng.integers(0, n_vocab, n, dtype=np.int32)
    return np.resize(rng.integers(0, min(n_vocab, 4), rng.integers(1, 9), dtype=np.int32), n)


def random_case(rng: np.random.Generator, n: int, chain: tuple[str, ...]) -> Case:
    """Each sampler of the chain asks for something, mostly."""

    def sometimes(value: float | np.integer, otherwise: float, chance: float = 0.9) -> float:
        return float(value) if rng.random() < chance else otherwise

    def ids(most: int) -> Ids:
        return rng.integers(0, n, rng.integers(0, most), dtype=np.int32)

    history = random_history(rng, n)
    biased = rng.random() < 0.2
    return Case(
        logits=random_logits(rng, n),
        chain=chain,
        temperature=sometimes(rng.choice([0.0, -1.0]), float(rng.choice([0.01, 0.5, 0.8, 1.0, 3.0])), 0.1),
        dynatemp_range=sometimes(rng.random() * 2, 0.0, 0.4),
        dynatemp_exponent=sometimes(rng.random() * 2, 1.0, 0.5),
        top_k=int(sometimes(rng.integers(1, n + 2), float(rng.choice([0, -1, 40])))),
        top_p=sometimes(rng.random(), 1.0),
        min_p=sometimes(rng.random() ** 3, 0.0),
        tfs_z=sometimes(rng.random(), 1.0),
        typical_p=sometimes(rng.random(), 1.0),
        top_n_sigma=sometimes(rng.random() * 3, -1.0),
        xtc_probability=sometimes(rng.choice([0.5, 1.0]), 0.0),
        xtc_threshold=sometimes(rng.random() ** 3 * 0.6, 0.1),
        min_keep=int(sometimes(rng.integers(0, 9), 0, 0.3)),
        repeat_penalty=sometimes(0.5 + rng.random() * 1.5, 1.0),
        presence_penalty=sometimes(rng.normal(), 0.0, 0.5),
        frequency_penalty=sometimes(rng.normal(), 0.0, 0.5),
        repeat_last_n=int(rng.choice([-1, 0, 1, 64, 1000])),
        penalty_prompt=ids(40) if rng.random() < 0.3 else np.zeros(0, np.int32),
        n_prompt=int(rng.integers(0, history.size + 1)) if rng.random() < 0.3 else 0,
        dry_multiplier=sometimes(rng.random() * 2, 0.0),
        dry_base=sometimes(rng.random() * 4, 1.75),
        dry_allowed_length=int(rng.integers(0, 6)),
        dry_penalty_last_n=int(rng.choice([-1, 0, 10, 64])),
        breakers=[tuple(ids(3).tolist()) or (0,) for _ in range(rng.integers(0, 4))],
        mirostat_tau=float(rng.random() * 8),
        mirostat_eta=float(rng.random()),
        adaptive_target=sometimes(rng.random(), -1.0),
        adaptive_decay=float(rng.random() * 0.99),
        state=random_state(rng, chain),
        seed=int(rng.integers(0, 2**64, dtype=np.uint64)),
        history=history,
        bias={int(token): float(rng.choice([-np.inf, 2, -3])) for token in ids(20)} if biased else {},
        ignore_eos=bool(rng.random() < 0.2),
        spare_newline=bool(rng.random() < 0.3),
        mask=rng.random(n) < rng.choice([0.02, 0.5, 0.98]) if rng.random() < 0.3 else None,
    )


def random_state(rng: np.random.Generator, chain: tuple[str, ...]) -> tuple[float, float]:
    if chain and chain[-1] == "adaptive_p":
        weight = 1 + float(np.float32(rng.random() * 9))
        return float(np.float32(weight * rng.random())), float(np.float32(weight))
    return float(np.float32(rng.normal(4, 5))), 1.0


def random_chain(rng: np.random.Generator) -> tuple[str, ...]:
    names = [name for name in SAMPLERS if name not in (*LAST, "infill")]
    chain = rng.permutation(names)[: rng.integers(0, len(names) + 1)].tolist()
    return (*chain, str(rng.choice(LAST))) if rng.random() < 0.4 else tuple(chain)


# ---- comparison ----


def check(case: Case, ours: Outcome, expected: Outcome) -> None:
    if expected.token < 0:
        assert ours.token == -1 and ours.ids.size == 0
        return
    np.testing.assert_array_equal(ours.ids, expected.ids)
    is_rough = case.dynatemp_range > 0 or case.chain[-1:] == ("adaptive_p",)  # sums in float go into each weight
    rtol, atol = (2e-5, 2e-6) if is_rough else (2e-6, 1e-9)
    np.testing.assert_allclose(ours.probs, expected.probs, rtol=rtol, atol=atol)
    assert ours.token == expected.token
    assert ours.logprob == pytest.approx(expected.logprob, rel=3e-7, abs=2e-6)
    assert ours.state == pytest.approx(expected.state, rel=1e-5, abs=1e-5)


def compare(library: Library, cases: Iterator[Case]) -> int:
    """Checks every case; returns how many were too close to call."""
    n_borderline = 0
    for i, case in enumerate(cases):
        expected = reference(case, library.sampler(case.logits.size).lexicon)
        if expected.borderline:
            n_borderline += 1
            continue
        try:
            check(case, library.run(case), expected)
        except AssertionError as error:
            raise AssertionError(f"case {i}: {case}") from error
    return n_borderline


SIZES = [1, 2, 31, 32, 33, 63, 64, 65, 128, 129, 500, 1000]


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler(library: Library, name: str) -> None:
    rng = np.random.default_rng(list(name.encode()))
    cases = (random_case(rng, int(rng.choice(SIZES)), (name,)) for _ in range(N_CASES))
    assert compare(library, cases) < 0.05 * N_CASES


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_sampler_at_another_temperature_among_the_likely(library: Library, name: str) -> None:
    rng = np.random.default_rng([*name.encode(), 1])
    first, second = ("min_p", "top_k") if name == "top_k" else ("top_k", name)
    chain = (first, "temperature", second) if name != "temperature" else (first, name)
    cases = (random_case(rng, int(rng.choice(SIZES)), chain) for _ in range(N_CASES))
    assert compare(library, cases) < 0.05 * N_CASES


def test_chains_in_any_order(library: Library) -> None:
    rng = np.random.default_rng(7)
    cases = (random_case(rng, int(rng.choice(SIZES)), random_chain(rng)) for _ in range(4 * N_CASES))
    assert compare(library, cases) < 0.05 * 4 * N_CASES


def test_the_usual_chain(library: Library) -> None:
    rng = np.random.default_rng(20240229)
    cases = (random_case(rng, int(rng.choice(SIZES)), USUAL) for _ in range(4 * N_CASES))
    assert compare(library, cases) < 0.05 * 4 * N_CASES


@pytest.mark.parametrize("n_vocab", [12_345, 49_152, 128_256])
def test_large_vocabularies(library: Library, n_vocab: int) -> None:
    rng = np.random.default_rng(n_vocab)
    chains = [USUAL, ("typical_p",), ("tfs_z",), ("xtc",), ("temperature", "top_p"), ("top_n_sigma",), ("mirostat_2",)]
    chains += [("mirostat_1",), ("temperature", "penalties", "top_p"), ("adaptive_p",)]
    cases = (random_case(rng, n_vocab, chain) for chain in chains for _ in range(4))
    assert compare(library, cases) < 8


# ---- draws ----

N_DRAWS = 100_000


def draws(library: Library, case: Case) -> Ids:
    """Tokens for 1000 positions of each of N_DRAWS / 1000 seeds; the state stays that of the case."""
    params, held = sampling(case)
    handle, state = library.sampler(case.logits.size).handle, (ctypes.c_float * 2)(*case.state)
    zeros = np.zeros(1000, np.int32)
    logits, history = case.logits.ctypes.data_as(ctypes.c_void_p), zeros.ctypes.data_as(ctypes.c_void_p)
    settings, sample = ctypes.byref(params), library.lib.lt_sample
    tokens = np.empty(N_DRAWS, np.int32)
    for i in range(N_DRAWS):
        params.seed = i // 1000
        tokens[i] = sample(handle, settings, logits, history, ctypes.c_int32(i % 1000), None, state).token
    del held
    return tokens


def probabilities(library: Library, case: Case) -> np.typing.NDArray[np.float64]:
    expected = reference(case, library.sampler(case.logits.size).lexicon)
    share = np.zeros(case.logits.size)
    share[expected.ids] = expected.probs
    return share


def check_shares(tokens: Ids, share: np.typing.NDArray[np.float64]) -> None:
    """Chi-square, at about 1 in 500."""
    counts = np.bincount(tokens, minlength=share.size)
    assert counts[share == 0].sum() == 0
    expected, counts = share[share > 0] * tokens.size, counts[share > 0]
    degrees = expected.size - 1
    assert ((counts - expected) ** 2 / expected).sum() < degrees + 3.1 * np.sqrt(2 * degrees)


LADDER = np.linspace(2, -2, 25).astype(np.float32)


@pytest.mark.parametrize(
    "case",
    [
        Case(LADDER, ("temperature",), temperature=1.3),
        Case(LADDER, ("top_k", "temperature"), top_k=20, temperature=1.3),
        Case(LADDER, ("typical_p", "temperature"), typical_p=0.7, temperature=0.7, dynatemp_range=0.5),
        Case(LADDER, ("temperature", "mirostat_1"), state=(5, 1)),
        Case(LADDER, ("temperature", "mirostat_2"), state=(4.1, 1)),
        Case(LADDER, ("min_p", "adaptive_p"), min_p=0.03, adaptive_target=0.05, state=(0.6, 9)),
    ],
    ids=lambda case: "-".join(case.chain),
)
def test_draws_follow_the_probabilities(library: Library, case: Case) -> None:
    check_shares(draws(library, case), probabilities(library, case))


def test_xtc_applies_as_often_as_it_should_and_apart_from_the_draw(library: Library) -> None:
    chain = ("xtc", "temperature")
    with_xtc, without = (Case(LADDER, chain, xtc_probability=p, xtc_threshold=0.05) for p in (1.0, 0.0))
    tokens = draws(library, replace(with_xtc, xtc_probability=0.4))
    check_shares(tokens, 0.4 * probabilities(library, with_xtc) + 0.6 * probabilities(library, without))


def test_neighbouring_seeds_and_positions_are_unrelated(library: Library) -> None:
    a, b, *_ = draws(library, Case(np.zeros(64, np.float32), ())).reshape(-1, 1000)
    assert (a == b).mean() < 0.04 and (a[1:] == a[:-1]).mean() < 0.04 and (a[1:] == b[:-1]).mean() < 0.04
