"""The exercises of lesson A1: log-sum-exp, and the merge of two bands."""

from __future__ import annotations

import math
from random import Random

from selfextend_viz.course.exercises import Exercise, WrongAnswer


def log_sum_exp(logits: list[float]) -> float:
    """log of the sum of exp(logit), safe for logits of any size."""
    largest = max(logits)
    return largest + math.log(sum(math.exp(logit - largest) for logit in logits))


def merged(near: float, near_lse: float, far: float, far_lse: float) -> float:
    """One softmax's output, from two bands' outputs and log-sum-exps."""
    whole = log_sum_exp([near_lse, far_lse])
    return near * math.exp(near_lse - whole) + far * math.exp(far_lse - whole)


def some_logits(random: Random) -> tuple[list[float]]:
    """A few logits; some are so large that exp of them overflows."""
    centre = random.choice((0, 0, 0, 900, -900))
    return ([centre + round(random.uniform(-3, 3), 1) for _ in range(random.randint(1, 6))],)


def two_bands(random: Random) -> tuple[float, float, float, float]:
    """Outputs and log-sum-exps of two bands."""
    near, far = (round(random.uniform(-4, 4), 1) for _ in range(2))
    return near, round(random.uniform(0.5, 4), 1), far, round(random.uniform(0.5, 4), 1)


EXERCISES = (
    Exercise(
        id="A1.1",
        prompt="Return log(sum of exp(logit)) of a list of logits, also where they are near 900 or -900: take the "
        "largest "
        "out first.",
        truth=log_sum_exp,
        draw=some_logits,
        wrong=(
            WrongAnswer(
                "the largest alone", "the others add to it, unless they are far smaller.", lambda logits: max(logits)
            ),
            WrongAnswer(
                "the largest not put back",
                "what was taken out of the exponentials is added after the logarithm.",
                lambda logits: log_sum_exp(logits) - max(logits),
            ),
            WrongAnswer(
                "averaged",
                "the sum is wanted, not the mean.",
                lambda logits: log_sum_exp(logits) - math.log(len(logits)),
            ),
        ),
    ),
    Exercise(
        id="A1.2",
        prompt="Two bands of one row: their outputs near and far, each from a softmax of its own, and their "
        "log-sum-exps. "
        "Return the output of the one softmax over both.",
        truth=merged,
        draw=two_bands,
        wrong=(
            WrongAnswer(
                "added", "two softmaxes added weigh 2 in all.", lambda near, near_lse, far, far_lse: near + far
            ),
            WrongAnswer(
                "averaged",
                "the band with the larger log-sum-exp has more of the attention.",
                lambda near, near_lse, far, far_lse: (near + far) / 2,
            ),
            WrongAnswer(
                "the logarithms as weights",
                "log-sum-exps are logarithms: exp of them are the weights.",
                lambda near, near_lse, far, far_lse: (near * near_lse + far * far_lse) / (near_lse + far_lse),
            ),
            WrongAnswer(
                "weights that do not add to 1",
                "divide by the sum of both weights.",
                lambda near, near_lse, far, far_lse: near * math.exp(near_lse) + far * math.exp(far_lse),
            ),
            WrongAnswer(
                "the bands swapped",
                "each output goes with its own log-sum-exp.",
                lambda near, near_lse, far, far_lse: merged(near, far_lse, far, near_lse),
            ),
        ),
    ),
)
