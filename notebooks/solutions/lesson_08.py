"""Solutions of lesson 08."""

import math


def ex_08_1(stock, blindfold, method, error):
    """Only what beats the blindfold has used what the blindfold cannot see."""
    return blindfold - method > 1.96 * error


def ex_08_2(k, n, z):
    """Wilson's interval has room below even where all were found."""
    p = k / n
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (p + z * z / (2 * n) - half) / (1 + z * z / n)
