"""Cells that change their position, context shift and self-extend: right by a slow decoder, and the same bits whatever
else runs, in whatever chunks, on any number of threads, wherever the prefix came from.
"""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import Code
from llamatw.errors import EngineFailure, ModelError
from llamatw.settings import KV_TYPES, EngineSettings, KVType
from tests.slow_decoder import KINDS, N_VOCAB, SlowDecoder, SlowSelfExtend, Weights
from tests.test_invariance import GREEDY, SAMPLED, digest, run_elsewhere

GROUPS = [("llama", 2, 16), ("llama", 4, 64), ("llama", 8, 40)]
GROUPS += [(name, 3, 48) for name in KINDS if name not in ("llama", "gemma3")]
TOLERANCE = {
    "f32": 1e-3,
    "f16": 2e-2,
    "bf16": 2e-1,
    "i16": 1e-2,
    "q8_0": 5e-1,
}  # of logits up to 8: twice what was seen


def ids(n: int, seed: int = 1) -> list[int]:
    draw = random.Random(seed)
    return [draw.randrange(3, N_VOCAB) for _ in range(n)]


def open_engine(path: Path, **changes: object) -> Engine:
    settings = EngineSettings(model_path=str(path), n_ctx=1024, n_seqs=4, n_batch=512, n_threads=2)
    return Engine.open(path, msgspec.structs.replace(settings, **changes))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, engine_library: Path) -> Path:
    return tmp_path_factory.mktemp("remap")


def model(folder: Path, name: str) -> tuple[Weights, Path]:
    weights, path = Weights(KINDS[name]), folder / f"{name}.gguf"
    if not path.exists():
        weights.write(path)
    return weights, path


def compute(engine: Engine, seq: int, n: int, chunk: int = 512) -> np.ndarray:
    """Logits after each of the next n tokens."""
    logits, first = np.empty((n, engine.info.n_vocab), np.float32), 0
    while first < n:
        advance = min(chunk, n - first, engine.seq_room(seq))
        engine.step([Row(seq, advance, logits[first : first + advance])])
        first += advance
    return logits


# ---- right ----


@pytest.mark.parametrize("name", KINDS)
def test_shifts_are_what_changed_positions_say(folder: Path, name: str) -> None:
    """Keys of all layers; again and again; tokens that are not computed yet move along."""
    weights, path = model(folder, name)
    engine, slow = open_engine(path, k_type="f32", v_type="f32"), SlowDecoder(weights)
    prompt = ids(330)
    seq, _ = engine.open_seq(prompt, GREEDY)
    for n, n_keep, n_discard in ((130, 5, 40), (60, 0, 64), (70, 100, 1), (20, 64, 65), (50, 0, 0)):
        start = len(slow.cells)
        expected = [slow.feed(token, start + i) for i, token in enumerate(prompt[:n])]
        assert np.abs(compute(engine, seq, n) - expected).max() < 2e-4
        prompt = prompt[n:]
        if n_discard:
            engine.shift_seq(seq, n_keep, n_discard)
            slow.shift(n_keep, n_discard)
    engine.close()


