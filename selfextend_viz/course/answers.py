"""What an exercise's function may return, read from whatever a learner's function does return."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

LONGEST = 10_000
"""Of a list: an endless one ends there."""


@dataclass(frozen=True)
class Answer:
    """One kind of answer.

    Attributes
    ----------
    name
        What it is called, as in "expected a number".
    read
        Gives the answer in plain Python, or None where the value is none.
    """

    name: str
    read: Callable[[Any], Any]


def same(first: Any, second: Any) -> bool:
    """Whether two answers that were read are equal, but for rounding."""
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, list | bool) or isinstance(second, list | bool):
        return type(first) is type(second) and first == second
    return first == second or math.isclose(first, second, rel_tol=1e-6, abs_tol=1e-9)


def plain(value: Any) -> Any:
    """NumPy's and torch's single numbers as Python's own; anything else unchanged."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:
        return value.item()
    return value


def _truth(value: Any) -> bool | None:
    found = plain(value)
    return found if isinstance(found, bool) else None


def _number(value: Any) -> int | float | None:
    found = plain(value)
    return None if isinstance(found, bool) or not isinstance(found, int | float) else found


def _numbers(value: Any) -> list[int | float] | None:
    if isinstance(value, str | bytes | dict) or not isinstance(value, Iterable):
        return None
    found = [_number(each) for each in islice(value, LONGEST)]
    return None if None in found else [each for each in found if each is not None]


YES_OR_NO = Answer("True or False", _truth)
NUMBER = Answer("a number", _number)
NUMBERS = Answer("a list of numbers", _numbers)
