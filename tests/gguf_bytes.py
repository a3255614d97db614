"""Writes GGUF files byte by byte, right or wrong as a test likes.  Types: the numbers of the GGUF specification."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

_HEADER_BYTES = 24  # magic, version, number of tensors, number of pairs
_ALIGNMENT = 32
U8, I8, U16, I16, U32, I32, F32, BOOL, STR, ARRAY, U64, I64, F64 = range(13)


def text(value: str | bytes, length: int | None = None) -> bytes:
    """A string with its length in front, or with the length that you say."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw) if length is None else length) + raw


def pair(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind % 2**32) + value


def u32(key: str | bytes, value: int) -> bytes:
    return pair(key, U32, struct.pack("<I", value))


def string(key: str | bytes, value: str | bytes) -> bytes:
    return pair(key, STR, text(value))


def array(key: str, item_kind: int, n: int, items: bytes = b"") -> bytes:
    return pair(key, ARRAY, struct.pack("<IQ", item_kind, n) + items)


def tensor(name: str | bytes, dims: list[int], kind: int = 0, offset: int = 0, n_dims: int | None = None) -> bytes:
    """A row of the tensor directory; numbers are taken modulo 2**32 and 2**64."""
    raw = text(name) + struct.pack("<I", (len(dims) if n_dims is None else n_dims) % 2**32)
    raw += b"".join(struct.pack("<Q", n % 2**64) for n in dims)
    return raw + struct.pack("<IQ", kind % 2**32, offset % 2**64)


ARCHITECTURE = string("general.architecture", "llama")


@dataclasses.dataclass
class File:
    """What a file is made of; `n_pairs` and `n_tensors` may lie."""

    pairs: list[bytes] = dataclasses.field(default_factory=lambda: [ARCHITECTURE])
    tensors: list[bytes] = dataclasses.field(default_factory=list)
    data: bytes = b""
    alignment: int = 32
    magic: bytes = b"GGUF"
    version: bytes = struct.pack("<I", 3)
    n_pairs: int | None = None
    n_tensors: int | None = None

    def header(self) -> bytes:
        n_pairs = len(self.pairs) if self.n_pairs is None else self.n_pairs
        n_tensors = len(self.tensors) if self.n_tensors is None else self.n_tensors
        counts = struct.pack("<QQ", n_tensors % 2**64, n_pairs % 2**64)
        return self.magic + self.version + counts + b"".join(self.pairs) + b"".join(self.tensors)

    def bytes(self) -> bytes:
        header = self.header()
        return header + bytes(-len(header) % self.alignment) + self.data


def with_pairs(source: Path, target: Path, pairs: list[bytes]) -> Path:
    """A copy of a GGUF file with more metadata, as long as the alignment asks."""
    size = sum(map(len, pairs)) + len(string("test.padding", ""))
    pairs = [*pairs, string("test.padding", "x" * (-size % _ALIGNMENT))]
    raw = source.read_bytes()
    n_pairs = int.from_bytes(raw[16:_HEADER_BYTES], "little") + len(pairs)
    target.write_bytes(raw[:16] + n_pairs.to_bytes(8, "little") + b"".join(pairs) + raw[_HEADER_BYTES:])
    return target
