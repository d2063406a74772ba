"""Methods that tell far tokens positions that grow more slowly, or not at all, by their distance alone."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from selfextend_viz.positions import Band, Positions, real_number, real_positions, whole_number


@dataclass(frozen=True)
class ReRoPE:
    """ReRoPE (Jianlin Su, 2023, https://kexue.fm/archives/9708): every far key at one distance, ``min(d, W)``.

    The limit of Self-Extend as G grows: all far tokens are one group. It reaches any length. It cannot tell far tokens
    apart by position, so that their order is lost. The author's optional scaling of queries by the logarithm of the
    length is not part of it.

    Parameters
    ----------
    window
        W, the first distance that is told as W, and the largest told.

    Raises
    ------
    TypeError, ValueError
        If the window is not a whole number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: all far ones alike"

    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole_number("window", self.window))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The window at true positions, and beyond it queries at W and keys at 0."""
        window = self.window
        return (Band(beyond=window), Band(lambda i: i * 0 + window, lambda j: j * 0, nearest=window))

    def __str__(self) -> str:
        return f"ReRoPE({self.window})"


@dataclass(frozen=True)
class LeakyReRoPE:
    """Leaky ReRoPE (Jianlin Su, 2023, https://kexue.fm/archives/9708): far distances divided, ``W + (d - W) / k``.

    Self-Extend without the floor: a ramp where that has a staircase, so that far tokens keep their order. It cannot
    give them the whole distances that training knew: its positions are real numbers, in float64. The author's optional
    scaling of queries by the logarithm of the length is not part of it.

    Parameters
    ----------
    window
        W, the first distance that is divided.
    factor
        k, by how much; 1 is plain RoPE.

    Raises
    ------
    TypeError, ValueError
        If the window is not a whole number >= 1, or the factor not a finite number >= 1.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: far ones divided by k"

    window: int
    factor: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "window", whole_number("window", self.window))
        object.__setattr__(self, "factor", real_number("factor", self.factor, at_least=1))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The window at true positions, and beyond it positions divided by the factor."""
        window, factor = self.window, self.factor
        shift = window - window / factor

        def query(positions: Positions) -> Positions:
            return real_positions(positions) / factor + shift

        return (Band(beyond=window), Band(query, lambda j: real_positions(j) / factor, nearest=window))

    @property
    def differs_from(self) -> int | None:
        """The first length at which any position differs from plain RoPE: W + 2, or ``None`` for a factor of 1."""
        return None if self.factor == 1 else self.window + 2

    def capacity(self, context_length: int) -> int:
        """The longest N told positions up to L - 1: ``floor((L - 1 - W) k + W) + 1``, or L if the window is longer."""
        room = whole_number("context_length", context_length) - 1 - self.window
        return context_length if room < 0 else math.floor(room * self.factor + self.window) + 1

    def __str__(self) -> str:
        return f"LeakyReRoPE({self.window}, factor={self.factor:g})"


@dataclass(frozen=True)
class StringAttention:
    """STRING (An et al., arXiv 2410.18745, section 4): far distances shifted down, ``d`` or ``d - S + W`` from S on.

    Distances near L were trained least; they are never told, and the well trained ones are told twice. It makes better
    use of the trained length and reaches ``L + S - W`` tokens, hardly more. It cannot tell a key at distance S or more
    from one that is S - W nearer.

    Parameters
    ----------
    shift
        S, the first distance that is shifted; the paper takes about a third of L.
    window
        W, what distance S is told as; the paper takes 128. W = S is plain RoPE.

    Raises
    ------
    TypeError, ValueError
        If S is not a whole number >= 1 or W not one of 0 .. S.
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: far ones shifted nearer"

    shift: int
    window: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "shift", whole_number("shift", self.shift))
        object.__setattr__(self, "window", whole_number("window", self.window, at_least=0))
        if self.window > self.shift:
            raise ValueError(
                f"window is {self.window}, but must be at most shift = {self.shift}: far tokens come nearer"
            )

    @property
    def bands(self) -> tuple[Band, ...]:
        """The distances below S at true positions, and the others with queries S - W nearer."""
        moved = self.shift - self.window
        return (Band(beyond=self.shift), Band(lambda i: i - moved, nearest=self.shift))

    @property
    def differs_from(self) -> int | None:
        """The first length at which any position differs from plain RoPE: S + 1, or ``None`` for W = S."""
        return None if self.window == self.shift else self.shift + 1

    def capacity(self, context_length: int) -> int:
        """The longest N told positions up to L - 1: ``L + S - W``, or L if the shift begins past it."""
        whole_number("context_length", context_length)
        return context_length + (self.shift - self.window if self.shift <= context_length else 0)

    def __str__(self) -> str:
        return f"StringAttention(shift={self.shift}, window={self.window})"
