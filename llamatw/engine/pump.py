"""Drives a StepLoop by hand instead of a thread, so that tests of the service and of web/ are deterministic.

pump = Pump()
service = EngineService(settings, reactor, opener=FakeEngine.opener(engine), spawn=pump)
service.startService()
pump.run()                  # every turn until nothing is left to do
"""

from __future__ import annotations

from collections.abc import Iterator

from twisted.internet.defer import Deferred

from llamatw.engine.loop import StepLoop


class Pump:
    """An EngineService's `spawn`.  The service's reactor must carry out callFromThread at once."""

    def __init__(self) -> None:
        self._loop: StepLoop | None = None
        self._turns: Iterator[None] = iter(())
        self._ended: Deferred[None] = Deferred()

    def __call__(self, reactor: object, loop: StepLoop) -> Deferred[None]:
        self._loop, self._turns = loop, loop.turns(block=False)
        return self._ended

    def run(self, max_turns: int = 10_000) -> None:
        """Until nothing is left to do, or for so many turns."""
        for _ in range(max_turns):
            if not self.turn():
                return

    def turn(self) -> bool:
        """One turn of the loop (the first opens the engine); False when nothing was left to do."""
        if self._loop is None or self._loop.is_idle or self._ended.called:
            return False
        for _ in self._turns:
            return True
        self._ended.callback(None)
        return False
