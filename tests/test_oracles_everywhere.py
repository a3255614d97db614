"""Every architecture of the oracles: the same bits at every ISA level, with every type of cache, on any threads, over
runs of 1024 keys; and contexts that are shifted."""

from __future__ import annotations

import ast
import hashlib
import json
import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import Code
from llamatw.errors import EngineFailure, ModelError
from llamatw.settings import KV_TYPES, EngineSettings, KVType, Override
from tests.gguf_edit import Model
from tests.test_invariance import run_elsewhere
from tests.test_oracles import CASES, GREEDY, last_logits

FIXED = {
    "gpt2": "has learned positions",
    "starcoder": "has learned positions",
    "hunyuan-dense": "scales keys after their rotation",
}
RECURRENT = "mamba mamba2 lfm2 falcon-h1 nemotron-h jamba granitehybrid qwen3next qwen35 qwen35moe".split()
OTHERS = "gemma3 gemma4 cohere2 exaone-moe bloom mpt ministral3 phi3-longrope deepseek3 qwen35".split()
LONG: dict[
    str, dict[str, int]
] = {  # windows that end within a run of keys, beside it, and all else that depends on where a key lies
    "mistral": {"llama.attention.sliding_window": 1500},
    "llama4": {"llama4.attention.sliding_window": 700},
    "gpt-oss": {"gpt-oss.attention.sliding_window": 1100},
    **{case: {} for case in OTHERS},
}

pytestmark = pytest.mark.usefixtures("engine_library")


def prompt_of(folder: Path) -> list[int]:
    tokens: list[int] = json.loads((folder / "prompt.json").read_text())["tokens"]
    return tokens


def open_engine(folder: Path, **changes: object) -> Engine:
    settings = EngineSettings(model_path=str(folder), n_ctx=256, n_seqs=2, n_batch=128, n_threads=1, cache_mib=1)
    return Engine.open(folder / "model.gguf", msgspec.structs.replace(settings, **changes))


def digests(oracles: Path) -> dict[str, str]:
    """Of the logits after each of some tokens."""
    found = {}
    for case in CASES:
        engine, tokens = open_engine(oracles / case), prompt_of(oracles / case)[:40]
        logits = np.empty((len(tokens), engine.info.n_vocab), np.float32)
        engine.step([Row(engine.open_seq(tokens, GREEDY)[0], len(tokens), logits)])
        engine.close()
        found[case] = hashlib.sha256(logits.tobytes()).hexdigest()
    return found


@pytest.fixture(scope="module")
def expected(shared_dir: Path) -> dict[str, str]:
    return digests(shared_dir / "oracles")


@pytest.mark.parametrize("level", ["avx2", "ref"])
def test_isa_levels_give_the_same_bits(shared_dir: Path, expected: dict[str, str], level: str) -> None:
    call = f"import test_oracles_everywhere as t; print(t.digests(Path({str(shared_dir / 'oracles')!r})))"
    done = run_elsewhere(call, LT_CPU_MASK=level)
    assert done.returncode == 0, done.stderr
    assert ast.literal_eval(done.stdout) == expected


@pytest.mark.parametrize("kv_type", KV_TYPES)
def test_types_of_cache_threads_and_company(shared_dir: Path, kv_type: KVType) -> None:
    for case in CASES:
        folder, bits = shared_dir / "oracles" / case, []
        tokens = prompt_of(folder)[:70]
        for n_threads, chunk in [(1, 70), (2, 33), (3, 11)]:
            engine = open_engine(folder, k_type=kv_type, v_type=kv_type, n_threads=n_threads)
            bits.append(last_logits(engine, tokens, chunk, use_cache=False, beside=tokens[-chunk:]))
            engine.close()
        assert bits[1:] == bits[:-1], case


