"""Reading a GGUF file: its metadata and its tensor directory.  The C reader has checked everything before we see it."""

from __future__ import annotations

import ctypes
import os
from typing import TYPE_CHECKING, Any

from llamatw.capi import _abi
from llamatw.capi._lib import check, check_open, library
from llamatw.capi.records import TensorInfo
from llamatw.errors import ModelError, NotSupported

if TYPE_CHECKING:
    from llamatw.capi.records import Logits

Scalar = str | int | float | bool
Value = Scalar | list[Any]

_F32, _BOOL, _STRING, _ARRAY, _U64, _F64 = 6, 7, 8, 9, 10, 12

# ggml type: (values, bytes) of one block
_BLOCKS = (
    {0: (1, 4), 1: (1, 2), 30: (1, 2)}  # F32 F16 BF16
    | {2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34)}  # Q4_0 Q4_1 Q5_0 Q5_1 Q8_0
    | {10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210)}  # Q2_K to Q6_K
    | {16: (256, 66), 17: (256, 74), 22: (256, 82), 18: (256, 98), 21: (256, 110)}  # IQ2_XXS IQ2_XS IQ2_S IQ3_XXS IQ3_S
    | {19: (256, 50), 29: (256, 56), 20: (32, 18), 23: (256, 136)}  # IQ1_S IQ1_M IQ4_NL IQ4_XS
    | {34: (256, 54), 35: (256, 66), 39: (32, 17)}  # TQ1_0 TQ2_0 MXFP4
)


def path_bytes(path: str | os.PathLike[str]) -> bytes:
    """A path as C wants it."""
    raw = os.fsencode(path)
    if b"\0" in raw:
        raise ModelError(f"{os.fspath(path)!r} is not a file name: it holds a NUL")
    return raw


class Gguf:
    """An opened model file.  One thread at a time; close it, or use it as a context manager."""

    def __init__(self, handle: int, path: str) -> None:
        self.path = path
        self._lib = library()
        self._open_handle: int | None = handle

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Gguf:
        handle = ctypes.c_void_p()
        check_open(library().lt_gguf_open(ctypes.byref(handle), path_bytes(path)))
        assert handle.value is not None
        return cls(handle.value, os.fspath(path))

    def close(self) -> None:
        handle, self._open_handle = self._open_handle, None
        self._lib.lt_gguf_close(handle)

    def __enter__(self) -> Gguf:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def handle(self) -> int:
        """The C pointer, for calls that take an lt_gguf."""
        if self._open_handle is None:
            raise ValueError(f"{self.path} has been closed")
        return self._open_handle

    @property
    def version(self) -> int:
        return int(self._lib.lt_gguf_version(self.handle))

    def metadata(self, max_items: int | None = None) -> dict[str, Value]:
        """Every key with its value; arrays as lists, of their first max_items elements when given."""
        entry, found = _abi.Meta(), {}
        for index in range(self._lib.lt_gguf_n_meta(self.handle)):
            check(self._lib.lt_gguf_meta(self.handle, index, ctypes.byref(entry)))
            found[_text(entry.key, entry.key_len)] = self._value(index, entry, max_items)
        return found

    def scalars(self) -> dict[str, Scalar]:
        """Every key whose value is not an array."""
        return {key: value for key, value in self.metadata(max_items=0).items() if not isinstance(value, list)}

    def get(self, key: str, default: Any = None) -> Any:
        """One value, whole; default when the file has no such key."""
        name = key.encode()
        index = -1 if b"\0" in name else self._lib.lt_gguf_find(self.handle, name)
        if index < 0:
            return default
        entry = _abi.Meta()
        check(self._lib.lt_gguf_meta(self.handle, index, ctypes.byref(entry)))
        return self._value(index, entry, None)

    def n_items(self, key: str) -> int:
        """Length of an array value; 0 when the key is absent or no array."""
        index, entry = self._lib.lt_gguf_find(self.handle, key.encode()), _abi.Meta()
        if index < 0:
            return 0
        check(self._lib.lt_gguf_meta(self.handle, index, ctypes.byref(entry)))
        return int(entry.n) if entry.type == _ARRAY else 0

    def _value(self, index: int, entry: _abi.Meta, max_items: int | None) -> Value:
        if entry.type != _ARRAY:
            return _scalar(entry)
        n_items = entry.n if max_items is None else min(entry.n, max_items)
        return [self._item(index, item) for item in range(n_items)]

    def _item(self, index: int, item: int) -> Scalar:
        entry = _abi.Meta()
        check(self._lib.lt_gguf_meta_item(self.handle, index, item, ctypes.byref(entry)))
        return _scalar(entry)

    def tensors(self) -> list[TensorInfo]:
        return [self._tensor(index) for index in range(self._lib.lt_gguf_n_tensors(self.handle))]

    def _tensor(self, index: int) -> TensorInfo:
        entry = _abi.Tensor()
        check(self._lib.lt_gguf_tensor(self.handle, index, ctypes.byref(entry)))
        return TensorInfo(
            name=_text(entry.name, entry.name_len),
            shape=tuple(entry.ne[: entry.n_dims]),
            type=entry.type,
            type_name=type_name(entry.type),
            n_bytes=entry.n_bytes,
            offset=entry.offset,
            file=entry.file,
        )


def _text(address: int | None, length: int) -> str:
    """Strings of a file need not be UTF-8."""
    return ctypes.string_at(address, length).decode("utf-8", "replace") if address and length else ""


def _scalar(entry: _abi.Meta) -> Scalar:
    if entry.type == _STRING:
        return _text(entry.str, entry.str_len)
    if entry.type in (_F32, _F64):
        return float(entry.f)
    if entry.type == _BOOL:
        return bool(entry.i)
    return int(entry.i) & 0xFFFF_FFFF_FFFF_FFFF if entry.type == _U64 else int(entry.i)


def type_name(ggml_type: int) -> str:
    """ "Q4_K" and the like; "type 99" for one that we do not know."""
    name: bytes | None = library().lt_type_name(ggml_type)
    return name.decode("ascii") if name else f"type {ggml_type}"


def dequantize(ggml_type: int, data: Any) -> Logits:
    """The whole blocks in `data` (any bytes-like) as float32.  Needs numpy, as tools and tests do; serving does not."""
    import numpy as np

    raw = memoryview(data).cast("B").tobytes()
    if ggml_type not in _BLOCKS:
        raise NotSupported(f"{type_name(ggml_type)} cannot be dequantised")
    n_values, n_bytes = _BLOCKS[ggml_type]
    if len(raw) % n_bytes:
        raise ValueError(f"{len(raw)} bytes are no whole number of {n_bytes}-byte {type_name(ggml_type)} blocks")
    values = np.empty(len(raw) // n_bytes * n_values, dtype=np.float32)
    check(library().lt_dequantize(ggml_type, raw, len(raw), values.ctypes.data, values.size))
    return values
