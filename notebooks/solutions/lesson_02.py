"""Solutions of lesson 02."""

import math


def ex_02_1(x, y, angle):
    """Both new numbers are made of both old ones."""
    return [x * math.cos(angle) - y * math.sin(angle), x * math.sin(angle) + y * math.cos(angle)]


def ex_02_2(pair, head_dim, base):
    """2 pi radians, divided by the radians of one token."""
    return 2 * math.pi / base ** (-2 * pair / head_dim)


def ex_02_3(head_dim, base, L):
    """A pair has not finished its turn when one turn takes more than the L - 1 tokens of the longest distance."""
    return sum(ex_02_2(pair, head_dim, base) > L - 1 for pair in range(head_dim // 2))
