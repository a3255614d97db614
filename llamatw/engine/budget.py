"""How many prompt tokens may ride along with live streams before a step grows longer than its target.

    ms of a step  ~  ms of its decoding rows  +  prompt tokens * ms per prompt token

The first term is nearly all memory traffic (the weights pass once, however many rows), so the two are learned apart:
one from steps that only decode, the other from what prompt chunks added.
"""

from __future__ import annotations

_FIRST_CHUNK = 32  # before anything has been measured
_MIN_CHUNK = 16  # a prompt goes on however slow the machine is; smaller chunks cost nearly the same
_MEMORY = 0.8  # weight of the past at each new measurement: five steps or so


class StepBudget:
    def __init__(self, n_batch: int, target_ms: float) -> None:
        self.n_batch = n_batch
        self.target_ms = target_ms
        self.decode_ms = 0.0  # of a step's decoding rows together
        self._chunk_ms = 0.0  # decayed sums: their quotient weighs long chunks more
        self._chunk_tokens = 0.0

    @property
    def ms_per_token(self) -> float | None:
        return self._chunk_ms / self._chunk_tokens if self._chunk_tokens else None

    def chunk(self, n_decoding: int) -> int:
        """Prompt tokens for a step in which n_decoding rows decode."""
        room = max(self.n_batch - n_decoding, 0)
        if n_decoding == 0:
            return room
        cost = self.ms_per_token
        if not cost:
            return min(room, _FIRST_CHUNK)
        return min(room, max(_MIN_CHUNK, int((self.target_ms - self.decode_ms) / cost)))

    def learn(self, n_decoding: int, n_chunk: int, step_ms: float) -> None:
        """A step of n_decoding decoding rows and n_chunk prompt tokens took step_ms."""
        if n_chunk == 0:
            self.decode_ms = _MEMORY * self.decode_ms + (1 - _MEMORY) * step_ms if self.decode_ms else step_ms
        elif n_decoding or n_chunk >= _MIN_CHUNK:  # a lone short chunk is all weight traffic: it would mislead
            added = max(step_ms - (self.decode_ms if n_decoding else 0.0), 0.0)
            self._chunk_ms = _MEMORY * self._chunk_ms + added
            self._chunk_tokens = _MEMORY * self._chunk_tokens + n_chunk
