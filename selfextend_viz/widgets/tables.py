"""The numbers of a card as a table, on demand, for eyes that want figures and for screen readers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets

from selfextend_viz.widgets.card import Card

MOST_ROWS = 600
"""More than this no one reads; the table says how many there are."""


class DataTable(ipywidgets.HTML):
    """Lies over a card's body while it is open, and is read anew whenever the card's sentence changes.

    Parameters
    ----------
    card
        Whose numbers it shows.
    height
        In pixels; longer tables scroll.
    """

    def __init__(self, card: Card, *, height: int) -> None:
        super().__init__(layout=ipywidgets.Layout(display="none", height=f"{height}px"))
        self.card = card
        self.add_class("sv-table")
        card.children = (*card.children, self)
        card.sentence.observe(self._refresh, "value")  # every sentence is made with the numbers it speaks of

    @property
    def shown(self) -> bool:
        """Whether the table is on screen."""
        return self.layout.display != "none"

    def show(self, on: bool) -> None:
        """Open or shut the table."""
        self.layout.display = "" if on else "none"
        (self.card.add_class if on else self.card.remove_class)("sv-tabled")
        self._refresh(None)

    def _refresh(self, change: Any) -> None:
        self.value = table_block(self.card.name, *self.card.table()) if self.shown else ""


def table_block(name: str, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A table as HTML; all text is escaped."""
    heads = "".join(f'<th scope="col">{escape(word)}</th>' for word in header)
    lines = "".join(
        f"<tr>{''.join(f'<td>{escape(cell_text(cell))}</td>' for cell in row)}</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>The first {MOST_ROWS} of {len(rows):,} rows.</p>" if len(rows) > MOST_ROWS else ""
    label = escape(f"{name}: data table")
    return (
        f'<div class="sv-scroll" role="region" aria-label="{label}" tabindex="0"><table>'
        f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table>{more}</div>"
    )


def cell_text(value: Any) -> str:
    """A cell as it is read: few digits, thousands apart, a dash for what is not there."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return "\N{EN DASH}"
    if isinstance(value, float):
        return f"{value:.3g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
