"""A small vocabulary for tests of grammars: every byte, pieces of one to several characters, control tokens."""

from __future__ import annotations

import random
import struct
from pathlib import Path

from tests.gguf_bytes import ARCHITECTURE, F32, I32, STR, File, array, string, text

SPECIALS = ["<unk>", "<s>", "</s>", "<think>", "</think>"]
EOS, THINK, END_THINK, FIRST_BYTE = 2, 3, 4, len(SPECIALS)
NORMAL, UNKNOWN, CONTROL, BYTE = 1, 2, 3, 6


def pieces(seed: int, letters: str, n: int) -> list[str]:
    rng = random.Random(seed)
    drawn = {"".join(rng.choices(letters, k=rng.choice([1, 2, 2, 3, 4, 6]))) for _ in range(n)}
    return sorted(drawn | {'",', '":', "true", "false", "null", "the", "aaaaaaaa"})


def write(path: Path, words: list[str]) -> Path:
    """An SPM vocabulary: SPECIALS, then 256 bytes, then the words."""
    tokens = SPECIALS + [f"<0x{b:02X}>" for b in range(256)] + words
    types = [UNKNOWN, *[CONTROL] * (FIRST_BYTE - 1), *[BYTE] * 256, *[NORMAL] * len(words)]
    n = len(tokens)
    pairs = [
        ARCHITECTURE,
        string("tokenizer.ggml.model", "llama"),
        array("tokenizer.ggml.tokens", STR, n, b"".join(text(t.replace(" ", "▁")) for t in tokens)),
        array("tokenizer.ggml.scores", F32, n, struct.pack(f"<{n}f", *(-float(i) for i in range(n)))),
        array("tokenizer.ggml.token_type", I32, n, struct.pack(f"<{n}i", *types)),
    ]
    path.write_bytes(File(pairs=pairs).bytes())
    return path
