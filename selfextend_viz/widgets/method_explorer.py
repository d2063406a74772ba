"""The explorer of methods: any two side by side, their maps, their difference, and what one query is told."""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from selfextend_viz.plots import methods_state
from selfextend_viz.plots.told_distances import method_name
from selfextend_viz.positions import Method
from selfextend_viz.widgets.compose import Piece, compose
from selfextend_viz.widgets.explorer import HEAD, WIDE, Explorer
from selfextend_viz.widgets.method_choice import chosen
from selfextend_viz.widgets.method_panels import (
    MethodMapsPanel,
    QueryPanel,
    curves_sentence,
    for_curves,
    pair_sentence,
    query_figure,
)
from selfextend_viz.widgets.method_picker import MethodBar
from selfextend_viz.widgets.method_state import MethodState
from selfextend_viz.widgets.page import WORDS, PageControl, PageView
from selfextend_viz.widgets.page_frames import all_frames, figure_state, number_control

MAPS_HEIGHT, CURVES_HEIGHT = 340, 320
PAGE_CELLS = 128
PAGE_METHODS = (
    "plain RoPE",
    "PositionInterpolation",
    "SlidingWindow",
    "StreamingLLM",
    "SelfExtend",
    "ReRoPE",
    "LeakyReRoPE",
    "DualChunkAttention",
)
QUERIES = {"the last token": 1.0, "in the middle": 0.5}
"""Where the query of a page stands, as a share of the text."""


class MethodExplorer(Explorer):
    """Two methods side by side."""

    title = "Methods side by side"
    intro = (
        "Each cell is a query (row) and a key (column); its colour is how far away the key is said to be, blank where "
        "it is not seen, orange where training never was. The third map is the difference of the two. Under them: what "
        "one query is told, by true distance."
    )

    def __init__(self, state: MethodState, *, fact: str = "") -> None:
        self.bar = MethodBar(state, fact=fact)
        self.maps = MethodMapsPanel(state, height=MAPS_HEIGHT)
        self.curves = QueryPanel(state, height=CURVES_HEIGHT)
        super().__init__(state, self.bar, self.bar.words, [self.maps, self.curves])
        self.children[-1].layout.grid_template_columns = "minmax(0, 1fr)"

    def setting_words(self) -> str:
        """The numbers and methods as they are now."""
        state = self.state
        both = f"{method_name(state.first)}, {method_name(state.second)}"
        return f"{both}, L={state.context_length}, N={state.length}, query {state.query}"

    def snapshot(self) -> Any:
        """A plain figure of what is shown now, for print and for readers without a kernel."""
        pieces = [Piece(card.name, card.text, card.plain()) for card in self.cards]
        together = compose(pieces, title=f"{self.title}: {self.setting_words()}", columns=1)
        height = MAPS_HEIGHT + CURVES_HEIGHT + 2 * HEAD
        return together.update_layout(width=WIDE, height=height, margin={"t": HEAD // 2})

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        methods: Iterable[str | Method] | None = None,
        lengths: Iterable[int] | None = None,
    ) -> Path:
        """Write a page whose menus work without a kernel, at the current L.

        Parameters
        ----------
        path
            Where to.
        methods
            What the menus offer, methods or names, beside the two chosen now; eight when left out.
        lengths
            The slider's stops; 2 L and the current N when left out.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, a method cannot be chosen, or the page would be larger than 6 MB.
        """
        state, limit = self.state, self.state.context_length
        asked = [chosen(one, limit, state.length) for one in (PAGE_METHODS if methods is None else methods)]
        offered = {method_name(method): method for method in (*asked, state.first, state.second)}
        controls = (
            PageControl("first", "first method", tuple(offered), method_name(state.first)),
            PageControl("second", "second method", tuple(offered), method_name(state.second)),
            number_control("length", lengths or {2 * limit, state.length}, state.length),
            PageControl("query", "query", tuple(QUERIES), next(iter(QUERIES))),
        )
        frames = all_frames(controls, partial(method_frame, offered, limit))
        views = (
            PageView("maps", "Position maps", "map", MAPS_HEIGHT),
            PageView("curves", "One query", "plotly", CURVES_HEIGHT),
        )
        return self.write(path, {"controls": controls, "frames": frames, "views": views})


def method_frame(offered: dict[str, Method], context_length: int, values: dict[str, Any]) -> dict[str, Any]:
    """Both pictures of one setting, with their sentences."""
    first, second, length = offered[values["first"]], offered[values["second"]], int(values["length"])
    query = max(0, round(QUERIES[values["query"]] * length) - 1)
    numbers = {"context_length": context_length, "row": query, "column": 0, "max_cells": PAGE_CELLS}
    figure = query_figure(first, second, length, query, context_length)
    drawn = f" {PAGE_CELLS} of {length:,} tokens drawn a side." if length > PAGE_CELLS else ""
    return {
        "maps": methods_state(first, second, length, **numbers),
        "curves": figure_state(figure, partial(for_curves, height=CURVES_HEIGHT)),
        WORDS: {
            "maps": f"{pair_sentence(first, second, (query, 0), context_length)}.{drawn}",
            "curves": curves_sentence(first, second, query),
        },
    }
