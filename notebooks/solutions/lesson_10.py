"""Solutions of lesson 10."""


def ex_10_1(layers, key_heads, head_dim, N, G):
    """Keys and values, 2 bytes each; G does not come into it."""
    return 2 * 2 * layers * key_heads * head_dim * N


def ex_10_2(N, G, w):
    """All but the first w + 1."""
    return max(0, N - w - 1)
