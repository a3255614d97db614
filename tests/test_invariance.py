"""Batch invariance, the engine's first law: a sequence's logits are the same bits whatever surrounds it.

Axes: neighbours in the step, prefill chunks, cold or cached prefix (whole pages, part of a page), threads, ISA level,
types of the KV cache, contexts of more than one run of 1024 keys.
A kernel that splits k (the library llamatw_split_k, built from tests/clib/split_k.c) must make the test fail.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench import shapes
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.settings import KV_TYPE_DEFAULT, EngineSettings, KVType

GREEDY = SamplingParams(temperature=0, ignore_eos=True)
SAMPLED = SamplingParams(temperature=1.0, seed=7, ignore_eos=True)
N_PROMPT, N_NEW = 150, 4
CHUNKS = [1, 7, 64, 512]
N_LONG = 1500  # tokens: two runs of keys, which threads share when a step has few rows

Trace = tuple[list[int], list[str]]  # ids sampled, digest of the logits they were sampled from


def digest(logits: np.ndarray) -> str:
    return hashlib.sha256(logits.tobytes()).hexdigest()[:16]


def prompt_of(engine: Engine, seed: int, n: int = N_PROMPT) -> list[int]:
    return [random.Random(f"{seed}/{i}").randrange(100, engine.info.n_vocab) for i in range(n)]


def generate(
    engine: Engine,
    prompt: list[int],
    *,
    sampling: SamplingParams = GREEDY,
    chunk: int = 512,
    use_cache: bool = False,
    neighbours: int = 0,
    keep: bool = False,
) -> Trace:
    """N_NEW tokens after prompt, beside so many neighbours that prefill and decode in the same steps."""
    seq, computed = engine.open_seq(prompt, sampling, use_cache=use_cache)
    others = [_Neighbour(engine, i) for i in range(neighbours)]
    ids, digests = [], []
    while len(ids) < N_NEW:
        advance = min(chunk, len(prompt) + len(ids) - computed)
        logits = np.empty((advance, engine.info.n_vocab), np.float32)
        before, after = [o.row() for o in others[::2]], [o.row() for o in others[1::2]]
        out = engine.step([*before, Row(seq, advance, logits), *after])
        computed += advance
        mine = out[len(before)]
        if mine.token >= 0:
            ids.append(mine.token)
            digests.append(digest(logits[-1]))
    engine.close_seq(seq, keep=keep)
    for other in others:
        engine.close_seq(other.seq, keep=False)
    return ids, digests


class _Neighbour:
    """Prefills in chunks of its own, then decodes."""

    def __init__(self, engine: Engine, index: int) -> None:
        self.left, self.chunk = 5 + 9 * index, 1 + 3 * index
        self.seq, _ = engine.open_seq(prompt_of(engine, 100 + index, self.left), SAMPLED, use_cache=False)

    def row(self) -> Row:
        advance = min(self.chunk, self.left) or 1
        self.left -= min(advance, self.left)
        return Row(self.seq, advance)


def open_engine(path: Path, n_threads: int, kv: KVType = KV_TYPE_DEFAULT, n_ctx: int = 2048) -> Engine:
    settings = EngineSettings(
        model_path=str(path), n_ctx=n_ctx, n_seqs=8, n_batch=1024, n_threads=n_threads, k_type=kv, v_type=kv
    )
    return Engine.open(path, settings)


@pytest.fixture(scope="module", params=["smollm2", "gemma3"])
def path(request: pytest.FixtureRequest, engine_library: Path) -> Path:
    return Path(request.getfixturevalue(request.param))


@pytest.fixture(scope="module")
def engine(path: Path) -> Iterator[Engine]:
    engine = open_engine(path, 2)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def alone(engine: Engine) -> Trace:
    return generate(engine, prompt_of(engine, 1))


def test_neighbours(engine: Engine, alone: Trace) -> None:
    assert generate(engine, prompt_of(engine, 1), neighbours=7) == alone


@pytest.mark.parametrize("chunk", CHUNKS)
def test_chunks(engine: Engine, alone: Trace, chunk: int) -> None:
    assert generate(engine, prompt_of(engine, 1), chunk=chunk) == alone
    assert generate(engine, prompt_of(engine, 1), chunk=chunk, neighbours=3) == alone


@pytest.mark.parametrize("shared", [1, 63, 64, 65, 100, 128, 149, 150])
def test_cached_prefix(engine: Engine, alone: Trace, shared: int) -> None:
    """Another request left `shared` tokens of the prompt in the cache: whole pages and a part of one."""
    prompt = prompt_of(engine, 1)
    before = engine.stats().tokens_cached
    generate(engine, prompt[:shared] + prompt_of(engine, 1000 + shared, 20), keep=True)
    assert generate(engine, prompt, use_cache=True) == alone
    assert engine.stats().tokens_cached >= before + min(shared, len(prompt) - 1)


def test_threads(path: Path, alone: Trace) -> None:
    for n_threads in (1, 3):
        engine = open_engine(path, n_threads)
        assert generate(engine, prompt_of(engine, 1), neighbours=2) == alone
        engine.close()


def test_random_combinations(engine: Engine) -> None:
    """Seeded sampling too: same draws, same bits."""
    draw = random.Random(5)
    for seed in range(6):
        prompt = prompt_of(engine, seed + 10, draw.randrange(2, 200))
        first = generate(engine, prompt, sampling=SAMPLED, keep=True)
        for _ in range(3):
            again = generate(
                engine,
                prompt,
                sampling=SAMPLED,
                chunk=draw.choice(CHUNKS),
                use_cache=draw.random() < 0.5,
                neighbours=draw.randrange(8),
                keep=draw.random() < 0.5,
            )
            assert again == first


@pytest.mark.parametrize("kv", ["i16", "q8_0", "f16"])
def test_kv_types(path: Path, kv: KVType) -> None:
    """Across a page's end, beside others and in pieces, at the level below too."""
    engine = open_engine(path, 2, kv)
    prompt = prompt_of(engine, 3, 70)
    expected = generate(engine, prompt)
    assert generate(engine, prompt, chunk=7, neighbours=7) == expected
    generate(engine, prompt[:65], keep=True)
    assert generate(engine, prompt, use_cache=True) == expected
    engine.close()
    expression = f"print(generate(open_engine(Path({str(path)!r}), 2, {kv!r}), {prompt!r}))"
    done = run_elsewhere(expression, LT_CPU_MASK="avx2")
    assert done.stdout.strip() == repr(expected), done.stderr


