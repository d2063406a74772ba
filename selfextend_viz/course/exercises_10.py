"""The exercises of lesson 10: what the cache takes, and how many queries read otherwise."""

from __future__ import annotations

from random import Random

import numpy as np

from selfextend_viz.course.exercises import Exercise, WrongAnswer
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions


def cache_bytes(layers: int, key_heads: int, head_dim: int, N: int, G: int) -> int:
    """Bytes of a float16 key-value cache of N tokens under Self-Extend."""
    return 2 * 2 * layers * key_heads * head_dim * N


def changed_queries(N: int, G: int, w: int) -> int:
    """How many queries of N are told another distance for any key than under plain RoPE."""
    method = SelfExtend(G, w)
    return int(np.any(relative_positions(method, N) != relative_positions(PlainRoPE(), N), axis=1).sum())


def a_model(random: Random) -> tuple[int, int, int, int, int]:
    """A small model's numbers, a text's length and G."""
    return (
        random.randint(1, 4),
        random.choice((1, 2, 4)),
        random.choice((8, 16, 32)),
        random.randint(1, 64),
        random.randint(2, 8),
    )


EXERCISES = (
    Exercise(
        id="10.1",
        prompt="Return the bytes of the key-value cache of N tokens in float16 (2 bytes a number), for so many "
        "layers, key "
        "heads and head_dim, under Self-Extend with group size G.",
        truth=cache_bytes,
        draw=a_model,
        wrong=(
            WrongAnswer(
                "a group stored once",
                "tokens of a group share a position, not a key: each is kept.",
                lambda layers, key_heads, head_dim, N, G: 4 * layers * key_heads * head_dim * -(-N // G),
            ),
            WrongAnswer(
                "divided by G",
                "G does not come into it: every token keeps its key and its value.",
                lambda layers, key_heads, head_dim, N, G: 4 * layers * key_heads * head_dim * N / G,
            ),
            WrongAnswer(
                "keys only",
                "values are kept, too.",
                lambda layers, key_heads, head_dim, N, G: 2 * layers * key_heads * head_dim * N,
            ),
            WrongAnswer(
                "numbers, not bytes",
                "a float16 number takes 2 bytes, and both keys and values are kept.",
                lambda layers, key_heads, head_dim, N, G: layers * key_heads * head_dim * N,
            ),
            WrongAnswer(
                "an N x N matrix",
                "the cache has one key and one value a token; it grows with N, not with its square.",
                lambda layers, key_heads, head_dim, N, G: 4 * layers * key_heads * head_dim * N * N,
            ),
        ),
    ),
    Exercise(
        id="10.2",
        prompt="A text of N tokens is read under Self-Extend with G >= 2. Return how many of its queries are told "
        "another "
        "distance for some key than plain RoPE tells them.",
        truth=changed_queries,
        draw=lambda random: (random.randint(1, 30), random.randint(2, 5), random.randint(0, 12)),
        wrong=(
            WrongAnswer(
                "from w on",
                "query w sees key 0 at distance w, and there w is still told as w.",
                lambda N, G, w: max(0, N - w),
            ),
            WrongAnswer(
                "no floor",
                "in a text of w + 1 tokens or fewer nothing changes; the number is 0, not negative.",
                lambda N, G, w: N - w - 1,
            ),
            WrongAnswer(
                "all of them",
                "the first w + 1 queries see only distances that are told as they are.",
                lambda N, G, w: N,
            ),
            WrongAnswer(
                "a group later",
                "the change does not wait for a whole group.",
                lambda N, G, w: max(0, N - w - G),
            ),
        ),
    ),
)
