"""The exercises of lesson 06: what a query is told about a run of digits."""

from __future__ import annotations

from random import Random

from selfextend_viz.course.answers import NUMBERS, YES_OR_NO
from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import SelfExtend, pair_positions


def told_distances(i: int, start: int, count: int, G: int, w: int) -> list[int]:
    """What query i is told for each of the tokens start .. start + count - 1."""
    return [int(pair_positions(SelfExtend(G, w), i, j)) for j in range(start, start + count)]


def same_position(i: int, first: int, second: int, G: int, w: int) -> bool:
    """Whether query i is told one distance for both keys."""
    return told_distances(i, first, 1, G, w) == told_distances(i, second, 1, G, w)


def a_run_of_digits(random: Random) -> tuple[int, int, int, int, int]:
    """A query, and a few tokens before it."""
    start, count = random.randint(0, 20), random.randint(1, 5)
    return start + count - 1 + random.randint(0, 20), start, count, random.randint(2, 6), random.randint(0, 9)


def two_keys(random: Random) -> tuple[int, int, int, int, int]:
    """A query, and two different tokens before it, often in one group."""
    first = random.randint(0, 20)
    second = first + random.randint(1, 4)
    return second + random.randint(0, 14), first, second, random.randint(2, 5), random.randint(0, 12)


def _told(i: int, j: int, G: int, w: int) -> int:
    return i - j if i - j < w else i // G + w - w // G - j // G


EXERCISES = (
    Exercise(
        id="06.1",
        prompt="A key's digits are the tokens start, start + 1, ..., count of them. Return the list of distances "
        "that "
        "query i is told for them.",
        truth=told_distances,
        draw=a_run_of_digits,
        answer=NUMBERS,
        wrong=(
            WrongAnswer(
                "true distances",
                "these are the true distances; from w on the query is told others.",
                lambda i, start, count, G, w: [i - j for j in range(start, start + count)],
            ),
            WrongAnswer(
                "one group for all",
                "the digits need not lie in one group, nor on one side of the window: ask for each.",
                lambda i, start, count, G, w: [_told(i, start, G, w)] * count,
            ),
            WrongAnswer(
                "one token too many",
                "range(a, b) ends before b: the last digit is start + count - 1.",
                lambda i, start, count, G, w: [_told(i, j, G, w) for j in range(start, start + count + 1)],
            ),
            WrongAnswer(
                "Toeplitz",
                "you grouped the distance, (i - j) // G. Positions are grouped, i // G and j // G.",
                lambda i, start, count, G, w: [
                    i - j if i - j < w else (i - j) // G + w - w // G for j in range(start, start + count)
                ],
            ),
        ),
    ),
    Exercise(
        id="06.2",
        prompt="Return whether query i is told the same distance for the keys first < second.",
        truth=same_position,
        draw=two_keys,
        answer=YES_OR_NO,
        wrong=(
            WrongAnswer(
                "less than G apart",
                "two tokens less than G apart may still lie on two sides of a border between groups.",
                lambda i, first, second, G, w: i - second >= w and second - first < G,
            ),
            WrongAnswer(
                "the window forgotten",
                "tokens nearer than w keep exact distances, whatever their groups.",
                lambda i, first, second, G, w: first // G == second // G,
            ),
            WrongAnswer(
                "Toeplitz",
                "you grouped the distances. Two keys share a position when j // G is the same for both.",
                lambda i, first, second, G, w: i - second >= w and (i - first) // G == (i - second) // G,
            ),
            WrongAnswer("never", "beyond the window whole groups are told one distance.", lambda *_: False),
        ),
    ),
)
