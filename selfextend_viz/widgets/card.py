"""A card of the lab: a name with its stamp, one sentence, and a body that shows numbers."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

import ipywidgets
import plotly.graph_objects as go

from selfextend_viz.widgets.look import card_head, sentence

Table = tuple[tuple[str, ...], list[tuple[Any, ...]]]
"""A header and its rows."""


class CardKind(ABCMeta, type(ipywidgets.VBox)):  # type: ignore[misc]
    """Lets a widget have abstract methods, so that a card without them is refused when it is made."""


class Card(ipywidgets.VBox, metaclass=CardKind):
    """What all panels have in common.

    Parameters
    ----------
    name
        What the panel is called.
    body
        What stands under the sentence.
    """

    def __init__(self, name: str, body: ipywidgets.Widget) -> None:
        self.name = name
        self.stamp = ""
        self._head = ipywidgets.HTML(card_head(name, ""), layout=ipywidgets.Layout(margin="0"))
        self.sentence = ipywidgets.HTML("", layout=ipywidgets.Layout(margin="0"))
        self._body = body
        super().__init__([self._head, self.sentence, body])
        self.add_class("sv-card")

    @abstractmethod
    def plain(self) -> go.Figure:
        """What is on screen as a plain figure, without its title, which the sentence says."""

    @abstractmethod
    def table(self) -> Table:
        """The panel's numbers: a header and rows."""

    def say(self, text: str) -> None:
        """Put the sentence in words."""
        self.text = text
        self.sentence.value = sentence(text)

    def mark(self, stamp: str, *, dim: bool = False) -> None:
        """Say whose results these are ("live", "stored ...", "stale ..."), and dim them if they are old."""
        self.stamp = stamp
        self._head.value = card_head(self.name, stamp)
        (self._body.add_class if dim else self._body.remove_class)("sv-dim")

    def enable(self, on: bool) -> None:
        """Grey the body out, or bring it back."""
        (self._body.remove_class if on else self._body.add_class)("sv-off")
