"""The instant panels, computed while the slider moves: the position map and the reach."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from selfextend_viz.plots import explain_pair, plot_position_map, plot_reach, reach_sentence
from selfextend_viz.positions import PlainRoPE
from selfextend_viz.widgets.controls import BadSetting, LabState
from selfextend_viz.widgets.panel import Panel

MAX_CELLS = 128
"""Cells a side of a live map, some two for each three pixels of its card; more reach the browser too slowly."""


class PositionPanel(Panel):
    """Which position each pair of tokens is told, beside plain RoPE; the pointed pair in a sentence."""

    def __init__(self, state: LabState, *, height: int = 240) -> None:
        self.state = state
        self.pair: tuple[int, int] | None = None
        super().__init__("Position map", self.draw(), height=height, listen=self._listen)
        self.say(self.words())
        state.observe(self._follow, "revision")

    def draw(self) -> go.Figure:
        """The figure of the current state."""
        state = self.state
        row = self.pair[0] if self.pair is not None else state.length - 1
        return plot_position_map(
            state.method, state.length, context_length=state.context_length, row=row, max_cells=MAX_CELLS
        )

    def point(self, query: int, key: int) -> None:
        """Explain one pair of tokens, ``0 <= key <= query < N``; others are passed over."""
        if 0 <= key <= query < self.state.length:
            self.pair = (query, key)
            self.show(self.draw(), text=self.words())

    def words(self) -> str:
        """One sentence on the pointed pair, or on the farthest one, and how many tokens are drawn if not all."""
        query, key = self.pair if self.pair is not None else (self.state.length - 1, 0)
        state = self.state
        told = explain_pair(state.method, query, key, state.context_length)
        plain = explain_pair(PlainRoPE(), query, key, state.context_length)
        drawn = f" {MAX_CELLS} of {state.length:,} tokens drawn a side." if state.length > MAX_CELLS else ""
        return f"<b>{state.method}</b>: {told}. <b>Plain RoPE</b>: {plain.partition(' as if ')[2]}.{drawn}"

    def _follow(self, change: Any) -> None:
        if self.pair is not None and self.pair[0] >= self.state.length:
            self.pair = None
        self.show(self.draw(), text=self.words())

    def _listen(self, widget: go.FigureWidget) -> None:
        for trace in widget.data:
            if trace.type == "heatmap":
                trace.on_hover(self._hover)

    def _hover(self, trace: Any, points: Any, selector: Any) -> None:
        if points.xs and points.ys:
            self.point(int(points.ys[0]), int(points.xs[0]))


class ReachPanel(Panel):
    """How long a text each setting carries, and whether this one carries N; a click sets G and w_n."""

    def __init__(self, state: LabState, *, height: int = 240) -> None:
        self.state = state
        super().__init__("Reach", self.draw(), height=height, listen=self._listen)
        self.say(self.words())
        state.observe(self._follow, "revision")

    def draw(self) -> go.Figure:
        """The figure of the current state."""
        state = self.state
        return plot_reach(
            context_length=state.context_length,
            length=state.length,
            group_size=state.group_size,
            neighbor_window=state.neighbor_window,
        )

    def choose(self, group_size: int, neighbor_window: int) -> None:
        """Set both sliders, as a click on the map does."""
        try:
            self.state.set(group_size=group_size, neighbor_window=neighbor_window)
        except BadSetting as refusal:
            self.say(str(refusal))

    def words(self) -> str:
        """Whether N fits, why, and what would."""
        state = self.state
        return reach_sentence(
            context_length=state.context_length,
            length=state.length,
            group_size=state.group_size,
            neighbor_window=state.neighbor_window,
        )

    def _follow(self, change: Any) -> None:
        self.show(self.draw(), text=self.words())

    def _listen(self, widget: go.FigureWidget) -> None:
        for trace in widget.data:
            trace.on_click(self._click)

    def _click(self, trace: Any, points: Any, selector: Any) -> None:
        if points.xs and points.ys:
            self.choose(round(points.xs[0]), round(points.ys[0]))
