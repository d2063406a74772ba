"""Self-Extend with its far groups out of order: a control, which no paper proposes."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

from selfextend_viz.positions import Band, Positions, SelfExtend, whole_number


@dataclass(frozen=True)
class ShuffledSelfExtend:
    """Self-Extend whose far groups are told out of order, yet never out of range.

    A control: within buckets of w_n groups (of one, when w_n = 0) the group numbers are permuted, so that a task this
    method still solves did not need the order of far text. Every relative position stays between 0 and the
    largest one Self-Extend uses in the same row.

    Parameters
    ----------
    group_size, neighbor_window
        G and w_n, as in :class:`~selfextend_viz.positions.SelfExtend`; with G = 1 nothing is grouped or shuffled.
    seed
        Chooses the permutation.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole, G < 1, w_n < 0 or seed < 0.
    """

    group_size: int
    neighbor_window: int
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "group_size", whole_number("group_size", self.group_size))
        object.__setattr__(self, "neighbor_window", whole_number("neighbor_window", self.neighbor_window, at_least=0))
        object.__setattr__(self, "seed", whole_number("seed", self.seed, at_least=0))

    @property
    def bands(self) -> tuple[Band, ...]:
        """Self-Extend's bands, the group band's key positions permuted."""
        *near, group = SelfExtend(self.group_size, self.neighbor_window).bands
        if self.group_size == 1:
            return (group,)
        bucket = max(1, self.neighbor_window)
        factor, offset = _permutation(bucket, self.seed)

        def shuffled(key: Positions) -> Positions:
            place = group.key_position(key)
            return place // bucket * bucket + (factor * (place % bucket) + offset) % bucket

        return (*near, replace(group, key_position=shuffled))

    def __str__(self) -> str:
        return f"ShuffledSelfExtend(G={self.group_size}, w_n={self.neighbor_window}, seed={self.seed})"


def _permutation(size: int, seed: int) -> tuple[int, int]:
    """A factor and an offset such that ``factor * x + offset`` permutes ``0 .. size - 1``, never as the identity."""
    chance = random.Random(seed)
    units = [factor for factor in range(1, size + 1) if math.gcd(factor, size) == 1]
    return chance.choice(units[1:] or units), chance.randrange(1, size) if size > 1 else 0
