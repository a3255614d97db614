"""Models of any size and weight format with random weights, to time what no small download can show.

    python -m bench.shapes 1.2b Q4_K_M out.gguf

The weights are noise of mean 0 and deviation n_in ** -0.5, so that activations neither vanish nor overflow; what such a
model says is noise too.  A tensor is a tile of some thousand random blocks, repeated: a file of 0.8 GB takes seconds to
write and little memory.  The number of blocks is a prime, so no two rows near each other are the same.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

TILE_BLOCKS = 4099  # prime
TILE_FLOATS = 1048583  # prime; the floats' blocks are single values
CHUNK_BYTES = 8 << 20  # about as much is written at a time
FLOATS = (Type.F32, Type.F16, Type.BF16)
N_BYTE_TOKENS = 256

FORMATS = """
    F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K Q4_K Q5_K Q6_K IQ1_S IQ1_M IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S IQ4_NL
    IQ4_XS TQ1_0 TQ2_0 MXFP4 Q4_K_M
""".split()
COARSE = {Type[name] for name in FORMATS if name.startswith(("Q2", "Q3", "IQ1", "IQ2", "IQ3", "TQ"))}  # below 4 bits


@dataclass(frozen=True)
class Shape:
    """A llama-architecture model with tied embeddings."""

    n_embd: int
    n_layer: int
    n_ff: int
    n_head: int
    n_head_kv: int
    d_head: int
    n_vocab: int
    n_ctx_train: int
    rope_base: float = 500000.0
    n_expert: int = 0  # n_ff is of each of them
    n_expert_used: int = 0

    def matrices(self) -> dict[str, tuple[int, ...]]:
        """[n_out, n_in] of those of one layer; of experts, as many as there are."""
        q, kv = self.n_head * self.d_head, self.n_head_kv * self.d_head
        return {
            "attn_q": (q, self.n_embd),
            "attn_k": (kv, self.n_embd),
            "attn_v": (kv, self.n_embd),
            "attn_output": (self.n_embd, q),
            **self._mlp(),
        }

    def _mlp(self) -> dict[str, tuple[int, ...]]:
        up, down = (self.n_ff, self.n_embd), (self.n_embd, self.n_ff)
        if not self.n_expert:
            return {"ffn_gate": up, "ffn_up": up, "ffn_down": down}
        return {
            "ffn_gate_inp": (self.n_expert, self.n_embd),
            "ffn_gate_exps": (self.n_expert, *up),
            "ffn_up_exps": (self.n_expert, *up),
            "ffn_down_exps": (self.n_expert, *down),
        }


SHAPES = {
    "1.2b": Shape(2048, 16, 8192, 32, 8, 64, 128256, 131072),
    "tiny": Shape(256, 2, 512, 4, 2, 64, 512, 4096),
    "moe": Shape(
        2048, 4, 768, 32, 4, 128, 32000, 32768, n_expert=128, n_expert_used=8
    ),  # four layers of Qwen 3 30B-A3B
    "tiny-moe": Shape(256, 2, 256, 4, 2, 64, 512, 4096, n_expert=8, n_expert_used=3),
}


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]  # n_in last
    type: Type

    @property
    def n_bytes(self) -> int:
        per_block, block_bytes = gguf.GGML_QUANT_SIZES[self.type]
        return math.prod(self.shape) // int(per_block) * int(block_bytes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("format", choices=FORMATS)
    parser.add_argument("path", type=Path)
    wishes = parser.parse_args()
    write(SHAPES[wishes.shape], wishes.format, wishes.path)


def write(shape: Shape, format: str, path: Path, seed: int = 1) -> None:
    """The same arguments give the same file."""
    writer = gguf.GGUFWriter(path, "llama")
    _add_metadata(writer, shape)
    add_vocabulary(writer, shape.n_vocab)
    wanted = list(tensors(shape, format))
    for t in wanted:
        writer.add_tensor_info(t.name, t.shape, np.dtype(np.float32), t.n_bytes, t.type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    _write_data(writer, wanted, np.random.default_rng(seed))
    writer.close()


def tensors(shape: Shape, format: str) -> Iterator[Tensor]:
    yield Tensor("token_embd.weight", (shape.n_vocab, shape.n_embd), _embedding_type(format))
    yield Tensor("output_norm.weight", (shape.n_embd,), Type.F32)
    for layer in range(shape.n_layer):
        for norm in ("attn_norm", "ffn_norm"):
            yield Tensor(f"blk.{layer}.{norm}.weight", (shape.n_embd,), Type.F32)
        for name, size in shape.matrices().items():
            yield Tensor(f"blk.{layer}.{name}.weight", size, _layer_type(format, name, layer, shape.n_layer))


def _embedding_type(format: str) -> Type:
    if format == "Q4_K_M":
        return Type.Q6_K
    return Type.Q8_0 if Type[format] in COARSE else Type[format]


def _layer_type(format: str, name: str, layer: int, n_layer: int) -> Type:
    if name == "ffn_gate_inp":
        return Type.F32
    if format != "Q4_K_M":
        return Type[format]
    return (
        Type.Q6_K if name in ("attn_v", "ffn_down", "ffn_down_exps") and _gets_more_bits(layer, n_layer) else Type.Q4_K
    )


def _gets_more_bits(layer: int, n_layer: int) -> bool:
    """The first and the last eighth of the layers and every third one between, as llama.cpp mixes Q4_K_M."""
    eighth = n_layer // 8
    return layer < eighth or layer >= 7 * n_layer // 8 or (layer - eighth) % 3 == 2


def _add_metadata(writer: gguf.GGUFWriter, shape: Shape) -> None:
    writer.add_name("random weights")
    writer.add_block_count(shape.n_layer)
    writer.add_context_length(shape.n_ctx_train)
    writer.add_embedding_length(shape.n_embd)
    writer.add_feed_forward_length(shape.n_ff)
    writer.add_head_count(shape.n_head)
    writer.add_head_count_kv(shape.n_head_kv)
    writer.add_key_length(shape.d_head)
    writer.add_value_length(shape.d_head)
    writer.add_rope_dimension_count(shape.d_head)
    writer.add_rope_freq_base(shape.rope_base)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape.n_vocab)
    if shape.n_expert:
        writer.add_expert_count(shape.n_expert)
        writer.add_expert_used_count(shape.n_expert_used)


def add_vocabulary(writer: gguf.GGUFWriter, n_vocab: int) -> None:
    """Three control tokens, the bytes, and words that no text has."""
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(N_BYTE_TOKENS))]
    n_words = n_vocab - len(tokens)
    writer.add_tokenizer_model("llama")
    writer.add_token_list(tokens + [f"word{i}" for i in range(n_words)])
    writer.add_token_scores([0.0] * n_vocab)
    writer.add_token_types([2, 3, 3, *[6] * N_BYTE_TOKENS, *[1] * n_words])


def _write_data(writer: gguf.GGUFWriter, wanted: list[Tensor], draw: np.random.Generator) -> None:
    """The writer's own way would take a whole tensor in memory."""
    assert writer.fout is not None
    out, tiles = writer.fout[0], dict[tuple[Type, int], Bytes]()
    writer.write_padding(out, out.tell())
    for t in wanted:
        kind = t.type, t.shape[-1]
        if len(t.shape) > 1 and kind not in tiles:
            tiles[kind] = random_blocks(draw, t.type, t.shape[-1] ** -0.5)
        tile = tiles[kind] if len(t.shape) > 1 else draw.uniform(0.5, 1.5, t.shape).astype(np.float32).view(np.uint8)
        _write_repeated(out, tile.reshape(-1), t.n_bytes)
        writer.write_padding(out, t.n_bytes)


