"""Which pages and names may use the server: CORS, and the Host header where a browser could be made to lie.

A page of any site can have its own name point to 127.0.0.1 (DNS rebinding), and its requests then count as its own
origin's.  So on a loopback address only names are answered that nobody can have pointed there: addresses, localhost,
names without a dot, and those of --allowed-hosts.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from llamatw.errors import Forbidden, LlamatwError
from llamatw.settings import Cors
from llamatw.web.api import Request

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_SAFE = (b"GET", b"HEAD", b"OPTIONS")


class Origins:
    def __init__(self, cors: Cors, hosts: tuple[str, ...]) -> None:
        self._cors = cors
        self._hosts = frozenset(host.lower() for host in hosts)

    def refusal(self, request: Request) -> LlamatwError | None:
        """Why a request with this Host and Origin is not served."""
        host = request.getHeader(b"host") or b""
        if _came_over_loopback(request) and not self._is_known(host.decode("latin-1")):
            return Forbidden("this Host is not served on a loopback address: see --allowed-hosts")
        origin = request.getHeader(b"origin")
        if origin is None or request.method in _SAFE or self._allows(origin) or _is_own(origin, host):
            return None
        return Forbidden("pages of this Origin may not use the server: see --cors-origins")

    def add_headers(self, request: Request) -> None:
        origin = request.getHeader(b"origin")
        request.setHeader(b"vary", b"Origin")
        if origin is not None and self._allows(origin):
            request.setHeader(b"access-control-allow-origin", origin)
            if self._cors.credentials:
                request.setHeader(b"access-control-allow-credentials", b"true")

    def preflight(self, request: Request) -> bytes:
        request.setHeader(b"access-control-allow-methods", ", ".join(self._cors.methods).encode())
        # With credentials a browser takes "*" literally, so what it asks for is named.
        asked = request.getHeader(b"access-control-request-headers")
        named = ", ".join(self._cors.headers).encode()
        request.setHeader(b"access-control-allow-headers", asked if asked and "*" in self._cors.headers else named)
        request.setHeader(b"content-length", b"0")
        return b""

    def _allows(self, origin: bytes) -> bool:
        text = origin.decode("latin-1")
        if "*" in self._cors.origins or text in self._cors.origins:
            return True
        return "localhost" in self._cors.origins and _host_of(text) in _THIS_MACHINE

    def _is_known(self, host: str) -> bool:
        name = _host_of(f"http://{host}")
        if name is None:
            return not host  # HTTP/1.0 need not say; what cannot be read is nobody's
        name = name.removesuffix(".")
        return "." not in name or name.endswith(".localhost") or name in self._hosts or _is_address(name)


def _host_of(url: str) -> str | None:
    """In lower case, without brackets and port."""
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _is_own(origin: bytes, host: bytes) -> bool:
    """The server's own page."""
    return origin.partition(b"://")[2] == host


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _came_over_loopback(request: Request) -> bool:
    try:
        return ip_address(getattr(request.getHost(), "host", "").partition("%")[0]).is_loopback
    except ValueError:
        return False  # a Unix socket, which no browser reaches
