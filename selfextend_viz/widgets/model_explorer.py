"""An explorer that asks a model: it works on its own thread, shows how far it is, and can be stopped."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from typing import Any, TypeVar

from selfextend_viz.widgets.card import CardKind
from selfextend_viz.widgets.control_bar import ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.explorer import Explorer
from selfextend_viz.widgets.lab import inference_mode, state_for
from selfextend_viz.widgets.live import Progress, Report, Worker
from selfextend_viz.widgets.model_side import check_length
from selfextend_viz.widgets.page import PageControl
from selfextend_viz.widgets.page_frames import number_control
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import Subject, beyond_reach_is_a_lesson

FACT = "L is a fact of the model: it was trained on texts of this length."
Answer = TypeVar("Answer")


class ModelExplorer(Explorer, metaclass=CardKind):
    """One model panel with N, G and w_n.

    Attributes
    ----------
    panel
        What is shown.
    worker
        Asks the model, one step at a time, on its own thread.
    """

    def __init__(self, subject: Subject, state: LabState, panel: Any) -> None:
        self.subject, self.panel = subject, panel
        self._asking = threading.RLock()
        self.worker = Worker(self._report, context=nullcontext)
        self.bar = ControlBar(state, fact=FACT, on_stop=self.worker.stop, has_model=False)
        super().__init__(state, self.bar, self.bar.words, [panel])
        self._submit()
        state.observe(self._changed, "revision")

    @abstractmethod
    def steps(self, setting: Setting) -> Iterator[Progress]:
        """What is asked at one setting, once the model is loaded."""

    @property
    def setting(self) -> Setting:
        """The numbers as they are now."""
        state = self.state
        return Setting(state.length, state.group_size, state.neighbor_window, state.context_length)

    def ask(self, question: Callable[[], Answer]) -> Answer:
        """An answer of the model, which answers one question at a time: a page may be in the making."""
        with self._asking, inference_mode(), beyond_reach_is_a_lesson():
            return question()

    def close(self) -> None:
        """End the worker and take the widget off the page."""
        if hasattr(self, "worker"):  # not so where making the explorer failed
            self.worker.close()
        super().close()

    def setting_at(self, values: dict[str, Any]) -> Setting:
        """The setting of a page's frame; controls that it has not stand as they are now."""
        now = self.setting
        return Setting(
            values.get("length", now.length),
            values.get("group_size", now.group_size),
            values.get("neighbor_window", now.neighbor_window),
            now.context_length,
        )

    def page_control(self, name: str, values: Any, defaults: set[int], **limits: Any) -> PageControl:
        """A slider over the values given, or over the defaults."""
        return number_control(name, defaults if values is None else values, getattr(self.state, name), **limits)

    def _changed(self, change: Any) -> None:
        self.panel.mark("stale", dim=True)
        self._submit()

    def _submit(self) -> None:
        self.worker.submit(partial(self._job, self.setting))

    def _report(self, report: Report) -> None:
        self.bar.report(report)

    def _job(self, setting: Setting) -> Iterator[Progress]:
        check_length(setting)
        if not self.subject.loaded:
            yield Progress(0, 1, "Loading the model")
        self.subject.load()
        yield from self.steps(setting)


def opening_state(subject: Subject, *, longest: int | None = None, **numbers: int | None) -> LabState:
    """The state an explorer opens with: the lab's, changed by the numbers given, N no longer than `longest`.

    Raises
    ------
    BadSetting
        If a number is out of range.
    """
    given = {name: number for name, number in numbers.items() if number is not None}
    if longest is not None and "length" not in given:
        given["length"] = min(longest, state_for(subject, None, {}).length)
    return state_for(subject, None, given)
