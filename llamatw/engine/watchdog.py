"""Tells whether the engine's thread is stuck.  Told the time; it reads what the loop publishes and never waits for it.

A step may take long: it is stuck when it has taken longer than 50 times what 99 of 100 steps took, and 30 seconds.
"""

from __future__ import annotations

import msgspec
from twisted.logger import Logger

from llamatw.engine.histogram import Distribution

_PATIENCE_S = 30.0
_PATIENCE_STEPS = 50  # times the 99th percentile of all steps


class Heartbeat(msgspec.Struct, frozen=True, eq=False):
    """What the loop's thread has been in since when.  One object for each step: the loop makes it, others look."""

    since: float  # seconds, of the loop's clock
    parts: tuple[tuple[int, int], ...] = ()  # (sequence's id, tokens) of a step; empty for work between steps


class Watchdog:
    """Says once in the log that a step is stuck, and once that it has ended after all."""

    log = Logger()

    def __init__(self) -> None:
        self._reported: Heartbeat | None = None

    def look(self, beat: Heartbeat | None, step_s: Distribution, now: float) -> str | None:
        """Why the thread counts as stuck; None while it does not.  step_s: how long all steps so far took; now on the
        heartbeat's clock, seconds."""
        if self._reported is not None and self._reported is not beat:
            self.log.info("the engine goes on: what had been stuck has ended")
            self._reported = None
        if beat is None or now - beat.since < patience(step_s):
            return None
        sentence = f"the engine is stuck: for {now - beat.since:.0f} s it has been {_described(beat)}"
        if self._reported is None:
            self.log.critical("{sentence}", sentence=sentence)
            self._reported = beat
        return sentence


def patience(step_s: Distribution) -> float:
    """Seconds that something may take before it counts as stuck."""
    return max(_PATIENCE_S, _PATIENCE_STEPS * step_s.quantile(0.99))


def _described(beat: Heartbeat) -> str:
    if not beat.parts:
        return "at work between two steps"
    sizes = ", ".join(f"{id} ({n} token{'s' * (n != 1)})" for id, n in beat.parts)
    return f"in one step with request{'s' * (len(beat.parts) != 1)} {sizes}"
