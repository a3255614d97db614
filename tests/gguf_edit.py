"""A model file taken apart, changed in one place and put together again, right or wrong as a test likes."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path
from typing import Any, NamedTuple

import gguf

from tests.gguf_bytes import ARRAY, BOOL, F32, STR, U32, U64, File, array, pair, tensor, text

_FORMATS = "BbHhIif?__Qqd"  # by GGUF type; strings and arrays have none


class Key(NamedTuple):
    kind: int
    item_kind: int  # of an array
    value: Any


class Row(NamedTuple):
    dims: list[int]
    kind: int
    offset: int


def encode(name: str, key: Key) -> bytes:
    """Numbers are taken modulo what the type holds."""

    def one(kind: int, value: Any) -> bytes:
        if kind == STR:
            return text(value)
        size = struct.calcsize("<" + _FORMATS[kind])
        whole = isinstance(value, int) and not isinstance(value, bool)
        return struct.pack("<Q", value % 2**64)[:size] if whole else struct.pack("<" + _FORMATS[kind], value)

    if key.kind != ARRAY:
        return pair(name, key.kind, one(key.kind, key.value))
    return array(name, key.item_kind, len(key.value), b"".join(one(key.item_kind, item) for item in key.value))


@dataclasses.dataclass
class Model:
    keys: dict[str, Key]
    tensors: dict[str, Row]
    data: bytearray

    @classmethod
    def read(cls, path: Path) -> Model:
        reader = gguf.GGUFReader(path)
        keys = {
            name: Key(int(field.types[0]), int(field.types[-1]), field.contents())
            for name, field in reader.fields.items()
            if not name.startswith("GGUF.")
        }
        rows = {
            t.name: Row(t.shape.tolist(), int(t.tensor_type), t.data_offset - reader.data_offset)
            for t in reader.tensors
        }
        return cls(keys, rows, bytearray(path.read_bytes()[reader.data_offset :]))

    @property
    def arch(self) -> str:
        return str(self.keys["general.architecture"].value)

    def put(self, name: str, value: Any, kind: int = U32) -> None:
        """A key of the architecture; a list becomes an array of that kind."""
        many = isinstance(value, list)
        self.keys[f"{self.arch}.{name}"] = Key(ARRAY if many else kind, kind, value)

    def clear(self, name: str) -> None:
        """Makes a tensor of F32 zeros."""
        row = self.tensors[name]
        n = 4
        for dim in row.dims:
            n *= dim
        self.data[row.offset : row.offset + n] = bytes(n)

    def write(self, path: Path) -> Path:
        pairs = [encode(name, key) for name, key in self.keys.items()]
        rows = [tensor(name, *row) for name, row in self.tensors.items()]
        path.write_bytes(File(pairs, rows, bytes(self.data)).bytes())
        return path


def wrong_values(key: Key) -> list[Key]:
    """What no reader of the key may take for a value of its kind."""
    if key.kind == ARRAY:
        return [key._replace(value=key.value[:-1]), key._replace(item_kind=STR, value=["x"] * len(key.value))]
    if key.kind == F32:
        return [key._replace(value=value) for value in (float("nan"), float("inf"), -1e30)] + [Key(STR, 0, "x")]
    if key.kind in (BOOL, STR):
        return [Key(U32, 0, 1)]
    return [Key(kind, 0, value) for kind, value in ((U64, 2**64 - 1), (U32, 2**32 - 1), (F32, 1.5), (STR, "x"))]
