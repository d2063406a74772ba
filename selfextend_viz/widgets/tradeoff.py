"""The trade-off explorer: a sweep's pictures and its recommendation, live while the sweep runs."""

from __future__ import annotations

import os
import threading
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.positions import whole_number
from selfextend_viz.sweeps.recommendation import Recommendation
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.store import Store
from selfextend_viz.widgets.card import CardKind
from selfextend_viz.widgets.compose import Piece, compose
from selfextend_viz.widgets.control_bar import LinkedNumber
from selfextend_viz.widgets.explorer import WIDE, Explorer
from selfextend_viz.widgets.following import SECONDS, Follower
from selfextend_viz.widgets.page import WORDS, PageView
from selfextend_viz.widgets.page_frames import all_frames, figure_state, number_control
from selfextend_viz.widgets.panel import for_card
from selfextend_viz.widgets.tradeoff_panels import NAMES, TradeoffPanel, TradeoffState, pictures, ranking

HEIGHT = 320
SNAPSHOT_HEIGHT = 1000
PAGE_HEIGHT = 400

__all__ = ["TradeoffExplorer", "tradeoff_explorer"]


class TradeoffExplorer(Explorer, metaclass=CardKind):
    """Which G and w_n a sweep speaks for, and at what price, followed while its store grows.

    Attributes
    ----------
    state
        N, and the store's rows; set ``state.length`` to look at another length.
    follower
        Looks at the store on a thread of its own.
    recommendation
        What the cells speak for at N, or a sentence why they do not yet.
    """

    title = "Trade-offs of G and w_n"
    intro = (
        "Each setting of a sweep: what it answers where it is worst, how far it moves the model at N, and what it "
        "costs where stock is right. Left of the white line N does not fit; dotted is the authors' rule."
    )

    def __init__(self, store: Store, state: TradeoffState, *, seconds: float = SECONDS) -> None:
        self.store = store
        self.recommendation: Recommendation | str = ""
        self._drawing = threading.RLock()
        figures, words, _ = pictures([], 1, state.context_length)
        self.panels = {name: TradeoffPanel(title, figures[name], height=HEIGHT) for name, title in NAMES.items()}
        for name, panel in self.panels.items():
            panel.say(words[name])
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))
        self.words.add_class("sv-status")
        self.number = LinkedNumber(state, "length", "N", "length of the text, in tokens", (1,), self.refuse)
        bar = ipywidgets.HBox([self.number])
        bar.add_class("sv-bar")
        super().__init__(state, bar, self.words, list(self.panels.values()))
        self.children[-1].layout.grid_template_columns = "minmax(0, 1fr) minmax(0, 1fr)"
        state.observe(self._draw, "revision")
        self.follower = Follower(store, self._hear, self._cannot_read, seconds=seconds)
        self.follower.look()
        self.follower.start()

    def refuse(self, words: str) -> None:
        """Say why a length was refused; "" takes the words back."""
        if words:
            self.words.value = f'<span class="sv-refusal" role="alert">{escape(words)}</span>'
        else:
            self._report()

    def close(self) -> None:
        """Follow no more, and take the widget off the page."""
        if hasattr(self, "follower"):  # not so where making the explorer failed
            self.follower.stop()
        super().close()

    def setting_words(self) -> str:
        """The numbers as they are now."""
        return f"L={self.state.context_length}, N={self.state.length}, {len(self.state.rows)} cells"

    def snapshot(self) -> go.Figure:
        """A plain figure of what is shown now, two cards a row."""
        with self._drawing:
            pieces = [Piece(panel.name, panel.text, panel.plain()) for panel in self.panels.values()]
        together = compose(pieces, title=f"{self.title}: {self.setting_words()}", columns=2)
        return together.update_layout(width=WIDE, height=SNAPSHOT_HEIGHT)

    def to_html(self, path: str | os.PathLike[str]) -> Path:
        """Write a page of the cells as they are now, with a slider over the lengths, that needs no kernel.

        Raises
        ------
        ValueError
            If there is no cell yet, or the page would be larger than 6 MB.
        """
        state = self.state
        if not state.rows:
            raise ValueError(f"{self.store.path} has 0 cells, so there is nothing to write; wait for the first ones")
        rows, trained = list(state.rows), state.context_length
        controls = (number_control("length", state.lengths, state.length),)
        fit = partial(for_card, height=PAGE_HEIGHT)

        def frame(values: dict[str, Any]) -> dict[str, Any]:
            figures, words, _ = pictures(rows, values["length"], trained)
            return {**{name: figure_state(figure, fit) for name, figure in figures.items()}, WORDS: words}

        views = tuple(PageView(name, title, "plotly", PAGE_HEIGHT) for name, title in NAMES.items())
        return self.write(path, {"controls": controls, "frames": all_frames(controls, frame), "views": views})

    def _hear(self, rows: list[CellRow], about: dict[str, Any]) -> None:
        with self._drawing:
            self.state.hear(rows, about.get("settings", {}).get("context_length"))

    def _cannot_read(self, sentence: str) -> None:
        self.refuse(sentence)

    def _draw(self, change: Any) -> None:
        with self._drawing:
            state = self.state
            self.number.set_stops(state.lengths or (1,))
            figures, words, self.recommendation = pictures(state.rows, state.length, state.context_length)
            self.panels["worst"].ranking = ranking(self.recommendation)
            for name, panel in self.panels.items():
                panel.show(figures[name], text=words[name])
                panel.mark("live" if state.rows else "")
            self._report()

    def _report(self) -> None:
        count = len(self.state.rows)
        last = max((row.finished for row in self.state.rows), default="")
        said = f"{count:,} cells in {self.store.path.name}, the last one at {last[11:19]} UTC" if count else ""
        self.words.value = f'<span class="sv-soft" role="status">{escape(said)}</span>'


def tradeoff_explorer(
    store: Store | str | os.PathLike[str], *, context_length: int | None = None, seconds: float = SECONDS
) -> TradeoffExplorer:
    """Follow a sweep by its store, live: worst depths over G and w_n, both frontiers, and what to take.

    Parameters
    ----------
    store
        The file that a sweep writes, or wrote; it need not exist yet.
    context_length
        L, where the store does not say it.
    seconds
        Between two looks at the store.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range.

    Examples
    --------
    >>> tradeoff_explorer("sweep.db")
    """
    if context_length is not None:
        whole_number("context_length", context_length, at_least=2)
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise ValueError(f"seconds is {seconds!r}, but must be a number above 0")
    opened = store if isinstance(store, Store) else Store(os.fspath(store))
    return TradeoffExplorer(opened, TradeoffState(context_length), seconds=seconds)
