"""Whose grammar is compiled next, in the reactor's thread pool.

One at a time for each owner (API key), two in all.  A place goes to the owner that has held one for the shortest time
since it came; of an owner's the first is the one that is due first: at its arrival plus its length, counted in bytes
compiled.  What it comes to is the answer to all who wait for the same.  After each a place rests, so that compiling
never takes more than a part of a processor from those who generate.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from itertools import count
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from llamatw.engine.constraint import Constraint, Wish
from llamatw.engine.trial import PROMPT_S
from llamatw.engine.turns import Shares
from llamatw.errors import TooManyRequests

_PLACES = 2
_REST = 4  # times what it has taken from those who generate
_MAX_WAITING = 64
_CROWDED = _MAX_WAITING // 2  # from here on nobody's get more than an equal share of the queue
_MAX_WAIT_S = 600


class _Ask(NamedTuple):
    due: int
    number: int
    owner: int
    wish: Wish
    answer: Deferred[Constraint]


class Compiling:
    """Reactor's thread.  compile: any thread; it may take its time."""

    def __init__(self, reactor: Any, compile: Callable[[Wish], Constraint]) -> None:
        self._reactor = reactor
        self._compile = compile
        self._waiting: list[_Ask] = []
        self._running: set[int] = set()  # owners
        self._shares = Shares()
        self._numbers = count()
        self._n_compiled = 0  # bytes
        self._held_s = 0.1  # that a place is held by one, lately

    def compiled(self, wish: Wish, owner: int) -> Deferred[Constraint]:
        """TooManyRequests at once; else what compile comes to.  A client that leaves ends its waiting, not the thread's
        work, which keeps its place until it is done."""
        self._check_room(owner)
        answer: Deferred[Constraint] = Deferred(lambda _: self._forget(ask))
        ask = _Ask(self._n_compiled + len(wish.text), next(self._numbers), owner, wish, answer)
        self._waiting.append(ask)
        self._shares.present({one.owner for one in self._waiting} | self._running)
        self._go_on()
        return answer

    def _check_room(self, owner: int) -> None:
        n_all, n_own = len(self._waiting), sum(ask.owner == owner for ask in self._waiting)
        n_owners = len({ask.owner for ask in self._waiting} | {owner})
        if n_all >= _MAX_WAITING or (n_all >= _CROWDED and n_own >= _MAX_WAITING // n_owners):
            wait_s = min(max(math.ceil(n_own * self._held_s), 1), _MAX_WAIT_S)
            reason = f"{n_all} grammars and schemas wait to be compiled, {n_own} of them with this API key"
            raise TooManyRequests(reason, retry_after=wait_s)

    def _forget(self, ask: _Ask) -> None:
        if ask in self._waiting:
            self._waiting.remove(ask)

    def _go_on(self) -> None:
        while len(self._running) < _PLACES:
            able = [ask for ask in self._waiting if ask.owner not in self._running]
            if not able:
                return
            ask = min(able, key=lambda ask: (self._shares[ask.owner], ask.due, ask.number))
            self._waiting.remove(ask)
            self._running.add(ask.owner)
            self._start(ask)

    def _start(self, ask: _Ask) -> None:
        began, taken_s = self._reactor.seconds(), 0.0

        def work() -> Constraint:
            nonlocal taken_s
            wall_s, thread_s = time.perf_counter(), time.thread_time()
            try:
                return self._compile(ask.wish)
            finally:  # a trial is in nobody's way later on
                taken_s = time.thread_time() - thread_s + min(time.perf_counter() - wall_s, PROMPT_S)

        def done(result: Constraint | Failure) -> None:
            self._n_compiled += len(ask.wish.text)
            self._reactor.callLater(_REST * taken_s, self._leave, ask.owner, began)
            same = [one for one in self._waiting if one.wish == ask.wish]
            for one in (ask, *same):
                self._forget(one)
                if not one.answer.called:  # else its client has left
                    one.answer.callback(result)

        deferToThreadPool(self._reactor, self._reactor.getThreadPool(), work).addBoth(done)

    def _leave(self, owner: int, began: float) -> None:
        held_s = self._reactor.seconds() - began
        self._held_s += (held_s - self._held_s) / 8
        self._shares.charge(owner, round(1e6 * held_s))
        self._running.discard(owner)
        self._shares.present({ask.owner for ask in self._waiting} | {owner} | self._running)
        self._go_on()
