"""The lab's headline: the question, and the digits that each condition answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

import ipywidgets

from selfextend_viz.experiments.rows import BLINDFOLD, STOCK, DigitRow
from selfextend_viz.widgets.look import chip

WORDS = {STOCK: "the model as it is", BLINDFOLD: "far tokens hidden"}
HUES = {STOCK: "var(--sv-stock)", BLINDFOLD: "var(--sv-blind)"}
SURE = 0.005
"""A probability within this of 1 is written 99+, since no model is certain."""


@dataclass(frozen=True)
class Question:
    """What was asked: the pass key, where it stands, and the sentence at the end of the prompt."""

    length: int
    needle_end: int
    answer: str
    text: str


@dataclass(frozen=True)
class Answers:
    """The question and, by condition label, the digits answered."""

    question: Question
    digits: dict[str, tuple[DigitRow, ...]] = field(default_factory=dict)

    def with_digits(self, label: str, rows: Sequence[DigitRow]) -> Answers:
        """These answers and one more."""
        return Answers(self.question, {**self.digits, label: tuple(rows)})


class Headline(ipywidgets.HBox):
    """Shows `Answers` in large type, with probability as a number and a bar, so never by colour alone.

    Parameters
    ----------
    status
        A widget that stands under the question.
    """

    def __init__(self, status: ipywidgets.Widget) -> None:
        self.answers: Answers | None = None
        self.method_label = ""
        self.stamp = ""
        self.question = ipywidgets.HTML("", layout=ipywidgets.Layout(margin="0"))
        self.digits = ipywidgets.HTML("", layout=ipywidgets.Layout(margin="0"))
        left = ipywidgets.VBox([self.question, status])
        left.add_class("sv-left")
        super().__init__([left, self.digits])
        self.add_class("sv-headline")

    def show(self, answers: Answers, method_label: str) -> None:
        """Show what was asked and answered."""
        self.answers, self.method_label = answers, method_label
        self._render()

    def mark(self, stamp: str, *, dim: bool = False) -> None:
        """Say whose results these are, and dim them if they are old."""
        self.stamp = stamp
        (self.digits.add_class if dim else self.digits.remove_class)("sv-dim")
        self._render()

    def say(self, words: str) -> None:
        """Show words in place of answers."""
        self.answers = None
        self.question.value, self.digits.value = f'<div class="sv-question">{escape(words)}</div>', ""

    def words(self) -> str:
        """What is shown, in one sentence; empty before the first answer."""
        if self.answers is None:
            return ""
        said = ", ".join(
            f"{name_of(label)[0]} answers {spoken_digits(rows)}" for label, rows in self.answers.digits.items()
        )
        return f"The pass key is {self.answers.question.answer}: {said}"

    def enable(self, on: bool) -> None:
        """Grey the answers out, or bring them back."""
        for part in (self.question, self.digits):
            (part.remove_class if on else part.add_class)("sv-off")

    def _render(self) -> None:
        if self.answers is not None:
            self.question.value = question_block(self.answers.question, self.stamp)
            self.digits.value = answer_blocks(self.answers, self.method_label)


def answer_blocks(answers: Answers, method_label: str) -> str:
    """The three answers side by side as HTML; all text is escaped."""
    labels = (STOCK, BLINDFOLD, method_label)
    return (
        f'<div class="sv-answers">{"".join(answer_block(label, answers.digits.get(label)) for label in labels)}</div>'
    )


def question_block(question: Question, stamp: str) -> str:
    """The question in a sentence, with the key marked."""
    distance = question.length - question.needle_end
    return (
        f'<div class="sv-question">{question.length:,} tokens hide a pass key, <mark>{escape(question.answer)}</mark>, '
        f"{distance:,} tokens before the end. There the model is asked: <q>{escape(question.text.strip())}</q> "
        f"{chip(stamp)}</div>"
    )


def answer_block(label: str, rows: Sequence[DigitRow] | None) -> str:
    """One condition's name and digits."""
    hue = HUES.get(label, "var(--sv-method)")
    name, words = name_of(label)
    digits = waiting_digits() if rows is None else digit_row(rows)
    spoken = f"{name} answers {spoken_digits(rows)}" if rows else f"{name} has not answered yet"
    return (
        f'<div class="sv-answer" style="--sv-hue: {hue}" role="img" aria-label="{escape(spoken)}">'
        f'<div class="sv-who"><b>{escape(name)}</b> {escape(words)}</div>{digits}</div>'
    )


def name_of(label: str) -> tuple[str, str]:
    """A condition's name and what it is, in words."""
    return (label.capitalize(), WORDS[label]) if label in WORDS else ("Self-Extend", settings_of(label))


def spoken_digits(rows: Sequence[DigitRow]) -> str:
    """The answer as text; what is no character is a middle dot."""
    return "".join(row.said if row.said.isprintable() and row.said else "\N{MIDDLE DOT}" for row in rows)


def settings_of(label: str) -> str:
    """The part of a method's label between its brackets."""
    return label[label.find("(") + 1 : label.rfind(")")] if "(" in label else label


def digit_row(rows: Sequence[DigitRow]) -> str:
    """Large digits, each over its probability, and the verdict."""
    right = all(row.said == row.wanted for row in rows)
    verdict = "\N{CHECK MARK}" if right else "\N{BALLOT X}"
    meaning = "the right key" if right else "not the key"
    cells = "".join(digit_cell(row) for row in rows)
    return f'<div class="sv-digits">{cells}<span class="sv-verdict" title="{meaning}">{verdict}</span></div>'


def digit_cell(row: DigitRow) -> str:
    """One digit: bold if right and struck through if wrong, tinted by its probability."""
    share = row.probability_said
    wrong = "" if row.said == row.wanted else " sv-wrong"
    said = escape(row.said) if row.said.strip() and row.said.isprintable() else "\N{OPEN BOX}"
    tint = f"background: color-mix(in srgb, var(--sv-hue) {45 * share:.0f}%, transparent)"
    tip = f"says {row.said!r} at {share:.1%}; the key has {row.wanted!r}, at {row.probability_wanted:.1%}"
    return (
        f'<span class="sv-digit{wrong}" title="{escape(tip)}"><span class="sv-said" style="{tint}">{said}</span>'
        f'<span class="sv-meter"><i style="width: {100 * share:.0f}%"></i></span>'
        f'<span class="sv-percent">{percent(share)}</span></span>'
    )


def percent(share: float) -> str:
    """A probability in at most four characters."""
    return "99+" if share > 1 - SURE else f"{share:.0%}"


def waiting_digits() -> str:
    """Dots where digits will come."""
    return (
        '<div class="sv-digits"><span class="sv-digit"><span class="sv-said sv-soft">\N{MIDDLE DOT}</span></span></div>'
    )
