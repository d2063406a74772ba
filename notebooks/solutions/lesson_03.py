"""Solutions of lesson 03."""


def ex_03_1(i, j, L):
    """Distances 0 to L - 1."""
    return 0 <= i - j < L


def ex_03_2(i, L):
    """i - L + 1 of the i + 1 tokens that it sees, if any."""
    return max(0, i - L + 1) / (i + 1)
