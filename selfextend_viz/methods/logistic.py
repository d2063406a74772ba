"""SELF: Self-Extend with groups that grow by a logistic curve."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from selfextend_viz.positions import Band, Positions, real_number, whole_number


@dataclass(frozen=True)
class LogisticSelfExtend:
    """SELF (Dang et al., arXiv 2505.17296, section 3): Self-Extend whose groups grow by a logistic curve.

    Group number x holds ``floor(C / (1 + (C - 1) exp(-r x)))`` tokens, at most C - 1. With ``group(t)`` the number of
    the group of token t, a key nearer than w_n keeps its distance and another is told
    ``w_n + group(i - w_n) - group(j)``; as a difference of two positions it is one band, so that flash runs it.

    It spends more positions where groups are small. It cannot give near tokens the small groups: as the authors' code
    has it, groups are counted from the beginning of the text and not from the query, so that those of the beginning are
    fine and those just past the window as coarse as C - 1. This is that code's prefill, whose first group has one token
    more; its decoding tells other positions.

    Parameters
    ----------
    neighbor_window
        w_n, the first distance that is grouped.
    ceiling
        C, which groups never reach (the authors' ``capacity``, 33 by default). 2 groups nothing but the first tokens.
    rate
        r, how fast groups grow; the authors take 0.02.

    Raises
    ------
    TypeError, ValueError
        If w_n is not a whole number >= 1 or C not one >= 2, or the rate is not a finite number above 0.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: far ones in groups that grow"

    neighbor_window: int
    ceiling: int = 33
    rate: float = 0.02

    def __post_init__(self) -> None:
        object.__setattr__(self, "neighbor_window", whole_number("neighbor_window", self.neighbor_window))
        object.__setattr__(self, "ceiling", whole_number("ceiling", self.ceiling, at_least=2))
        object.__setattr__(self, "rate", real_number("rate", self.rate))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The neighbour band ``[0, w_n)`` and the group band ``[w_n, infinity)``."""
        window, group = self.neighbor_window, self._group
        return (Band(beyond=window), Band(lambda i: window + group(i - window), group, nearest=window))

    def _group(self, positions: Positions) -> Positions:
        """The number of each token's group; tokens 0 and 1 are the first, and so are those before the text."""
        number, left = positions * 0, positions - 1
        for size, groups in self._runs():
            left = (left > 0) * left
            taken = left if groups is None else left - (left > size * groups) * (left - size * groups)
            number, left = number + taken // size, left - taken
        return number

    def _runs(self) -> list[tuple[int, int | None]]:
        """Sizes of groups with how many groups of each there are, in order; the last has no end."""
        starts = [math.ceil(self._first(size)) for size in range(1, self.ceiling)]
        counts: list[int | None] = [after - start for start, after in zip(starts, starts[1:], strict=False)]
        return [run for run in zip(range(1, self.ceiling), [*counts, None], strict=True) if run[1] != 0]

    def _first(self, size: int) -> float:
        """Where the logistic curve reaches a size."""
        return (math.log(size * self.ceiling - size) - math.log(self.ceiling - size)) / self.rate

    def __str__(self) -> str:
        return f"LogisticSelfExtend(w_n={self.neighbor_window}, C={self.ceiling}, r={self.rate:g})"
