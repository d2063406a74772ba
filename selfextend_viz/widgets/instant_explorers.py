"""The explorers of the formula alone: the position map and the reach."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from selfextend_viz.plots import explain_pair, map_state, plot_reach, reach_sentence
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.card import CardKind
from selfextend_viz.widgets.control_bar import ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.explorer import HEIGHT, Explorer
from selfextend_viz.widgets.instant_panels import PositionPanel, ReachPanel
from selfextend_viz.widgets.page import WORDS, PageControl, PageView
from selfextend_viz.widgets.page_frames import all_frames, figure_state, number_control, numbers_of
from selfextend_viz.widgets.panel import for_card

PAGE_HEIGHT = 470
NUMBERS = ("length", "group_size", "neighbor_window")


class FormulaExplorer(Explorer, metaclass=CardKind):
    """An explorer that needs no model: N, G, w_n and L are all free."""

    view: PageView
    """What its page shows."""

    @staticmethod
    @abstractmethod
    def frame(values: dict[str, Any], *, context_length: int) -> dict[str, Any]:
        """What the page shows where its sliders have these values, with a sentence."""

    def __init__(self, state: LabState, card: Any) -> None:
        state.formula_only = True
        self.bar = ControlBar(state, fact="", on_stop=lambda: None, has_model=False)
        self.panel = card
        super().__init__(state, self.bar, self.bar.words, [card])

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        lengths: Iterable[int] | None = None,
        group_sizes: Iterable[int] | None = None,
        neighbor_windows: Iterable[int] | None = None,
    ) -> Path:
        """Write a page whose sliders work without a kernel, at the current L.

        Parameters
        ----------
        path
            Where to.
        lengths, group_sizes, neighbor_windows
            The sliders' stops; powers of two around the current numbers when left out.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, or the page would be larger than 6 MB.
        """
        controls = self.page_controls(lengths, group_sizes, neighbor_windows)
        frames = all_frames(controls, partial(self.frame, context_length=self.state.context_length))
        return self.write(path, {"controls": controls, "frames": frames, "views": (self.view,)})

    def page_controls(
        self,
        lengths: Iterable[int] | None,
        group_sizes: Iterable[int] | None,
        neighbor_windows: Iterable[int] | None,
    ) -> tuple[PageControl, ...]:
        """Sliders over the values given, or over powers of two around the current ones."""
        state, limit = self.state, self.state.context_length
        if lengths is None:
            lengths = {*(max(2, limit * times // 2) for times in (1, 2, 3, 4, 8, 16)), state.length}
        if group_sizes is None:
            group_sizes = {1, 2, 4, 8, 16, 32, state.group_size}
        if neighbor_windows is None:
            neighbor_windows = {*(limit // part for part in (16, 8, 4, 2)), 3 * limit // 4, state.neighbor_window}
        return (
            number_control("length", lengths, state.length),
            number_control("group_size", group_sizes, state.group_size),
            number_control("neighbor_window", neighbor_windows, state.neighbor_window, least=0, below=limit),
        )


class PositionExplorer(FormulaExplorer):
    """Which position each pair of tokens is told, under plain RoPE and under Self-Extend."""

    title = "The positions that Self-Extend tells"
    intro = (
        "Each cell is a query (row) and a key (column); its colour is how far away the key is said to be. Orange is "
        "a distance that training never showed. Self-Extend keeps near keys exact and lets far ones share positions."
    )
    view = PageView("map", "Position map", "map", PAGE_HEIGHT)

    def __init__(self, state: LabState) -> None:
        super().__init__(state, PositionPanel(state, height=HEIGHT))

    @staticmethod
    def frame(values: dict[str, Any], *, context_length: int) -> dict[str, Any]:
        """The map of one setting, and its farthest pair in words."""
        length, group_size, window = numbers_of(values, *NUMBERS)
        method = SelfExtend(group_size, window)
        told = explain_pair(method, length - 1, 0, context_length)
        words = f"<b>{method}</b>: {told}. <b>Plain RoPE</b> says {length - 1:,}."
        return {"map": map_state(method, length, context_length=context_length, row=length - 1), WORDS: {"map": words}}


class ReachExplorer(FormulaExplorer):
    """How long a text each G and w_n carry."""

    title = "How far Self-Extend reaches"
    intro = (
        "Each cell is a setting; its colour is the longest text whose told positions all stay below L. Hatched "
        "settings do not carry N tokens. The authors' rule keeps a margin, since large positions are trained least."
    )
    view = PageView("reach", "Reach", "plotly", PAGE_HEIGHT)

    def __init__(self, state: LabState) -> None:
        super().__init__(state, ReachPanel(state, height=HEIGHT))

    @staticmethod
    def frame(values: dict[str, Any], *, context_length: int) -> dict[str, Any]:
        """The reach map with one setting in it, and whether that carries N, in words."""
        length, group_size, window = numbers_of(values, *NUMBERS)
        numbers = {
            "context_length": context_length,
            "length": length,
            "group_size": group_size,
            "neighbor_window": window,
        }
        figure = plot_reach(**numbers)
        return {
            "reach": figure_state(figure, partial(for_card, height=PAGE_HEIGHT)),
            WORDS: {"reach": reach_sentence(**numbers)},
        }
