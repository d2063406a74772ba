"""Solutions of lesson 05."""


def ex_05_1(L, G, w):
    """(N - 1) // G may be at most L - 1 - w + w // G; each of those group numbers, from 0 on, carries G tokens."""
    return G * (L - w + w // G)


def ex_05_2(L, G, w):
    """w - G * (w // G)."""
    return w % G


def ex_05_3(L, N, w):
    """Try them: the exact reach grows with G, but not by equal steps."""
    G = 1
    while ex_05_1(L, G, w) < N:
        G += 1
    return G
