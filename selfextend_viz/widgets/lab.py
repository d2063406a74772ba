"""The lab: one widget in which G, w_n and N move four panels and a headline, live on a model."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.experiments.rows import PasskeyRow
from selfextend_viz.widgets.compose import Piece, compose
from selfextend_viz.widgets.control_bar import REACH_OF_LENGTH_SLIDER, ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.instant_panels import PositionPanel, ReachPanel
from selfextend_viz.widgets.headline import Answers, Headline
from selfextend_viz.widgets.live import Progress, Worker
from selfextend_viz.widgets.look import companion
from selfextend_viz.widgets.model_panels import DivergencePanel, PasskeyPanel
from selfextend_viz.widgets.results import Results, Setting, stored_results
from selfextend_viz.widgets.work import LabWork, Subject

STORED = "stored"
PANEL_HEIGHT = 244
QUICK = 4096
"""The lab opens on no longer text than this, whatever the model."""


class Lab(ipywidgets.VBox):
    """The live lab; make one with `lab`.

    Attributes
    ----------
    state
        N, G, w_n and L: set its traits to move the lab from code.
    position, reach, divergence, passkey
        The four panels.
    worker
        Computes the model panels, one step at a time, on its own thread.
    """

    def __init__(
        self, subject: Subject, *, stored: Results | None = None, task: str = "paper", trials: int = 4
    ) -> None:
        self.subject, self.stored = subject, stored
        self.work = LabWork(subject, task=task, trials=trials)
        self.state = state_for(subject, stored)
        self.worker = Worker(self._report, context=inference_mode)
        self.position = PositionPanel(self.state, height=PANEL_HEIGHT)
        self.reach = ReachPanel(self.state, height=PANEL_HEIGHT)
        self.divergence = DivergencePanel(self.setting, height=PANEL_HEIGHT)
        self.passkey = PasskeyPanel(self.setting, height=PANEL_HEIGHT)
        self.bar = ControlBar(self.state, fact=fact_of(subject), on_stop=self.worker.stop)
        self.headline = Headline(self.bar.words)
        grid = ipywidgets.GridBox(
            self.panels, layout=ipywidgets.Layout(grid_template_columns="1fr 1fr", grid_gap="8px")
        )
        grid.add_class("sv-grid")
        super().__init__([companion(), self.bar, self.headline, grid])
        self.add_class("sv-lab")
        self._open()
        self.state.observe(self._changed, "revision")

    @property
    def panels(self) -> tuple[PositionPanel, ReachPanel, DivergencePanel, PasskeyPanel]:
        """The four panels, as they stand on screen."""
        return self.position, self.reach, self.divergence, self.passkey

    @property
    def setting(self) -> Setting:
        """The numbers as they are now."""
        state = self.state
        return Setting(state.length, state.group_size, state.neighbor_window, state.context_length)

    def snapshot(self) -> go.Figure:
        """A plain figure of what the four panels show now, for print and for readers without a kernel."""
        pieces = [Piece(panel.name, panel.text, panel.figure.plain()) for panel in self.panels]
        return compose(pieces, title=f"L={self.state.context_length}, {self.setting}. {self.headline.words()}")

    def close(self) -> None:
        """End the worker and take the widget off the page."""
        if hasattr(self, "worker"):  # not so where making the lab failed
            self.worker.close()
        super().close()

    def _open(self) -> None:
        for panel in (self.position, self.reach):
            panel.mark("live")
        if self.stored is not None:
            self._show_stored(self.stored)
        else:
            self.headline.say("The model is about to be asked …")
        self._submit()

    def _show_stored(self, stored: Results) -> None:
        label = str(stored.setting.method)
        self.headline.show(stored.answers, label)
        self.divergence.show_rows(stored.divergence, stored.setting)
        self.passkey.begin(stored.setting, stored.cells)
        for part in self._model_parts:
            part.mark(STORED)

    @property
    def _model_parts(self) -> tuple[Headline, DivergencePanel, PasskeyPanel]:
        return self.headline, self.divergence, self.passkey

    def _changed(self, change: Any) -> None:
        for part in self._model_parts:
            part.enable(not self.state.formula_only)
            part.mark("stale", dim=True)
        if self.state.formula_only:
            self.worker.stop()
            for part in self._model_parts:
                part.mark("formula only: no model is asked")
        else:
            self._submit()

    def _submit(self) -> None:
        self.worker.submit(partial(self._steps, self.setting))

    def _report(self, report: Any) -> None:
        self.bar.report(report)

    def _steps(self, setting: Setting) -> Iterator[Progress]:
        """The worker's job for one setting."""
        check_length(setting)
        if not self.subject.loaded:
            yield Progress(0, 1, "Loading the model")
        self.subject.load()
        yield Progress(0, 1, "", show=self._check_stored)
        answers = Answers(self.work.question(setting))
        plan = self.work.plan(setting)
        known = [self.work.run(step) for step in plan if step.kind == "cell" and self.work.remembers(step)]
        yield Progress(0, len(plan), "", show=partial(self._begin_cells, setting, known))
        for number, step in enumerate(plan):
            if step.kind == "cell" and self.work.remembers(step):
                continue
            yield Progress(number, len(plan), step.message)
            result = self.work.run(step)
            if step.kind == "answer":
                answers = answers.with_digits(step.label, result)
                show = partial(self._show_answers, answers, setting)
            elif step.kind == "divergence":
                show = partial(self._show_divergence, result, setting)
            else:
                show = partial(
                    self._show_cell, result, to_come=sum(later.kind == "cell" for later in plan[number + 1 :])
                )
            yield Progress(number + 1, len(plan), step.message, show=show)

    def _check_stored(self) -> None:
        """Set stored results aside if they are not of this model's weights."""
        if self.stored is not None and self.stored.fingerprint != self.subject.fingerprint:
            for part in self._model_parts:
                part.mark("stale: stored results are of other weights", dim=True)
        self.stored = None

    def _show_answers(self, answers: Answers, setting: Setting) -> None:
        self.headline.show(answers, str(setting.method))
        self.headline.mark("live")

    def _show_divergence(self, rows: Any, setting: Setting) -> None:
        self.divergence.show_rows(rows, setting)
        self.divergence.mark("live")

    def _begin_cells(self, setting: Setting, known: list[PasskeyRow]) -> None:
        if self.passkey.stamp == STORED and self.passkey.setting == setting:
            self.passkey.show_cells(known)  # the stored cells stay until live ones replace them
        else:
            self.passkey.begin(setting, known)
            self.passkey.mark("live")

    def _show_cell(self, row: PasskeyRow, *, to_come: int) -> None:
        self.passkey.show_cells([row])
        if self.passkey.stamp.startswith(STORED):
            self.passkey.mark(f"{STORED}, {to_come} cells to come" if to_come else "live")


