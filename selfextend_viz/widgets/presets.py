"""Settings worth a look: the paper's example, and known models carried past their length."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets

from selfextend_viz.positions import suggest
from selfextend_viz.widgets.controls import LabState

CHOOSE = "Presets \N{HORIZONTAL ELLIPSIS}"


@dataclass(frozen=True)
class Preset:
    """A named setting, for the formula alone: the lab's model has another L."""

    name: str
    context_length: int
    length: int
    group_size: int
    neighbor_window: int

    @property
    def values(self) -> dict[str, Any]:
        """What `LabState.set` takes."""
        return {
            "formula_only": True,
            "context_length": self.context_length,
            "length": self.length,
            "group_size": self.group_size,
            "neighbor_window": self.neighbor_window,
        }


def by_rule(name: str, context_length: int, length: int) -> Preset:
    """A model carried to a length, with the G and w_n that the authors' rule gives."""
    best = suggest(context_length, length)[0]
    title = f"{name} to {length // 1024}k: L = {context_length:,}, by the authors' rule"
    return Preset(title, context_length, length, best.group_size, best.neighbor_window)


PRESETS = (
    Preset("The paper's figure 3: L = 7, 10 tokens", 7, 10, group_size=2, neighbor_window=4),
    by_rule("Llama-2", 4096, 16384),
    by_rule("Mistral-7B v0.1", 8192, 32768),
    by_rule("Phi-2", 2048, 8192),
)
"""All are of other models than the lab's, so they show the formula and ask no model."""


class PresetMenu(ipywidgets.Dropdown):
    """A menu of presets that falls back to its prompt when a slider leaves the preset.

    Parameters
    ----------
    state
        What a choice sets.
    home, on_home
        What the lab's own model is called, and what choosing it does.
    """

    def __init__(self, state: LabState, *, home: str, on_home: Callable[[], None]) -> None:
        self._state = state
        self._choosing = False
        choices = [(f"{preset.name}, formula only", partial(state.set, **preset.values)) for preset in PRESETS]
        super().__init__(
            options=[(CHOOSE, stay), (home, on_home), *choices],
            value=stay,
            tooltip="Set all numbers at once",
            layout=ipywidgets.Layout(width="176px"),
        )
        self.add_class("sv-presets")
        self.observe(self._choose, "value")
        state.observe(self._left, "revision")

    def _choose(self, change: Any) -> None:
        self._choosing = True
        try:
            change["new"]()
        finally:
            self._choosing = False

    def _left(self, change: Any) -> None:
        if not self._choosing:
            self.value = stay


def stay() -> None:
    """What the menu's prompt does."""
