"""The one-row control bar: sliders with linked number boxes, L with its lock, and what the worker is doing."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets

from selfextend_viz.widgets.controls import BadSetting, LabState, geometric_stops, powers_of_two
from selfextend_viz.widgets.live import Report

MAX_SLIDER_GROUP_SIZE = 64
REACH_OF_LENGTH_SLIDER = 16
"""The N slider ends at this many times L; its number box takes more."""
FORMULA_ONLY = "Formula only: no model is asked."


class LinkedNumber(ipywidgets.HBox):
    """A slider over chosen stops beside a box that takes any integer.

    Parameters
    ----------
    state, name
        The state and the number of it that this sets.
    symbol
        How the paper calls it.
    stops
        Where the slider rests; a number between stops stands at the nearest one.
    refuse
        Called with the sentence when a number is refused, and with "" when one is taken.
    """

    box_kind: Any = ipywidgets.IntText

    def __init__(
        self,
        state: Any,
        name: str,
        symbol: str,
        tooltip: str,
        stops: tuple[Any, ...],
        refuse: Callable[[str], None],
    ) -> None:
        self._state, self._name, self._refuse = state, name, refuse
        self._following = False
        self.slider = ipywidgets.SelectionSlider(
            options=stops,
            value=self._nearest(stops),
            description=symbol,
            tooltip=tooltip,
            readout=False,
            layout=ipywidgets.Layout(width="auto", flex="1 1 120px"),
            style={"description_width": "24px"},
        )
        self.box = self.box_kind(value=getattr(state, name), tooltip=tooltip, layout=ipywidgets.Layout(width="64px"))
        self.slider.add_class(f"sv-slider-{name.replace('_', '-')}")
        self.box.add_class(f"sv-box-{name.replace('_', '-')}")
        self.slider.observe(self._offer, "value")
        self.box.observe(self._offer, "value")
        state.observe(self._follow, name)
        super().__init__([self.slider, self.box])
        self.add_class("sv-number")

    def set_stops(self, stops: tuple[Any, ...]) -> None:
        """Give the slider other stops."""
        if stops != tuple(self.slider.options):
            self._following = True
            self.slider.options = stops
            self._following = False
            self._follow(None)

    def _nearest(self, stops: tuple[Any, ...]) -> Any:
        value = getattr(self._state, self._name)
        return min(stops, key=lambda stop: abs(stop - value))

    def _offer(self, change: Any) -> None:
        if self._following:
            return
        try:
            setattr(self._state, self._name, change["new"])
            self._refuse("")
        except BadSetting as refusal:
            self._refuse(str(refusal))
            self._follow(None)

    def _follow(self, change: Any) -> None:
        self._following = True
        self.box.value = getattr(self._state, self._name)
        self.slider.value = self._nearest(self.slider.options)
        self._following = False


class ControlBar(ipywidgets.HBox):
    """G, w_n and N; L locked as the fact it is; stop and progress. Its `words` are a line of their own."""

    def __init__(self, state: LabState, *, fact: str, on_stop: Callable[[], None], has_model: bool = True) -> None:
        self.state = state
        self._fact = fact
        self._refusal = ""
        self._report = Report("finished")
        self._has_model = has_model
        self.numbers = {
            "group_size": self._number("group_size", "G", "group size: so many neighbouring tokens share a position"),
            "neighbor_window": self._number(
                "neighbor_window", "wₙ", "neighbor window: tokens nearer than this stay exact"
            ),
            "length": self._number("length", "N", "sequence length, in tokens"),
        }
        self.context_length = self._number("context_length", "L", "pretrained context length, in tokens")
        self.fact = ipywidgets.HTML()
        self.formula_only = ipywidgets.Checkbox(
            value=state.formula_only,
            description="formula only",
            tooltip="Unlock L and look at the formula alone, without the model",
            indent=False,
            layout=ipywidgets.Layout(width="auto"),
        )
        self.stop = ipywidgets.Button(
            description="Stop",
            icon="stop",
            tooltip="Stop computing; results so far stay",
            layout=ipywidgets.Layout(width="70px"),
        )
        self.progress = ipywidgets.FloatProgress(value=0, max=1, layout=ipywidgets.Layout(width="72px", height="12px"))
        self.progress.add_class("sv-progress")
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))
        self.words.add_class("sv-status")
        self.formula_only.observe(lambda change: self._unlock(change["new"]), "value")
        self.stop.on_click(lambda button: on_stop())
        state.observe(self._refresh, "revision")
        self.work = ipywidgets.HBox([self.progress, self.stop])
        self.work.add_class("sv-work")
        super().__init__([*self.numbers.values(), self.fact, self.context_length, self.formula_only, self.work])
        self.add_class("sv-bar")
        self._refresh(None)
        self.report(Report("finished"))

    def _number(self, name: str, symbol: str, tooltip: str) -> LinkedNumber:
        return LinkedNumber(self.state, name, symbol, tooltip, stops_for(name, self.state), self.refuse)

    def refuse(self, words: str) -> None:
        """Say why a number was refused, until one is taken; "" takes the words back."""
        self._refusal = words
        self._say()

    def report(self, report: Report) -> None:
        """Show what the worker is doing."""
        progress = report.progress
        self.progress.value = progress.done / max(1, progress.total) if progress else 0
        self.progress.layout.visibility = "visible" if report.busy else "hidden"
        self.stop.disabled = not report.busy
        self._report = report
        self._say()

    def _say(self) -> None:
        if self._refusal or (self._report.error is not None and not self.state.formula_only):
            alert = self._refusal or in_words(self._report)
            self.words.value = f'<span class="sv-refusal" role="alert">{escape(alert)}</span>'
        else:
            words = FORMULA_ONLY if self.state.formula_only else in_words(self._report)
            self.words.value = f'<span class="sv-soft" role="status">{escape(words)}</span>'

    def _unlock(self, formula_only: bool) -> None:
        self.state.formula_only = formula_only

    def _refresh(self, change: Any) -> None:
        state = self.state
        self.formula_only.value = state.formula_only
        self.formula_only.layout.display = "" if self._has_model else "none"
        for name, number in (*self.numbers.items(), ("context_length", self.context_length)):
            number.set_stops(stops_for(name, state))
        self.context_length.layout.display = "" if state.formula_only else "none"
        self.work.layout.display = "none" if state.formula_only else ""
        self.fact.layout.display = "none" if state.formula_only else ""
        self.fact.value = (
            f'<span class="sv-fact" title="{escape(self._fact)}"><span class="sv-symbol">L</span> = '
            f'<b>{state.context_length:,}</b> <i class="fa fa-lock" role="img" aria-label="locked"></i></span>'
        )


def stops_for(name: str, state: LabState) -> tuple[int, ...]:
    """Where a number's slider rests."""
    if name == "group_size":
        return powers_of_two(MAX_SLIDER_GROUP_SIZE)
    if name == "neighbor_window":
        return (0, *geometric_stops(1, state.context_length - 1))
    if name == "length":
        return geometric_stops(min(16, state.context_length), REACH_OF_LENGTH_SLIDER * state.context_length)
    return geometric_stops(16, 2**17)


def in_words(report: Report) -> str:
    """A report as a short sentence."""
    message = report.progress.message if report.progress else ""
    if report.state == "failed" and isinstance(report.error, ValueError):
        return f"Not asked: {report.error}"  # a refusal is a sentence for the user, not a fault
    if report.state == "failed":
        return f"{message or 'Computing'} failed: {type(report.error).__name__}: {report.error}"
    if report.state == "stopped":
        return "Stopped; results so far stay. Move a slider to go on."
    if report.state == "waiting":
        return "Waiting for the slider to rest …"
    if report.state != "running":
        return ""
    return f"{message}, {report.time_left}" if message and report.time_left else message
