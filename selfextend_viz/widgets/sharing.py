"""The one-line Python call that opens the lab as it stands, in a box to copy from."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import ipywidgets

from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.question import Question, QuestionState


def call_for(state: LabState, asked: Question, *, with_model: bool, rival: Any = None) -> str:
    """The call of `lab` that opens with these numbers and this question."""
    parts = ["model", "tokenizer"] if with_model else []
    if state.formula_only:
        parts.append(f"context_length={state.context_length}")
    parts += [f"{name}={getattr(state, name)}" for name in ("length", "group_size", "neighbor_window")]
    if rival is not None:
        parts.append(f"rival={rival!r}")
    if changed := changes_of(asked):
        parts.append(f"ask={changed}")
    return f"lab({', '.join(parts)})"


def changes_of(asked: Question) -> dict[str, Any]:
    """In what a question differs from the one the lab opens with, by name."""
    usual = Question()
    names = [item.name for item in fields(Question)]
    return {name: getattr(asked, name) for name in names if getattr(asked, name) != getattr(usual, name)}


class ShareBox(ipywidgets.HBox):
    """The call beside a button that copies it; the companion script copies, since only the browser can."""

    def __init__(self, state: LabState, question: QuestionState, *, with_model: bool, rival: Any = None) -> None:
        self._state, self._question, self._with_model, self._rival = state, question, with_model, rival
        self.call = ipywidgets.Text(tooltip="The Python call that opens the lab like this")
        self.call.add_class("sv-call")
        self.copy = ipywidgets.Button(
            description="Copy", tooltip="Copy the call", layout=ipywidgets.Layout(width="64px")
        )
        self.copy.add_class("sv-copy")
        super().__init__([self.call, self.copy])
        self.add_class("sv-share")
        for source in (state, question):
            source.observe(self._write, "revision")
        self._write(None)

    def _write(self, change: Any) -> None:
        self.call.value = call_for(self._state, self._question.asked, with_model=self._with_model, rival=self._rival)
