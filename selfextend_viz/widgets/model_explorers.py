"""The explorers that ask a model: the attention logits of its heads, and the pass key."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from selfextend_viz.experiments.rows import PasskeyRow
from selfextend_viz.plots import plot_outlier_grid
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.explorer import HEIGHT
from selfextend_viz.widgets.live import Progress
from selfextend_viz.widgets.model_explorer import ModelExplorer
from selfextend_viz.widgets.model_panels import DivergencePanel, DivergenceRow, PasskeyPanel
from selfextend_viz.widgets.page import WORDS, PageControl, PageView
from selfextend_viz.widgets.page_frames import all_frames, figure_state
from selfextend_viz.widgets.panel import for_card, headline_of
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.texts import Texts
from selfextend_viz.widgets.work import QUERIES, LabWork, Subject

HEADS = 4
"""Heads on a page, the worst first."""


class DivergenceExplorer(ModelExplorer):
    """What long distances do to each head's attention logits, and what Self-Extend makes of it."""

    title = "Attention logits past the trained length"
    intro = (
        "One attention head: how large its logits are at each true distance. Grey is what training taught it. Past L "
        "the stock model's logits leave that range; told smaller distances, the same queries and keys return to it."
    )

    def __init__(self, subject: Subject, state: LabState, texts: Texts, *, seed: int = 0) -> None:
        self.texts, self._seed = texts, seed
        self._known: dict[Setting, tuple[DivergenceRow, ...]] = {}
        setting = Setting(state.length, state.group_size, state.neighbor_window, state.context_length)
        super().__init__(subject, state, DivergencePanel(setting, height=HEIGHT))

    def steps(self, setting: Setting) -> Iterator[Progress]:
        """One step: all heads at once."""
        message = f"Looking at the attention logits at N = {setting.length:,}"
        yield Progress(0, 1, message)
        rows = self.rows(setting)
        yield Progress(1, 1, message, show=partial(self._show, rows, setting))

    def rows(self, setting: Setting) -> tuple[DivergenceRow, ...]:
        """What `divergence` says at a setting, from memory or asked now."""
        if setting not in self._known:
            self._known[setting] = self.ask(partial(self._look, setting))
        return self._known[setting]

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        lengths: Iterable[int] | None = None,
        group_sizes: Iterable[int] | None = None,
        neighbor_windows: Iterable[int] | None = None,
        heads: int = HEADS,
    ) -> Path:
        """Ask the model for every setting, and write a page whose sliders work without a kernel.

        Parameters
        ----------
        path
            Where to.
        lengths, group_sizes, neighbor_windows
            The sliders' stops; when left out, a few around the current numbers.
        heads
            How many heads the page shows: the one shown now, and those with the most outliers.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, or the page would be larger than 6 MB.
        """
        now, limit = self.setting, self.state.context_length
        numbers = (
            self.page_control("length", lengths, {min(limit, now.length), now.length}, least=2),
            self.page_control("group_size", group_sizes, {4, 16, now.group_size}),
            self.page_control("neighbor_window", neighbor_windows, {now.neighbor_window}, least=0, below=limit),
        )
        shown = self._heads_of_page(heads)
        names = tuple(f"layer {layer}, head {head}" for layer, head in shown)
        controls = (*numbers, PageControl("head", "head", names, names[0]))
        scratch = DivergencePanel(now, height=HEIGHT)
        frame = partial(self._frame, scratch, dict(zip(names, shown, strict=True)))
        frames = all_frames(controls, frame, label="Attention logits", work=lambda values: values["length"])
        views = (
            PageView("curves", f"Attention logits on {self.texts.name}", "plotly", HEIGHT),
            PageView("heads", "All heads: share of outlying logits", "plotly", HEIGHT),
        )
        return self.write(path, {"controls": controls, "frames": frames, "views": views})

    def _look(self, setting: Setting) -> tuple[DivergenceRow, ...]:
        from selfextend_viz.experiments.divergence import divergence

        ids = self.texts.ids(setting.length)
        return tuple(divergence(self.subject.load()[0], ids, setting.method, queries=QUERIES, seed=self._seed))

    def _show(self, rows: tuple[DivergenceRow, ...], setting: Setting) -> None:
        self.panel.show_rows(rows, setting)
        self.panel.mark(f"live: {self.texts.name}")

    def _heads_of_page(self, count: int) -> list[tuple[int, int]]:
        scratch = DivergencePanel(self.setting, height=HEIGHT)
        scratch.show_rows(self.rows(self.setting), self.setting)
        first = self.panel.head if self.panel.chosen else scratch.head
        ranked = sorted(scratch.heads().items(), key=lambda pair: -pair[1].outlier_share_stock)
        return [first, *(place for place, _ in ranked if place != first)][: max(1, count)]

    def _frame(
        self, panel: DivergencePanel, heads: dict[str, tuple[int, int]], values: dict[str, Any]
    ) -> dict[str, Any]:
        setting = self.setting_at(values)
        panel.show_rows(self.rows(setting), setting)
        panel.choose(*heads[values["head"]])
        layer, head = panel.head
        grid = plot_outlier_grid(panel.rows, layer=layer, head=head)
        return {
            "curves": figure_state(panel.plain()),
            "heads": figure_state(grid, partial(for_card, height=HEIGHT)),
            WORDS: {"curves": panel.words(), "heads": headline_of(grid)},
        }


