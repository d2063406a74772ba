"""The exercises of lesson 04: the formula, the first length it changes, and what a distance may become."""

from __future__ import annotations

import math
from random import Random

from selfextend_viz.course.answers import NUMBERS
from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import SelfExtend, pair_positions


def told(i: int, j: int, G: int, w: int) -> int:
    """The distance that query i is told for key j."""
    return int(pair_positions(SelfExtend(G, w), i, j))


def first_changed_length(G: int, w: int) -> int:
    """The shortest text in which any logit changes."""
    found = SelfExtend(G, w).differs_from
    assert found is not None
    return found


def group_steps(d: int, G: int) -> list[int]:
    """All values of i // G - j // G with i - j = d, ascending."""
    return sorted({(j + d) // G - j // G for j in range(G)})


def a_pair_of_tokens(random: Random) -> tuple[int, int, int, int]:
    """A query, an earlier key, G and w_n, mostly past the window."""
    i = random.randint(0, 24)
    return i, random.randint(0, i), random.randint(2, 5), random.randint(0, 9)


def _exact_to(distance: int, i: int, j: int, G: int, w: int) -> int:
    return i - j if i - j <= distance else i // G + w - w // G - j // G


EXERCISES = (
    Exercise(
        id="04.1",
        prompt="Return the distance that query i is told for key j <= i under Self-Extend: exact below w, "
        "else (i // G + w - w // G) - j // G.",
        truth=told,
        draw=a_pair_of_tokens,
        wrong=(
            WrongAnswer(
                "true division",
                "/ gives fractions, and a position is a whole number; use //, also for w // G.",
                lambda i, j, G, w: i - j if i - j < w else i / G + w - w / G - j / G,
            ),
            WrongAnswer(
                "true division of w",
                "w // G is a whole number too; the authors' code divides truly here, and is wrong where G does not "
                "divide w.",
                lambda i, j, G, w: i - j if i - j < w else i // G + w - w / G - j // G,
            ),
            WrongAnswer(
                "<= at the boundary",
                "distance w is the first that is grouped; only distances below w stay exact.",
                lambda i, j, G, w: _exact_to(w, i, j, G, w),
            ),
            WrongAnswer(
                "the shift on the key",
                "the shift w - w // G belongs to the query. On the key it is subtracted, and far tokens come nearer.",
                lambda i, j, G, w: i - j if i - j < w else i // G - (j // G + w - w // G),
            ),
            WrongAnswer(
                "no shift",
                "without w - w // G on the query, distances jump back at the boundary.",
                lambda i, j, G, w: i - j if i - j < w else i // G - j // G,
            ),
            WrongAnswer(
                "Toeplitz",
                "you grouped the distance, (i - j) // G. Positions are grouped, i // G and j // G, so one distance "
                "can be told in two ways.",
                lambda i, j, G, w: i - j if i - j < w else (i - j) // G + w - w // G,
            ),
            WrongAnswer(
                "all grouped",
                "keys nearer than w keep their exact distance.",
                lambda i, j, G, w: i // G + w - w // G - j // G,
            ),
        ),
    ),
    Exercise(
        id="04.2",
        prompt="Return the length of the shortest text in which Self-Extend changes any logit, for G >= 2.",
        truth=first_changed_length,
        draw=lambda random: (random.randint(2, 6), random.randint(0, 12)),
        wrong=(
            WrongAnswer(
                "one early",
                "a text of w + 1 tokens has distance w once, for query w and key 0, and there w is told as w.",
                lambda G, w: w + 1,
            ),
            WrongAnswer(
                "the window",
                "distances in a text of w tokens go to w - 1, which is exact; so nothing changes yet.",
                lambda G, w: max(w, 1),
            ),
            WrongAnswer("a group past the window", "the change does not wait for a whole group.", lambda G, w: w + G),
        ),
    ),
    Exercise(
        id="04.3",
        prompt="Two tokens stand d apart. Return the sorted list of the values that i // G - j // G can have.",
        truth=group_steps,
        draw=lambda random: (random.randint(0, 24), random.randint(2, 5)),
        answer=NUMBERS,
        wrong=(
            WrongAnswer(
                "floor only",
                "if the two tokens lie across one more border between groups, it is one more.",
                lambda d, G: [d // G],
            ),
            WrongAnswer("ceil only", "it can also be the whole number below.", lambda d, G: [math.ceil(d / G)]),
            WrongAnswer(
                "always two",
                "a distance that G divides crosses the same number of borders wherever it begins.",
                lambda d, G: [d // G, d // G + 1],
            ),
            WrongAnswer("true division", "groups are whole: // gives their numbers.", lambda d, G: [d / G]),
        ),
    ),
)
