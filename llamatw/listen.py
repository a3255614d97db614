"""Where the server listens: sockets bound before twistd daemonises, so that a busy port is one line on the terminal.

A place is an address, unix:PATH, PATH.sock, or systemd: with a number or name, for sockets that systemd has opened.
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from ipaddress import ip_address
from typing import Any

import msgspec
from twisted.internet.endpoints import serverFromString
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory

from llamatw.settings import WebSettings

_BACKLOG = 511
_MAX_UNIX_PATH = 107  # bytes
_END = b"-----END CERTIFICATE-----"
_ACCEPTED_OPTIONS = [  # accepted sockets inherit them: a peer that vanished without a word is found within a minute
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    *(
        (socket.IPPROTO_TCP, getattr(socket, name), value)
        for name, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 60_000),
        )
        if hasattr(socket, name)
    ),
]


class Listener(msgspec.Struct, frozen=True):
    """A bound socket; `unlink` is the file that it leaves behind."""

    socket: socket.socket
    unlink: str | None = None

    @property
    def name(self) -> str:
        """host:port, or the path of a Unix socket."""
        if self.socket.family == socket.AF_UNIX:
            return f"unix:{self.socket.getsockname()}"
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach it."""
        if self.socket.family == socket.AF_UNIX:
            return True
        host = str(self.socket.getsockname()[0]).partition("%")[0]
        return (ip_address(host)).is_loopback

    @property
    def is_tcp(self) -> bool:
        return self.socket.family != socket.AF_UNIX


def open_listeners(settings: WebSettings) -> list[Listener]:
    """All places; one that cannot be had ends the process with one line."""
    opened: list[Listener] = []
    for place in settings.hosts:
        try:
            opened += _open(place, settings)
        except (OSError, ValueError) as error:
            close(opened)
            raise SystemExit(f"twistd llama: cannot listen on {_shown(place, settings)}: {_reason(error)}") from None
    return opened


def close(listeners: list[Listener]) -> None:
    for listener in listeners:
        listener.socket.close()
        remove(listener)


def remove(listener: Listener) -> None:
    """The file of a Unix socket, if there is one."""
    if listener.unlink:
        with contextlib.suppress(OSError):
            os.unlink(listener.unlink)


def _open(place: str, settings: WebSettings) -> list[Listener]:
    if place.startswith("systemd:"):
        return [_from_systemd(place.removeprefix("systemd:"))]
    if place.startswith("unix:") or place.endswith(".sock"):
        return [_unix(os.path.abspath(place.removeprefix("unix:")))]
    return [_tcp(place, settings)]


def _tcp(host: str, settings: WebSettings) -> Listener:
    found = socket.getaddrinfo(host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, address = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if settings.reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)  # 0.0.0.0 may stand beside ::
        _set_options(listener)
        listener.bind(address)
        return _listening(listener)
    except BaseException:
        listener.close()
        raise


def _unix(path: str) -> Listener:
    if len(os.fsencode(path)) > _MAX_UNIX_PATH:
        raise ValueError(f"a path of at most {_MAX_UNIX_PATH} bytes is needed")
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        return _listening(listener, path)
    except BaseException:
        listener.close()
        raise


def _remove_stale(path: str) -> None:
    """The socket of a server that is gone; anything else that is there stays."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise ValueError("there is a file that is no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # a full backlog is somebody, too
        code = probe.connect_ex(path)
    if code != errno.ECONNREFUSED:
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    os.unlink(path)


def _from_systemd(which: str) -> Listener:
    """By number, or by the name that the unit gives (FileDescriptorName=), briefly or as Twisted spells it; none: 0."""
    parts = [part for part in which.split(":") if part and not part.startswith("domain=")]  # the socket knows its own
    key = parts[0] if parts else "0"
    chosen = key if "=" in key else f"{'index' if key.isdigit() else 'name'}={key}"
    try:
        endpoint: Any = serverFromString(None, f"systemd:domain=INET:{chosen}")  # type: ignore[no-untyped-call]
    except (LookupError, TypeError, ValueError):
        raise ValueError(f"systemd has passed no socket {chosen[:40]}") from None
    return _adopted(endpoint.fileno)


def _adopted(descriptor: int) -> Listener:
    listener = socket.socket(fileno=os.dup(descriptor))
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        listener.close()
        raise ValueError("what systemd has passed is no listening socket")
    if listener.family != socket.AF_UNIX:
        _set_options(listener)
    listener.setblocking(False)
    return Listener(listener)


def _set_options(listener: socket.socket) -> None:
    for level, option, value in _ACCEPTED_OPTIONS:
        listener.setsockopt(level, option, value)


def _listening(listener: socket.socket, path: str | None = None) -> Listener:
    listener.listen(_BACKLOG)
    listener.setblocking(False)
    return Listener(listener, path)


def wrapped(factory: Any, settings: WebSettings) -> Any:
    """The factory behind TLS, if that is asked for; wrong files end the process with one line."""
    if settings.ssl_key_file is None or settings.ssl_cert_file is None:
        return factory
    try:
        return TLSMemoryBIOFactory(_context(settings.ssl_key_file, settings.ssl_cert_file), False, factory)
    except Exception as error:
        files = f"--ssl-key-file {settings.ssl_key_file} and --ssl-cert-file {settings.ssl_cert_file}"
        raise SystemExit(f"twistd llama: {files} are no pair of PEM files: {_openssl_reason(error)}") from None


def _context(key_path: str, certificate_path: str) -> Any:
    from OpenSSL import crypto

    with open(key_path, "rb") as file:
        key = crypto.load_privatekey(crypto.FILETYPE_PEM, file.read())
    with open(certificate_path, "rb") as file:
        pieces = [part + _END for part in file.read().split(_END) if b"BEGIN CERTIFICATE" in part]
    chain = [crypto.load_certificate(crypto.FILETYPE_PEM, piece) for piece in pieces]
    if not chain:
        raise ValueError("there is no certificate")
    options = CertificateOptions(privateKey=key, certificate=chain[0], extraCertChain=chain[1:])
    context = options.getContext()
    context.check_privatekey()
    return options


def _openssl_reason(error: Exception) -> str:
    return (str(error) or type(error).__name__).replace("\n", " ")[:200]


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)


def _shown(place: str, settings: WebSettings) -> str:
    is_address = not (place.startswith(("unix:", "systemd:")) or place.endswith(".sock"))
    return f"{place}:{settings.port}" if is_address else place
