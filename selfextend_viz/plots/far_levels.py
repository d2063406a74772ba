"""What one head's far logits were in training, and what they became: the numbers that tell its story."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from selfextend_viz.experiments.rows import STOCK, HeadRow, LogitRow
from selfextend_viz.plots.logit_curves import REFERENCE
from selfextend_viz.plots.outlier_grid import worst_head

NOTICEABLE = 0.01
"""Outlier shares below this do not show in a curve."""
FAR_END = 0.75
"""The farthest tokens of training are those beyond this share of L."""


@dataclass(frozen=True)
class FarLevels:
    """One head's mean logits: of the farthest tokens within L in training's range, and of all tokens past L."""

    reference: float
    stock: float
    method: float


def far_levels(rows: Iterable[Any], layer: int, head: int, context_length: int) -> FarLevels | None:
    """The mean logits that tell a head's story, or None where no token is past L."""
    mine = [row for row in rows if isinstance(row, LogitRow) and (row.layer, row.head) == (layer, head)]

    def mean(keep: Callable[[LogitRow], bool]) -> float | None:
        kept = [row for row in mine if keep(row) and row.pairs and math.isfinite(row.mean)]
        pairs = sum(row.pairs for row in kept)
        return sum(row.mean * row.pairs for row in kept) / pairs if pairs else None

    reference = mean(lambda row: row.condition == REFERENCE and row.distance_high > FAR_END * context_length)
    stock = mean(lambda row: row.condition == STOCK and row.distance_low >= context_length)
    method = mean(lambda row: row.condition not in (STOCK, REFERENCE) and row.distance_low >= context_length)
    if reference is None or stock is None or method is None:
        return None
    return FarLevels(reference, stock, method)


def head_to_open(rows: Sequence[Any], context_length: int) -> tuple[int, int]:
    """The head with the largest outlier share; where no head has a noticeable one, the head whose far logits rose most.

    A head that gives some near tokens large logits can lose its far range altogether without one outlier.
    """
    heads = [row for row in rows if isinstance(row, HeadRow)]
    if max(row.outlier_share_stock for row in heads) >= NOTICEABLE:
        return worst_head(rows)

    def rise(head: HeadRow) -> float:
        level = far_levels(rows, head.layer, head.head, context_length)
        return level.stock - level.reference if level is not None else 0.0

    worst = max(heads, key=rise)
    return worst.layer, worst.head
