"""Vocabularies as `tokenizers` and `sentencepiece` have them, small ones trained on the spot, written as GGUF files."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests import gguf_bytes
from tests.gguf_bytes import BOOL, F32, I32, STR, U8, array, pair, string, text, u32
from tests.random_text import WORDS, random_text

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)


def corpus(seed: int, n: int = 3000) -> list[str]:
    """Short texts to train on, of not too many characters, some of them again and again, to learn something from."""
    rng, characters = random.Random(seed), {*map(chr, range(32, 0x400)), *"".join(WORDS), "\n", "\t"} - {"\u2581"}

    def draw() -> str:
        return "".join(char for char in random_text(rng)[:60] if char in characters)

    few = [draw() for _ in range(n // 10)]
    return [rng.choice(few) if rng.random() < 0.6 else draw() for _ in range(n)]


def write(path: Path, model: str, tokens: Sequence[str], types: Sequence[int], **values: Any) -> Path:
    """A GGUF file with nothing but a vocabulary; `values` are keys below tokenizer.ggml, as Python values."""
    pairs = [
        gguf_bytes.ARCHITECTURE,
        string("tokenizer.ggml.model", model),
        array("tokenizer.ggml.tokens", STR, len(tokens), b"".join(text(token) for token in tokens)),
        array("tokenizer.ggml.token_type", I32, len(types), struct.pack(f"<{len(types)}i", *types)),
    ]
    pairs += [_value("tokenizer.ggml." + key.replace("__", "."), value) for key, value in values.items()]
    path.write_bytes(gguf_bytes.File(pairs=pairs).bytes())
    return path


def _value(key: str, value: Any) -> bytes:
    if isinstance(value, bool):
        return pair(key, BOOL, bytes([value]))
    if isinstance(value, int):
        return u32(key, value)
    if isinstance(value, str):
        return string(key, value)
    if isinstance(value, bytes):
        return array(key, U8, len(value), value)
    if value and isinstance(value[0], float):
        return array(key, F32, len(value), struct.pack(f"<{len(value)}f", *value))
    return array(key, STR, len(value), b"".join(text(item) for item in value))


def in_order(ids: Mapping[str, int]) -> list[str]:
    """Texts by id."""
    return sorted(ids, key=ids.__getitem__)


def byte_tokens() -> list[str]:
    return [f"<0x{byte:02X}>" for byte in range(256)]


# ---- sentencepiece's own files -------------------------------------------------------------------------------------


def protobuf_fields(raw: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field: bytes, whole numbers, or the four bytes of a float."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = raw[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(raw):
        tag = varint()
        if tag & 7 == 0:
            yield tag >> 3, varint()
            continue
        n = varint() if tag & 7 == 2 else {1: 8, 5: 4}[tag & 7]
        at += n
        yield tag >> 3, raw[at - n : at]


def write_sentencepiece(path: Path, model: bytes, kind: str) -> Path:
    """The GGUF file ("llama" or "t5") of a serialized sentencepiece model."""
    pieces: list[tuple[str, float, int]] = []
    normalizer: dict[int, Any] = {}
    for number, value in protobuf_fields(model):
        if number == 1:
            fields = dict(protobuf_fields(value))
            pieces.append((fields[1].decode(), struct.unpack("<f", fields[2])[0], fields.get(3, NORMAL)))
        elif number == 3:
            normalizer = dict(protobuf_fields(value))
    tokens, scores, types = zip(*pieces, strict=True)
    values: dict[str, Any] = {
        "scores": scores,
        "add_space_prefix": bool(normalizer.get(3, 1)),
        "unknown_token_id": types.index(UNKNOWN),
    }
    if kind == "t5":
        values["remove_extra_whitespaces"] = bool(normalizer.get(4, 1))
        if normalizer.get(2):
            values["precompiled_charsmap"] = normalizer[2]
    return write(path, kind, tokens, types, **values)
