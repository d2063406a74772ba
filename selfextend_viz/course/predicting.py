"""Guess first, then see: `predict` keeps a guess, `reveal` shows it beside what was measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from selfextend_viz.course.card import Card
from selfextend_viz.course.guesses import keep_guess, last_guess
from selfextend_viz.course.questions import Guess, Question, Unfit, question_named

__all__ = ["predict", "reveal"]


def _kindly(ask: Callable[..., Card]) -> Callable[..., Card]:
    """Answer what does not fit with its sentence as a card, so that a slip in a lesson is no traceback."""

    @wraps(ask)
    def answered(*given: Any, **named: Any) -> Card:
        try:
            return ask(*given, **named)
        except Unfit as refusal:
            return Card("Not yet", "note", lines=(str(refusal),))

    return answered


@_kindly
def predict(question_id: str, guess: Guess | None = None) -> Card:
    """Ask a question of the course before the next cell answers it, and keep the guess.

    Guesses are kept in ``guesses.json`` in the folder that the environment variable ``SELFEXTEND_VIZ_HOME`` names, or
    in ``~/.selfextend_viz``. The last one counts.

    Parameters
    ----------
    question_id
        Lesson and number, such as ``"04.1"``.
    guess
        A choice's letter, or a number where one is asked for. Left out, the question and its choices are shown.

    Returns
    -------
    Card
        Shown by a notebook; ``str`` of it is plain text. A guess that does not fit gives a card that says what would.
    """
    question = question_named(question_id)
    if guess is None:
        kept, said = last_guess(question.id)
        return _asked(question, _still_fits(question, kept), said)
    read = question.read(guess)
    said = keep_guess(question.id, read)
    lines = ("Kept. The next cells measure it.", *filter(None, [said]))
    return Card(f"Question {question.id}: {question.text}", "question", (("Your guess", question.words(read)),), lines)


@_kindly
def reveal(question_id: str, measured: Guess, *, details: str = "") -> Card:
    """Show what was measured beside the guess that was kept, and why it is so.

    Parameters
    ----------
    question_id
        As for `predict`.
    measured
        The letter of the choice that the measurement picks, or the number measured.
    details
        The numbers it rests on, in a sentence.

    Returns
    -------
    Card
        As for `predict`.
    """
    question = question_named(question_id)
    found = question.read(measured)
    kept, said = last_guess(question.id)
    guess = _still_fits(question, kept)
    pairs = (
        ("Your guess", "none was made" if guess is None else question.words(guess)),
        ("Measured", question.words(found) + (f" ({details})" if details else "")),
    )
    kind = "note" if guess is None else "right" if guess == found else "other"
    lines = (*_verdict(question, guess, found), question.explanation, *filter(None, [said]))
    return Card(f"Question {question.id}: {question.text}", kind, pairs, lines)


def _still_fits(question: Question, guess: Guess | None) -> Guess | None:
    """A kept guess, unless the question has changed since it was made."""
    try:
        return None if guess is None else question.read(guess)
    except Unfit:
        return None


def _asked(question: Question, guess: Guess | None, said: str) -> Card:
    pairs = tuple(question.choices.items())
    kept = () if guess is None else (f"Your guess so far: {question.words(guess)}.",)
    wanted = "letter" if question.choices else "number"
    how = f"Guess before you go on: write {question.example} into the cell, with your {wanted} for the ?, and run it."
    return Card(f"Question {question.id}: {question.text}", "question", pairs, (how, *kept, *filter(None, [said])))


def _verdict(question: Question, guess: Guess | None, found: Guess) -> tuple[str, ...]:
    if guess is None:
        return (f"Next time guess first: {question.example}.",)
    if guess == found:
        return ("As you said.",)
    if isinstance(guess, str) or isinstance(found, str):
        tempted = (f'It is a common belief: "{question.misconception}"',) if guess == question.tempting else ()
        return ("It came out otherwise.", *tempted)
    return (f"You were {abs(found - guess):,.4g} too {'low' if guess < found else 'high'}.",)
