"""The exercises of lesson 08: what a control allows to be said, and how sure ten trials make."""

from __future__ import annotations

import math
from random import Random

from selfextend_viz.course.answers import YES_OR_NO
from selfextend_viz.course.exercises import Exercise, WrongAnswer

Z = 1.96


def uses_far_text(stock: float, blindfold: float, method: float, error: float) -> bool:
    """Whether the method's loss is below the blindfold's by more than chance."""
    return blindfold - method > Z * error


def wilson_low(k: int, n: int, z: float) -> float:
    """The lower end of Wilson's interval."""
    from selfextend_viz.experiments.rows import wilson_interval

    return wilson_interval(k, n, z)[0]


def losses(random: Random) -> tuple[float, float, float, float]:
    """Losses in nats a token, and the standard error of a difference between two of them."""
    blindfold = round(random.uniform(1.1, 1.4), 3)
    gain = random.choice((-0.2, -0.05, -0.01, 0.003, 0.013, 0.052, 0.201))
    error = random.choice((0.001, 0.01, 0.05))
    return round(blindfold + random.choice((0.0, 0.8, 1.7)), 3), blindfold, round(blindfold - gain, 3), error


def _centre(k: int, n: int, z: float) -> float:
    return (k / n + z * z / (2 * n)) / (1 + z * z / n)


EXERCISES = (
    Exercise(
        id="08.1",
        prompt="Losses in nats at N > L, and the standard error of a difference. Return whether they show that "
        "the method "
        "uses far text: its loss is below the right one of the other two by more than 1.96 errors.",
        truth=uses_far_text,
        draw=losses,
        answer=YES_OR_NO,
        wrong=(
            WrongAnswer(
                "better than stock",
                "past L stock is broken, so to beat it shows only that you are not broken; compare with the blindfold.",
                lambda stock, blindfold, method, error: stock - method > Z * error,
            ),
            WrongAnswer(
                "flat is enough",
                "a loss that equals the blindfold's is what near text alone gives.",
                lambda stock, blindfold, method, error: blindfold - method > -Z * error,
            ),
            WrongAnswer(
                "no interval",
                "a difference smaller than 1.96 standard errors may be chance.",
                lambda stock, blindfold, method, error: method < blindfold,
            ),
            WrongAnswer(
                "any difference",
                "a loss above the blindfold's is worse, not better.",
                lambda stock, blindfold, method, error: abs(blindfold - method) > Z * error,
            ),
        ),
    ),
    Exercise(
        id="08.2",
        prompt="k of n keys were found. Return the lower end of Wilson's interval, "
        "(p + z²/2n - z sqrt(p(1 - p)/n + z²/4n²)) / (1 + z²/n) with p = k/n.",
        truth=wilson_low,
        draw=lambda random: (
            (n := random.randint(1, 40)) and random.randint(0, n),
            n,
            random.choice((1.0, 1.96, 2.58)),
        ),
        wrong=(
            WrongAnswer(
                "the plain interval",
                "p - z sqrt(p(1 - p)/n) says that 10 of 10 leaves no doubt at all, and can fall below 0.",
                lambda k, n, z: k / n - z * math.sqrt(k / n * (1 - k / n) / n),
            ),
            WrongAnswer("the share", "k / n alone does not say how sure it is.", lambda k, n, z: k / n),
            WrongAnswer(
                "the upper end",
                "this is the upper end: subtract the root.",
                lambda k, n, z: 2 * _centre(k, n, z) - wilson_low(k, n, z),
            ),
            WrongAnswer("the centre", "this is the interval's centre; subtract half its width.", _centre),
        ),
    ),
)
