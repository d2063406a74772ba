"""Check a learner's function against the truth, and say which usual slip it is."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from inspect import signature
from typing import Any

from selfextend_viz.course.answers import same
from selfextend_viz.course.card import Card
from selfextend_viz.course.exercises import Exercise, exercises
from selfextend_viz.course.questions import Unfit, shown

__all__ = ["check"]

UNWRITTEN = (None, ...)
"""What a function returns that has not been written yet."""


def checked(exercise: Exercise, function: Any = None, *more: Any, **named: Any) -> Card:
    """What to say to a learner's function; never raises, whatever the function does."""
    try:
        if more or named:
            raise Unfit(f"{call_of(exercise)} takes one thing, your function, without calling it.")
        return _tried(exercise, _called_rightly(exercise, function))
    except Unfit as refusal:
        return Card(f"Exercise {exercise.id}: not yet", "note", lines=(str(refusal), exercise.prompt))


def call_of(exercise: Exercise) -> str:
    """How a check is called."""
    return f"check.{exercise.name}(your_function)"


def _called_rightly(exercise: Exercise, function: Any) -> Callable[..., Any]:
    wanted = ", ".join(exercise.parameters)
    if not callable(function):
        raise Unfit(
            f"{call_of(exercise)} takes the function itself, and {shown(function)} is none; "
            f"write def your_function({wanted}), and give it without calling it."
        )
    try:
        signature(function).bind(*exercise.parameters)
    except TypeError as refusal:
        raise Unfit(f"Your function must take {len(exercise.parameters)} arguments, ({wanted}).") from refusal
    except ValueError:
        pass  # a function written in C may not tell its parameters; calling it will
    return function


def _tried(exercise: Exercise, function: Callable[..., Any]) -> Card:
    cases = list(exercise.cases())
    found = [_returned(exercise, function, case) for case in cases]
    wanted = [exercise.answer.read(exercise.truth(*case)) for case in cases]
    wrong = [place for place, (mine, right) in enumerate(zip(found, wanted, strict=True)) if not same(mine, right)]
    if not wrong:
        agrees = f"It agrees with the library on {len(cases)} cases."
        return Card(f"Exercise {exercise.id}: right", "right", lines=(agrees,))
    first = wrong[0]
    pairs = (
        ("For", call_words(exercise, cases[first])),
        ("your function says", str(found[first])),
        ("the library says", str(wanted[first])),
    )
    lines = (_named_slip(exercise, cases, found), f"{len(wrong)} of {len(cases)} cases differ.")
    return Card(f"Exercise {exercise.id}: not yet", "other", pairs, tuple(filter(None, lines)))


def _returned(exercise: Exercise, function: Callable[..., Any], case: tuple[Any, ...]) -> Any:
    """What the learner's function returns for one case, read as the exercise's kind of answer."""
    try:
        value = function(*deepcopy(case))
        unwritten = any(value is nothing for nothing in UNWRITTEN)
        found = None if unwritten else exercise.answer.read(value)
    except NotImplementedError:
        unwritten, value, found = True, ..., None
    except (Exception, SystemExit) as failure:
        raise Unfit(f"Your function stopped for {call_words(exercise, case)}, with {shown(failure, 200)}.") from failure
    if unwritten:
        why = "it returns nothing; is return missing?" if value is None else "its body is still to come."
        raise Unfit(f"Write the function first: {why}")
    if found is None:
        raise Unfit(
            f"Your function should return {exercise.answer.name}; for {call_words(exercise, case)} it returns "
            f"{shown(value)} ({type(value).__name__})."
        )
    return found


def _named_slip(exercise: Exercise, cases: list[tuple[Any, ...]], found: list[Any]) -> str:
    """The sentence of the known wrong answer that says the same in every case; empty where none does."""
    for wrong in exercise.wrong:
        read = (exercise.answer.read(wrong.function(*case)) for case in cases)
        if all(same(mine, theirs) for mine, theirs in zip(found, read, strict=True)):
            return f"This is a usual slip, {wrong.name}: {wrong.sentence}"
    return ""


def call_words(exercise: Exercise, case: tuple[Any, ...]) -> str:
    """A case as the arguments of a call."""
    return ", ".join(f"{name}={shown(value)}" for name, value in zip(exercise.parameters, case, strict=True))


class _Check:
    """``check.ex_04_1(your_function)``: one check for each exercise of the course, as an attribute."""

    def __getattr__(self, name: str) -> Callable[..., Card]:
        if not name.startswith("ex"):
            raise AttributeError(f"check has no {name!r}; its checks are {', '.join(exercises())}")
        exercise = exercises().get(name)

        def of_exercise(function: Any = None, *more: Any, **named: Any) -> Card:
            if exercise is None:
                return self._which(f"There is no exercise {name}")
            return checked(exercise, function, *more, **named)

        of_exercise.__name__, of_exercise.__doc__ = name, exercise.prompt if exercise else None
        return of_exercise

    def __call__(self, *given: Any, **named: Any) -> Card:
        return self._which("A check has the name of its exercise")

    def __dir__(self) -> list[str]:
        return list(exercises())

    def _which(self, begin: str) -> Card:
        example = next(iter(exercises()))
        return Card(
            "Not yet", "note", lines=(f"{begin}: check.{example}(your_function).", f"All: {', '.join(exercises())}.")
        )


check = _Check()
"""Checks of the course's exercises: ``check.ex_04_1(your_function)`` says whether a function is right, and if not,
which usual slip it is."""
