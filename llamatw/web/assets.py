"""Static files: those of the directory that --path names, then those of the built-in page.

A request names a file by segments; each must be an ordinary name, and what they lead to, links followed, must lie
inside the directory.  Small files of a page: read whole, with an ETag of size and time, revalidated by the browser each
time.  Text travels compressed where the browser takes it; what that comes to is kept, not made anew for each request.
"""

from __future__ import annotations

import gzip
import mimetypes
import re
from functools import lru_cache
from pathlib import Path

import msgspec

_TYPES = {
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
    ".webmanifest": "application/json",
}
_MAX_BYTES = 64 << 20
_WORTH_GZIP = range(1 << 10, 1 << 20)  # bytes
_TEXTS = ("text/", "application/json", "image/svg+xml")
_TAKES_GZIP = re.compile(rb"\bgzip\b(?!\s*;\s*q=0(?:\.0*)?\s*(?:,|$))", re.IGNORECASE)


class Asset(msgspec.Struct, frozen=True):
    path: Path
    content_type: str
    etag: str
    size: int  # of the file
    is_gzip: bool = False  # what read() gives

    def gzipped(self) -> Asset:
        """The same, compressed, where that is worth it."""
        if self.size not in _WORTH_GZIP or not self.content_type.startswith(_TEXTS):
            return self
        return msgspec.structs.replace(self, etag=f'{self.etag[:-1]}-gz"', is_gzip=True)

    def read(self) -> bytes:
        return _compressed(self.path, self.etag) if self.is_gzip else self.path.read_bytes()


@lru_cache(maxsize=64)
def _compressed(path: Path, etag: str) -> bytes:
    """etag: another one is another content."""
    return gzip.compress(path.read_bytes(), mtime=0)


def takes_gzip(accept_encoding: bytes | None) -> bool:
    return bool(_TAKES_GZIP.search(accept_encoding or b""))


class Assets:
    def __init__(self, *roots: Path) -> None:
        """roots: directories, of which the first that has a file serves it."""
        self._roots = [root.resolve() for root in roots]

    def find(self, url_path: str) -> Asset | None:
        """The file that a decoded URL path means; "/dir/" means its index.html."""
        names = url_path.removeprefix("/").split("/")
        if names[-1] == "":
            names[-1] = "index.html"
        if not all(map(_is_ordinary, names)):
            return None
        found = (_asset(root, names) for root in self._roots)
        return next((asset for asset in found if asset), None)


def _asset(root: Path, names: list[str]) -> Asset | None:
    try:
        path = root.joinpath(*names).resolve()
        if not path.is_relative_to(root) or not path.is_file():
            return None
        stat = path.stat()
        if stat.st_size > _MAX_BYTES:
            return None
        return Asset(path, content_type(path), f'"{stat.st_size:x}-{stat.st_mtime_ns:x}"', stat.st_size)
    except (OSError, RuntimeError, ValueError):  # unreadable, links in a ring, a name too long
        return None


def content_type(path: Path) -> str:
    kind = _TYPES.get(path.suffix.lower()) or mimetypes.guess_type(path.name)[0] or "text/plain"
    return f"{kind}; charset=utf-8" if kind.startswith("text/") else kind


def _is_ordinary(name: str) -> bool:
    """No hidden file, no way up, nothing that another system takes for a separator."""
    return bool(name) and not name.startswith(".") and not any(c in "\\\0:" or ord(c) < 32 for c in name)
