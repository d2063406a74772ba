"""Solutions of lesson 09."""


def ex_09_1(L, w, N):
    """The reach grows with G, so the first that is enough is the smallest."""
    G = 1
    while G * (L - w + w // G) < N:
        G += 1
    return G


def ex_09_2(L, N, G, w):
    """The w exact positions, and the rest of the text in groups."""
    return w + (N - w) / G < 2 / 3 * L