@pytest.mark.parametrize(("name", "group", "width"), GROUPS)
def test_self_extend_is_what_the_reference_says(folder: Path, name: str, group: int, width: int) -> None:
    weights, path = model(folder, name)
    engine, slow = open_engine(path, k_type="f32", v_type="f32", group_n=group, group_w=width), SlowDecoder(weights)
    rule, expected = SlowSelfExtend(slow.positions, group, width), []
    prompt = ids(200)
    for token in prompt:
        expected.append(slow.feed(token, rule.next_position()))
    assert slow.positions[: width * 2] == [i // group for i in range(width * 2)]
    seq, _ = engine.open_seq(prompt, GREEDY)
    assert np.abs(compute(engine, seq, len(prompt)) - expected).max() < 2e-4
    engine.close()


@pytest.mark.parametrize("k_type", KV_TYPES)
@pytest.mark.parametrize("v_type", KV_TYPES)
def test_one_layer_shifted_is_as_if_computed_there(folder: Path, k_type: KVType, v_type: KVType) -> None:
    """Keys of a first layer depend on the token alone, so a shifted cache is that of the shortened text."""
    _, path = model(folder, "one-layer")
    engine, prompt = open_engine(path, k_type=k_type, v_type=v_type), ids(300)
    seq, _ = engine.open_seq(prompt, GREEDY)
    compute(engine, seq, 200)
    engine.shift_seq(seq, 10, 77)
    shifted = compute(engine, seq, 100)
    fresh, _ = engine.open_seq(prompt[:10] + prompt[87:], GREEDY, use_cache=False)
    compute(engine, fresh, 123)
    difference = np.abs(shifted - compute(engine, fresh, 100)).max()
    assert difference < TOLERANCE[k_type]
    engine.close()


# ---- the same bits ----


def open_others(engine: Engine, prompt: list[int], n: int, use_cache: bool) -> list[Row]:
    """Rows of n sequences that begin as prompt does, with cached pages of it if they may; about to decode."""
    rows = []
    for i in range(n):
        text = prompt[: 70 + 9 * i]
        seq, computed = engine.open_seq(text, SAMPLED, use_cache=use_cache)
        compute(engine, seq, len(text) - computed - 1, engine.info.n_batch)
        rows.append(Row(seq, 1))
    return rows


def decode_beside(engine: Engine, seq: int, n: int, others: list[Row]) -> str:
    """Digest of the logits of n steps of one token; then all are closed."""
    logits = np.empty((n, 1, engine.info.n_vocab), np.float32)
    for row in logits:
        engine.step([*others[:1], Row(seq, 1, row), *others[1:]])
    for one in (seq, *(row.seq for row in others)):
        engine.close_seq(one, keep=False)
    return digest(logits)


def shifting(engine: Engine, prompt: list[int], *, chunk: int = 512, n_others: int = 0, use_cache: bool = False) -> str:
    """After two shifts, of pages that others hold too if they may, and after some tokens that are sampled."""
    seq, computed = engine.open_seq(prompt, SAMPLED, use_cache=use_cache)
    compute(engine, seq, 170 - computed, chunk)
    others = open_others(engine, prompt, n_others, use_cache)
    engine.shift_seq(seq, 20, 90)
    compute(engine, seq, 100, chunk)
    engine.shift_seq(seq, 0, 70)
    return decode_beside(engine, seq, len(prompt) - 270 + 4, others)


def grouping(engine: Engine, prompt: list[int], *, chunk: int = 512, n_others: int = 0, use_cache: bool = False) -> str:
    seq, computed = engine.open_seq(prompt, SAMPLED, use_cache=use_cache)
    compute(engine, seq, 90 - computed, chunk)
    others = open_others(engine, prompt, n_others, use_cache)
    compute(engine, seq, len(prompt) - 95, chunk)
    return decode_beside(engine, seq, 9, others)


@pytest.mark.parametrize("kv", KV_TYPES)
@pytest.mark.parametrize("name", ["llama", "gemma3"])
def test_shift_has_the_same_bits_always(folder: Path, name: str, kv: KVType) -> None:
    _, path = model(folder, name)
    prompt, digests = ids(280), set()
    for n_threads, n_batch in ((1, 512), (2, 512), (3, 64), (2, 7)):
        engine = open_engine(path, k_type=kv, v_type=kv, n_threads=n_threads, n_batch=n_batch)
        for chunk, n_others in ((n_batch, 0), (min(n_batch, 7), 3), (min(n_batch, 64), 2)):
            digests.add(shifting(engine, prompt, chunk=chunk, n_others=n_others))
            digests.add(shifting(engine, prompt, chunk=chunk, n_others=n_others, use_cache=True))
        engine.close()
    assert len(digests) == 1
    for level in ("avx2", "ref"):
        expression = f"print(shifting(open_engine(Path({str(path)!r}), k_type={kv!r}, v_type={kv!r}), {prompt!r}))"
        done = run_elsewhere(f"from tests.test_remap import *\n{expression}", LT_CPU_MASK=level)
        assert {done.stdout.strip()} == digests, done.stderr


@pytest.mark.parametrize("kv", KV_TYPES)
def test_self_extend_has_the_same_bits_always(folder: Path, kv: KVType) -> None:
    _, path = model(folder, "llama")
    prompt, digests = ids(280), set()
    for n_threads, n_batch in ((1, 512), (2, 512), (3, 64), (2, 7)):
        engine = open_engine(path, k_type=kv, v_type=kv, n_threads=n_threads, n_batch=n_batch, group_n=4, group_w=100)
        for chunk, n_others in ((n_batch, 0), (min(n_batch, 7), 3), (min(n_batch, 64), 2)):
            digests.add(grouping(engine, prompt, chunk=chunk, n_others=n_others))
            digests.add(grouping(engine, prompt, chunk=chunk, n_others=n_others, use_cache=True))
        engine.close()
    assert len(digests) == 1
    for level in ("avx2", "ref"):
        options = f"k_type={kv!r}, v_type={kv!r}, group_n=4, group_w=100"
        expression = f"print(grouping(open_engine(Path({str(path)!r}), {options}), {prompt!r}))"
        done = run_elsewhere(f"from tests.test_remap import *\n{expression}", LT_CPU_MASK=level)
        assert {done.stdout.strip()} == digests, done.stderr


@pytest.mark.parametrize("fixture", ["smollm2", "gemma3"])
def test_a_real_model_that_shifts_harms_no_neighbour(
    request: pytest.FixtureRequest, engine_library: Path, fixture: str
) -> None:
    """Two share the pages of a prompt; one shifts them; the other gives what it gives alone, so does a later one."""
    engine = open_engine(request.getfixturevalue(fixture))
    prompt = engine.vocab.tokenize("The quick brown fox jumps over the lazy dog, and then it goes home. " * 20)[:250]
    alone, _ = engine.open_seq(prompt, GREEDY, scope=1)
    expected = compute(engine, alone, 250)
    canary, _ = engine.open_seq(prompt, GREEDY)
    compute(engine, canary, 190)
    seq, n_cached = engine.open_seq(prompt, GREEDY)
    assert n_cached == 190
    compute(engine, seq, 240 - n_cached)
    engine.shift_seq(seq, 3, 120)
    compute(engine, seq, 10)
    assert np.array_equal(compute(engine, canary, 60), expected[190:])
    engine.close_seq(seq, keep=True)
    late, n_cached = engine.open_seq(prompt, GREEDY)
    assert n_cached == 249
    assert np.array_equal(compute(engine, late, 1), expected[249:])
    engine.close()


def say(engine: Engine, prompt: list[int], n: int, n_draft: int, n_discard: int) -> tuple[list[int], int]:
    """n tokens, sampled without luck, and in how many steps; after a shift if n_discard is not 0."""
    seq, n_cached = engine.open_seq(prompt, GREEDY, use_cache=False)
    compute(engine, seq, len(prompt) - n_cached - 1)
    if n_discard:
        engine.shift_seq(seq, 2, n_discard)
    tokens: list[int] = []
    n_steps = 0
    while len(tokens) < n:
        tokens += [out.token for out in engine.step([Row(seq, 1, n_draft=n_draft)])]
        n_steps += 1
    engine.close_seq(seq, keep=False)
    return tokens[:n], n_steps


@pytest.mark.parametrize(("group", "width", "n_discard"), [(4, 64, 0), (2, 24, 0), (1, 0, 100)])
def test_guesses_stop_at_the_end_of_a_window_and_change_nothing(
    folder: Path, group: int, width: int, n_discard: int
) -> None:
    engine = open_engine(model(folder, "llama")[1], group_n=group, group_w=width)
    prompt = ids(10) * 20
    slow, n_slow = say(engine, prompt, 120, 0, n_discard)
    fast, n_fast = say(engine, prompt, 120, 15, n_discard)
    assert slow == fast
    assert n_fast < n_slow == 120
    engine.close()


# ---- what stays in the prefix cache ----


def test_a_shifted_sequence_leaves_only_its_unaltered_head(folder: Path) -> None:
    _, path = model(folder, "llama")
    engine, prompt = open_engine(path), ids(300)
    seq, _ = engine.open_seq(prompt, GREEDY)
    compute(engine, seq, 300)
    engine.shift_seq(seq, 150, 64)
    engine.step([Row(seq, 1)])
    engine.close_seq(seq, keep=True)
    for text, n_cached in ((prompt, 128), (prompt[:150] + prompt[214:], 128), (prompt[:100], 99)):
        seq, found = engine.open_seq(text, GREEDY)
        assert found == n_cached
        engine.close_seq(seq, keep=False)
    assert engine.stats().pages_used == 0
    engine.close()


@pytest.mark.parametrize(("group", "width"), [(1, 0), (4, 64)])
def test_what_has_changed_is_not_given_up_for_the_cache(folder: Path, group: int, width: int) -> None:
    """Another has computed more of the same ids; to take that would lose the shift, or compute windows anew."""
    _, path = model(folder, "llama")
    engine, prompt = open_engine(path, group_n=group, group_w=width), ids(300)
    seq, _ = engine.open_seq(prompt, GREEDY)
    compute(engine, seq, 100)
    if group == 1:
        engine.shift_seq(seq, 10, 30)
        other, _ = engine.open_seq(prompt[:10] + prompt[40:], GREEDY)
        compute(engine, other, 200)
    assert engine.adopt(seq) == (70 if group == 1 else 100)
    engine.close()


def test_self_extend_takes_from_the_cache_what_no_window_has_changed(folder: Path) -> None:
    _, path = model(folder, "llama")
    engine, prompt = open_engine(path, group_n=4, group_w=128), ids(300)
    seq, _ = engine.open_seq(prompt, GREEDY)
    compute(engine, seq, 128)
    late, n_cached = engine.open_seq(prompt, GREEDY)
    assert n_cached == 128
    expected = digest(compute(engine, seq, 172))
    assert digest(compute(engine, late, 172)) == expected
    engine.close_seq(seq, keep=True)
    engine.close_seq(late, keep=True)
    assert engine.open_seq(prompt, GREEDY)[1] == 0
    engine.close()


def test_surplus_pages_are_given_back(folder: Path) -> None:
    _, path = model(folder, "llama")
    engine = open_engine(path)
    seq, _ = engine.open_seq(ids(600), GREEDY)
    compute(engine, seq, 512)
    assert engine.stats().pages_used == 8
    engine.shift_seq(seq, 0, 400)
    assert engine.stats().pages_used == 2
    engine.close()


# ---- refused ----


def test_what_a_shift_may_not_drop(folder: Path) -> None:
    _, path = model(folder, "llama")
    engine = open_engine(path)
    seq, _ = engine.open_seq(ids(100), GREEDY)
    compute(engine, seq, 60)
    for n_keep, n_discard, name in ((-1, 5, "n_keep"), (60, 1, "n_keep"), (0, 0, "n_discard"), (10, 51, "n_discard")):
        with pytest.raises(EngineFailure, match=name):
            engine.shift_seq(seq, n_keep, n_discard)
    with pytest.raises(EngineFailure, match="sequence 3 is not open"):
        engine.shift_seq(3, 0, 1)
    assert engine.seq_room(seq) == 1024 - 60
    engine.shift_seq(seq, 10, 50)
    assert engine.seq_room(seq) == 1024 - 10
    assert len(compute(engine, seq, 40)) == 40
    engine.close()


def test_a_row_ends_where_its_window_does(folder: Path) -> None:
    _, path = model(folder, "llama")
    engine = open_engine(path, group_n=2, group_w=32)
    seq, _ = engine.open_seq(ids(100), GREEDY)
    with pytest.raises(EngineFailure, match="33, 32 tokens are left in its window of 32"):
        engine.step([Row(seq, 33)])
    engine.step([Row(seq, 30)])
    assert engine.seq_room(seq) == 2
    engine.step([Row(seq, 2)])
    assert engine.seq_room(seq) == 32
    with pytest.raises(EngineFailure, match="self-extend") as caught:
        engine.shift_seq(seq, 0, 5)
    assert caught.value.code == Code.UNSUPPORTED
    engine.close()


WRONG_GROUPS = [(0, 0, "group_n"), (-3, 9, "group_n"), (1, 9, "group_w"), (2, 0, "group_w"), (4, 30, "group_w")]


@pytest.mark.parametrize(("group", "width", "field"), WRONG_GROUPS)
def test_groups_that_are_none(folder: Path, group: int, width: int, field: str) -> None:
    with pytest.raises(EngineFailure, match=f"{field} is"):
        open_engine(model(folder, "llama")[1], group_n=group, group_w=width)


def test_no_self_extend_for_models_with_windows(folder: Path) -> None:
    with pytest.raises(ModelError, match="self-extend is not served for gemma3"):
        open_engine(model(folder, "gemma3")[1], group_n=2, group_w=64)