@pytest.fixture(scope="module")
def long_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small enough for thousands of positions; in F32, as activations of 8 bits would hide a last bit of attention."""
    path = tmp_path_factory.mktemp("long") / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "F32", path)
    return path


@pytest.mark.parametrize("kv", ["i16", "q8_0", "f16"])
def test_long_contexts(long_model: Path, engine_library: Path, kv: KVType) -> None:
    """Decoded alone, two runs of keys go to two threads; with neighbours, or in a prompt, one thread does both."""
    traces = []
    for n_threads in (1, 2, 3):
        engine = open_engine(long_model, n_threads, kv, n_ctx=4096)
        prompt = prompt_of(engine, 4, N_LONG)
        traces.append(generate(engine, prompt))
        traces.append(generate(engine, prompt, neighbours=7))
        traces += [generate(engine, prompt, chunk=chunk) for chunk in (7, 64, 512)]
        engine.close()
    assert all(trace == traces[0] for trace in traces)


@pytest.mark.parametrize("kv", ["i16", "f16"])
def test_long_contexts_with_a_window(gemma3: Path, engine_library: Path, kv: KVType) -> None:
    digests = set()
    for n_threads, chunk, neighbours in ((2, 512, 0), (2, 64, 7), (3, 500, 0)):
        engine = open_engine(gemma3, n_threads, kv, n_ctx=4096)
        digests.add(digest(last_logits(engine, prompt_of(engine, 4, N_LONG), chunk, neighbours)))
        engine.close()
    assert len(digests) == 1


@pytest.mark.parametrize("kv", ["i16", "q8_0", "f16"])
@pytest.mark.parametrize("n_shared", [300, 1200])
def test_shared_pages_are_read_together(long_model: Path, engine_library: Path, kv: KVType, n_shared: int) -> None:
    """Eight conversations with one beginning decode in one step, where rows that share pages go through them together;
    and each from pages of its own, in a step of its own."""
    engine = open_engine(long_model, 2, kv, n_ctx=16384)
    common = prompt_of(engine, 5, n_shared)
    prompts = [common + prompt_of(engine, 20 + i, 3 + 40 * i) for i in range(8)]
    together = [open_prefilled(engine, prompt, scope=0) for prompt in prompts]
    logits = [np.empty((1, engine.info.n_vocab), np.float32) for _ in prompts]
    assert engine.stats().tokens_cached >= 7 * (n_shared // 64 * 64)
    engine.step([Row(seq, 1, row) for seq, row in zip(together, logits, strict=True)])
    for seq in together:
        engine.close_seq(seq, keep=False)
    for i, prompt in enumerate(prompts):
        alone = np.empty_like(logits[i])
        seq = open_prefilled(engine, prompt, scope=1 + i)
        engine.step([Row(seq, 1, alone)])
        engine.close_seq(seq, keep=False)
        assert digest(alone) == digest(logits[i])
    engine.close()


def open_prefilled(engine: Engine, prompt: list[int], scope: int) -> int:
    """Computed but for its last token."""
    seq, computed = engine.open_seq(prompt, GREEDY, scope=scope)
    for first in range(computed, len(prompt) - 1, 512):
        engine.step([Row(seq, min(512, len(prompt) - 1 - first))])
    return seq


def last_logits(engine: Engine, prompt: list[int], chunk: int, neighbours: int) -> np.ndarray:
    """The prompt's last token is computed by itself, beside so many neighbours."""
    seq, _ = engine.open_seq(prompt, GREEDY, use_cache=False)
    others = [_Neighbour(engine, i) for i in range(neighbours)]
    for first in range(0, len(prompt) - 1, chunk):
        engine.step([Row(seq, min(chunk, len(prompt) - 1 - first)), *(o.row() for o in others)])
    logits = np.empty((1, engine.info.n_vocab), np.float32)
    engine.step([Row(seq, 1, logits), *(o.row() for o in others)])
    return logits


