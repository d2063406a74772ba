"""What the trade-off explorer shows of a sweep at one length: numbers first, then figures of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
import traitlets

from selfextend_viz.plots import plot_cells_in, plot_frontier, plot_pareto, plot_worst_depth
from selfextend_viz.sweeps.recommend import recommend
from selfextend_viz.sweeps.recommendation import COLUMNS, Recommendation
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.widgets.card import Table
from selfextend_viz.widgets.controls import MAX_LENGTH, BadSetting, WholeNumber
from selfextend_viz.widgets.panel import Panel, headline_of

WAITING = "No cell yet: a sweep that writes this store will fill the picture"
NAMES = {"worst": "Worst depth", "frontier": "KL against price", "pareto": "Pareto front", "cells": "Cells in"}
"""The cards, in order."""


class TradeoffState(traitlets.HasTraits):
    """Which length is looked at, and what the store has; watch ``revision``."""

    length: Any = WholeNumber("N", 1, MAX_LENGTH)
    revision = traitlets.Int(0, read_only=True)

    def __init__(self, context_length: int | None) -> None:
        super().__init__()
        self.context_length = context_length
        self.rows: list[CellRow] = []
        self._hearing = False
        self.observe(self._count, "length")

    @property
    def lengths(self) -> tuple[int, ...]:
        """The lengths that have cells, ascending."""
        return tuple(sorted({row.length for row in self.rows}))

    def hear(self, rows: Sequence[CellRow], context_length: int | None) -> None:
        """Take the store's rows as they are now; the longest length is looked at first."""
        fresh = not self.rows
        self.rows = list(rows)
        self.context_length = context_length or self.context_length
        if self.rows and (fresh or self.length not in self.lengths):
            self._hearing = True
            self.length = self.lengths[-1]
            self._hearing = False
        self.set_trait("revision", self.revision + 1)

    def _count(self, change: Any) -> None:
        if not self._hearing:
            self.set_trait("revision", self.revision + 1)

    @traitlets.validate("length")
    def _check_length(self, proposal: Any) -> int:
        length = int(proposal["value"])
        if self.rows and length not in self.lengths:
            have = ", ".join(f"{each:,}" for each in self.lengths)
            raise BadSetting(f"N must be a length that has cells ({have}); {length:,} has none.")
        return length


class TradeoffPanel(Panel):
    """A card of the explorer; the first one's table is the ranking."""

    def __init__(self, name: str, figure: go.Figure, *, height: int) -> None:
        self.ranking: Table | None = None
        super().__init__(name, figure, height=height)

    def table(self) -> Table:
        """The ranking where there is one, else what is drawn."""
        return super().table() if self.ranking is None else self.ranking


def recommended(rows: Sequence[CellRow], length: int, context_length: int | None) -> Recommendation | str:
    """What the cells speak for at a length, or why they speak for nothing yet."""
    if context_length is None:
        return "L is not known yet"
    try:
        return recommend([row for row in rows if row.length <= length], length, context_length=context_length)
    except ValueError as error:
        return str(error)


def pictures(
    rows: Sequence[CellRow], length: int, context_length: int | None
) -> tuple[dict[str, go.Figure], dict[str, str], Recommendation | str]:
    """The figures and the sentences of all cards, and the recommendation."""
    trained = context_length or 1
    found = recommended(rows, length, context_length)
    choice = found.setting if isinstance(found, Recommendation) else None
    figures = {
        "worst": plot_worst_depth(rows, length, context_length=trained, choice=choice),
        "frontier": plot_frontier(rows, length, context_length=trained, choice=choice),
        "pareto": plot_pareto(rows, length, choice=choice),
        "cells": plot_cells_in(rows),
    }
    words = {name: headline_of(figure) for name, figure in figures.items()}
    if not rows:
        words = dict.fromkeys(words, WAITING)
    elif isinstance(found, Recommendation):
        words["worst"] = f"<b>{found.sentence}</b>"
    else:
        words["worst"] = found
    return figures, words, found


def ranking(found: Recommendation | str) -> Table | None:
    """The table of a recommendation."""
    return (COLUMNS, list(found.lines())) if isinstance(found, Recommendation) else None
