"""One file: gone on with where it ends, never longer than announced, checked as a whole, then renamed."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from llamatw.errors import ModelError
from llamatw.hub import cache
from llamatw.hub.cache import File
from llamatw.hub.listing import validator
from llamatw.hub.web import Transient, Web, header, length

_CHUNK = 1 << 20
_SPARE = 64 << 20  # bytes that stay free on the disk
_SAY_S = 5.0  # between two lines about how far it is
_WORTHWHILE = 1 << 20  # bytes after which a failure counts as the first one again
_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+)")

Say = Callable[[str], object]


def check_room(directory: Path, files: list[File]) -> None:
    """Raises ModelError where what is still to come does not fit on the disk."""
    missing = [file for file in files if not cache.is_there(directory, file)]
    needed = sum(file.size - _size(_partial(directory, file)) for file in missing) + _SPARE
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise ModelError(f"{_mb(needed)} are needed in {directory}, {_mb(free)} are free")


async def fetch(web: Web, file: File, directory: Path, say: Say) -> None:
    """The file below `directory`, complete.  Raises ModelError; what came so far stays for the next time."""
    if cache.is_there(directory, file):
        return
    target, partial = directory / file.path, _partial(directory, file)
    target.parent.mkdir(parents=True, exist_ok=True)
    while (had := _size(partial)) != file.size:
        try:
            await web.patiently(lambda: _go_on(web, file, partial, say, had), say)
        except _Moved:
            continue
    if file.digest:
        say(f"checking {file.path}")
        _check(file, partial)
    _sync(partial)
    partial.replace(target)
    cache.sync(target.parent)


class _Moved(Exception):
    """It broke off, but a good piece had come: tries count from the first again."""


async def _go_on(web: Web, file: File, partial: Path, say: Say, had: int) -> None:
    """From the file's end; from its beginning where the host or the file's past wants it so."""
    with partial.open("ab") as out:
        if (start := out.tell()) > file.size:
            start = out.truncate(0)
        if start == file.size:
            return
        response = await web.get(file.url, _wish(file, start))
        start = _place(web, file, response, start)
        out.truncate(start)
        meter = _Meter(file, start, say)
        try:
            await web.receive(response, lambda data: meter.count(_write(out.fileno(), data)), file.size - start)
        except Transient:
            if meter.at - had >= _WORTHWHILE:
                raise _Moved from None
            raise
        except OSError as failure:
            raise ModelError(f"cannot write {partial}: {failure.strerror}") from None
    if meter.at < file.size:
        raise Transient(f"{file.path} ended after {meter.at} of {file.size} bytes")


def _wish(file: File, start: int) -> dict[str, str]:
    if start == 0:
        return {}
    wish = {"Range": f"bytes={start}-"}
    return {**wish, "If-Range": file.validator} if file.validator else wish


def _place(web: Web, file: File, response: Any, start: int) -> int:
    """Where in the file the response begins; what is no part of this file is refused before a byte of it is taken."""
    total, begin = length(response), 0
    if response.code == 206:
        found = _RANGE.fullmatch(header(response, "Content-Range"))
        total, begin = (int(found[2]), int(found[1])) if found else (None, -1)
    is_same = response.code != 416 and total in (None, file.size) and begin in (0, start)
    if not is_same or (file.validator and validator(response) not in ("", file.validator)):
        web.drop(response)
        raise ModelError(f"{file.path} has changed at its host since its size was asked for: try again")
    return begin


def _write(descriptor: int, data: bytes) -> int:
    """Past Python's buffers: a process that is killed leaves all that it had."""
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]
    return len(data)


def _check(file: File, partial: Path) -> None:
    """The bytes on the disk against what the hub says; wrong ones are no use for another try."""
    kind, _, expected = file.digest.partition(":")
    digest = hashlib.sha256() if kind == "sha256" else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with partial.open("rb") as data:
        while chunk := data.read(_CHUNK):
            digest.update(chunk)
    if digest.hexdigest() != expected:
        partial.unlink()
        name = "sha256" if kind == "sha256" else "git hash"
        raise ModelError(f"{file.path} came with {name} {digest.hexdigest()}, expected {expected}: it was thrown away")


def _partial(directory: Path, file: File) -> Path:
    return directory / f"{file.path}.partial"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


class _Meter:
    """Counts what has come and now and then says so."""

    def __init__(self, file: File, at: int, say: Say) -> None:
        self.at = at
        self._file = file
        self._say = say
        self._begin = self._said = time.monotonic()
        self._first = at
        say(f"fetching {file.path} ({_mb(file.size)}{f', {_mb(at)} are there' if at else ''})")

    def count(self, n_bytes: int) -> None:
        self.at += n_bytes
        now = time.monotonic()
        if now - self._said < _SAY_S:
            return
        self._said = now
        rate = (self.at - self._first) / (now - self._begin)
        share = self.at / self._file.size
        self._say(f"fetching {self._file.path}: {share:.0%} of {_mb(self._file.size)}, {_mb(rate)} a second")


def _mb(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.1f} MB"
