"""The exercises of lesson 03: who is hidden, and how much attention chance alone would waste."""

from __future__ import annotations

from selfextend_viz.course.answers import YES_OR_NO
from selfextend_viz.course.exercises import Exercise, WrongAnswer


def blindfold_sees(i: int, j: int, L: int) -> bool:
    """Whether query i sees key j when distances of L and more are hidden."""
    from selfextend_viz.methods import SlidingWindow
    from selfextend_viz.positions import pair_bands

    return bool(pair_bands(SlidingWindow(L), i, j) >= 0) and j <= i


def uniform_share(i: int, L: int) -> float:
    """Share of query i's attention on distances of L and more, were it spread evenly."""
    return sum(i - j >= L for j in range(i + 1)) / (i + 1)


EXERCISES = (
    Exercise(
        id="03.1",
        prompt="Return whether query i sees key j under the blindfold: no later key, and none at distance L or more.",
        truth=blindfold_sees,
        draw=lambda random: (random.randint(0, 12), random.randint(0, 12), random.randint(1, 8)),
        answer=YES_OR_NO,
        wrong=(
            WrongAnswer(
                "<= at the boundary",
                "distance L itself is hidden: training showed 0 to L - 1.",
                lambda i, j, L: 0 <= i - j <= L,
            ),
            WrongAnswer("a look ahead", "a query sees no key that comes after it.", lambda i, j, L: i - j < L),
            WrongAnswer("itself hidden", "a query sees its own token, at distance 0.", lambda i, j, L: 0 < i - j < L),
            WrongAnswer(
                "the first L tokens",
                "distance counts from the query, not from the start of the text.",
                lambda i, j, L: j <= i and j < L,
            ),
        ),
    ),
    Exercise(
        id="03.2",
        prompt="Attention spread evenly over all i + 1 tokens that query i sees: return the share of it on distances "
        "of L and more. It is what a measured share must be compared with.",
        truth=uniform_share,
        draw=lambda random: (random.randint(0, 40), random.randint(1, 20)),
        wrong=(
            WrongAnswer(
                "no floor",
                "a query below L has no such key: the share is 0, not negative.",
                lambda i, L: (i - L + 1) / (i + 1),
            ),
            WrongAnswer(
                "the query's own token forgotten",
                "query i sees i + 1 tokens, itself among them.",
                lambda i, L: max(0, i - L + 1) / max(1, i),
            ),
            WrongAnswer(
                "more than L",
                "distance L itself counts: it is the first that training never showed.",
                lambda i, L: max(0, i - L) / (i + 1),
            ),
        ),
    ),
)
