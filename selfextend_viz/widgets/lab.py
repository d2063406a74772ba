"""The lab: one widget in which G, w_n and N move a strip and four panels, live on a model."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.experiments.rows import BLINDFOLD
from selfextend_viz.positions import Method
from selfextend_viz.widgets.compose import Piece, compose
from selfextend_viz.widgets.control_bar import ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.instant_panels import PositionPanel, ReachPanel
from selfextend_viz.widgets.live import Worker
from selfextend_viz.widgets.look import companion
from selfextend_viz.widgets.model_panels import DivergencePanel, PasskeyPanel
from selfextend_viz.widgets.model_side import ModelSide
from selfextend_viz.widgets.panel import LiveFigure
from selfextend_viz.widgets.results import Results, Setting, stored_results
from selfextend_viz.widgets.tables import DataTable
from selfextend_viz.widgets.tool_row import ToolRow
from selfextend_viz.widgets.work import LabWork, Subject

PANEL_HEIGHT = 192
QUICK = 4096
"""The lab opens on no longer text than this, whatever the model."""
PAGE_PATIENCE = 6.0
"""Seconds that the model is not asked while a page is still drawing what is known: both want the processor."""


class Lab(ipywidgets.VBox):
    """The live lab; make one with `lab`.

    Attributes
    ----------
    state
        N, G, w_n and L: set its traits to move the lab from code.
    strip
        The prompt and its two answers; its ``question`` says what is asked.
    position, reach, divergence, passkey
        The four panels.
    tools
        Presets, story, reset, share and tables.
    worker
        Computes what the model is asked, one step at a time, on its own thread.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        stored: Results | None = None,
        task: str = "paper",
        trials: int = 4,
        numbers: Mapping[str, int] | None = None,
        ask: Mapping[str, Any] | None = None,
        rival: Method | None = None,
    ) -> None:
        self.subject = subject
        self.work = LabWork(subject, task=task, trials=trials, beside=BLINDFOLD if rival is None else rival)
        self.state = state_for(subject, stored, numbers or {})
        self.model_side = ModelSide(self.work, self.state, height=PANEL_HEIGHT)
        self.strip, self.divergence, self.passkey = self.model_side.parts
        self.strip.question.set(**(ask or {}))
        self.opening_question = self.strip.question.asked
        self.position = PositionPanel(self.state, height=PANEL_HEIGHT)
        self.reach = ReachPanel(self.state, height=PANEL_HEIGHT)
        self.worker = Worker(self._report, context=inference_mode)
        self.work.wanted = self.worker.wanted
        self.bar = ControlBar(self.state, fact=fact_of(subject), on_stop=self.worker.stop)
        self.tools = ToolRow(
            self.state,
            self.strip.question,
            words=self.bar.words,
            is_demo=subject.is_demo,
            rival=rival,
            on_reset=self.reset,
            on_tables=self.show_tables,
        )
        self.tables = [DataTable(panel, height=PANEL_HEIGHT) for panel in self.panels]
        grid = ipywidgets.GridBox(self.panels, layout=ipywidgets.Layout(grid_template_columns="1fr 1fr"))
        grid.add_class("sv-grid")
        super().__init__([companion(), self.bar, self.tools, self.strip, grid])
        self.add_class("sv-lab")
        self._open(stored)

    @property
    def panels(self) -> tuple[PositionPanel, ReachPanel, DivergencePanel, PasskeyPanel]:
        """The four panels, as they stand on screen."""
        return self.position, self.reach, self.divergence, self.passkey

    @property
    def figures(self) -> tuple[LiveFigure, ...]:
        """All that plotly draws."""
        return self.reach.figure, self.divergence.figure, self.divergence.grid, self.passkey.figure

    @property
    def setting(self) -> Setting:
        """The numbers as they are now."""
        return self.model_side.setting

    def snapshot(self) -> go.Figure:
        """A plain figure of what the four panels show now, for print and for readers without a kernel."""
        pieces = [Piece(panel.name, panel.text, panel.plain()) for panel in self.panels]
        return compose(
            pieces,
            title=f"L={self.state.context_length}, {self.setting}",
            text="" if self.state.formula_only else self.strip.words(),
        )

    def reset(self) -> None:
        """Back to the numbers and the question that the lab opened with."""
        self.strip.question.set(**vars(self.opening_question))
        self.state.reset()

    def show_tables(self, on: bool) -> None:
        """Show each panel's numbers as a table, or its figure again."""
        for table in self.tables:
            table.show(on)

    def close(self) -> None:
        """End the worker and take the widget off the page."""
        if hasattr(self, "worker"):  # not so where making the lab failed
            self.worker.close()
        super().close()

    def _open(self, stored: Results | None) -> None:
        for panel in (self.position, self.reach):
            panel.mark("live")
        self.model_side.open(stored)
        self.state.observe(self._changed, "revision")
        self.strip.question.observe(self._asked, "revision")
        self._undrawn = set(self.figures)
        for figure in self.figures:
            figure.on_drawn = partial(self._drawn, figure)
        self._ask_or_rest(patience=PAGE_PATIENCE if stored is not None and has_page() else 0.0)

    def _drawn(self, figure: LiveFigure) -> None:
        self._undrawn.discard(figure)
        if not self._undrawn:
            self.worker.begin()

    def _changed(self, change: Any) -> None:
        self.model_side.set_aside(formula_only=self.state.formula_only)
        self._ask_or_rest()

    def _asked(self, change: Any) -> None:
        if not self.state.formula_only:
            self.strip.mark("stale", dim=True)
            self._ask_or_rest()

    def _ask_or_rest(self, *, patience: float = 0.0) -> None:
        if self.state.formula_only:
            self.model_side.set_aside(formula_only=True)
            self.worker.stop()
        else:
            job = partial(self.model_side.steps, self.setting, self.strip.question.asked)
            self.worker.submit(job, patience=patience)

    def _report(self, report: Any) -> None:
        self.bar.report(report)
        if isinstance(report.error, ValueError):
            self.model_side.refused()


