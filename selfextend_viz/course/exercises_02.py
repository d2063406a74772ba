"""The exercises of lesson 02: turn a pair, and count those that never finished a turn."""

from __future__ import annotations

import math
from random import Random

from selfextend_viz.course.answers import NUMBERS
from selfextend_viz.course.exercises import Exercise, WrongAnswer


def turned(x: float, y: float, angle: float) -> list[float]:
    """The pair (x, y) turned counter-clockwise by an angle in radians, by the library's own rotation."""
    import torch

    from selfextend_viz.rope import turn

    cosine, sine = (torch.tensor([[[[value]]]], dtype=torch.float64) for value in (math.cos(angle), math.sin(angle)))
    pair = torch.tensor([[[[x, y]]]], dtype=torch.float64)
    return [float(value) for value in turn(pair, cosine, sine).flatten()]


def tokens_for_a_turn(pair: int, head_dim: int, base: float) -> float:
    """Wavelength of a pair in tokens."""
    return 2 * math.pi * base ** (2 * pair / head_dim)


def unfinished_pairs(head_dim: int, base: float, L: int) -> int:
    """Pairs that made less than one turn over the distances 0 .. L - 1."""
    return sum(tokens_for_a_turn(pair, head_dim, base) > L - 1 for pair in range(head_dim // 2))


def a_pair_and_an_angle(random: Random) -> tuple[float, float, float]:
    """Coordinates and an angle with one decimal."""
    x, y, angle = (random.randint(-30, 30) / 10 for _ in range(3))
    return x, y, angle


def a_pair(random: Random) -> tuple[int, int, float]:
    """A pair, the head's dimensions and the base."""
    head_dim = 2 * random.randint(1, 32)
    return random.randrange(head_dim // 2), head_dim, random.choice((100.0, 10000.0, 500000.0))


def a_head_and_context(random: Random) -> tuple[int, float, int]:
    """The head's dimensions, the base and L."""
    return 2 * random.randint(2, 64), random.choice((100.0, 10000.0, 500000.0)), random.randint(2, 4096)


EXERCISES = (
    Exercise(
        id="02.1",
        prompt="Return the two numbers x and y turned by an angle in radians, counter-clockwise: [new x, new y].",
        truth=turned,
        draw=a_pair_and_an_angle,
        answer=NUMBERS,
        wrong=(
            WrongAnswer(
                "clockwise",
                "it turns the other way; the minus sign belongs to the first number.",
                lambda x, y, angle: turned(x, y, -angle),
            ),
            WrongAnswer(
                "degrees",
                "the angle is in radians already.",
                lambda x, y, angle: turned(x, y, math.radians(angle)),
            ),
            WrongAnswer(
                "x overwritten",
                "the second number must be made of the old x, and yours uses the new one.",
                lambda x, y, angle: [new := turned(x, y, angle)[0], new * math.sin(angle) + y * math.cos(angle)],
            ),
            WrongAnswer(
                "a mirror",
                "without the minus sign the pair is not turned, and its length changes.",
                lambda x, y, angle: [
                    x * math.cos(angle) + y * math.sin(angle),
                    x * math.sin(angle) + y * math.cos(angle),
                ],
            ),
        ),
    ),
    Exercise(
        id="02.2",
        prompt="Return how many tokens a pair (0 is the fastest) takes for one whole turn. "
        "It turns by base ** (-2 * pair / head_dim) radians a token.",
        truth=tokens_for_a_turn,
        draw=a_pair,
        wrong=(
            WrongAnswer(
                "a radian, not a turn",
                "a whole turn is 2 pi radians.",
                lambda pair, head_dim, base: base ** (2 * pair / head_dim),
            ),
            WrongAnswer(
                "turns a token",
                "that is how much of a turn one token makes; its inverse is asked for.",
                lambda pair, head_dim, base: base ** (-2 * pair / head_dim) / (2 * math.pi),
            ),
            WrongAnswer(
                "the factor 2 lost",
                "the exponent is 2 * pair / head_dim: there are head_dim / 2 pairs.",
                lambda pair, head_dim, base: 2 * math.pi * base ** (pair / head_dim),
            ),
            WrongAnswer(
                "degrees",
                "a whole turn is 2 pi here, since the speed is in radians.",
                lambda pair, head_dim, base: 360 * base ** (2 * pair / head_dim),
            ),
        ),
    ),
    Exercise(
        id="02.3",
        prompt="Return how many of a head's head_dim / 2 pairs made less than one whole turn over the distances "
        "0 to L - 1 that training showed.",
        truth=unfinished_pairs,
        draw=a_head_and_context,
        wrong=(
            WrongAnswer(
                "the fast ones",
                "you counted the pairs that did finish a turn: every angle is known to them.",
                lambda head_dim, base, L: head_dim // 2 - unfinished_pairs(head_dim, base, L),
            ),
            WrongAnswer(
                "a radian, not a turn",
                "a pair has finished when it has turned by 2 pi, not by 1.",
                lambda head_dim, base, L: sum(base ** (2 * pair / head_dim) > L - 1 for pair in range(head_dim // 2)),
            ),
            WrongAnswer(
                "dimensions for pairs",
                "a head of head_dim dimensions has head_dim / 2 pairs.",
                lambda head_dim, base, L: 2 * unfinished_pairs(head_dim, base, L),
            ),
        ),
    ),
)
