"""How files have held a mixture of experts: a stack for each part, gate and up in one, a tensor for each expert."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from bench import shapes
from llamatw.capi.engine import Engine, Row
from llamatw.capi.records import SamplingParams
from llamatw.errors import ModelError
from llamatw.settings import EngineSettings

Tensors = dict[str, tuple[np.ndarray, gguf.GGMLQuantizationType]]
PROMPT = [5 + 7 * i % 500 for i in range(40)]


@pytest.fixture(scope="module")
def stacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("experts") / "stacked.gguf"
    shapes.write(shapes.SHAPES["tiny-moe"], "Q8_0", path)
    return path


def rewrite(source: Path, target: Path, change: Callable[[Tensors], Tensors], **numbers: int) -> Path:
    """The same metadata with other tensors and other numbers of the llama architecture."""
    reader, writer = gguf.GGUFReader(source), gguf.GGUFWriter(target, "llama")
    for key, entry in reader.fields.items():
        if not key.startswith(("GGUF.", "general.architecture")) and key.removeprefix("llama.") not in numbers:
            writer.add_key_value(
                key, entry.contents(), entry.types[0], entry.types[-1] if len(entry.types) > 1 else None
            )
    for name, number in numbers.items():
        writer.add_uint32(f"llama.{name}", number)
    tensors: Tensors = {t.name: (np.array(t.data), t.tensor_type) for t in reader.tensors}
    for name, (data, kind) in change(tensors).items():
        writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def logits_of(path: Path) -> np.ndarray:
    settings = EngineSettings(model_path=str(path), n_ctx=128, n_seqs=1, n_batch=64)
    engine = Engine.open(path, settings)
    logits = np.empty((len(PROMPT), engine.info.n_vocab), np.float32)
    seq, _ = engine.open_seq(PROMPT, SamplingParams(temperature=0))
    engine.step([Row(seq, len(PROMPT), logits)])
    engine.close()
    return logits


def apart(tensors: Tensors) -> Tensors:
    """blk.0.ffn_up.3 instead of one part of blk.0.ffn_up_exps."""

    def each() -> Iterator[tuple[str, tuple[np.ndarray, gguf.GGMLQuantizationType]]]:
        for name, (data, kind) in tensors.items():
            if "_exps." not in name:
                yield name, (data, kind)
                continue
            for i, matrix in enumerate(data):
                yield name.replace("_exps.", f".{i}."), (matrix, kind)

    return dict(each())


def fused(tensors: Tensors) -> Tensors:
    result: Tensors = {}
    for name, (data, kind) in tensors.items():
        if match := re.fullmatch(r"(blk\.\d+\.)ffn_(gate|up)_exps.weight", name):
            if match[2] == "gate":
                up, _ = tensors[f"{match[1]}ffn_up_exps.weight"]
                result[f"{match[1]}ffn_gate_up_exps.weight"] = np.concatenate([data, up], axis=1), kind
            continue
        result[name] = data, kind
    return result


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize("change", [apart, fused])
def test_the_same_bits_however_experts_lie(stacked: Path, tmp_path: Path, change: Callable[[Tensors], Tensors]) -> None:
    other = rewrite(stacked, tmp_path / "other.gguf", change)
    assert logits_of(other).tobytes() == logits_of(stacked).tobytes()


@pytest.mark.usefixtures("engine_library")
def test_layers_that_predict_further_tokens_are_left_out(stacked: Path, tmp_path: Path) -> None:
    def first_layer(tensors: Tensors) -> Tensors:
        return {name: t for name, t in tensors.items() if not name.startswith("blk.1.")}

    shorter = rewrite(stacked, tmp_path / "shorter.gguf", first_layer, block_count=1)
    further = rewrite(stacked, tmp_path / "further.gguf", lambda tensors: tensors, nextn_predict_layers=1)
    assert logits_of(further).tobytes() == logits_of(shorter).tobytes()


@pytest.mark.usefixtures("engine_library")
@pytest.mark.parametrize(
    ("numbers", "complaint"),
    [
        ({"expert_gating_func": 4}, "expert_gating_func is 4, must be 1..3"),
        ({"expert_group_count": 3, "expert_group_used_count": 1}, "expert_group_count is 3: of 8 experts"),
        ({"expert_group_count": 8, "expert_group_used_count": 2}, "3 can not be chosen from 2 groups"),
    ],
)
def test_routers_that_cannot_be_are_refused(
    stacked: Path, tmp_path: Path, numbers: dict[str, int], complaint: str
) -> None:
    with pytest.raises(ModelError, match=complaint):
        logits_of(rewrite(stacked, tmp_path / "other.gguf", lambda tensors: tensors, **numbers))


@pytest.mark.usefixtures("engine_library")
def test_experts_that_are_not_there_are_refused(tmp_path: Path) -> None:
    shapes.write(shapes.SHAPES["tiny"], "Q8_0", tmp_path / "dense.gguf")
    numbers = {"expert_count": 8, "expert_used_count": 2}
    with pytest.raises(ModelError, match="expert_count is 8, but no layer has"):
        logits_of(rewrite(tmp_path / "dense.gguf", tmp_path / "other.gguf", lambda tensors: tensors, **numbers))


@pytest.mark.usefixtures("engine_library")
def test_experts_of_other_types_or_shapes_are_refused(stacked: Path, tmp_path: Path) -> None:
    def one_is_float(tensors: Tensors) -> Tensors:
        name = "blk.1.ffn_up.2.weight"
        result = apart(tensors)
        result[name] = np.zeros((256, 256), np.float32), gguf.GGMLQuantizationType.F32
        return result

    def one_is_missing(tensors: Tensors) -> Tensors:
        return {name: t for name, t in apart(tensors).items() if name != "blk.1.ffn_up.2.weight"}

    with pytest.raises(ModelError, match=r"ffn_up\.2\.weight is F32, that of expert 0 is Q8_0"):
        logits_of(rewrite(stacked, tmp_path / "a.gguf", one_is_float))
    with pytest.raises(ModelError, match=r"tensor blk\.1\.ffn_up\.2\.weight is missing"):
        logits_of(rewrite(stacked, tmp_path / "b.gguf", one_is_missing))