class PasskeyExplorer(ModelExplorer):
    """Which lengths and depths the model answers, stock beside Self-Extend, filled cell by cell."""

    title = "Pass keys found, stock beside Self-Extend"
    intro = (
        "A number is hidden in a long text and asked for at its end. Each cell is a length and a depth; blue is found, "
        "orange is not. Stock is the model as it is; the blindfold hides far tokens and keeps positions."
    )

    def __init__(self, subject: Subject, state: LabState, work: LabWork) -> None:
        self.work = work
        setting = Setting(state.length, state.group_size, state.neighbor_window, state.context_length)
        super().__init__(subject, state, PasskeyPanel(setting, height=HEIGHT))

    def steps(self, setting: Setting) -> Iterator[Progress]:
        """A step for each cell, those remembered at once."""
        plan = list(self.work.cell_steps(setting))
        known = [self.work.run(step) for step in plan if self.work.remembers(step)]
        fresh = [step for step in plan if not self.work.remembers(step)]
        yield Progress(0, max(1, len(fresh)), "", show=partial(self._begin, setting, known))
        for number, step in enumerate(fresh):
            yield Progress(number, len(fresh), step.message)
            row = self.ask(partial(self.work.run, step))
            yield Progress(number + 1, len(fresh), step.message, show=partial(self.panel.show_cells, [row]))

    def cells(self, setting: Setting) -> list[PasskeyRow]:
        """All cells of a setting, from memory or asked now."""
        return [self.ask(partial(self.work.run, step)) for step in self.work.cell_steps(setting)]

    def to_html(
        self,
        path: str | os.PathLike[str],
        *,
        lengths: Iterable[int] | None = None,
        group_sizes: Iterable[int] | None = None,
        neighbor_windows: Iterable[int] | None = None,
    ) -> Path:
        """Ask the model for every setting, and write a page whose sliders work without a kernel.

        Parameters
        ----------
        path
            Where to.
        lengths
            The longest texts of the grids; the current N when left out.
        group_sizes, neighbor_windows
            The sliders' stops; when left out, a few around the current numbers.

        Raises
        ------
        TypeError, ValueError
            If a number is out of range, or the page would be larger than 6 MB.
        """
        now, limit = self.setting, self.state.context_length
        controls = (
            self.page_control("length", lengths, {now.length}),
            self.page_control("group_size", group_sizes, {2, 4, 16, now.group_size}),
            self.page_control("neighbor_window", neighbor_windows, {now.neighbor_window}, least=0, below=limit),
        )
        frame = partial(self._frame, PasskeyPanel(now, height=HEIGHT))
        frames = all_frames(controls, frame, label="Pass keys", work=lambda values: values["length"])
        view = PageView("cells", "Pass key", "plotly", HEIGHT)
        return self.write(path, {"controls": controls, "frames": frames, "views": (view,)})

    def _frame(self, panel: PasskeyPanel, values: dict[str, Any]) -> dict[str, Any]:
        setting = self.setting_at(values)
        panel.begin(setting, self.cells(setting))
        return {"cells": figure_state(panel.plain()), WORDS: {"cells": panel.words()}}

    def _begin(self, setting: Setting, known: list[PasskeyRow]) -> None:
        self.panel.begin(setting, known)
        self.panel.mark("live")
