"""Attention as its formula says it, in float64, for some rows at a time: what the fast ways are measured against.

It shares nothing with them: no bands, no tiles, no rotation of what is rotated already. Every key is turned once, back
by the distance it is said to have, beside a query that stands still.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from einops import einsum, rearrange
from numpy.typing import NDArray
from torch import Tensor

from selfextend_viz.positions import Method, SelfExtend
from selfextend_viz.positions.bands import pair_positions

CELLS = 2**22
UNSEEN = -1

Turn = Callable[[Tensor], Callable[[Tensor], Tensor]]
"""From a tensor that nothing has rotated to what turns it to positions."""


def self_extend_positions(group_size: int, neighbor_window: int, query: Any, key: Any) -> NDArray[np.int64]:
    """Self-Extend's formula (arXiv 2401.01325, section 3) for pairs of positions; -1 for a key in the future.

    Parameters
    ----------
    query, key
        Integer arrays that broadcast against each other.
    """
    i, j = np.broadcast_arrays(np.asarray(query), np.asarray(key))
    grouped = i // group_size + neighbor_window - neighbor_window // group_size - j // group_size
    return np.where(j > i, UNSEEN, np.where(i - j < neighbor_window, i - j, grouped))


def told_positions(method: Method, query: Any, key: Any, *, window: int | None = None) -> NDArray[Any]:
    """How far away each key is said to be: Self-Extend's by its formula, another method's by its own statement.

    Parameters
    ----------
    method
        Any method.
    query, key
        Integer arrays that broadcast against each other.
    window
        Keys this far away or farther are not seen.

    Returns
    -------
    ndarray
        -1 where a key is not seen.
    """
    if isinstance(method, SelfExtend):
        told: NDArray[Any] = self_extend_positions(method.group_size, method.neighbor_window, query, key)
    else:
        told = pair_positions(method, query, key)
    return told if window is None else np.where(np.asarray(query) - np.asarray(key) < window, told, UNSEEN)


def query_factors(method: Method, query: Any) -> NDArray[np.float64]:
    """What a method multiplies queries by, for those that scale them by the logarithm of their position; else 1."""
    trained, place = getattr(method, "log_scale", None), np.asarray(query, dtype=np.float64)
    return np.ones_like(place) if trained is None else np.maximum(1.0, np.log(place + 1) / math.log(trained))


def attention_rows(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    told: NDArray[Any],
    *,
    turn: Turn,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention of some rows of one text, in float64.

    Parameters
    ----------
    query : Tensor
        ``[heads, rows, head_dim]``, not rotated.
    key, value : Tensor
        ``[key heads, keys, head_dim]``, not rotated.
    told : ndarray
        ``[rows, keys]``: how far away each key is said to be, negative where it is not seen.
    turn : callable
        ``turn(tensor)`` of ``[batch or 1, heads, length, head_dim]`` gives what turns it to positions
        ``[batch, length]``.
    scale, softcap, sinks
        As in :func:`selfextend_viz.attention.core`.

    Returns
    -------
    Tensor
        float64 ``[heads, rows, head_dim]``. Memory is that of a few million numbers, or of one row's turned keys.
    """
    # Apple's GPUs have no float64.
    device = torch.device("cpu") if query.device.type == "mps" else query.device
    query, key, value = (tensor.to(device=device, dtype=torch.float64) for tensor in (query, key, value))
    distance = torch.as_tensor(told, device=device)
    size = max(1, CELLS // key.numel())
    sinks = None if sinks is None else sinks.to(query)
    still = turn(query[None])(torch.zeros_like(distance[None, :, 0]))[0]
    turn_keys, parts = turn(key[None]), []
    for start in range(0, len(distance), size):
        some = slice(start, start + size)
        back = turn_keys(-distance[some])
        logits = _logits(still[:, some], back, scale=scale, softcap=softcap)
        parts.append(_weighted(logits.masked_fill((distance[some] < 0)[:, None], -torch.inf), value, sinks))
    return torch.cat(parts, dim=1)


def _logits(query: Tensor, key: Tensor, *, scale: float, softcap: float | None) -> Tensor:
    """``[rows, heads, keys]`` from ``[heads, rows, head_dim]`` and each row's ``[rows, key heads, keys, head_dim]``."""
    shared = rearrange(query, "(h g) r d -> r h g d", h=key.shape[1])
    products = einsum(shared, key, "r h g d, r h n d -> r h g n") * scale
    products = rearrange(products, "r h g n -> r (h g) n")
    return products if softcap is None else softcap * torch.tanh(products / softcap)


def _weighted(logits: Tensor, value: Tensor, sinks: Tensor | None) -> Tensor:
    """``[heads, rows, head_dim]``: one softmax over the keys, and the sink where there is one."""
    if sinks is not None:
        logits = torch.cat((logits, sinks[None, :, None].expand(len(logits), -1, 1)), dim=-1)
    weights = logits.softmax(-1)[..., : value.shape[1]]
    shared = rearrange(weights, "r (h g) n -> r h g n", h=len(value))
    return rearrange(einsum(shared, value, "r h g n, h n d -> r h g d"), "r h g d -> (h g) r d")
