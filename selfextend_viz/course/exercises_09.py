"""The exercises of lesson 09: the smallest G that reaches, and the authors' rule."""

from __future__ import annotations

from itertools import count
from random import Random

from selfextend_viz.course.answers import YES_OR_NO
from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import SelfExtend
from selfextend_viz.positions.self_extend import inside_trained_region


def smallest_group_size(L: int, w: int, N: int) -> int:
    """The smallest G whose exact reach is N or more."""
    return next(G for G in count(1) if SelfExtend(G, w).capacity(L) >= N)


def fits_the_rule(L: int, N: int, G: int, w: int) -> bool:
    """Whether w + (N - w) / G < 2/3 L."""
    return inside_trained_region(SelfExtend(G, w), L, N)


def a_target(random: Random) -> tuple[int, int, int]:
    """L, w_n below it, and a longer text."""
    L = random.randint(6, 30)
    return L, random.randint(0, L - 1), random.randint(L + 1, 8 * L)


def a_setting(random: Random) -> tuple[int, int, int, int]:
    """L, N, G and w_n, never exactly on the rule's border."""
    while True:
        L, w, N = a_target(random)
        G = random.randint(1, 24)
        if 3 * (w * G + N - w) != 2 * L * G:
            return L, N, G, w


EXERCISES = (
    Exercise(
        id="09.1",
        prompt="Return the smallest G whose exact reach, G * (L - w + w // G), is N or more.",
        truth=smallest_group_size,
        draw=a_target,
        wrong=(
            WrongAnswer(
                "the paper's reach",
                "(L - w) * G + w overstates the reach by w % G, so your G is sometimes one too small.",
                lambda L, w, N: next(G for G in count(1) if (L - w) * G + w >= N),
            ),
            WrongAnswer(
                "N / L",
                "the w exact positions are spent on near tokens; fewer are left to be shared.",
                lambda L, w, N: -(-N // L),
            ),
            WrongAnswer(
                "the window forgotten",
                "w // G positions come back where the window is grouped, so a smaller G can do.",
                lambda L, w, N: -(-N // (L - w)),
            ),
            WrongAnswer(
                "more than N",
                "a reach of exactly N is enough for N tokens.",
                lambda L, w, N: next(G for G in count(1) if SelfExtend(G, w).capacity(L) > N),
            ),
        ),
    ),
    Exercise(
        id="09.2",
        prompt="Return whether G and w keep N tokens inside the authors' rule, w + (N - w) / G < 2/3 L.",
        truth=fits_the_rule,
        draw=a_setting,
        answer=YES_OR_NO,
        wrong=(
            WrongAnswer(
                "inside L",
                "L is where training ends; the rule stays below two thirds of it, since large positions were trained "
                "least.",
                lambda L, N, G, w: w + (N - w) / G < L,
            ),
            WrongAnswer(
                "one half",
                "the stricter end of the rule is 1/2; here the wider end, 2/3, is wanted.",
                lambda L, N, G, w: 2 * (w * G + N - w) < L * G,
            ),
            WrongAnswer(
                "all of N grouped",
                "the w nearest tokens are not grouped: (N - w) / G.",
                lambda L, N, G, w: 3 * (w * G + N) < 2 * L * G,
            ),
            WrongAnswer(
                "the window forgotten",
                "the w exact positions come first, and are added.",
                lambda L, N, G, w: 3 * (N - w) < 2 * L * G,
            ),
        ),
    ),
)
