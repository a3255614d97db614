"""Who is let in: bounds on what may run and wait, per owner as well, and when it is worth coming back.

Who has been let in is never sent away for somebody who comes later.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Protocol

from llamatw.errors import TooManyRequests

_CROWDED = 0.5  # of the places taken: from here on nobody gets more than an equal share
_MAX_WAIT_S = 600


class Guest(Protocol):
    """An open stream."""

    owner: int
    n_prompt: int
    n_bytes: int


class Load(Protocol):
    """What the engine says of itself."""

    @property
    def n_waiting(self) -> int: ...
    @property
    def request_s(self) -> float: ...


class Admission:
    """max_* are for all open streams together; bytes are those of the requests' bodies."""

    def __init__(self, n_lanes: int, max_streams: int, max_tokens: int, max_bytes: int) -> None:
        self.n_lanes = n_lanes
        self.max_streams = max_streams
        self.max_tokens = max_tokens
        self.max_bytes = max_bytes

    def check(self, newcomer: Guest, guests: Collection[Guest], load: Load) -> None:
        """TooManyRequests, with the time after which a place should be free."""
        reason = self._objection(newcomer, guests)
        if reason:
            raise TooManyRequests(reason, retry_after=self.wait_s(load))

    def wait_s(self, load: Load) -> int:
        """Seconds until those who wait now have got a lane, by how long requests have taken lately."""
        wait = (load.n_waiting + 1) / self.n_lanes * load.request_s
        return min(max(math.ceil(wait), 1), _MAX_WAIT_S)

    def _objection(self, newcomer: Guest, guests: Collection[Guest]) -> str:
        n_tokens = sum(guest.n_prompt for guest in guests) + newcomer.n_prompt
        n_bytes = sum(guest.n_bytes for guest in guests) + newcomer.n_bytes
        if len(guests) >= self.max_streams:
            return f"{len(guests)} requests are served or waiting, which is all that this server takes"
        if guests and n_tokens > self.max_tokens:
            return (
                f"the prompts that are served or waiting would have {n_tokens} tokens, the limit is {self.max_tokens}"
            )
        if guests and n_bytes > self.max_bytes:
            return f"the requests that are served or waiting would have {n_bytes} bytes, the limit is {self.max_bytes}"
        owners = {guest.owner for guest in guests} | {newcomer.owner}
        n_own = sum(guest.owner == newcomer.owner for guest in guests)
        if len(guests) >= _CROWDED * self.max_streams and n_own >= self.max_streams / len(owners):
            return f"{n_own} requests with this API key are served or waiting, which is its share of a crowded server"
        return ""
