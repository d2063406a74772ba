"""The strip on its own: one prompt, two answers, and the sliders that move them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.experiments.rows import AttentionRow, DigitRow
from selfextend_viz.plots import plot_answer
from selfextend_viz.widgets.control_bar import ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.lab import inference_mode
from selfextend_viz.widgets.live import Progress, Worker
from selfextend_viz.widgets.look import companion
from selfextend_viz.widgets.model_explorer import FACT
from selfextend_viz.widgets.model_side import check_length
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.strip import Strip
from selfextend_viz.widgets.strip_state import State, with_answer
from selfextend_viz.widgets.work import LabWork, Subject


class StripExplorer(ipywidgets.VBox):
    """One prompt under stock and under Self-Extend, with N, G and w_n; make one with `strip_explorer`.

    Attributes
    ----------
    state
        The numbers: set its traits to move the explorer from code.
    strip
        The two tracks; click on one to move the key.
    worker
        Asks the model, on its own thread.
    """

    def __init__(self, subject: Subject, state: LabState) -> None:
        self.state = state
        self.work = LabWork(subject)
        self.strip = Strip(state)
        self.worker = Worker(lambda report: self.bar.report(report), context=inference_mode)
        self.work.wanted = self.worker.wanted
        self.bar = ControlBar(state, fact=FACT, on_stop=self.worker.stop, has_model=False)
        line = ipywidgets.HBox([self.bar.words])
        line.add_class("sv-line")
        super().__init__([companion(), self.bar, line, self.strip])
        self.add_class("sv-lab")
        self.add_class("sv-explorer")
        self.strip.say("The model is about to be asked \N{HORIZONTAL ELLIPSIS}")
        state.observe(self._changed, "revision")
        self.strip.question.observe(self._changed, "revision")
        self._submit()

    def snapshot(self) -> go.Figure:
        """What is shown as a plain figure, asked now where it is not known yet."""
        setting, asked = self._now()
        with inference_mode():
            strip = self.work.strip(setting, asked)
            for step in self.work.asking.steps(setting, asked):
                strip = with_answer(strip, step.label, self.work.run(step))
        figure = plot_answer(_rows(strip), needle=tuple(strip["needle"]), context_length=setting.context_length)
        return figure.update_layout(title={"text": f"Where the answer looks: {setting}"})

    def close(self) -> None:
        """End the worker and take the widget off the page."""
        if hasattr(self, "worker"):  # not so where making the explorer failed
            self.worker.close()
        super().close()

    def _now(self) -> tuple[Setting, Question]:
        state = self.state
        setting = Setting(state.length, state.group_size, state.neighbor_window, state.context_length)
        return setting, self.strip.question.asked

    def _changed(self, change: object) -> None:
        self.strip.mark("stale", dim=True)
        self._submit()

    def _submit(self) -> None:
        self.worker.submit(partial(self._job, *self._now()))

    def _job(self, setting: Setting, asked: Question) -> Iterator[Progress]:
        check_length(setting)
        if not self.work.subject.loaded:
            yield Progress(0, 1, "Loading the model")
        strip = self.work.strip(setting, asked)
        steps = list(self.work.asking.steps(setting, asked))
        for number, step in enumerate(steps):
            yield Progress(number, len(steps), step.message)
            strip = with_answer(strip, step.label, self.work.run(step))
            yield Progress(number + 1, len(steps), step.message, show=partial(self._show, strip))

    def _show(self, strip: State) -> None:
        self.strip.show(strip)
        self.strip.mark("live")


def _rows(strip: State) -> Iterator[DigitRow | AttentionRow]:
    """A strip's state as the rows that it was made of."""
    layer, head = strip["head"]
    for row in strip["rows"]:
        for index, digit in enumerate(row["digits"]):
            yield DigitRow(row["label"], index, **digit)
        for arc in row["arcs"]:
            yield AttentionRow(row["label"], layer, head, **arc)
