"""The exercises of lesson 01: count what training never showed."""

from __future__ import annotations

from random import Random

import numpy as np

from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import PlainRoPE, relative_positions


def new_distances(N: int, L: int) -> int:
    """Distances in a text of N tokens that no text of L tokens has."""
    return len({*relative_positions(PlainRoPE(), N)[-1].tolist()} - {*range(L)})


def new_pairs(N: int, L: int) -> int:
    """Pairs of a query and a key that stand L tokens apart or more."""
    return int(np.count_nonzero(relative_positions(PlainRoPE(), N) >= L))


def text_and_context(random: Random) -> tuple[int, int]:
    """N and L, N above and below L."""
    return random.randint(1, 24), random.randint(1, 12)


EXERCISES = (
    Exercise(
        id="01.1",
        prompt="Return how many different distances a text of N tokens has that a text of L tokens has not. "
        "The farthest token of N is N - 1 away.",
        truth=new_distances,
        draw=text_and_context,
        wrong=(
            WrongAnswer(
                "no floor", "a text shorter than L has no new distance, not a negative number.", lambda N, L: N - L
            ),
            WrongAnswer(
                "one too many",
                "the farthest token of N is N - 1 away, and the farthest that training showed L - 1.",
                lambda N, L: max(0, N - L + 1),
            ),
            WrongAnswer(
                "one too few", "distance L itself is new: training showed 0 to L - 1.", lambda N, L: max(0, N - L - 1)
            ),
        ),
    ),
    Exercise(
        id="01.2",
        prompt="Return how many pairs of a query and an earlier key in a text of N tokens stand L apart or more.",
        truth=new_pairs,
        draw=text_and_context,
        wrong=(
            WrongAnswer(
                "more than L",
                "pairs exactly L apart are new as well.",
                lambda N, L: max(0, N - L) * max(0, N - L - 1) // 2,
            ),
            WrongAnswer(
                "a square",
                "a query at i has i - L + 1 such keys, more for each later query: a triangle, not a square.",
                lambda N, L: max(0, N - L) ** 2,
            ),
            WrongAnswer(
                "the last query only",
                "that counts the keys of the last query; every query past L has some.",
                lambda N, L: max(0, N - L),
            ),
            WrongAnswer("no floor", "a text shorter than L has no such pair.", lambda N, L: (N - L) * (N - L + 1) // 2),
        ),
    ),
)