def run_elsewhere(expression: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """This file's code in a process of its own: another library or ISA level."""
    imports = f"import sys; sys.path[:0] = {sys.path!r}\nfrom pathlib import Path\nfrom test_invariance import *"
    code = f"{imports}\n{expression}"
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=600,
    )


@pytest.mark.parametrize("level", ["avx2", "ref"])
def test_isa_levels_give_the_same_bits(path: Path, engine: Engine, level: str) -> None:
    short = prompt_of(engine, 2, 6)
    expected = generate(engine, short)
    done = run_elsewhere(f"e = open_engine(Path({str(path)!r}), 2); print(generate(e, {short!r}))", LT_CPU_MASK=level)
    assert done.stdout.strip() == repr(expected), done.stderr


def test_a_kernel_that_splits_k_is_caught(smollm2: Path, c_test_programs: Path) -> None:
    library = c_test_programs / "libllamatw_split_k.so"
    check = (
        f"e = open_engine(Path({str(smollm2)!r}), 2); a = generate(e, prompt_of(e, 1), chunk=1)\n"
        "assert generate(e, prompt_of(e, 1), chunk=1) == a; print(generate(e, prompt_of(e, 1), chunk=64) == a)"
    )
    done = run_elsewhere(check, LLAMATW_LIB=str(library))
    assert done.stdout.strip() == "False", done.stdout + done.stderr