def lab(model: Any = None, tokenizer: Any = None) -> Lab:
    """The lab on a model: sliders for N, G and w_n, and what they do to positions, reach, attention and pass keys.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model that uses RoPE, and its tokenizer; left out, the demo model.

    Returns
    -------
    Lab
        A widget; show it as a cell's last line.

    Raises
    ------
    TypeError
        If only one of the two is given.
    """
    subject = Subject(model, tokenizer)
    stored = stored_results() if subject.is_demo else None
    if stored is not None:
        subject = Subject(context_length=stored.setting.context_length)
    return Lab(subject, stored=stored)


def state_for(subject: Subject, stored: Results | None) -> LabState:
    """The state the lab opens with: that of the stored results, or the longest of 4 L and L that is quick to ask."""
    if stored is None:
        context_length = subject.context_length
        longest = 4 * context_length
        return LabState(context_length, length=longest if longest <= QUICK else min(context_length, QUICK))
    setting = stored.setting
    return LabState(
        setting.context_length,
        length=setting.length,
        group_size=setting.group_size,
        neighbor_window=setting.neighbor_window,
    )


def fact_of(subject: Subject) -> str:
    """Why L is locked."""
    whose = "the demo model was" if subject.is_demo else "your model was"
    return f'L is a fact of the model: {whose} trained on texts of this length. Tick "formula only" to try another.'


def check_length(setting: Setting) -> None:
    """Refuse lengths that would keep the worker busy for minutes."""
    most = REACH_OF_LENGTH_SLIDER * setting.context_length
    if setting.length > most:
        raise ValueError(
            f"N = {setting.length:,} is more than {REACH_OF_LENGTH_SLIDER} L = {most:,}, too long to ask a model while "
            "you wait; call selfextend_viz.passkey for such lengths"
        )


def inference_mode() -> Any:
    """The context that the worker's jobs run in."""
    import torch

    return torch.inference_mode()
