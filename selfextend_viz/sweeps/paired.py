"""Two settings on the same prompts: an exact test of the pairs that differ, and how many more prompts would decide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from selfextend_viz.positions import whole_number

__all__ = ["ERROR", "MARGIN", "Paired", "Verdict", "paired", "sign_test"]

ERROR = 0.05
"""The chance of calling two equal settings different that is taken in all comparisons together."""
MARGIN = 0.1
"""Two settings are as good as each other when their shares of right answers surely differ by less than this."""
MOST = 4096
"""More prompts than this are never asked for."""
Z_95 = 1.959964

Verdict = Literal["better", "worse", "as good", "undecided"]


def sign_test(better: int, worse: int) -> float:
    """The exact two-sided p-value of McNemar's test (1947): are wins and losses among pairs as often one as the other?

    Twice the binomial tail of the rarer side with a half each, at most 1; 1 where no pair differs.

    Parameters
    ----------
    better, worse
        Pairs in which only the first, and only the second, is right.

    Raises
    ------
    TypeError, ValueError
        If a count is not a whole number >= 0.
    """
    pairs = whole_number("better", better, at_least=0) + whole_number("worse", worse, at_least=0)
    tail = sum(math.comb(pairs, rarer) for rarer in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**pairs)


@dataclass(frozen=True)
class Paired:
    """Two settings on the same prompts.

    Attributes
    ----------
    prompts
        How many both have answered.
    better, worse
        Prompts that only the first, and only the second, got right.
    """

    prompts: int
    better: int
    worse: int

    @property
    def p_value(self) -> float:
        """Of :func:`sign_test`."""
        return sign_test(self.better, self.worse)

    @property
    def difference(self) -> float:
        """Share of right answers of the first less that of the second; 0 without a prompt."""
        return (self.better - self.worse) / self.prompts if self.prompts else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """A 95 % interval of the difference: Wald's, with half a pair added to each of the four kinds.

        Agresti and Min (2005), "Simple improved confidence intervals for comparing matched proportions". It keeps a
        width where no pair differs, which twenty prompts must not take for proof.
        """
        prompts, better, worse = self.prompts + 2, self.better + 0.5, self.worse + 0.5
        centre = (better - worse) / prompts
        half = Z_95 * math.sqrt(better + worse - (better - worse) ** 2 / prompts) / prompts
        return max(-1.0, centre - half), min(1.0, centre + half)

    def verdict(self, *, error: float = ERROR, margin: float = MARGIN) -> Verdict:
        """The first against the second: told apart by the test, else as good within the margin, else undecided."""
        if self.p_value < error:
            return "better" if self.better > self.worse else "worse"
        low, high = self.interval
        return "as good" if -margin < low and high < margin else "undecided"

    def more_prompts(self, *, error: float = ERROR, margin: float = MARGIN) -> int:
        """How many more prompts would give a verdict if pairs go on to differ as often as they did; 0 with one.

        At least 1 and at most ``MOST`` where there is none.
        """
        if self.verdict(error=error, margin=margin) != "undecided":
            return 0
        for more in range(1, MOST):
            times = (self.prompts + more) / self.prompts if self.prompts else 0.0
            grown = Paired(self.prompts + more, round(self.better * times), round(self.worse * times))
            if grown.verdict(error=error, margin=margin) != "undecided":
                return more
        return MOST


def paired(first: dict[object, tuple[int, ...]], second: dict[object, tuple[int, ...]]) -> Paired:
    """Compare answers prompt by prompt.

    Parameters
    ----------
    first, second
        By what the prompts were made from, which of them were answered right (1) and which not (0). Prompts that only
        one of the two has read are left out.
    """
    pairs = [pair for cell in first.keys() & second.keys() for pair in zip(first[cell], second[cell], strict=False)]
    return Paired(len(pairs), sum(a > b for a, b in pairs), sum(a < b for a, b in pairs))
