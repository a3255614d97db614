"""A hub and the store that it sends downloads to, under two names of this machine, with faults that tests ask for."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

import msgspec

REPO = "someone/model"
PAGE = 2  # entries of a page


class Asked(msgspec.Struct):
    """A request that came."""

    host: str  # which of the two: hub, store
    path: str
    token: str | None
    range: str | None


class FakeHub:
    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.plain: set[str] = set()  # files that git itself has
        self.digests: dict[str, str] = {}  # lies about sha256
        self.sizes: dict[str, int] = {}  # lies about sizes
        self.status: list[int] = []  # of the next answers, instead of what is asked for
        self.cuts: list[int] = []  # bytes after which the next downloads break off
        self.changes: dict[str, bytes] = {}  # what files are once their sizes have been asked for
        self.hold = threading.Event()  # cleared: downloads wait after half of the file
        self.hold.set()
        self.etags = True
        self.ranges = True
        self.token: str | None = None  # that the hub wants
        self.redirect: str | None = None  # where downloads are, instead of the store
        self.next_page: str | None = None  # where the list goes on, instead of the hub
        self.asked: list[Asked] = []
        self.hub = ThreadingHTTPServer(("127.0.0.1", 0), self._handler("hub"))
        self.store = ThreadingHTTPServer(("127.0.0.1", 0), self._handler("store"))
        self.endpoint = f"http://127.0.0.1:{self.hub.server_port}"
        self.store_url = f"http://localhost:{self.store.server_port}"

    def _handler(self, host: str) -> type[BaseHTTPRequestHandler]:
        return type("Handler", (_Handler,), {"fake": self, "host": host})

    def downloads(self) -> list[Asked]:
        """Requests that the store answered."""
        return [asked for asked in self.asked if asked.host == "store"]


@contextlib.contextmanager
def running() -> Iterator[FakeHub]:
    fake = FakeHub()
    servers = [fake.hub, fake.store]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield fake
    finally:
        fake.hold.set()
        for server in servers:
            server.shutdown()
            server.server_close()


class _Handler(BaseHTTPRequestHandler):
    fake: FakeHub
    host: str

    def do_GET(self) -> None:
        fake, url = self.fake, urlsplit(self.path)
        token, wish = self.headers.get("Authorization"), self.headers.get("Range")
        fake.asked.append(Asked(self.host, unquote(url.path), token, wish))
        if fake.status:
            self._answer(fake.status.pop(0), b"{}", Retry_After="0")
        elif self.host == "store":
            self._file(unquote(url.path).removeprefix("/"))
        elif fake.token is not None and token != f"Bearer {fake.token}":
            self._answer(401, b"{}")
        elif url.path == f"/api/models/{REPO}/tree/main":
            self._tree(int(parse_qs(url.query).get("cursor", ["0"])[0]))
        elif url.path.startswith(f"/{REPO}/resolve/main/"):
            path = url.path.removeprefix(f"/{REPO}/resolve/main/")
            self._answer(302, b"", Location=fake.redirect or f"{fake.store_url}/{path}?signature=secret")
        else:
            self._answer(404, b"{}")

    def _tree(self, begin: int) -> None:
        entries = [_entry(self.fake, path, data) for path, data in self.fake.files.items()]
        following = begin + PAGE
        where = f"{self.fake.next_page or self.fake.endpoint}/api/models/{REPO}/tree/main"
        link = f'<{where}?recursive=true&cursor={following}>; rel="next"'
        more = {"Link": link} if following < len(entries) else {}
        self._answer(200, json.dumps(entries[begin:following]).encode(), **more)

    def _file(self, path: str) -> None:
        fake = self.fake
        if path not in fake.files:
            self._answer(404, b"")
            return
        data = fake.files[path]
        etag = f'"{hashlib.md5(data).hexdigest()}"'
        headers = {"ETag": etag} if fake.etags else {}
        wish = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wish or not fake.ranges or self.headers.get("If-Range", etag) != etag:
            self._answer(200, data, **headers)
            return
        begin, end = int(wish[1]), int(wish[2] or len(data) - 1)
        if begin >= len(data):
            self._answer(416, b"", Content_Range=f"bytes */{len(data)}")
            return
        if path in fake.changes:
            fake.files[path] = fake.changes.pop(path)
        self._answer(206, data[begin : end + 1], Content_Range=f"bytes {begin}-{end}/{len(data)}", **headers)

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, text in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        with contextlib.suppress(OSError):  # whoever asked may have seen enough
            self._send(body)

    def _send(self, body: bytes) -> None:
        fake = self.fake
        if self.host == "hub" or len(body) <= 1:
            self.wfile.write(body)
        elif fake.cuts:
            self.wfile.write(body[: fake.cuts.pop(0)])
        else:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            fake.hold.wait(60)
            self.wfile.write(body[half:])

    def log_message(self, *_: Any) -> None:
        pass


def _entry(fake: FakeHub, path: str, data: bytes) -> dict[str, Any]:
    blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    size = fake.sizes.get(path, len(data))
    entry = {"type": "file", "path": path, "size": size, "oid": blob}
    if path in fake.plain:
        return entry
    sha256 = fake.digests.get(path) or hashlib.sha256(data).hexdigest()
    return {**entry, "oid": "0" * 40, "lfs": {"oid": sha256, "size": size, "pointerSize": 135}}


def url(fake: FakeHub, path: str) -> str:
    """Of a file, for those who need no hub."""
    return f"{fake.store_url}/{quote(path)}"
