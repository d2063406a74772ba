"""How long a text each setting of G and w_n carries, in numbers and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selfextend_viz.positions import SelfExtend, inside_trained_region, suggest, whole_number

RULE_SHARES = (1 / 2, 2 / 3)
"""The shares of L under which the authors keep the largest position: choose between these two."""


@dataclass(frozen=True)
class ReachMap:
    """What :func:`plot_reach` draws, windows as rows and group sizes as columns.

    Attributes
    ----------
    group_sizes, windows
        The settings shown, int64.
    reach
        The exact reach in tokens, int64 ``[windows, group_sizes]``.
    widest
        For each group size the widest w_n that still carries N, or ``None`` where none does; empty without N.
    rule
        For each group size and each of ``RULE_SHARES`` the w_n at which ``w_n + (N - w_n) / G`` is that share of L,
        ``None`` where no w_n obeys; empty without N.
    """

    group_sizes: NDArray[np.int64]
    windows: NDArray[np.int64]
    reach: NDArray[np.int64]
    widest: tuple[int | None, ...]
    rule: tuple[tuple[float | None, ...], ...]


def reach_map(*, context_length: int, length: int | None = None, largest_group_size: int = 64) -> ReachMap:
    """The numbers behind :func:`plot_reach`.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or below 1, or ``largest_group_size`` below 2.
    """
    whole_number("context_length", context_length)
    whole_number("largest_group_size", largest_group_size, at_least=2)
    group_sizes = np.unique(np.geomspace(1, largest_group_size, 72).round().astype(np.int64))
    windows = np.unique(np.linspace(0, context_length - 1, min(context_length, 97)).round().astype(np.int64))
    sizes, rows = group_sizes[None, :], windows[:, None]
    reach = sizes * (context_length - rows + rows // sizes)
    if length is None:
        return ReachMap(group_sizes, windows, reach, (), ())
    whole_number("length", length)
    widest = tuple(_widest(int(size), context_length, length) for size in group_sizes)
    rule = tuple(
        tuple(_rule_window(int(size), share * context_length, length, context_length) for size in group_sizes)
        for share in RULE_SHARES
    )
    return ReachMap(group_sizes, windows, reach, widest, rule)


def _widest(group_size: int, context_length: int, length: int) -> int | None:
    """The widest w_n whose exact reach is at least N: the reach never grows with w_n, so it is found by halving."""
    low, high = -1, context_length - 1
    while low < high:
        middle = (low + high + 1) // 2
        fits = SelfExtend(group_size, middle).capacity(context_length) >= length
        low, high = (middle, high) if fits else (low, middle - 1)
    return low if low >= 0 else None


def _rule_window(group_size: int, limit: float, length: int, context_length: int) -> float | None:
    """The w_n at which the largest position, about ``w_n + (N - w_n) / G``, meets the limit."""
    if group_size == 1:
        return None
    window = (limit * group_size - length) / (group_size - 1)
    return min(window, context_length - 1.0) if window >= 0 else None


def reach_sentence(*, context_length: int, length: int, group_size: int, neighbor_window: int) -> str:
    """Whether N fits, why, and what would, in words.

    Raises
    ------
    TypeError, ValueError
        As :class:`~selfextend_viz.positions.SelfExtend` does, and if w_n >= L or a length is below 1.
    """
    method = SelfExtend(group_size, neighbor_window)
    whole_number("length", length)
    exact, paper = method.capacity(context_length), method.max_length(context_length)
    said = f"G = {group_size}, w_n = {neighbor_window:,} reach {exact:,} tokens"
    if paper != exact:
        said += f" (the paper's formula says {paper:,}, {paper - exact} too many, since G does not divide w_n)"
    if exact >= length and (group_size == 1 or inside_trained_region(method, context_length, length)):
        return f"{said}: N = {length:,} fits, within the positions training covers best"
    best = suggest(context_length, length)[0]
    advice = f"G = {best.group_size}, w_n = {best.neighbor_window:,}"
    if exact >= length:
        return (
            f"{said}: N = {length:,} fits, but leans on the positions trained least; the authors' rule takes {advice}"
        )
    return f"{said}: N = {length:,} does not fit; {advice} would"


def reach_table(
    *, context_length: int, length: int, group_size: int, neighbor_window: int
) -> tuple[tuple[str, ...], list[tuple[Any, ...]]]:
    """The reach map in numbers: a header, and a line for each power-of-two group size and the current one.

    Raises
    ------
    TypeError, ValueError
        As :func:`reach_sentence`.
    """
    setting = SelfExtend(group_size, neighbor_window)
    whole_number("length", length)
    largest = enough(context_length, length, setting)
    sizes = sorted({2**power for power in range(largest.bit_length())} | {group_size})
    lines: list[tuple[Any, ...]] = []
    for size in sizes:
        method = SelfExtend(size, neighbor_window)
        exact = method.capacity(context_length)
        widest = _widest(size, context_length, length)
        fits = "yes" if exact >= length else "no"
        lines.append((size, exact, method.max_length(context_length), fits, "none" if widest is None else widest))
    window = f"at w_n = {neighbor_window:,}"
    header = ("group size G", f"exact reach {window}", f"paper's reach {window}", f"carries N = {length:,}")
    return (*header, f"widest w_n that carries N = {length:,}"), lines


def enough(context_length: int, length: int | None, setting: SelfExtend | None) -> int:
    """A power of two that leaves room to the right of N at w_n = L / 2, and of the setting."""
    needed = max(
        64, setting.group_size if setting else 1, 3 * (length or 1) // whole_number("context_length", context_length)
    )
    return int(2 ** math.ceil(math.log2(needed)))
