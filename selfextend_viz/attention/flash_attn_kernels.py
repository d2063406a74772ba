"""The flash_attn package, brought to the contract of the other kernels; imported when it is first called."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

from torch import Tensor

from selfextend_viz.attention.kernels import HALF, Kernel

__all__ = ["FLASH_ATTN", "flash_attn_band", "flash_attn_tile"]


@dataclass(frozen=True)
class _Interval:
    """A band in the terms of a kernel whose causal mask is aligned to the bottom right."""

    first_row: int
    first_key: int
    last_key: int
    window: tuple[int, int]


def _bottom_right(queries: int, keys: int, nearest: int, beyond: int | None) -> _Interval:
    first_row = max(keys - queries, nearest)
    first_key = 0 if beyond is None else max(0, first_row - beyond + 1)
    return _Interval(first_row, first_key, keys - nearest, (-1 if beyond is None else beyond - nearest - 1, 0))


def flash_attn_band(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    nearest: int,
    beyond: int | None,
    scale: float,
    softcap: float | None,
) -> tuple[int, Tensor, Tensor]:
    """A whole band in one call of the flash_attn package, whose causal mask is aligned to the bottom right.

    Returns
    -------
    tuple
        The first key-axis slot that has a row, the output ``[batch, heads, rows, head_dim]`` of the rows from there
        on, and its log-sum-exp ``[batch, heads, rows]``.
    """
    flash_attn_func = importlib.import_module("flash_attn").flash_attn_func
    queries, keys = query.shape[2], key.shape[2]
    cut = _bottom_right(queries, keys, nearest, beyond)
    rows = query[:, :, cut.first_row - (keys - queries) :].transpose(1, 2)
    columns = [tensor[:, :, cut.first_key : cut.last_key].transpose(1, 2) for tensor in (key, value)]
    output, lse, _ = flash_attn_func(
        rows,
        *columns,
        softmax_scale=scale,
        causal=True,
        window_size=cut.window,
        softcap=softcap or 0.0,
        return_attn_probs=True,
    )
    return cut.first_row, output.transpose(1, 2), lse[..., : rows.shape[1]]


def flash_attn_tile(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """One tile through the flash_attn package."""
    flash_attn_func = importlib.import_module("flash_attn").flash_attn_func
    tensors = [tensor.transpose(1, 2) for tensor in (query, key, value)]
    output, lse, _ = flash_attn_func(
        *tensors, softmax_scale=scale, causal=causal, softcap=softcap or 0.0, return_attn_probs=True
    )
    return output.transpose(1, 2), lse[..., : query.shape[2]]


FLASH_ATTN = Kernel(
    "flash_attn", "cuda", HALF, flash_attn_tile, multiple=8, largest=256, softcaps=True, band=flash_attn_band
)
