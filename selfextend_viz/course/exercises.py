"""What an exercise of the course is: the truth, the cases it is tried on, and the wrong answers known by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from inspect import signature
from random import Random
from typing import Any

from selfextend_viz.course.answers import NUMBER, Answer
from selfextend_viz.course.modules import modules_named

SEED = 2401_01325
CASES = 200


@dataclass(frozen=True)
class WrongAnswer:
    """A usual slip.

    Attributes
    ----------
    name
        A few words, such as "true division".
    sentence
        What is said to the one who made it: what is wrong, not the solution.
    function
        The slip itself, called as the truth is.
    """

    name: str
    sentence: str
    function: Callable[..., Any]


@dataclass(frozen=True)
class Exercise:
    """A function to write.

    Attributes
    ----------
    id
        Lesson and number, ``"04.1"``; the check is then ``check.ex_04_1``.
    prompt
        What the function should return.
    truth
        The right answer from the library; its parameters are those that the learner's function has.
    draw
        Arguments of one small random case.
    wrong
        The wrong answers that are known.
    answer
        What is to be returned.
    """

    id: str
    prompt: str
    truth: Callable[..., Any]
    draw: Callable[[Random], tuple[Any, ...]]
    wrong: tuple[WrongAnswer, ...]
    answer: Answer = NUMBER

    @property
    def name(self) -> str:
        """What follows ``check.``."""
        return f"ex_{self.id.replace('.', '_')}"

    @property
    def parameters(self) -> tuple[str, ...]:
        """Names of the function's parameters."""
        return tuple(signature(self.truth).parameters)

    def cases(self) -> Iterator[tuple[Any, ...]]:
        """The arguments it is tried on, always the same, small ones first where sums tell."""
        random = Random(SEED)
        drawn = [self.draw(random) for _ in range(CASES)]
        return iter(sorted(drawn, key=lambda case: sum(abs(each) for each in case if isinstance(each, int | float))))


@cache
def exercises() -> dict[str, Exercise]:
    """All exercises by the names of their checks, in the order of the lessons."""
    found = [exercise for module in modules_named("exercises_") for exercise in module.EXERCISES]
    return {exercise.name: exercise for exercise in found}
