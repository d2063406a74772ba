"""The strip: one prompt twice, stock above and Self-Extend below, with arcs to where the answer looks."""

from __future__ import annotations

from html import escape

import ipywidgets

from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.look import chip
from selfextend_viz.widgets.question import QuestionState
from selfextend_viz.widgets.question_form import QuestionForm
from selfextend_viz.widgets.strip_state import State, asked_words, happened_words, strip_words
from selfextend_viz.widgets.strip_view import StripView


class Strip(ipywidgets.VBox):
    """A sentence, two tracks with the answered digits, and a form for one's own question, shut at first.

    Parameters
    ----------
    state
        The numbers of the lab: under "formula only" no key is moved.

    Attributes
    ----------
    question
        What is asked: watch its ``revision``.
    state
        What is shown, the dictionary that `strip_state.waiting_state` makes; empty before the first.
    stamp
        Whose results are shown.
    """

    def __init__(self, state: LabState) -> None:
        self.numbers = state
        self.question = QuestionState()
        self.state: State = {}
        self.stamp = ""
        self._said = ""
        self.sentence = ipywidgets.HTML("", layout=ipywidgets.Layout(margin="0"))
        self.sentence.add_class("sv-strip-words")
        self.view = StripView(on_needle=self.move)
        # Classes added to an AnyWidget after it was drawn never reach the page; to a box they do.
        self.picture = ipywidgets.HBox([self.view])
        self.picture.add_class("sv-strip-picture")
        self.form = QuestionForm(self.question)
        head = ipywidgets.HBox([self.sentence, self.form.toggle])
        head.add_class("sv-strip-head")
        super().__init__([head, self.picture, self.form])
        self.add_class("sv-strip")

    def show(self, state: State) -> None:
        """Show a strip state; rows without digits show as waiting."""
        self.state, self._said = state, ""
        self.view.state = state
        self.form.offer_heads(state["heads"], state["head"])
        self._render()

    def mark(self, stamp: str, *, dim: bool = False) -> None:
        """Say whose results these are, and dim them if they are old."""
        self.stamp = stamp
        (self.picture.add_class if dim else self.picture.remove_class)("sv-dim")
        self._render()

    def say(self, words: str) -> None:
        """Show words in place of the picture."""
        self.state, self._said = {}, words
        self.view.state = {}
        self._render()

    def words(self) -> str:
        """What is shown, in a few sentences; empty before the first answer."""
        return strip_words(self.state) if self.state and happened_words(self.state) else ""

    def enable(self, on: bool) -> None:
        """Grey the strip out, or bring it back."""
        for part in (self.sentence, self.picture, self.form):
            (part.remove_class if on else part.add_class)("sv-off")
        self.form.toggle.disabled = not on

    def move(self, token: int) -> None:
        """Move the key to about a token, as a click on a track does."""
        if self.state and not self.numbers.formula_only:
            self.question.move(token, tuple(self.state["needle_range"]))

    def _render(self) -> None:
        words = sentence_html(self.state) if self.state else escape(self._said)
        whole = escape(strip_words(self.state) if self.state else self._said)  # two lines may be too few for all of it
        self.sentence.value = f'<div class="sv-strip-sentence" title="{whole}">{chip(self.stamp)} {words}</div>'


def sentence_html(state: State) -> str:
    """The sentences with the key marked; all text is escaped."""
    asked, answer = escape(asked_words(state)), escape(state["answer"])
    asked = asked.replace(answer, f"<mark>{answer}</mark>", 1)
    return f'{asked} <span role="status">{escape(happened_words(state))}</span>'
