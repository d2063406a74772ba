"""The course's own part of the program: questions to guess at, what was guessed, and exercises that check answers.

A lesson's questions are in a module ``lesson_*`` with a tuple ``QUESTIONS``, its exercises in ``exercises_*`` with
a tuple ``EXERCISES``. To add a lesson is to add these modules; nothing names them.
"""

from selfextend_viz.course.card import Card, facts
from selfextend_viz.course.checking import check
from selfextend_viz.course.exercises import Exercise, WrongAnswer, exercises
from selfextend_viz.course.predicting import predict, reveal
from selfextend_viz.course.questions import Question, questions
from selfextend_viz.course.tables import found_card, found_in, stored_rows

__all__ = [
    "Card",
    "Exercise",
    "Question",
    "WrongAnswer",
    "check",
    "exercises",
    "facts",
    "found_card",
    "found_in",
    "predict",
    "questions",
    "reveal",
    "stored_rows",
]
