"""Every format with a dequantiser, random block bytes: our dequantiser and the `gguf` package agree on every bit."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType

from llamatw.capi.gguf import dequantize, type_name

pytestmark = pytest.mark.usefixtures("engine_library")

FLOATS_AND_Q = ["F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K"]
GRID_ROWS = {"IQ1_S": 2048, "IQ1_M": 2048, "IQ2_XXS": 256, "IQ2_XS": 512, "IQ2_S": 1024, "IQ3_XXS": 256, "IQ3_S": 512}
FORMATS = [*FLOATS_AND_Q, *GRID_ROWS, "IQ4_NL", "IQ4_XS", "TQ1_0", "TQ2_0", "MXFP4"]
N_BLOCKS = 20_000
SPECIAL_HALVES = np.array([0x0000, 0x8000, 0x0001, 0x03FF, 0x0400, 0x3C00, 0x7BFF, 0x7C00, 0xFC00, 0x7E00], dtype="<u2")


def scale_offsets(name: str) -> list[int]:
    """Where the half-precision scales of a block lie."""
    size = GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    if name.startswith("TQ"):
        return [size - 2]
    if name in ("IQ1_M", "MXFP4"):
        return []  # in four nibbles; a byte, of which every value is a number
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
    if name == "IQ1_M":
        put_scattered_halves(blocks[: N_BLOCKS // 2], rng.choice(SPECIAL_HALVES, N_BLOCKS // 2))
    return blocks


def put_scattered_halves(blocks: np.ndarray, halves: np.ndarray) -> None:
    """IQ1_M: the half's nibbles, the lowest first, are the top ones of the last four u16."""
    for k in range(4):
        at = blocks[:, 49 + 2 * k]
        at[:] = at & 15 | (halves >> 4 * k & 15) << 4


@pytest.mark.parametrize("name", FORMATS)
def test_bit_for_bit(name: str) -> None:
    kind, blocks = GGMLQuantizationType[name], random_blocks(name)
    with np.errstate(all="ignore"):
        wanted = gguf.quants.dequantize(blocks, kind).ravel()
    got = dequantize(kind.value, blocks)
    finite = np.isfinite(wanted)
    assert finite.mean() > 0.5
    np.testing.assert_array_equal(got.view(np.uint32)[~np.isnan(wanted)], wanted.view(np.uint32)[~np.isnan(wanted)])
    assert np.isnan(got[np.isnan(wanted)]).all()


def grid_walk(name: str) -> np.ndarray:
    """Blocks of scale 1, all signs plus, that name every row of the format's grid once, in order."""
    n_rows, n_bytes = GRID_ROWS[name], GGML_QUANT_SIZES[GGMLQuantizationType[name]][1]
    rows = np.arange(n_rows, dtype="<u2").reshape(-1, 64 if name.startswith("IQ3") else 32)
    low, high = rows.astype(np.uint8), rows >> 8
    blocks = np.zeros((len(rows), n_bytes), np.uint8)
    if name != "IQ1_M":
        blocks[:, :2] = 0, 0x3C
    if name == "IQ1_M":
        put_scattered_halves(blocks, np.full(len(rows), 0x3C00))
        blocks[:, :32], blocks[:, 32:48] = low, high[:, ::2] | high[:, 1::2] << 4
    elif name == "IQ1_S":
        blocks[:, 2:34] = low
        blocks[:, 34:50] = (high.reshape(-1, 8, 4) << [0, 3, 6, 9]).sum(axis=2).astype("<u2").view(np.uint8)
    elif name == "IQ2_XXS":
        blocks[:, 2:].reshape(-1, 8, 8)[..., :4] = low.reshape(-1, 8, 4)
    elif name == "IQ2_XS":
        blocks[:, 2:66] = rows.view(np.uint8)
    elif name == "IQ2_S":
        blocks[:, 2:34], blocks[:, 66:74] = low, (high.reshape(-1, 8, 4) << [0, 2, 4, 6]).sum(axis=2)
    else:
        blocks[:, 2:66] = low
        if name == "IQ3_S":
            blocks[:, 66:74] = np.packbits(high.astype(bool), axis=1, bitorder="little")
    return blocks


@pytest.mark.parametrize("name", GRID_ROWS)
def test_every_row_of_the_grids(name: str) -> None:
    kind, blocks = GGMLQuantizationType[name], grid_walk(name)
    wanted = gguf.quants.dequantize(blocks, kind).reshape(GRID_ROWS[name], -1)
    assert len(np.unique(wanted, axis=0)) == GRID_ROWS[name], "the walk misses rows"
    np.testing.assert_array_equal(dequantize(kind.value, blocks).reshape(wanted.shape), wanted)


def test_names() -> None:
    assert {kind: type_name(kind.value) for kind in GGMLQuantizationType} == {k: k.name for k in GGMLQuantizationType}
    assert type_name(4) == "type 4"
