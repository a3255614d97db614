"""Which files make up what is wanted, with their sizes and digests."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote, urljoin

import msgspec

from llamatw.errors import ModelError
from llamatw.hub import names
from llamatw.hub.cache import File
from llamatw.hub.web import Web, header, length
from llamatw.settings import Remote

_MAX_PAGES = 100
_MAX_PAGE = 16 << 20  # bytes
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next\b')
_SHA256 = re.compile(r"(?:sha256:)?([0-9a-f]{64})")
_SHA1 = re.compile(r"[0-9a-f]{40}")
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


class _Large(msgspec.Struct):
    """A file that git only has a pointer to."""

    oid: str
    size: int = 0


class _Entry(msgspec.Struct):
    type: str
    path: str
    size: int = 0
    oid: str = ""  # as a blob of git; of a large file, its pointer's
    lfs: _Large | None = None


async def find(web: Web, endpoint: str, wanted: Remote) -> list[File]:
    """The model's files, the first one first.  Raises ModelError."""
    if wanted.url:
        address, mark, query = wanted.url.partition("?")
        return [await _probe(web, f"{url}{mark}{query}") for url in names.parts(address)]
    entries = {entry.path: entry for entry in await _tree(web, endpoint, wanted.repo)}
    chosen = names.choose(entries, wanted)
    if chosen is None:
        raise ModelError(f"{names.shown(wanted)}: no such file; the repository has {_listed(entries)}")
    paths = names.parts(chosen)
    if missing := [path for path in paths if path not in entries]:
        raise ModelError(f"{wanted.repo}: {chosen} is one of {len(paths)} files, and {missing[0]} is not there")
    return [_file(endpoint, wanted.repo, entries[path]) for path in paths]


async def _tree(web: Web, endpoint: str, repo: str) -> list[_Entry]:
    """All GGUF files of a repository, from as many pages as it takes."""
    url, entries = f"{endpoint}/api/models/{repo}/tree/main?recursive=true", []
    for _ in range(_MAX_PAGES):
        response = await web.get(url)
        page = bytearray()
        await web.receive(response, page.extend, _MAX_PAGE)
        try:
            entries += msgspec.json.decode(page, type=list[_Entry])
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ModelError(f"{endpoint} does not answer as a hub does; is it one?") from None
        following = _NEXT.search(header(response, "Link"))
        if not following:
            return [entry for entry in entries if entry.type == "file" and entry.path.endswith(".gguf")]
        url = urljoin(url, following[1])
        if names.origin(url) != names.origin(endpoint):
            raise ModelError(f"{endpoint} continues its list of files at another host")
    raise ModelError(f"{repo}: the hub's list of files does not end")


def _file(endpoint: str, repo: str, entry: _Entry) -> File:
    url = f"{endpoint}/{repo}/resolve/main/{quote(names.checked_path(entry.path))}"
    size, digest = entry.size, ""
    if entry.lfs is not None:
        size = entry.lfs.size or entry.size
        digest = f"sha256:{found[1]}" if (found := _SHA256.fullmatch(entry.lfs.oid)) else ""
    elif _SHA1.fullmatch(entry.oid):
        digest = f"git:{entry.oid}"
    if size <= 0 or not digest:
        raise ModelError(f"{repo}: the hub does not say what {entry.path} holds")
    return File(path=entry.path, url=url, size=size, digest=digest)


async def _probe(web: Web, url: str) -> File:
    """A file that only its URL is known of: one byte of it tells the size, and by what it is known."""
    response = await web.get(url, {"Range": "bytes=0-0"})
    web.drop(response)
    total = _TOTAL.fullmatch(header(response, "Content-Range"))
    size = int(total[1]) if total else length(response) if response.code == 200 else None
    if not size:
        raise ModelError(f"{names.shown(Remote(url=url))}: the server does not say how large it is")
    return File(path=names.file_name(url), url=url, size=size, validator=validator(response))


def validator(response: Any) -> str:
    """By what the server would notice that the file has changed.  A weak ETag may stand for other bytes."""
    etag = header(response, "ETag")
    return etag if etag and not etag.startswith("W/") else header(response, "Last-Modified")


def _listed(entries: dict[str, _Entry]) -> str:
    found = sorted(path for path in entries if names.is_model(path))
    more = f" and {len(found) - 12} more" if len(found) > 12 else ""
    return (", ".join(found[:12]) + more)[:600] if found else "no GGUF model"
