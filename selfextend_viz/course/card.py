"""What `predict`, `reveal` and `check` answer with: a few sentences, as a card in a notebook and as text elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from selfextend_viz.plots.theme import METHOD_COLOR, REFERENCE_COLOR, STOCK_COLOR

COLORS = {"question": REFERENCE_COLOR, "right": METHOD_COLOR, "other": STOCK_COLOR, "note": REFERENCE_COLOR}
"""The bar at a card's left; its title says in words what the colour says."""
BOX = "border-left:4px solid {color};padding:2px 12px;margin:4px 0;max-width:60em;line-height:1.5"


@dataclass(frozen=True, repr=False)
class Card:
    """A title, what is told beside a name (such as a guess beside its measurement), and sentences.

    Attributes
    ----------
    title
        One line.
    kind
        ``"question"``, ``"right"``, ``"other"`` (a guess or an answer that is not the one) or ``"note"``.
    pairs
        Names and what stands beside them.
    lines
        Sentences under that.
    """

    title: str
    kind: str
    pairs: tuple[tuple[str, str], ...] = ()
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join((self.title, *(f"{name}: {value}" for name, value in self.pairs), *self.lines))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        pairs = "".join(f"<div><b>{escape(name)}:</b> {escape(value)}</div>" for name, value in self.pairs)
        lines = "".join(f"<div>{escape(line)}</div>" for line in self.lines)
        box = BOX.format(color=COLORS[self.kind])
        return f'<div role="note" style="{box}"><div><b>{escape(self.title)}</b></div>{pairs}{lines}</div>'


def facts(title: str, told: Mapping[Any, Any]) -> Card:
    """A card of names and what stands beside them; floats are rounded to three digits."""
    pairs = ((str(name), f"{value:.3g}" if isinstance(value, float) else str(value)) for name, value in told.items())
    return Card(title, "note", tuple(pairs))
