"""What an exchange came to: status, headers, and for a stream the time of every event with tokens.

The pieces of a connection are played back to http.client one by one; the piece last handed out when a line is
complete says when that line came.
"""

from __future__ import annotations

import io
import socket
from http.client import HTTPException, HTTPResponse
from itertools import pairwise
from typing import Any, cast

import msgspec

Pieces = list[tuple[float, bytes]]  # clock in seconds, bytes
NOTHING = 0  # status of an answer that never came


class Answer(msgspec.Struct, kw_only=True):
    """Of one request.  Clock readings in seconds of perf_counter."""

    started: float  # before connecting
    ended: float  # the last piece; `started` if none came
    status: int = NOTHING  # of a stream that ended with an error, the error's
    headers: dict[str, str] = {}  # names in lower case
    body: bytes = b""  # of an answer that is no stream
    times: list[float] = []  # of each event with tokens
    text: str = ""
    timings: dict[str, Any] = {}  # of the last event
    complete: bool = False  # its last event or byte has come, and no error

    @property
    def ttft_s(self) -> float:
        """Time to first token."""
        return self.times[0] - self.started

    @property
    def gaps(self) -> list[float]:
        """Seconds between events with tokens."""
        return [after - before for before, after in pairwise(self.times)]

    @property
    def n_tokens(self) -> int:
        return int(self.timings.get("predicted_n", len(self.times)))

    @property
    def n_computed(self) -> int:
        """Prompt tokens that went through the model."""
        return int(self.timings.get("prompt_n", 0))

    @property
    def n_cached(self) -> int:
        return int(self.timings.get("cache_n", 0))

    @property
    def decode_rate(self) -> float:
        """Tokens per second after the first; 0 with fewer than two."""
        span = self.times[-1] - self.times[0] if self.times else 0
        return (self.n_tokens - 1) / span if span > 0 else 0.0


def read(started: float, pieces: Pieces) -> Answer:
    """Never fails: what is no HTTP answer has the status NOTHING."""
    answer = Answer(started=started, ended=pieces[-1][0] if pieces else started)
    replay = _Replay(pieces)
    response = HTTPResponse(cast(socket.socket, replay))
    try:
        response.begin()
        answer.status = response.status
        answer.headers = {name.lower(): value for name, value in response.getheaders()}
        if answer.headers.get("content-type", "").startswith("text/event-stream"):
            _read_stream(answer, response, replay)
        else:
            answer.body = response.read()
            answer.complete = response.status == 200
    except HTTPException:
        answer.complete = False
    return answer


def _read_stream(answer: Answer, response: HTTPResponse, replay: _Replay) -> None:
    for line in response:
        payload = line.strip().removeprefix(b"data: ")
        if line.endswith(b"\n") and payload != line.strip() and payload != b"[DONE]":
            _add_event(answer, msgspec.json.decode(payload), replay.time)


def _add_event(answer: Answer, event: dict[str, Any], time: float) -> None:
    """One of /completion, or a chunk of a chat."""
    if "error" in event:
        answer.status = event["error"].get("code", 500)
        return
    text = event.get("content") or "".join(c["delta"].get("content") or "" for c in event.get("choices", ()))
    if text or event.get("tokens"):
        answer.times.append(time)
        answer.text += text
    if "timings" in event:
        answer.timings = event["timings"]
        answer.complete = True


class _Replay(io.RawIOBase):
    """Hands out one piece a read.  `time`: of the piece last handed out."""

    def __init__(self, pieces: Pieces) -> None:
        self._pieces = list(reversed(pieces))
        self.time = 0.0

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._pieces:
            return 0
        self.time, data = self._pieces.pop()
        taken = data[: len(buffer)]
        if len(taken) < len(data):
            self._pieces.append((self.time, data[len(taken) :]))
        buffer[: len(taken)] = taken
        return len(taken)
