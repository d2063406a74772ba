"""How long a job still takes, from the steps it has done."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from statistics import median

INSTANT = 0.005
RECENT = 8
FAR_TOO_FAST = 1 / 20


class Pace:
    """Seconds for a unit of work, measured over the last steps.

    Steps that took no time, or next to none beside the others, were remembered, not done: they say nothing about those
    to come and are left out. Only the last few count, for steps grow shorter or longer on the way, and of those the
    middle one, so that one long step among short ones does not count for many.

    Parameters
    ----------
    clock
        Seconds that only grow.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = self._ended = clock()
        self._counted = False
        self._left: float | None = None
        self._pieces: deque[tuple[float, float]] = deque(maxlen=RECENT)

    def step(self, left: float) -> None:
        """A step has ended or is announced; so much work is left. Work that grows or stays is no step done."""
        self._ended = self._clock()
        seconds = self._ended - self._began
        self._counted = self._left is not None and left < self._left and seconds >= INSTANT
        if self._left is not None and self._counted:
            self._pieces.append((self._left - left, seconds))
        self._left = left

    def shown(self) -> None:
        """The step's result is on screen; the time that took is part of the step, if the step counts."""
        if self._counted:
            work, seconds = self._pieces.pop()
            self._pieces.append((work, seconds + self._clock() - self._ended))

    def go_on(self) -> None:
        """The next step begins now."""
        self._began = self._clock()

    @property
    def remaining(self) -> float | None:
        """Seconds left, or None before the first step that took time."""
        if self._left is None or not self._pieces:
            return None
        rates = [seconds / work for work, seconds in self._pieces]
        return self._left * median(rate for rate in rates if rate >= FAR_TOO_FAST * max(rates))


def time_in_words(seconds: float) -> str:
    """Seconds left, rounded as one would say them: ``"about 40 s left"``, ``"about 3 min left"``."""
    if seconds < 1:
        return "less than 1 s left"
    if seconds < 10:
        return f"about {round(seconds)} s left"
    if seconds < 57.5:
        return f"about {5 * round(seconds / 5)} s left"
    return f"about {max(1, round(seconds / 60))} min left"
