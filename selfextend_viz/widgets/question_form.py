"""One's own question: filler, key, sentences and head, in a form that keeps what was typed if it is refused."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

import ipywidgets

from selfextend_viz.experiments.tasks import Phrasing
from selfextend_viz.widgets.controls import BadSetting
from selfextend_viz.widgets.question import Question, QuestionState

FILLERS = (("the paper's grass", "grass"), ("natural text", "natural"), ("my own text", "own"))
FIELDS = {
    "subject": ("name", "What the key is called in the sentences, where they say {subject}"),
    "statement": ("statement", "The sentence hidden in the text; {key} is the key, {Subject} has a capital"),
    "question": ("question", "The question at the end of the text"),
    "answer_start": ("answer", "The first words of the answer, which the model goes on from"),
}
STRONGEST = "the strongest"


class QuestionForm(ipywidgets.VBox):
    """Fields for a `Question`; the text is asked when the button is pressed, another head is watched at once.

    Attributes
    ----------
    toggle
        The button that opens and shuts the form; it stands elsewhere.
    """

    def __init__(self, question: QuestionState) -> None:
        self.question = question
        self._following = False
        self.toggle = ipywidgets.ToggleButton(
            description="Your own question", tooltip="Type another key, text or question", icon="pencil"
        )
        self.key = self._text("key", "The digits or letters to be found")
        self.filler = ipywidgets.Dropdown(options=FILLERS, description="hidden in", tooltip="What the key is hidden in")
        self.own_text = ipywidgets.Textarea(
            description="text", tooltip="The text the key is hidden in, repeated to fill the prompt", rows=3
        )
        self.sentences = {name: self._text(*shown) for name, shown in FIELDS.items()}
        self.head = ipywidgets.Dropdown(
            options=[(STRONGEST, None)], description="head", tooltip="Whose attention the arcs show"
        )
        self.ask = ipywidgets.Button(description="Ask this", button_style="primary", tooltip="Ask the model this")
        self.usual = ipywidgets.Button(description="Usual question", tooltip="Back to the question the lab opens with")
        self.refusal = ipywidgets.HTML("")
        super().__init__(self._rows(), layout=ipywidgets.Layout(display="none"))
        self.add_class("sv-strip-form")
        self.toggle.observe(self._open, "value")
        self.filler.observe(self._fit_filler, "value")
        self.head.observe(self._watch, "value")
        self.ask.on_click(lambda button: self.submit())
        self.usual.on_click(lambda button: self._set(**vars(Question())))
        question.observe(self._follow, "revision")
        self._follow(None)

    def submit(self) -> None:
        """Ask what was typed; refuse it in a sentence, and keep it."""
        sentences = {name: field.value.strip() for name, field in self.sentences.items()}
        self._set(
            key=self.key.value.strip(),
            filler=self.filler.value,
            own_text=self.own_text.value,
            phrasing=Phrasing(**sentences, joiner=self.question.asked.phrasing.joiner),
        )

    def offer_heads(self, ranking: Sequence[Sequence[Any]], watched: Sequence[int]) -> None:
        """Offer the heads of a ranking, ``(layer, head, score)`` each, the best first."""
        options: list[tuple[str, tuple[int, int] | None]] = [(STRONGEST, None)]
        options += [(f"layer {layer}, head {head}: {score:.0%}", (layer, head)) for layer, head, score in ranking]
        if tuple(watched) not in [place for _, place in options]:
            options.append((f"layer {watched[0]}, head {watched[1]}", (watched[0], watched[1])))
        if tuple(options) != tuple(self.head.options):
            self._following = True
            self.head.options = options
            self.head.value = self.question.asked.head
            self._following = False

    def _rows(self) -> list[ipywidgets.Widget]:
        first, *others = self.sentences.values()
        buttons = ipywidgets.HBox([self.ask, self.usual, self.refusal])
        buttons.add_class("sv-strip-buttons")
        return [
            ipywidgets.HBox([self.key, first]),
            *others,
            ipywidgets.HBox([self.filler, self.head]),
            self.own_text,
            buttons,
        ]

    @staticmethod
    def _text(name: str, tooltip: str) -> ipywidgets.Text:
        return ipywidgets.Text(description=name, tooltip=tooltip)

    def _set(self, **changes: Any) -> None:
        try:
            self.question.set(**changes)
            self.refusal.value = ""
            self._follow(None)
        except BadSetting as refusal:
            self.refusal.value = f'<span class="sv-refusal" role="alert">{escape(str(refusal))}</span>'

    def _open(self, change: Any) -> None:
        self.layout.display = "" if change["new"] else "none"

    def _fit_filler(self, change: Any) -> None:
        self.own_text.layout.display = "" if self.filler.value == "own" else "none"

    def _watch(self, change: Any) -> None:
        if not self._following:
            self._set(head=change["new"])

    def _follow(self, change: Any) -> None:
        asked = self.question.asked
        self._following = True
        self.key.value, self.filler.value, self.own_text.value = asked.key, asked.filler, asked.own_text
        for name, field in self.sentences.items():
            field.value = getattr(asked.phrasing, name)
        if asked.head in [place for _, place in self.head.options]:
            self.head.value = asked.head
        self._following = False
        self._fit_filler(None)
