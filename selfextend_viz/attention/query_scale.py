"""log-n scaling of queries: past the trained length more keys share a softmax, and longer queries keep it as sharp."""

from __future__ import annotations

import torch
from torch import Tensor

from selfextend_viz.positions import Method, log_scale_of

__all__ = ["query_factors", "scaled_by", "scaled_query"]


def query_factors(positions: Tensor, log_scale: int) -> Tensor:
    """By how much each query is longer: ``max(1, log(i + 1) / log(log_scale))`` for the true position i, from 0.

    Parameters
    ----------
    positions : Tensor
        int64 ``[batch or 1, q]``, negative where a query is padding, whose factor is 1.
    log_scale : int
        The trained length, at least 2.

    Returns
    -------
    Tensor
        ``[batch or 1, 1, q, 1]``, float64, or float32 where the device has no float64; exactly 1 up to ``log_scale``.

    Notes
    -----
    Source: ``scale_base`` in the code of Self-Extend's authors, which they use for long pass keys; arXiv 2202.12172.
    """
    dtype = torch.float32 if positions.device.type == "mps" else torch.float64
    ends = torch.full((), log_scale, dtype=dtype, device=positions.device)
    factors = torch.maximum(positions.to(dtype) + 1, ends).log() / ends.log()
    return factors[:, None, :, None]


def scaled_query(query: Tensor, factors: Tensor) -> Tensor:
    """``[batch, heads, q, head_dim]`` times the factors, rounded once to the query's precision."""
    dtype = torch.promote_types(query.dtype, torch.float32)
    return (query * factors.to(device=query.device, dtype=dtype)).to(query.dtype)


def scaled_by(method: Method, query: Tensor, positions: Tensor) -> Tensor:
    """The query as a method scales it; the very tensor where the method states no ``log_scale``."""
    log_scale = log_scale_of(method)
    return query if log_scale is None else scaled_query(query, query_factors(positions, log_scale))
