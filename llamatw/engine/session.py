"""A saved history: the file's format, its writer and its reader.  File objects only; no engine, thread or directory.

    head | digest | ids | digest | page | digest | page | digest ... | digest of all digests

The head says whose pages these are (Stamp) and how many ids there are, so a file's size is known from its head; one
more byte or one less is refused, as is any bit that differs.  Digests are BLAKE2b, 16 bytes, of the part before them.
They find damage; they are no signature: who may write the directory may also write a file that is taken.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from typing import BinaryIO

import msgspec

from llamatw.engine.lanes import Memory
from llamatw.errors import BadRequest

_MAGIC = b"llamatw\n"
_VERSION = 1
_HEAD = struct.Struct("<8s I I I Q Q 32s 8s 8s I")  # magic, version, the stamp's numbers, scope, model, types, n_ids
_DIGEST_BYTES = 16
_ID_BYTES = 4


class Stamp(msgspec.Struct, frozen=True, kw_only=True):
    """What must be the same for pages to mean the same."""

    model: bytes  # 32 bytes: see Saves
    k_type: str
    v_type: str
    n_vocab: int
    page_tokens: int
    page_bytes: int

    def n_pages(self, n_ids: int) -> int:
        return -(-n_ids // self.page_tokens)

    def file_bytes(self, n_ids: int) -> int:
        """Size of a file with so many ids."""
        pages = self.n_pages(n_ids) * (self.page_bytes + _DIGEST_BYTES)
        return _HEAD.size + _ID_BYTES * n_ids + pages + 3 * _DIGEST_BYTES


class Writer:
    """Head and ids at once, then page() for each page in order, then end()."""

    def __init__(self, file: BinaryIO, stamp: Stamp, memory: Memory) -> None:
        self._file = file
        self._all = hashlib.blake2b(digest_size=_DIGEST_BYTES)
        self._part(_head(stamp, memory))
        self._part(_little(memory.ids).tobytes())

    def page(self, data: bytes | bytearray) -> None:
        self._part(data)

    def end(self) -> None:
        self._file.write(self._all.digest())

    def _part(self, data: bytes | bytearray) -> None:
        digest = _digest(data)
        self._file.write(data)
        self._file.write(digest)
        self._all.update(digest)


class Reader:
    """Head and ids are checked at once; check() goes through the rest.  BadRequest says what is wrong.

    page() may be asked after check() only, and for what check() has seen: the file may have been changed since.
    """

    def __init__(self, file: BinaryIO, size: int, stamp: Stamp, max_ids: int) -> None:
        """size: of the file.  max_ids: what a sequence of this engine can hold."""
        self._file = file
        self._stamp = stamp
        self._seen: list[bytes] = []  # digests
        scope, n_ids = _parse_head(self._part(_HEAD.size), stamp)
        if n_ids > max_ids:
            raise _refusal(f"holds {n_ids} tokens, the context has room for {max_ids}")
        if size != stamp.file_bytes(n_ids):
            raise _refusal(f"has {size} bytes, {n_ids} tokens take {stamp.file_bytes(n_ids)}")
        ids = _little(array("i", self._part(_ID_BYTES * n_ids)))
        if ids and not (min(ids) >= 0 and max(ids) < stamp.n_vocab):
            raise _refusal("holds an id outside the vocabulary")
        self.memory = Memory(scope, ids)
        self.n_pages = stamp.n_pages(n_ids)
        self.size = size

    def check(self) -> None:
        """Reads all pages, one at a time."""
        for _ in range(self.n_pages):
            self._part(self._stamp.page_bytes)
        if self._read(_DIGEST_BYTES) != _digest(b"".join(self._seen)):
            raise _refusal("is damaged at its end")
        if self._file.read(1):
            raise _refusal("goes on after its end")

    def page(self, index: int) -> bytes:
        self._file.seek(self._offset(index))
        data = self._read(self._stamp.page_bytes)
        if _digest(data) != self._seen[2 + index]:
            raise _refusal(f"changed while it was read: page {index} is another one")
        return data

    def _offset(self, page: int) -> int:
        before = _HEAD.size + _ID_BYTES * len(self.memory.ids) + 2 * _DIGEST_BYTES
        return before + page * (self._stamp.page_bytes + _DIGEST_BYTES)

    def _part(self, n_bytes: int) -> bytes:
        data = self._read(n_bytes)
        digest = self._read(_DIGEST_BYTES)
        if _digest(data) != digest:
            raise _refusal(f"is damaged: the digest of its part {len(self._seen)} is wrong")
        self._seen.append(digest)
        return data

    def _read(self, n_bytes: int) -> bytes:
        data = self._file.read(n_bytes)
        if len(data) != n_bytes:
            raise _refusal("is cut short, or was never a saved slot")
        return data


def _head(stamp: Stamp, memory: Memory) -> bytes:
    numbers = (stamp.n_vocab, stamp.page_tokens, stamp.page_bytes, memory.scope)
    types = (stamp.k_type.encode(), stamp.v_type.encode())
    return _HEAD.pack(_MAGIC, _VERSION, *numbers, stamp.model, *types, len(memory.ids))


def _parse_head(head: bytes, stamp: Stamp) -> tuple[int, int]:
    """Scope and number of ids of a file that fits the stamp."""
    magic, version, n_vocab, page_tokens, page_bytes, scope, model, k_type, v_type, n_ids = _HEAD.unpack(head)
    if magic != _MAGIC or version != _VERSION:
        raise _refusal(f"is no slot saved by this server, or not of version {_VERSION}")
    types = tuple(name.rstrip(b"\0").decode("ascii", "replace") for name in (k_type, v_type))
    if types != (stamp.k_type, stamp.v_type):
        raise _refusal(f"has keys and values of types {types[0]} and {types[1]}, not {stamp.k_type} and {stamp.v_type}")
    if (n_vocab, page_tokens, page_bytes) != (stamp.n_vocab, stamp.page_tokens, stamp.page_bytes):
        raise _refusal("was saved with a model of another shape")
    if model != stamp.model:
        raise _refusal("was saved with another model, or with other settings of positions")
    return scope, n_ids


def _little(ids: array[int]) -> array[int]:
    """Between this machine's order of bytes and the file's."""
    if struct.pack("=I", 1) == struct.pack("<I", 1):
        return ids
    turned = ids[:]
    turned.byteswap()
    return turned


def _digest(data: bytes | bytearray) -> bytes:
    return hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest()


def _refusal(reason: str) -> BadRequest:
    return BadRequest(f"the file {reason}", "filename")
