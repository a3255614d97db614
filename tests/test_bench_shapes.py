"""The random models of bench/shapes.py: right statistics in every format, and files that load."""

from __future__ import annotations

from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Type

from bench import shapes
from llamatw.capi.gguf import Gguf


@pytest.mark.parametrize("name", shapes.FORMATS)
def test_weights_are_centred_noise(tmp_path: Path, name: str) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], name, path)
    for tensor in gguf.GGUFReader(path).tensors:
        if len(tensor.shape) > 1:
            values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).reshape(tensor.shape[::-1])
            wanted = float(tensor.shape[0]) ** -0.5
            tolerance = 0.42 if tensor.tensor_type == Type.MXFP4 else 0.05
            assert abs(values.mean()) < 0.05 * wanted
            assert abs(values.std() / wanted - 1) < tolerance
            assert len(np.unique(values, axis=0)) == len(values)


def test_the_same_file_twice(tmp_path: Path) -> None:
    a, b = tmp_path / "a.gguf", tmp_path / "b.gguf"
    for path in (a, b):
        shapes.write(shapes.SHAPES["tiny"], "Q4_K_M", path)
    assert a.read_bytes() == b.read_bytes()


def test_mixture(tmp_path: Path) -> None:
    finer = {t.name for t in shapes.tensors(shapes.SHAPES["1.2b"], "Q4_K_M") if t.type == Type.Q6_K}
    layers = (0, 1, 4, 7, 10, 13, 14, 15)
    assert finer == {"token_embd.weight", *(f"blk.{i}.{n}.weight" for i in layers for n in ("attn_v", "ffn_down"))}


@pytest.mark.usefixtures("engine_library")
def test_the_engine_reads_the_directory(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    shapes.write(shapes.SHAPES["tiny"], "Q4_K_M", path)
    with Gguf.open(path) as model:
        assert sum(t.n_bytes for t in model.tensors()) < path.stat().st_size
