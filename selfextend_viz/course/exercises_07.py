"""The exercises of lesson 07: what moved, and whether it matters."""

from __future__ import annotations

import math
from random import Random

from selfextend_viz.course.exercises import Exercise, WrongAnswer


def attention_change(first: list[float], second: list[float]) -> float:
    """Total variation between the attention of two rows of logits."""
    return sum(abs(p - q) for p, q in zip(_softmax(first), _softmax(second), strict=True)) / 2


def kl_divergence(p: list[float], q: list[float]) -> float:
    """KL(p || q) in nats; a share of 0 in p adds nothing."""
    return sum(a * math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0)


def two_rows(random: Random) -> tuple[list[float], list[float]]:
    """Two rows of logits of one length; often the second is the first, moved as a whole."""
    first = [round(random.uniform(-6, 6), 1) for _ in range(random.randint(2, 6))]
    shift = round(random.uniform(-9, 9), 1)
    moved = [logit + shift for logit in first]
    return first, moved if random.random() < 0.4 else [round(random.uniform(-6, 6), 1) for _ in first]


def two_shares(random: Random) -> tuple[list[float], list[float]]:
    """Two rows of attention of one length; some shares of the first are 0."""
    size = random.randint(2, 5)
    p = [random.randint(0, 4) for _ in range(size - 1)] + [random.randint(1, 4)]
    q = [random.randint(1, 5) for _ in range(size)]
    return [share / sum(p) for share in p], [share / sum(q) for share in q]


def _softmax(logits: list[float]) -> list[float]:
    weights = [math.exp(logit - max(logits)) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def _differences(first: list[float], second: list[float]) -> list[float]:
    return [abs(a - b) for a, b in zip(first, second, strict=True)]


EXERCISES = (
    Exercise(
        id="07.1",
        prompt="Two rows of logits over the same keys. Return how much attention moved: half the sum of the absolute "
        "differences between their softmaxes, from 0 (none) to 1 (all of it).",
        truth=attention_change,
        draw=two_rows,
        wrong=(
            WrongAnswer(
                "logits compared",
                "you compared logits. A row that is moved as a whole has other logits and the same attention.",
                lambda first, second: sum(_differences(first, second)) / len(first),
            ),
            WrongAnswer(
                "half of the logits' sum",
                "you compared logits; take the softmax of each row first.",
                lambda first, second: sum(_differences(first, second)) / 2,
            ),
            WrongAnswer(
                "not halved",
                "what one key lost another one won, so the sum counts it twice.",
                lambda first, second: 2 * attention_change(first, second),
            ),
            WrongAnswer(
                "averaged",
                "attention that moved is a sum over keys, not an average: the rest of the keys do not dilute it.",
                lambda first, second: 2 * attention_change(first, second) / len(first),
            ),
        ),
    ),
    Exercise(
        id="07.2",
        prompt="Return KL(p || q) in nats, the sum of p * log(p / q), for two rows of attention p and q. Shares "
        "of 0 in p "
        "add nothing.",
        truth=kl_divergence,
        draw=two_shares,
        wrong=(
            WrongAnswer(
                "the two swapped",
                "p is what is true and gives the weights; q is what is compared with it. Their order matters.",
                lambda p, q: sum(b * math.log(b / max(a, 1e-12)) for a, b in zip(p, q, strict=True)),
            ),
            WrongAnswer(
                "bits",
                "log base 2 gives bits; nats are wanted, with math.log.",
                lambda p, q: kl_divergence(p, q) / math.log(2),
            ),
            WrongAnswer(
                "unweighted",
                "each key's log(p / q) counts by its share p.",
                lambda p, q: sum(math.log(a / b) for a, b in zip(p, q, strict=True) if a > 0),
            ),
            WrongAnswer(
                "the sign",
                "log(p / q), not log(q / p): a KL divergence is never negative.",
                lambda p, q: -kl_divergence(p, q),
            ),
        ),
    ),
)
