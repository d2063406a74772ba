"""The controls of the method explorer: a menu of methods with a slider or a box for each of its numbers."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets

from selfextend_viz.widgets.control_bar import REACH_OF_LENGTH_SLIDER, LinkedNumber
from selfextend_viz.widgets.controls import BadSetting, geometric_stops
from selfextend_viz.widgets.method_choice import KINDS, MethodChoice, as_text, from_text
from selfextend_viz.widgets.method_state import MethodState

FACTORS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 64.0)
RATES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5)
LETTER = 8
"""Pixels kept for each letter of a number's name."""


class LinkedReal(LinkedNumber):
    """A slider over chosen stops beside a box that takes any number."""

    box_kind = ipywidgets.FloatText


class TextField(ipywidgets.HBox):
    """A box for what is no single number: a list, or a word, or nothing."""

    def __init__(self, choice: MethodChoice, name: str, refuse: Callable[[str], None]) -> None:
        self._choice, self._name, self._refuse = choice, name, refuse
        self.box = ipywidgets.Text(
            value=as_text(getattr(choice, name)),
            description=words_of(name),
            tooltip=f"{words_of(name)}: numbers between commas, or a word; empty for none",
            continuous_update=False,
            layout=ipywidgets.Layout(width=f"{LETTER * len(name) + (90 if name == 'compat' else 180)}px"),
            style={"description_width": f"{LETTER * len(name) + 8}px"},
        )
        self.box.observe(self._offer, "value")
        super().__init__([self.box])
        self.add_class("sv-number")
        self.add_class("sv-text-field")

    def _offer(self, change: Any) -> None:
        try:
            setattr(self._choice, self._name, from_text(change["new"]))
            self._refuse("")
        except BadSetting as refusal:
            self._refuse(str(refusal))


class MethodPicker(ipywidgets.HBox):
    """A menu of methods, and the numbers of the one that is chosen.

    Parameters
    ----------
    state
        The explorer's state.
    side
        ``"first"`` or ``"second"``.
    refuse
        Called with the sentence when a number is refused, and with "" when one is taken.
    """

    def __init__(self, state: MethodState, side: str, refuse: Callable[[str], None]) -> None:
        self._state, self._side, self._refuse = state, side, refuse
        self._shown: MethodChoice | None = None
        self.menu = ipywidgets.Dropdown(
            options=list(KINDS),
            value=state.choices[side].name,
            description=side,
            tooltip=f"the {side} method",
            layout=ipywidgets.Layout(width="250px"),
            style={"description_width": "52px"},
        )
        self.menu.add_class("sv-menu")
        self.menu.observe(self._choose, "value")
        self.numbers: dict[str, Any] = {}
        super().__init__([self.menu])
        self.add_class("sv-bar")
        self.add_class(f"sv-method-{side}")
        state.observe(self._follow, "revision")
        self._follow(None)

    def _choose(self, change: Any) -> None:
        if change["new"] != self._state.choices[self._side].name:
            self._state.choose(self._side, change["new"])
            self._refuse("")

    def _follow(self, change: Any) -> None:
        choice = self._state.choices[self._side]
        if choice is self._shown:
            return
        self._shown = choice
        self.menu.value = choice.name
        self.numbers = {name: self._control(choice, name) for name in choice.names}
        self.children = [self.menu, *self.numbers.values()]

    def _control(self, choice: MethodChoice, name: str) -> Any:
        if not choice.is_number(name):
            return TextField(choice, name, self._refuse)
        kind = LinkedNumber if choice.is_whole(name) else LinkedReal
        stops = stops_for(choice, name, self._state.context_length)
        number = kind(choice, name, words_of(name), f"{words_of(name)} of the {self._side} method", stops, self._refuse)
        number.slider.style.description_width = f"{LETTER * len(name) + 8}px"
        return number


class MethodBar(ipywidgets.VBox):
    """N, the query and L, and under them the two methods; `words` says why something was refused."""

    def __init__(self, state: MethodState, *, fact: str = "") -> None:
        self._state = state
        self.words = ipywidgets.HTML(layout=ipywidgets.Layout(margin="0"))
        self.words.add_class("sv-status")
        places = {
            "length": ("N", "sequence length, in tokens"),
            "query": ("query", "position of the query whose row and curve are shown"),
            "context_length": ("L", "pretrained context length, in tokens"),
        }
        self.numbers = {
            name: LinkedNumber(state, name, symbol, tooltip, self._stops(name), self.refuse)
            for name, (symbol, tooltip) in places.items()
            if name != "context_length" or not fact
        }
        self.numbers["query"].slider.style.description_width = "44px"
        limit = ipywidgets.HTML(
            f'<span class="sv-fact" title="{escape(fact)}"><span class="sv-symbol">L</span> = '
            f'<b>{state.context_length:,}</b> <i class="fa fa-lock" role="img" aria-label="locked"></i></span>'
        )
        row = ipywidgets.HBox([*self.numbers.values(), *([limit] if fact else [])])
        row.add_class("sv-bar")
        self.pickers = {side: MethodPicker(state, side, self.refuse) for side in state.choices}
        super().__init__([row, *self.pickers.values()])
        self.add_class("sv-methods")
        state.observe(self._follow, "revision")

    def refuse(self, words: str) -> None:
        """Say why a number was refused; "" takes the words back."""
        self.words.value = f'<span class="sv-refusal" role="alert">{escape(words)}</span>' if words else ""

    def _follow(self, change: Any) -> None:
        for name, number in self.numbers.items():
            number.set_stops(self._stops(name))

    def _stops(self, name: str) -> tuple[int, ...]:
        limit, length = self._state.context_length, self._state.length
        if name == "length":
            return geometric_stops(min(16, limit), REACH_OF_LENGTH_SLIDER * limit)
        if name == "query":
            return tuple(sorted({*(length * part // 32 for part in range(32)), length - 1}))
        return geometric_stops(8, 2**17)


def words_of(name: str) -> str:
    """A field's name as it is read."""
    return name.replace("_", " ")


def stops_for(choice: MethodChoice, name: str, context_length: int) -> tuple[Any, ...]:
    """Where a number's slider rests: those of the usual ones that the method takes, beside its present others."""
    if choice.is_whole(name):
        usual: tuple[Any, ...] = geometric_stops(1, 2 * context_length)
    else:
        usual = RATES if name == "rate" else FACTORS
    return tuple(sorted({*(stop for stop in usual if _taken(choice, name, stop)), getattr(choice, name)}))


def _taken(choice: MethodChoice, name: str, stop: Any) -> bool:
    try:
        choice.checked(name, stop)
    except BadSetting:
        return False
    return True
