"""Self-Extend (arXiv 2401.01325) as two bands of integers, how far it reaches, and which setting to take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import ClassVar

from selfextend_viz.positions.bands import Band, real_positions, whole_number

LONGLM = "longlm"
"""The ``compat`` that divides as the authors' code does."""


@dataclass(frozen=True, eq=False)
class SelfExtend:
    """Self-Extend (arXiv 2401.01325, section 3): exact near positions, grouped far ones.

    A key nearer than w_n keeps its distance; farther ones are told ``(i // G + w_n - w_n // G) - j // G``.

    Parameters
    ----------
    group_size
        G, how many far tokens share one position; 1 is plain RoPE.
    neighbor_window
        w_n, the first distance that is grouped.
    compat
        ``"longlm"`` shifts queries by ``w_n - w_n / G``, divided truly, as the authors' code does for Llama and Gemma:
        where G does not divide w_n, far positions are then no whole numbers. It shows the bug; left out, the paper's
        integer division.
    log_scale
        The trained length L, to multiply the query at true position i (from 0) by ``max(1, log(i + 1) / log(L))``, as
        the authors do for long pass keys; left out, queries stay as they are. No position depends on it.

    Raises
    ------
    TypeError, ValueError
        If G is not a whole number >= 1, w_n not one >= 0, ``compat`` is unknown, or log_scale neither ``None`` nor
        one >= 2.

    Examples
    --------
    >>> relative_positions(SelfExtend(group_size=2, neighbor_window=4), 10)[-1].tolist()
    [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
    """

    training_free: ClassVar[bool] = True
    mechanism: ClassVar[str] = "positions: far ones grouped by G"

    group_size: int
    neighbor_window: int
    compat: str | None = field(default=None, kw_only=True)
    log_scale: int | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        object.__setattr__(self, "group_size", whole_number("group_size", self.group_size))
        object.__setattr__(self, "neighbor_window", whole_number("neighbor_window", self.neighbor_window, at_least=0))
        if self.compat not in (None, LONGLM):
            raise ValueError(f"unknown compat {self.compat!r}; use {LONGLM!r}, or leave it out for integer division")
        if self.log_scale is not None:
            object.__setattr__(self, "log_scale", whole_number("log_scale", self.log_scale, at_least=2))

    @property
    def bands(self) -> tuple[Band, ...]:
        """The neighbour band ``[0, w_n)`` and the group band ``[w_n, infinity)``; one identity band for G = 1."""
        group_size, window = self.group_size, self.neighbor_window
        if group_size == 1:
            return (Band(),)
        shift = window - window // group_size
        group = Band(lambda i: i // group_size + shift, lambda j: j // group_size, nearest=window)
        if self._fractional:
            shifted = window - window / group_size
            group = replace(group, query_position=lambda i: real_positions(i // group_size) + shifted)
        return (Band(beyond=window), group) if window else (group,)

    @property
    def _fractional(self) -> bool:
        return self.compat is not None and self.neighbor_window % self.group_size > 0

    @property
    def differs_from(self) -> int | None:
        """The first length at which any logit differs from plain RoPE's; ``None`` if none does.

        w_n + 2 unless G = 1 (w_n + 1 where shifts are fractional), or one past ``log_scale`` where that comes first.
        """
        first = self.neighbor_window + (1 if self._fractional else 2)
        grouped = () if self.group_size == 1 else (first,)
        scaled = () if self.log_scale is None else (self.log_scale + 1,)
        return min((*grouped, *scaled), default=None)

    def max_length(self, context_length: int) -> int:
        """The paper's reach, ``(L - w_n) * G + w_n``: exact when G divides w_n, else too long by ``w_n % G``."""
        _fits(self.neighbor_window, context_length)
        return (context_length - self.neighbor_window) * self.group_size + self.neighbor_window

    def capacity(self, context_length: int) -> int:
        """The exact reach, ``G * (L - w_n + w_n // G)``: the longest N that stays within positions 0 .. L-1."""
        _fits(self.neighbor_window, context_length)
        return self.group_size * (context_length - self.neighbor_window + self.neighbor_window // self.group_size)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, SelfExtend):
            return NotImplemented
        return self._settings == other._settings

    def __hash__(self) -> int:
        return hash((SelfExtend, self._settings))

    def __str__(self) -> str:
        compat = "" if self.compat is None else f", compat={self.compat}"
        scaling = "" if self.log_scale is None else f", log_scale={self.log_scale}"
        return f"SelfExtend(G={self.group_size}, w_n={self.neighbor_window}{compat}{scaling})"

    @property
    def _settings(self) -> tuple[int, int, str | None, int | None]:
        return self.group_size, self.neighbor_window, self.compat, self.log_scale


def _fits(neighbor_window: int, context_length: int) -> None:
    whole_number("context_length", context_length)
    if neighbor_window >= context_length:
        raise ValueError(
            f"neighbor_window {neighbor_window} leaves no room inside the context length {context_length}; "
            f"use one of at most {context_length - 1}"
        )


@dataclass(frozen=True, eq=False)
class SuggestedSelfExtend(SelfExtend):
    """A Self-Extend setting with why it was suggested; equal to a plain one of the same numbers.

    Attributes
    ----------
    reason
        One sentence.
    inside_rule
        Whether the largest position used stays under two thirds of L, as the authors advise.
    """

    reason: str = field(default="", kw_only=True)
    inside_rule: bool = field(default=True, kw_only=True)


def inside_trained_region(method: SelfExtend, context_length: int, length: int) -> bool:
    """The authors' rule of thumb, strict as they wrote it: ``w_n + (N - w_n) / G < 2/3 * L``.

    Large positions are trained least. Equality is outside: at L = 4096, N = 16384 and w_n = 1024 it holds for G = 9.
    """
    group_size, window = method.group_size, method.neighbor_window
    return 3 * (window * group_size + length - window) < 2 * context_length * group_size


def suggest(context_length: int, target_length: int) -> list[SuggestedSelfExtend]:
    """Settings that carry a model trained at L to the target length, best first, each with its reason.

    For w_n of an eighth, a quarter and half of L: the smallest G that reaches the target inside the authors' rule,
    else the smallest G that reaches. Inside the rule first, then w_n nearest L / 4, then the smaller G.

    Raises
    ------
    TypeError, ValueError
        If a length is not a whole number >= 1.
    """
    whole_number("context_length", context_length)
    whole_number("target_length", target_length)
    if target_length <= context_length:
        reason = f"not needed: {target_length} tokens fit in the {context_length} the model was trained on"
        return [SuggestedSelfExtend(1, context_length // 4, reason=reason)]
    windows = sorted({context_length // 8, context_length // 4, context_length // 2})
    found = [_smallest(context_length, target_length, window) for window in windows]
    return sorted(found, key=lambda s: (not s.inside_rule, abs(4 * s.neighbor_window - context_length), s.group_size))


def _smallest(context_length: int, target_length: int, window: int) -> SuggestedSelfExtend:
    def reaching() -> Iterator[SelfExtend]:
        candidates = (SelfExtend(size, window) for size in range(2, target_length + 1))
        return (method for method in candidates if method.capacity(context_length) >= target_length)

    ruled = (method for method in reaching() if inside_trained_region(method, context_length, target_length))
    inside = next(ruled, None)
    best = inside or next(reaching())
    farthest = (target_length - 1) // best.group_size + window - window // best.group_size
    where = (
        "inside the two thirds of L that training covers best"
        if inside is not None
        else "outside two thirds of L, so it leans on the positions trained least"
    )
    reason = (
        f"reaches {best.capacity(context_length)} tokens; at {target_length} the farthest token is told "
        f"{farthest} away, {where}"
    )
    return SuggestedSelfExtend(best.group_size, window, reason=reason, inside_rule=inside is not None)
