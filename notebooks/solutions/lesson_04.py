"""Solutions of lesson 04."""


def ex_04_1(i, j, G, w):
    """Exact below w; else whole groups, the query moved on by what grouping took from the window."""
    if i - j < w:
        return i - j
    return (i // G + w - w // G) - j // G


def ex_04_2(G, w):
    """At w + 1 tokens, distance w occurs once, for query w and key 0, and w // G + w - w // G is w."""
    return w + 2


def ex_04_3(d, G):
    """The whole numbers on either side of d / G, which are one where G divides d."""
    return [d // G] if d % G == 0 else [d // G, d // G + 1]
