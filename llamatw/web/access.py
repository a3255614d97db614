"""The access log: a line for each exchange on Twisted's log, and an object for each in --log-file.

Neither has a word of what was asked or answered.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Sequence
from typing import Any, BinaryIO

import msgspec
from twisted.logger import Logger

from llamatw.settings import WebSettings
from llamatw.web.generation import Generation

_log = Logger(namespace="llamatw.access")
_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)


def request_id(offered: bytes | None) -> str:
    """The client's own X-Request-Id if it is a plain word, else a new one."""
    text = (offered or b"").decode("latin-1")
    return text if _ID.fullmatch(text) else secrets.token_hex(12)


class AccessLog:
    """Written to by the reactor's thread only."""

    def __init__(self, settings: WebSettings, reactor: Any) -> None:
        self._has_lines = settings.log_requests
        self._reactor = reactor
        self._file = None if settings.log_file is None else _opened(settings.log_file)

    def record(self, request: Any, has_left: bool) -> None:
        """An exchange that has ended; has_left: because the client hung up."""
        if self._has_lines:
            _log.info(
                "{client} {method} {path} {status} {sent} bytes{end}",
                client=_client(request),
                method=printable(request.method),
                path=printable(request.path),
                status=request.code,
                sent=request.sentLength,
                end=" (the client left)" if has_left else "",
            )
        if self._file is not None:
            entry = self._entry(request, has_left) | _work(request.generations)
            self._write(msgspec.json.encode(entry) + b"\n")

    def _entry(self, request: Any, has_left: bool) -> dict[str, Any]:
        now = self._reactor.seconds()
        return {
            "time": round(now, 3),
            "id": request.id,
            "client": _client(request),
            "method": printable(request.method),
            "path": printable(request.path),
            "status": request.code,
            "received": request.n_received,
            "sent": request.sentLength,
            "ms": round(1e3 * (now - request.began), 1),
            "client_left": has_left,
        }

    def _write(self, line: bytes) -> None:
        """A full disk must not end a request."""
        assert self._file is not None
        try:
            self._file.write(line)
        except OSError as error:
            _log.error("--log-file cannot be written: {reason}", reason=error.strerror)


def _work(generations: Sequence[Generation]) -> dict[str, Any]:
    """What the engine did for it, where it was asked."""
    if not generations:
        return {}
    times = [generation.timings for generation in generations]
    return {
        "n_answers": len(generations),
        "prompt_tokens": generations[0].n_prompt,
        "cached_tokens": times[0].cache_n,
        "predicted_tokens": sum(len(generation.tokens) for generation in generations),
        "prompt_ms": round(times[0].prompt_ms, 1),
        "predicted_ms": round(max(time.predicted_ms for time in times), 1),
        "finish": [generation.stop_type.value for generation in generations],
    }


def _opened(path: str) -> BinaryIO:
    try:
        return open(path, "ab", buffering=0)
    except OSError as error:
        raise SystemExit(f"twistd llama: --log-file {path}: {error.strerror}") from None


def _client(request: Any) -> str:
    return str(getattr(request.getClientAddress(), "host", None) or "local")


def printable(value: bytes) -> str:
    return ascii(value[:200].decode("latin-1"))[1:-1]
