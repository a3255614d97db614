"""How many tokens of a sequence to guess in a step.  The engine finds the guesses and checks them in the same pass.

A row more costs a tenth to a quarter of a step, a right guess saves a whole one.  So lengths double while all is right,
fall to what was right otherwise, and after guesses that were all wrong there is a pause, twice as long each time: where
nothing repeats, the attempts cost well under a hundredth of the time.
"""

from __future__ import annotations

import msgspec

from llamatw.settings import MAX_DRAFT

MAX_ROWS = MAX_DRAFT + 1  # of a step, guesses among them
_FIRST = 2
_MAX_PAUSE = 128  # steps


class Guesses(msgspec.Struct):
    """One sequence's luck so far."""

    n_drafted: int = 0
    n_right: int = 0
    _length: int = _FIRST
    _pause: int = 0  # steps still to sit out
    _next_pause: int = 2

    def wish(self) -> int:
        """How many to try in a step that is about to run."""
        if self._pause:
            self._pause -= 1
            return 0
        return self._length

    def learn(self, n_drafted: int, n_right: int) -> None:
        """n_right of n_drafted guesses were.  Only where there were some: of none there is nothing to learn."""
        self.n_drafted += n_drafted
        self.n_right += n_right
        if n_right == n_drafted:
            self._length = min(2 * self._length, MAX_DRAFT)
            self._next_pause = 2
        elif n_right:
            self._length = n_right + 1
        else:
            self._length = _FIRST
            self._pause = self._next_pause
            self._next_pause = min(2 * self._next_pause, _MAX_PAUSE)
