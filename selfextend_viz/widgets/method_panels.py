"""The cards of the method explorer: both maps with their difference, and what one query is told."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots import (
    collisions,
    collisions_sentence,
    explain_pair,
    methods_state,
    methods_table,
    plot_position_maps,
    plot_query_positions,
)
from selfextend_viz.plots.told_distances import method_name
from selfextend_viz.positions import Method, PlainRoPE
from selfextend_viz.widgets.card import Card, Table
from selfextend_viz.widgets.instant_panels import MAX_CELLS
from selfextend_viz.widgets.map_view import MapView
from selfextend_viz.widgets.method_state import MethodState
from selfextend_viz.widgets.panel import Panel, for_card, row_of

PLAIN_CELLS = 128
CURVE_MARGIN = {"t": 8, "b": 36, "l": 48, "r": 8}


class MethodMapsPanel(Card):
    """The maps of both methods and by how much they differ; the pointed pair in a sentence."""

    def __init__(self, state: MethodState, *, height: int) -> None:
        self.state = state
        self.height = height
        self.pair: tuple[int, int] | None = None
        self.map = MapView(self.drawn(), height=height, on_point=self._hear)
        super().__init__("Position maps", row_of(self.map))
        self.say(self.words())
        state.observe(self._follow, "revision")

    @property
    def pointed(self) -> tuple[int, int]:
        """The pair explained: the one pointed at, or the query with the farthest token."""
        return self.pair if self.pair is not None else (self.state.query, 0)

    def drawn(self) -> dict[str, Any]:
        """What the page draws."""
        state, (row, column) = self.state, self.pointed
        numbers = {"context_length": state.context_length, "row": row, "column": column, "max_cells": MAX_CELLS}
        return methods_state(state.first, state.second, state.length, **numbers)

    def plain(self) -> go.Figure:
        """The same maps as a plain figure, without its title, which the sentence says."""
        state = self.state
        both = (state.first, state.second)
        figure = plot_position_maps(
            distinct(both), state.length, difference=both, context_length=state.context_length, max_cells=PLAIN_CELLS
        )
        layout = for_card(figure.layout.to_plotly_json(), figure.layout.height - 60)
        layout["margin"].update(t=12, b=44)
        return go.Figure(data=figure.data, layout=layout)

    def table(self) -> Table:
        """The pointed query's row of both maps, a line for each key drawn."""
        state = self.state
        return methods_table(
            state.first,
            state.second,
            state.length,
            self.pointed[0],
            context_length=state.context_length,
            max_cells=MAX_CELLS,
        )

    def words(self) -> str:
        """The pointed pair under both methods, and how many tokens are drawn if not all."""
        state = self.state
        said = pair_sentence(state.first, state.second, self.pointed, state.context_length)
        drawn = f" {MAX_CELLS} of {state.length:,} tokens drawn a side." if state.length > MAX_CELLS else ""
        return f"{said}.{drawn}"

    def _hear(self, query: int, key: int) -> None:
        """Explain a pair that the page has marked already, if it is one of this text."""
        if 0 <= key <= query < self.state.length:
            self.pair = (query, key)
            self.say(self.words())

    def _follow(self, change: Any) -> None:
        self.pair = None
        self.map.state = self.drawn()
        self.say(self.words())


class QueryPanel(Panel):
    """What one query is told under both methods, beside plain RoPE, and how well that tells its keys apart."""

    def __init__(self, state: MethodState, *, height: int) -> None:
        self.state = state
        super().__init__("One query", self.draw(), height=height)
        self.say(self.words())
        state.observe(self._follow, "revision")

    def draw(self) -> go.Figure:
        """The figure of the current state."""
        state = self.state
        return query_figure(state.first, state.second, state.length, state.query, state.context_length)

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout as the card has room for it."""
        return for_curves(layout, self.height)

    def table(self) -> Table:
        """How many keys each method lets the query see, and how many of them share positions."""
        state = self.state
        found = [collisions(method, state.query + 1) for method in shown(state.first, state.second)]
        header = ("method", "keys seen", "positions", "keys at the fullest", "bits", "log2 of the keys seen")
        return header, [(one.name, one.keys, one.positions, one.most, one.entropy, one.whole_entropy) for one in found]

    def words(self) -> str:
        """How well positions tell the query's keys apart, method by method."""
        return curves_sentence(self.state.first, self.state.second, self.state.query)

    def _follow(self, change: Any) -> None:
        self.show(self.draw(), text=self.words())


def distinct(methods: tuple[Method, ...]) -> list[Method]:
    """The methods without those that are there already."""
    return list({str(method): method for method in methods}.values())


def shown(first: Method, second: Method) -> list[Method]:
    """What the curves are of: both methods, beside plain RoPE."""
    return distinct((PlainRoPE(), first, second))


def query_figure(first: Method, second: Method, length: int, query: int, context_length: int) -> go.Figure:
    """The curves of both methods beside plain RoPE."""
    return plot_query_positions(shown(first, second), length, query=query, context_length=context_length)


def for_curves(layout: dict[str, Any], height: int) -> dict[str, Any]:
    """A layout of curves as a card has room for it: their names are inside, where all three are."""
    kept = for_card(layout, height)
    kept["margin"] = dict(CURVE_MARGIN)
    return kept


def pair_sentence(first: Method, second: Method, pair: tuple[int, int], context_length: int) -> str:
    """One pair of tokens as two methods tell it."""
    said = [
        f"<b>{method_name(method)}</b>: {explain_pair(method, *pair, context_length)}" for method in (first, second)
    ]
    return ". ".join(said)


def curves_sentence(first: Method, second: Method, query: int) -> str:
    """How well positions tell the query's keys apart, under each of two methods."""
    return "; ".join(collisions_sentence(method, query + 1) for method in distinct((first, second)))
