"""Files of every architecture with one key or tensor wrong: refused by its name, or of no consequence."""

from __future__ import annotations

import ast
import copy
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from llamatw.capi.engine import Engine, Row
from llamatw.errors import LlamatwError, ModelError
from llamatw.settings import EngineSettings
from tests.gguf_bytes import BOOL
from tests.gguf_edit import Model, wrong_values
from tests.test_invariance import run_elsewhere
from tests.test_oracles import CASES, GREEDY

N_MUTANTS = 8  # of a model
PROMPT = [5 + 7 * i % 500 for i in range(40)]

pytestmark = pytest.mark.usefixtures("engine_library")


def logits_of(path: Path) -> np.ndarray:
    settings = EngineSettings(model_path=str(path), n_ctx=64, n_seqs=1, n_batch=64, n_threads=1)
    engine = Engine.open(path, settings)
    logits = np.empty((len(PROMPT), engine.info.n_vocab), np.float32)
    engine.step([Row(engine.open_seq(PROMPT, GREEDY)[0], len(PROMPT), logits)])
    engine.close()
    return logits


def mutants(model: Model) -> Iterator[tuple[str, Model]]:
    """What is wrong, and the model.  A tensor that is just not there may be one that its kin lack."""
    for name, key in model.keys.items():
        for value in wrong_values(key) if name.startswith(f"{model.arch}.") else []:
            yield f"{name} = {value}", Model({**model.keys, name: value}, model.tensors, model.data)
    for name, row in model.tensors.items():
        others = {other: r for other, r in model.tensors.items() if other != name}
        wrong = [row._replace(kind=26), row._replace(dims=[row.dims[0] + 1, *row.dims[1:]])]
        wrong += [row._replace(dims=[*row.dims[:-1], 2**40])]
        for changed in [{f"{name}x": row}, *({name: w} for w in wrong)]:
            tensors = dict(sorted({**others, **changed}.items(), key=lambda item: item[1].offset))
            yield f"{changed}", Model(model.keys, tensors, model.data)


def verdicts(oracles: Path, folder: Path) -> list[tuple[str, str, str]]:
    """(model, what is wrong, why it is refused), and for those that are not: "same" or "other" logits."""
    found, draw, path = [], random.Random(7), folder / "mutant.gguf"
    for case in CASES:
        model = Model.read(oracles / case / "model.gguf")
        expected = logits_of(model.write(path))
        for what, mutant in draw.sample(list(mutants(model)), N_MUTANTS):
            mutant.write(path)
            try:
                verdict = "same" if np.array_equal(logits_of(path), expected) else "other"
            except LlamatwError as error:
                verdict = error.message.replace(str(path), "")
            found.append((case, what, verdict))
    return found


def test_wrong_keys_and_tensors_are_refused_by_name(shared_dir: Path, tmp_path: Path) -> None:
    """In a process of its own: no signal, no hang."""
    call = f"t.verdicts(Path({str(shared_dir / 'oracles')!r}), Path({str(tmp_path)!r}))"
    done = run_elsewhere(f"import test_model_mutants as t; print({call})")
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert len(found) == N_MUTANTS * len(CASES)
    assert [row for row in found if row[2] == "other"] == []
    refused = [row for row in found if row[2] != "same"]
    assert len(refused) > 0.7 * len(found)
    for case, what, why in refused:
        arch = what.split(".")[0]
        assert f"{arch}." in why or f"{arch}:" in why or "tensor " in why, (case, what, why)


def test_a_price_for_distance_goes_by_the_heads_of_each_layer(shared_dir: Path, tmp_path: Path) -> None:
    """With a first layer that gives nothing, it does not matter how many heads that has."""
    model = Model.read(shared_dir / "oracles" / "bloom" / "model.gguf")
    for part in ("attn_output", "ffn_down"):
        model.clear(f"blk.0.{part}.weight")
        model.clear(f"blk.0.{part}.bias")
    n_layer, n_embd = (model.keys[f"bloom.{name}"].value for name in ("block_count", "embedding_length"))
    expected = logits_of(model.write(tmp_path / "equal.gguf"))
    fewer = copy.deepcopy(model)
    fewer.put("attention.head_count", [1] + [4] * (n_layer - 1))
    fewer.keys.pop("bloom.attention.head_count_kv", None)
    fewer.put("attention.key_length", n_embd // 4)
    shapes = {"attn_qkv.weight": [n_embd, 3 * n_embd // 4], "attn_qkv.bias": [3 * n_embd // 4]}
    for part, dims in {**shapes, "attn_output.weight": [n_embd // 4, n_embd]}.items():
        fewer.tensors[f"blk.0.{part}"] = fewer.tensors[f"blk.0.{part}"]._replace(dims=dims)
    assert logits_of(fewer.write(tmp_path / "fewer.gguf")).tobytes() == expected.tobytes()


def test_longrope_needs_both_of_its_sets(shared_dir: Path, tmp_path: Path) -> None:
    for name in ("rope_factors_long.weight", "rope_factors_short.weight"):
        model = Model.read(shared_dir / "oracles" / "phi3-longrope" / "model.gguf")
        model.put("rope.scaling.type", "longrope", 8)
        del model.tensors[name]
        with pytest.raises(ModelError, match=f"tensor {name} is missing"):
            logits_of(model.write(tmp_path / "model.gguf"))
        del model.keys["phi3.rope.scaling.type"]  # as the first files had it
        with pytest.raises(ModelError, match="tensor rope_factors_"):
            logits_of(model.write(tmp_path / "model.gguf"))


@pytest.mark.parametrize(
    ("case", "name", "value", "words"),
    [
        ("gemma4", "attention.shared_kv_layers", 2, "gemma4.attention.shared_kv_layers is 2, must be 0"),
        ("gemma4", "embedding_length_per_layer_input", 256, "embedding_length_per_layer_input is 256, must be 0"),
        ("qwen3", "attention.causal", False, "qwen3.attention.causal is false"),
    ],
)
def test_keys_that_say_what_no_row_does(
    shared_dir: Path, tmp_path: Path, case: str, name: str, value: int, words: str
) -> None:
    model = Model.read(shared_dir / "oracles" / case / "model.gguf")
    model.put(name, value, BOOL if isinstance(value, bool) else 4)
    with pytest.raises(ModelError, match=words):
        logits_of(model.write(tmp_path / "model.gguf"))