def _write_repeated(out: Any, tile: Bytes, n_bytes: int) -> None:
    chunk = np.tile(tile, max(1, min(CHUNK_BYTES, n_bytes) // len(tile)))
    for _ in range(n_bytes // len(chunk)):
        chunk.tofile(out)
    np.resize(tile, n_bytes % len(chunk)).tofile(out)


# ---- blocks ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """Where a format's blocks keep their scale; all other bits may be anything."""

    scale: int = 0  # offset in bytes of the f16 scale d
    minimum: float = 0.0  # the f16 after d, as a multiple of d: it centres the values
    both_signs: bool = False  # d of either sign centres codes that are not symmetric
    codes: list[int] = field(default_factory=list)  # the bytes that may stand in a block, if not all


LAYOUTS = {
    Type.Q4_0: Layout(both_signs=True),
    Type.Q4_1: Layout(minimum=-7.5),
    Type.Q5_0: Layout(both_signs=True),
    Type.Q5_1: Layout(minimum=-15.5),
    Type.Q2_K: Layout(80, 1.5),
    Type.Q3_K: Layout(108),
    Type.Q4_K: Layout(0, 7.5),
    Type.Q5_K: Layout(0, 15.5),
    Type.Q6_K: Layout(208),
    Type.IQ4_NL: Layout(both_signs=True),
    Type.TQ1_0: Layout(52, codes=[(256 * five_trits + 242) // 243 for five_trits in range(243)]),
    Type.TQ2_0: Layout(64, codes=[b for b in range(256) if b & b >> 1 & 0x55 == 0]),  # no trit is 3
}


def random_blocks(draw: np.random.Generator, kind: Type, deviation: float) -> Bytes:
    """[blocks, bytes]: values of mean 0 and this deviation, within a factor of 1.4 if scales are exponents."""
    if kind in FLOATS:
        values = draw.normal(0, deviation, (TILE_FLOATS, 1)).astype(np.float32)
        return values.view(np.uint8) if kind == Type.F32 else gguf.quants.quantize(values, kind).view(np.uint8)
    block_bytes, layout = gguf.GGML_QUANT_SIZES[kind][1], LAYOUTS.get(kind, Layout())
    codes = np.array(layout.codes or range(256), np.uint8)
    blocks = codes[draw.integers(0, len(codes), (TILE_BLOCKS, block_bytes))]
    signs = draw.choice([-1.0, 1.0], TILE_BLOCKS) if layout.both_signs else np.ones(TILE_BLOCKS)
    d = 1e-3
    for _ in range(2):  # the second time with d that gives the wanted deviation
        _set_scale(blocks, kind, layout, d * signs)
        d *= deviation / gguf.quants.dequantize(blocks, kind).std()
    return blocks


def _set_scale(blocks: Bytes, kind: Type, layout: Layout, d: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    if kind == Type.MXFP4:
        blocks[:, 0] = np.rint(np.log2(d)) + 128
    elif kind == Type.IQ1_M:
        _spread_scale(blocks[:, 48:56], d)
    else:
        columns = [d, d * layout.minimum] if layout.minimum else [d]
        halves = np.stack(columns, axis=1).astype("<f2").view(np.uint8)
        blocks[:, layout.scale : layout.scale + halves.shape[1]] = halves


def _spread_scale(scales: Bytes, d: np.ndarray[Any, np.dtype[np.float64]]) -> None:
    """IQ1_M: a nibble of d on top of each of four 16-bit words of scales, the lowest first."""
    half = d.astype(np.float16).view(np.uint16)
    for word in range(4):
        nibble = half >> (4 * word) & 15
        scales[:, 2 * word + 1] = scales[:, 2 * word + 1] & 15 | nibble << 4


if __name__ == "__main__":
    main()
