"""The exercises of lesson 05: the exact reach, the paper's error, and the smallest G for a length."""

from __future__ import annotations

import math
from itertools import count
from random import Random

from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import SelfExtend


def reach(L: int, G: int, w: int) -> int:
    """The longest text whose told distances stay below L."""
    return SelfExtend(G, w).capacity(L)


def overstated(L: int, G: int, w: int) -> int:
    """By how many tokens the paper's formula is too long."""
    return SelfExtend(G, w).max_length(L) - SelfExtend(G, w).capacity(L)


def smallest_group(L: int, N: int, w: int) -> int:
    """The smallest G that reaches N tokens."""
    return next(G for G in count(1) if SelfExtend(G, w).capacity(L) >= N)


def a_setting(random: Random) -> tuple[int, int, int]:
    """L, G and w_n below L."""
    L = random.randint(4, 40)
    return L, random.randint(1, 8), random.randrange(L)


def a_target(random: Random) -> tuple[int, int, int]:
    """L, N and w_n below L."""
    L = random.randint(4, 40)
    return L, random.randint(1, 8 * L), random.randrange(L)


EXERCISES = (
    Exercise(
        id="05.1",
        prompt="Return the exact reach: the longest text in which no token is told a distance of L or more.",
        truth=reach,
        draw=a_setting,
        wrong=(
            WrongAnswer(
                "the paper's formula, or w / G",
                "it is exact only where G divides w: w / G must be rounded down before it is multiplied by G.",
                lambda L, G, w: (L - w) * G + w,
            ),
            WrongAnswer(
                "the window forgotten",
                "positions below w are told one by one and are not worth G tokens each.",
                lambda L, G, w: L * G,
            ),
            WrongAnswer(
                "the far part alone",
                "the w // G groups that the window covers count as well.",
                lambda L, G, w: (L - w) * G,
            ),
            WrongAnswer(
                "one position lost",
                "the farthest distance may be L - 1, and distances begin at 0: L of them.",
                lambda L, G, w: G * (L - 1 - w + w // G),
            ),
        ),
    ),
    Exercise(
        id="05.2",
        prompt="Return by how many tokens the paper's (L - w) * G + w is longer than the exact reach.",
        truth=overstated,
        draw=a_setting,
        wrong=(
            WrongAnswer("the quotient", "not how often G goes into w, but what is left.", lambda L, G, w: w // G),
            WrongAnswer(
                "the other remainder",
                "what is missing to the next multiple of G is not what is left over.",
                lambda L, G, w: -w % G,
            ),
            WrongAnswer("always exact", "only where G divides w.", lambda L, G, w: 0),
        ),
    ),
    Exercise(
        id="05.3",
        prompt="Return the smallest G whose exact reach is at least N tokens.",
        truth=smallest_group,
        draw=a_target,
        wrong=(
            WrongAnswer(
                "the paper's formula solved for G",
                "where G does not divide w, the paper's reach is too long, and so this G can be too small.",
                lambda L, N, w: max(1, math.ceil((N - w) / (L - w))),
            ),
            WrongAnswer(
                "the window forgotten",
                "w of the L positions carry one token each, not G.",
                lambda L, N, w: math.ceil(N / L),
            ),
            WrongAnswer(
                "rounded down", "then the text is longer than the reach.", lambda L, N, w: max(1, (N - w) // (L - w))
            ),
        ),
    ),
)
