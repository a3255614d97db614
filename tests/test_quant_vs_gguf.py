"""Every served format, random block bytes: our dequantiser and the `gguf` package agree on every bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from llamatw.capi.gguf import dequantize, type_name

pytestmark = pytest.mark.usefixtures("engine_library")

SERVED = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
N_BLOCKS = 20_000
SPECIAL_HALVES = np.array([0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00], dtype="<u2")


def scale_offsets(name: str) -> list[int]:
    """Where the half-precision scales of a block lie."""
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    if name.endswith("_K"):
        return {"Q2_K": [size - 4, size - 2], "Q3_K": [size - 2], "Q6_K": [size - 2]}.get(name, [0, 2])
    return {"F32": [], "F16": [0], "BF16": [0], "Q4_1": [0, 2], "Q5_1": [0, 2]}.get(name, [0])


def random_blocks(name: str) -> np.ndarray:
    """Any bytes at all; half of the blocks with zeros, subnormals, infinities and NaNs as scales."""
    rng = np.random.default_rng(len(name) + sum(map(ord, name)))
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    blocks = rng.integers(0, 256, (N_BLOCKS, size), dtype=np.uint8)
    for offset in scale_offsets(name):
        halves = rng.choice(SPECIAL_HALVES, N_BLOCKS // 2)
        blocks[: N_BLOCKS // 2, offset : offset + 2] = halves.view(np.uint8).reshape(-1, 2)
    return blocks


@pytest.mark.parametrize("name", SERVED)
def test_bit_for_bit(name: str) -> None:
    kind, blocks = GGMLQuantizationType[name], random_blocks(name)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(blocks, kind).ravel()
    got = dequantize(kind.value, blocks)
    finite = np.isfinite(wanted)
    assert finite.mean() > 0.5
    np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(wanted)], wanted.view(np.uint32)[~np.isnan(wanted)])
    assert np.isnan(got[np.isnan(wanted)]).all()


def test_names() -> None:
    assert {kind: type_name(kind.value) for kind in GGMLQuantizationType} == {k: k.name for k in GGMLQuantizationType}
    assert type_name(4) == "type 4"