@pytest.mark.parametrize("case", LONG)
def test_contexts_of_several_runs_of_keys(shared_dir: Path, case: str) -> None:
    folder, n = shared_dir / "oracles" / case, 2100
    tokens = (prompt_of(folder) * 22)[:n]
    changes = tuple(Override(key=key, value=value) for key, value in LONG[case].items())
    bits = []
    for n_threads, chunk in [(1, n), (3, 300)]:
        engine = open_engine(folder, n_ctx=2176, n_batch=2200, n_threads=n_threads, overrides=changes)
        bits.append(last_logits(engine, tokens, chunk, use_cache=False, beside=tokens[:60]))
        engine.close()
    assert bits[0] == bits[1]


def first_layer(source: Path, target: Path) -> Path:
    """What a cell of a model's first layer holds depends on its own token and position alone."""
    target.mkdir()
    model = Model.read(source / "model.gguf")
    model.put("block_count", 1)
    model.tensors = {name: row for name, row in model.tensors.items() if not re.match(r"blk\.[1-9]", name)}
    if "blk.0.ffn_gate_inp.weight" not in model.tensors:
        model.put("expert_count", 0)
    model.write(target / "model.gguf")
    return target


@pytest.mark.parametrize("case", [case for case in CASES if case not in [*RECURRENT, *FIXED]])
def test_one_layer_that_is_shifted_has_never_seen_what_went(shared_dir: Path, tmp_path: Path, case: str) -> None:
    folder = shared_dir / "oracles" / case
    tokens = prompt_of(folder)
    engine = open_engine(first_layer(folder, tmp_path / case), k_type="f32", v_type="f32")
    assert engine.info.can_shift and engine.model.can_shift
    after = np.empty((3, 1, engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(tokens, GREEDY)
    engine.step([Row(seq, len(tokens) - 1)])
    engine.shift_seq(seq, 84, 6)  # within the last window
    engine.step([Row(seq, 1, after[0])])
    engine.close_seq(seq)
    for result, left in ((after[1], tokens[:84] + tokens[90:]), (after[2], tokens)):
        seq, _ = engine.open_seq(left, GREEDY, use_cache=False)
        engine.step([Row(seq, len(left) - 1)])
        engine.step([Row(seq, 1, result)])
        engine.close_seq(seq)
    engine.close()
    assert np.abs(after[0] - after[1]).max() < 1e-3 < np.abs(after[0] - after[2]).max()


@pytest.mark.parametrize("case", FIXED)
def test_keys_that_cannot_be_turned_stay(shared_dir: Path, case: str) -> None:
    engine = open_engine(shared_dir / "oracles" / case)
    assert not engine.info.can_shift and not engine.model.can_shift and not engine.model.is_recurrent
    seq, _ = engine.open_seq(list(range(5, 95)), GREEDY)
    engine.step([Row(seq, 80)])
    with pytest.raises(EngineFailure, match=f"context shift: {case} {FIXED[case]}") as error:
        engine.shift_seq(seq, 5, 20)
    assert error.value.code == Code.UNSUPPORTED
    engine.close()


@pytest.mark.parametrize(
    ("case", "reason"),
    [
        ("gpt2", "self-extend: gpt2 has learned positions"),
        ("bloom", "not served for bloom, which has a price for distance"),
        ("gemma3", "not served for gemma3, some of whose layers see a window only"),
        ("lfm2", "self-extend: lfm2 has recurrent layers"),
    ],
)
def test_self_extend_is_refused_where_it_would_do_nothing_or_harm(shared_dir: Path, case: str, reason: str) -> None:
    with pytest.raises(ModelError, match=reason):
        open_engine(shared_dir / "oracles" / case, group_n=2, group_w=64)


def test_heads_are_counted_where_there_are_any(shared_dir: Path) -> None:
    engine = open_engine(shared_dir / "oracles" / "lfm2")
    assert (engine.info.n_head, engine.info.n_head_kv) == (4, 2)
    one_more = open_engine(shared_dir / "oracles" / "lfm2", n_seqs=3)
    assert one_more.info.kv_bytes - engine.info.kv_bytes >= 3 * engine.info.state_bytes > 0  # its own, two checkpoints
    engine.close()
    one_more.close()
