"""Solutions of lesson 06."""


def ex_06_1(i, start, count, G, w):
    """Each digit by itself: it may lie in another group than its neighbour, or on the other side of the window."""

    def told(j):
        return i - j if i - j < w else i // G + w - w // G - j // G

    return [told(j) for j in range(start, start + count)]


def ex_06_2(i, first, second, G, w):
    """What it is told for each decides; two groups and the window's edge are in that already."""
    return ex_06_1(i, first, 1, G, w) == ex_06_1(i, second, 1, G, w)
