"""What a question of the course is, and where all of them are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from selfextend_viz.course.modules import modules_named
from selfextend_viz.positions import real_number

Guess = str | float
"""A choice's letter, or a number."""


class Unfit(ValueError):
    """What a learner gave does not fit; the message is the sentence to show."""


@dataclass(frozen=True)
class Question:
    """Something to guess before it is measured.

    Attributes
    ----------
    id
        Lesson and number, ``"04.1"``.
    text
        The question.
    misconception
        The belief that it tests, as one who holds it would say it.
    explanation
        Shown with the measurement: why it is so.
    choices
        Sentences by their letters ``"a"``, ``"b"``, ...; empty where a number is asked for.
    tempting
        The letter that the belief picks; empty for a number.
    unit
        What a number counts.
    """

    id: str
    text: str
    misconception: str
    explanation: str
    choices: Mapping[str, str] = field(default_factory=dict)
    tempting: str = ""
    unit: str = ""

    @property
    def kind(self) -> str:
        """``"choice"`` or ``"number"``."""
        return "choice" if self.choices else "number"

    def read(self, value: Any) -> Guess:
        """A guess or a measurement as this question counts them.

        Raises
        ------
        Unfit
            If it is none; the message says what would be one.
        """
        if self.kind == "choice":
            letter = value.strip().lower() if isinstance(value, str) else value
            if not isinstance(letter, str) or letter not in self.choices:
                raise Unfit(f"Question {self.id} takes one of {self.letters}, and {shown(value)} is none of them.")
            return letter
        try:
            return real_number("guess", value, at_least=float("-inf"))
        except (TypeError, ValueError, OverflowError) as refusal:
            raise Unfit(
                f"Question {self.id} takes a number{self._of_unit}, without quotes, and {shown(value)} is none."
            ) from refusal

    def words(self, answer: Guess) -> str:
        """A guess or a measurement in words."""
        if isinstance(answer, str):
            return f"{answer}) {self.choices[answer]}"
        return f"{answer:,.4g}".replace("e+", "e") + (f" {self.unit}" if self.unit else "")

    @property
    def letters(self) -> str:
        """The letters to choose from, quoted."""
        return ", ".join(f'"{letter}"' for letter in self.choices)

    @property
    def example(self) -> str:
        """A call that answers it, with a gap for the answer."""
        return f'predict("{self.id}", "?")' if self.choices else f'predict("{self.id}", ?)'

    @property
    def _of_unit(self) -> str:
        return f" of {self.unit}" if self.unit else ""


@cache
def questions() -> dict[str, Question]:
    """All questions by their ids, in the order of the lessons."""
    found = [question for module in modules_named("lesson_") for question in module.QUESTIONS]
    return {question.id: question for question in found}


def question_named(name: Any) -> Question:
    """The question of that id.

    Raises
    ------
    Unfit
        If there is none; the message lists those of the same lesson, or of all lessons.
    """
    known = questions()
    if isinstance(name, str) and name.strip() in known:
        return known[name.strip()]
    lesson = str(name).partition(".")[0] if isinstance(name, str) else ""
    near = [one for one in known if one.partition(".")[0] == lesson] or list(known)
    quoted = ", ".join(f'"{one}"' for one in near)
    raise Unfit(f"There is no question {shown(name)}; the questions are {quoted}, in quotes.")


def shown(value: Any, limit: int = 60) -> str:
    """A value as its own ``repr``, cut short; its type where even that fails."""
    try:
        text = repr(value)
    except Exception:
        text = f"an object of type {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 4]} ..."
