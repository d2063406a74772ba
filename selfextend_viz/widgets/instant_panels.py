"""The instant panels, computed while the slider moves: the position map and the reach."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots import explain_pair, plot_position_map, plot_reach, reach_sentence
from selfextend_viz.plots.map_bands import map_state, row_table
from selfextend_viz.plots.reach import move_setting
from selfextend_viz.plots.reach_numbers import enough, reach_table
from selfextend_viz.positions import PlainRoPE
from selfextend_viz.widgets.card import Card, Table
from selfextend_viz.widgets.controls import BadSetting, LabState
from selfextend_viz.widgets.map_view import MapView
from selfextend_viz.widgets.panel import SMALL, Panel, for_card, row_of

MAX_CELLS = 256
"""Cells a side of a live map, a few for each three pixels of its card."""


BAR = 26
"""The width in pixels of a colour bar with the gap beside it, without its names."""


class PositionPanel(Card):
    """Which position each pair of tokens is told, beside plain RoPE; the pointed pair in a sentence."""

    def __init__(self, state: LabState, *, height: int = 240) -> None:
        self.state = state
        self.height = height
        self.pair: tuple[int, int] | None = None
        self.map = MapView(self.drawn(), height=height, on_point=self._hear)
        super().__init__("Position map", row_of(self.map))
        self.say(self.words())
        state.observe(self._follow, "revision")

    @property
    def pointed(self) -> tuple[int, int]:
        """The pair explained: the one pointed at, or the farthest one."""
        return self.pair if self.pair is not None else (self.state.length - 1, 0)

    def drawn(self) -> dict[str, Any]:
        """What the page draws."""
        state, (row, column) = self.state, self.pointed
        return map_state(
            state.method,
            state.length,
            context_length=state.context_length,
            row=row,
            column=column,
            max_cells=MAX_CELLS,
        )

    def plain(self) -> go.Figure:
        """The same maps as a plain figure, without its title, which the sentence says."""
        state = self.state
        figure = plot_position_map(
            state.method, state.length, context_length=state.context_length, row=self.pointed[0], max_cells=MAX_CELLS
        )
        return go.Figure(data=figure.data, layout=for_card(figure.layout.to_plotly_json(), self.height))

    def table(self) -> Table:
        """The pointed query's row of both maps, a line for each key drawn."""
        state = self.state
        return row_table(
            state.method, state.length, self.pointed[0], context_length=state.context_length, max_cells=MAX_CELLS
        )

    def point(self, query: int, key: int) -> None:
        """Explain one pair of tokens, ``0 <= key <= query < N``, and mark it; others are passed over."""
        if self._hear(query, key):
            self.map.state = self.drawn()

    def words(self) -> str:
        """One sentence on the pointed pair, or on the farthest one, and how many tokens are drawn if not all."""
        query, key = self.pointed
        state = self.state
        told = explain_pair(state.method, query, key, state.context_length)
        plain = explain_pair(PlainRoPE(), query, key, state.context_length)
        drawn = f" {MAX_CELLS} of {state.length:,} tokens drawn a side." if state.length > MAX_CELLS else ""
        return f"{told}. <b>Plain RoPE</b>: {plain.partition(' as if ')[2]}.{drawn}"

    def _hear(self, query: int, key: int) -> bool:
        """Explain a pair that the page has marked already, if it is one of this text."""
        if not 0 <= key <= query < self.state.length:
            return False
        self.pair = (query, key)
        self.say(self.words())
        return True

    def _follow(self, change: Any) -> None:
        if self.pair is not None and self.pair[0] >= self.state.length:
            self.pair = None
        self.map.state = self.drawn()
        self.say(self.words())


class ReachPanel(Panel):
    """How long a text each setting carries, and whether this one carries N; a click sets G and w_n."""

    def __init__(self, state: LabState, *, height: int = 240) -> None:
        self.state = state
        self._map: tuple[int, ...] = ()
        super().__init__("Reach", self.draw(), height=height, listen=self._listen)
        self.say(self.words())
        state.observe(self._follow, "revision")

    def draw(self) -> go.Figure:
        """The figure of the current state: the one on screen with its dot moved, where the map stays the same."""
        numbers, state = self._numbers, self.state
        wanted = (state.context_length, state.length, enough(state.context_length, state.length, state.method))
        if wanted == self._map:
            return move_setting(self.figure.shown, **numbers)
        self._map, figure = wanted, plot_reach(**numbers)
        self._bar_names = figure.data[0].colorbar.ticktext
        return figure

    def fit(self, layout: dict[str, Any]) -> dict[str, Any]:
        """A layout with margins of its own, so that plotly need not measure its labels at each step."""
        kept = super().fit(layout)
        left, right = room_for(kept["yaxis"]["ticktext"]), room_for(self._bar_names) + BAR
        kept["margin"].update(t=8, b=36, l=left, r=right, autoexpand=False)
        return kept

    def table(self) -> Table:
        """For each group size: how far it reaches at this window, and the widest window that carries N."""
        return reach_table(**self._numbers)

    def choose(self, group_size: int, neighbor_window: int) -> None:
        """Set both sliders, as a click on the map does."""
        try:
            self.state.set(group_size=group_size, neighbor_window=neighbor_window)
        except BadSetting as refusal:
            self.say(str(refusal))

    def words(self) -> str:
        """Whether N fits, why, and what would."""
        return reach_sentence(**self._numbers)

    @property
    def _numbers(self) -> dict[str, int]:
        state = self.state
        return {
            "context_length": state.context_length,
            "length": state.length,
            "group_size": state.group_size,
            "neighbor_window": state.neighbor_window,
        }

    def _follow(self, change: Any) -> None:
        self.show(self.draw(), text=self.words())

    def _listen(self, widget: go.FigureWidget) -> None:
        for trace in widget.data:
            trace.on_click(self._click)

    def _click(self, trace: Any, points: Any, selector: Any) -> None:
        if points.xs and points.ys:
            self.choose(round(points.xs[0]), round(points.ys[0]))


def room_for(names: Iterable[str]) -> int:
    """The pixels that an axis with its title takes beside a figure, by its longest tick."""
    return 30 + math.ceil(0.58 * SMALL * max(len(name) for name in names))
