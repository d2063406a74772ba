"""A progress bar over an experiment's work, in a notebook or a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

Row = TypeVar("Row")
Advance = Callable[[float], object]
"""What an experiment calls with the work it has just done."""

BAR = "{l_bar}{bar}| {elapsed}<{remaining}"


def counted(rows: Callable[[Advance], Iterator[Row]], *, label: str, work: float, shown: bool) -> Iterator[Row]:
    """The rows that `rows` yields, its work counted on a bar with the remaining time where one is to be shown.

    Parameters
    ----------
    rows
        Makes the iterator, from the function that moves the bar on.
    label
        What is going on.
    work
        All there is to do, in any unit that time grows with: tokens, so that long texts weigh what they take.
    shown
        Whether there is a bar at all.
    """
    return _with_bar(rows, label, work) if shown else rows(_nothing)


def _with_bar(rows: Callable[[Advance], Iterator[Row]], label: str, work: float) -> Iterator[Row]:
    from tqdm.auto import tqdm

    with tqdm(total=work, desc=label, bar_format=BAR) as bar:
        yield from rows(bar.update)


def _nothing(work: float) -> None:
    """No bar to move."""
