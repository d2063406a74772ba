"""Solutions of lesson 01."""


def ex_01_1(N, L):
    """N - L distances are new, L to N - 1; none where the text is no longer than L."""
    return max(0, N - L)


def ex_01_2(N, L):
    """Query i has i - L + 1 keys at L or more; summed over i = L to N - 1 that is a triangle."""
    new = max(0, N - L)
    return new * (new + 1) // 2
