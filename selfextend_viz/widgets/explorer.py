"""What all explorers are: one idea of the lab on its own, with its controls, a plain figure, and a page of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.widgets.card import Card
from selfextend_viz.widgets.compose import Piece, compose
from selfextend_viz.widgets.look import companion
from selfextend_viz.widgets.page import Page, write_page
from selfextend_viz.widgets.tables import DataTable

HEIGHT = 420
"""Of an explorer's figure, in pixels."""
HEAD = 90
"""Over a snapshot's figure, for its title and sentence."""
WIDTH, WIDE = 1000, 1400
"""Of a snapshot with one card, and with two."""
LINE = 130
"""Characters of a sentence on one line of a snapshot."""


class Explorer(ipywidgets.VBox):
    """A card or two with the controls that move them.

    Parameters
    ----------
    state
        The numbers that the controls set; set its traits to move the explorer from code.
    bar
        The sliders.
    words
        What stands under them: what is refused, or being computed.
    cards
        What is shown, side by side.

    Attributes
    ----------
    state, cards
        As given.
    tables
        The cards' numbers as tables, shut until the button is pressed.
    """

    title = ""
    """What a page made of this explorer is called."""
    intro = ""
    """What stands under that."""

    def __init__(self, state: Any, bar: ipywidgets.Widget, words: ipywidgets.Widget, cards: Sequence[Card]) -> None:
        self.state = state
        self.cards = tuple(cards)
        self.tables = [DataTable(card, height=HEIGHT) for card in self.cards]
        self.tables_button = ipywidgets.ToggleButton(
            description="Tables",
            icon="table",
            tooltip="Show the numbers as tables",
            layout=ipywidgets.Layout(width="84px"),
        )
        self.tables_button.observe(lambda change: self.show_tables(change["new"]), "value")
        line = ipywidgets.HBox([words, self.tables_button])
        line.add_class("sv-line")
        columns = " ".join(["minmax(0, 1fr)"] * len(self.cards))
        grid = ipywidgets.GridBox(self.cards, layout=ipywidgets.Layout(grid_template_columns=columns, grid_gap="8px"))
        grid.add_class("sv-grid")
        super().__init__([companion(), bar, line, grid])
        self.add_class("sv-lab")
        self.add_class("sv-explorer")

    def show_tables(self, on: bool) -> None:
        """Open or shut the tables."""
        for table in self.tables:
            table.show(on)

    def snapshot(self) -> go.Figure:
        """A plain figure of what is shown now, for print and for readers without a kernel."""
        title = f"{self.title}: {self.setting_words()}"
        if len(self.cards) == 1:
            (card,) = self.cards
            subtitle = {"text": "<br>".join(wrap(card.text, LINE)), "font": {"size": 13}}
            return card.plain().update_layout(
                title={"text": title, "subtitle": subtitle},
                width=WIDTH,
                height=HEIGHT + HEAD,
                margin={"t": HEAD + 24},
                font={"size": 12},
            )
        pieces = [Piece(card.name, card.text, card.plain()) for card in self.cards]
        together = compose(pieces, title=title, columns=len(pieces))
        return together.update_layout(width=WIDE, height=HEIGHT + HEAD, margin={"t": HEAD + 24})

    def setting_words(self) -> str:
        """The numbers as they are now."""
        state = self.state
        return f"L={state.context_length}, N={state.length}, G={state.group_size}, w_n={state.neighbor_window}"

    def write(self, path: str | os.PathLike[str], page: dict[str, Any]) -> Path:
        """Write a page of this explorer's title and introduction with the controls, frames and views given."""
        return write_page(path, Page(title=self.title, intro=self.intro, **page))
