"""One head's logits by true distance, as curves: what `plot_divergence` draws."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfextend_viz.experiments.rows import LogitRow
from selfextend_viz.plots.theme import finite

REFERENCE = "reference"
"""The condition of what training taught: the stock model at length L."""


@dataclass(frozen=True)
class LogitCurve:
    """One condition's logits by true distance in one head: bin middles, means and 0.1 to 99.9 % bounds."""

    condition: str
    distances: tuple[float, ...]
    mean: tuple[float | None, ...]
    low: tuple[float | None, ...]
    high: tuple[float | None, ...]


def logit_curves(rows: Iterable[Any], *, layer: int, head: int) -> dict[str, LogitCurve]:
    """Arrange one head's :class:`~selfextend_viz.experiments.rows.LogitRow` into a curve for each condition."""
    by_condition: dict[str, list[LogitRow]] = {}
    for row in rows:
        if isinstance(row, LogitRow) and (row.layer, row.head) == (layer, head):
            by_condition.setdefault(row.condition, []).append(row)
    curves = {}
    for condition, members in by_condition.items():
        members.sort(key=lambda row: row.distance_low)
        curves[condition] = LogitCurve(
            condition,
            tuple((row.distance_low + row.distance_high - 1) / 2 for row in members),
            tuple(finite(row.mean) for row in members),
            tuple(finite(row.low) for row in members),
            tuple(finite(row.high) for row in members),
        )
    return curves


def bounds_of(curves: Sequence[LogitCurve]) -> tuple[float, float] | None:
    """The lowest and the highest logit that the curves' bands hold."""
    values = [value for curve in curves for value in (*curve.low, *curve.high) if value is not None]
    return (min(values), max(values)) if values else None
