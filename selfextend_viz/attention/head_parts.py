"""A layer's heads a few at a time, so that what is made of their logits never takes the memory of all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from selfextend_viz.positions import Band

__all__ = ["head_slices", "picked_heads"]


def head_slices(query: Tensor, key: Tensor, most: int) -> list[slice]:
    """Slices of the query heads that have at most so many logits each, but never fewer heads than share one key head.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, rows, head_dim]``.
    key : Tensor
        ``[batch, key heads, keys, head_dim]``.
    most : int
        Logits of one slice.
    """
    heads, shared = query.shape[1], query.shape[1] // key.shape[1]
    of_one_key_head = shared * query.shape[2] * key.shape[2] * query.shape[0]
    step = shared * max(1, most // max(1, of_one_key_head))
    return [slice(start, min(start + step, heads)) for start in range(0, heads, step)]


def picked_heads(query: Tensor, key: Tensor, bands: Sequence[Band], heads: slice) -> tuple[Tensor, Tensor, slice]:
    """The query and key heads that the logits of some heads take, and which of their logits are those of these heads.

    Bands that belong to some heads only are numbered by all of them, so that nothing is left out then.
    """
    if heads == slice(None) or any(band.heads != slice(None) for band in bands):
        return query, key, heads
    shared = query.shape[1] // key.shape[1]
    return query[:, heads], key[:, heads.start // shared : -(-heads.stop // shared)], slice(None)