def lab(
    model: Any = None,
    tokenizer: Any = None,
    *,
    length: int | None = None,
    group_size: int | None = None,
    neighbor_window: int | None = None,
    context_length: int | None = None,
    ask: Mapping[str, Any] | None = None,
    rival: Method | None = None,
) -> Lab:
    """The lab on a model: sliders for N, G and w_n, and what they do to positions, reach, attention and pass keys.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer; left out, the demo model.
    length, group_size, neighbor_window
        N, G and w_n to open with.
    context_length
        Another L than the model's: the lab opens on the formula alone.
    ask
        What the strip asks, by name: ``depth``, ``key``, ``filler``, ``own_text``, ``phrasing``, ``head``.
    rival
        Another method, such as ``YaRN(4)``, that is asked for the same pass keys in the blindfold's place.

    Returns
    -------
    Lab
        A widget; show it as a cell's last line.

    Raises
    ------
    TypeError
        If only one of model and tokenizer is given, or the rival is no method.
    ValueError
        If a number or the rival is refused; the sentence says what would be right.
    """
    subject = Subject(model, tokenizer)
    if rival is not None:
        check_rival(subject, rival)
    stored = stored_results() if subject.is_demo and rival is None else None
    if stored is not None:
        subject = Subject(context_length=stored.setting.context_length)
    given = {
        "context_length": context_length,
        "neighbor_window": neighbor_window,
        "length": length,
        "group_size": group_size,
    }
    numbers = {name: number for name, number in given.items() if number is not None}
    return Lab(subject, stored=stored, numbers=numbers, ask=ask, rival=rival)


def state_for(subject: Subject, stored: Results | None, numbers: Mapping[str, int]) -> LabState:
    """The state the lab opens with: that of the stored results, or the longest of 4 L and L that is quick to ask.

    ``numbers`` change it; an L of their own stands for the formula alone.
    """
    if stored is None:
        context_length = subject.context_length
        longest = 4 * context_length
        state = LabState(context_length, length=longest if longest <= QUICK else min(context_length, QUICK))
    else:
        setting = stored.setting
        state = LabState(
            setting.context_length,
            length=setting.length,
            group_size=setting.group_size,
            neighbor_window=setting.neighbor_window,
        )
    another = numbers.get("context_length", state.context_length)
    usual = {} if another == state.context_length else {**LabState(another).values(), "formula_only": True}
    state.set(**{**usual, **numbers})
    state.keep_as_opening()
    return state


def check_rival(subject: Subject, rival: Any) -> None:
    """Refuse what is no method, or cannot be lent to the model."""
    from selfextend_viz.patch import check_lending

    if not isinstance(rival, Method):
        raise TypeError(f"rival must be a method such as YaRN(4), not {rival!r} ({type(rival).__name__})")
    check_lending(subject.load()[0], rival, implementation="auto")


def has_page() -> bool:
    """Whether this runs in a notebook's kernel, whose page draws what is shown."""
    kernel = sys.modules.get("ipykernel.kernelapp")
    return kernel is not None and kernel.IPKernelApp.initialized()


def fact_of(subject: Subject) -> str:
    """Why L is locked."""
    whose = "the demo model was" if subject.is_demo else "your model was"
    return f'L is a fact of the model: {whose} trained on texts of this length. Tick "formula only" to try another.'


def inference_mode() -> Any:
    """The context that the worker's jobs run in."""
    import torch

    return torch.inference_mode()
