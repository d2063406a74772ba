"""What computes one tile's share of the gradients, brought to one contract.

A backward tile takes ``grad, query, output [batch, heads, rows, head_dim]``, ``key, value [batch, key heads, keys,
head_dim]`` and ``lse [batch, heads, rows]``, where output and lse are those of whole rows, all tiles merged. It returns
the gradients of query, key and value, in their shapes. Tiles are rectangles or causal squares, as forward.
"""

from __future__ import annotations

from functools import lru_cache, partial

import torch
from einops import rearrange
from torch import Tensor

from selfextend_viz.attention.kernels import (
    BLOCK_CELLS,
    BLOCK_LENGTH,
    HALF,
    Kernel,
    check_tile,
    first_fitting,
    refusal_of,
    rows_of_memory,
)
from selfextend_viz.attention.logits import scaled_products

__all__ = [
    "BACKWARD_KERNELS",
    "backward_kernel_for",
    "blockwise_backward",
    "cpu_backward",
    "flash_backward",
    "probe_backward",
]

Gradients = tuple[Tensor, Tensor, Tensor]


def cpu_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float,
    softcap: float | None = None,
) -> Gradients:
    """The backward pass of torch's CPU flash kernel. It takes grouped heads, and needs the last axis contiguous."""
    check_tile(query, key, causal=causal)
    tensors = rows_of_memory(grad, query, key, value, output)
    return torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward(*tensors, lse, 0.0, causal, scale=scale)


def flash_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float,
    softcap: float | None = None,
) -> Gradients:
    """The backward pass of torch's FlashAttention-2 on CUDA. It takes grouped heads; nothing is dropped, so no seed."""
    check_tile(query, key, causal=causal)
    tensors = rows_of_memory(grad, query, key, value, output)
    lengths, seed = (query.shape[2], key.shape[2]), torch.zeros(2, dtype=torch.int64, device=query.device)
    return torch.ops.aten._scaled_dot_product_flash_attention_backward(
        *tensors, lse.contiguous(), None, None, *lengths, 0.0, causal, seed[0], seed[1], scale=scale
    )


def blockwise_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    output: Tensor,
    lse: Tensor,
    *,
    causal: bool,
    scale: float,
    softcap: float | None = None,
) -> Gradients:
    """A tile's gradients in plain torch, a block of logits at a time: for soft-capped logits, and any device."""
    check_tile(query, key, causal=causal)
    heads, dtype = query.shape[1], torch.promote_types(query.dtype, torch.float32)
    side = max(32, min(BLOCK_LENGTH, int((BLOCK_CELLS // heads) ** 0.5)))
    together = max(1, BLOCK_CELLS // (heads * min(side, query.shape[2]) * min(side, key.shape[2])))
    worth = (grad.to(dtype) * output.to(dtype)).sum(-1)
    sums = tuple(torch.zeros_like(tensor, dtype=dtype) for tensor in (query, key, value))
    for low in range(0, query.shape[0], together):
        some = slice(low, low + together)
        for top in range(0, query.shape[2], side):
            rows = (some, slice(None), slice(top, top + side))
            for left in range(0, top + 1 if causal else key.shape[2], side):
                columns = (some, slice(None), slice(left, left + side))
                block = (grad[rows], query[rows], key[columns], value[columns], lse[rows], worth[rows])
                shares = _block_gradients(*block, causal=causal and left == top, scale=scale, softcap=softcap)
                for into, place, share in zip(sums, (rows, columns, columns), shares, strict=True):
                    into[place] += share
    return sums  # type: ignore[return-value]


def _block_gradients(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    lse: Tensor,
    worth: Tensor,
    *,
    causal: bool,
    scale: float,
    softcap: float | None,
) -> Gradients:
    logits = scaled_products(query, key, scale=scale, softcap=softcap)
    # By the chain rule of softcap * tanh(x / softcap), before the weights overwrite the logits.
    slope = scale if softcap is None else (1 - (logits / softcap).square_()).mul_(scale)
    if causal:
        side = query.shape[2]
        logits.masked_fill_(torch.ones(side, side, dtype=torch.bool, device=query.device).triu(1), -torch.inf)
    weights = logits.sub_(lse[..., None]).exp_()
    steps = scaled_products(grad, value, scale=1.0).sub_(worth[..., None]).mul_(weights).mul_(slope)
    size = {"h": key.shape[1]}
    weights, steps, upstream, asked = (
        rearrange(tensor.to(weights.dtype), "b (h g) q d -> b h (g q) d", **size)
        for tensor in (weights, steps, grad, query)
    )
    to_query = rearrange(steps @ key.to(steps.dtype), "b h (g q) d -> b (h g) q d", q=query.shape[2])
    return to_query, steps.transpose(-1, -2) @ asked, weights.transpose(-1, -2) @ upstream


BACKWARD_KERNELS = (
    Kernel("torch's CPU flash kernel", "cpu", (torch.float32, torch.float64, *HALF), cpu_backward),
    Kernel("torch's FlashAttention-2", "cuda", HALF, flash_backward, multiple=8, largest=192),
    Kernel(
        "a blockwise loop",
        "any",
        (torch.float32, torch.float64, *HALF),
        blockwise_backward,
        largest=2**16,
        softcaps=True,
    ),
)


def backward_kernel_for(query: Tensor, *, softcap: float | None = None) -> tuple[Kernel | None, str]:
    """The first kernel that takes the gradients of these queries, and why the ones before it do not.

    Any of them fits any forward kernel: output and log-sum-exp are the same numbers, whoever computed them.
    """
    return first_fitting(BACKWARD_KERNELS, query, softcap, probe_backward)


@lru_cache(maxsize=64)
def probe_backward(kernel: Kernel, device: torch.device, dtype: torch.dtype) -> str | None:
    """Run a kernel once on two grouped heads of two tokens; None if it works, else what it said."""
    query = torch.ones(1, 2, 2, 16, dtype=dtype, device=device)
    lse = torch.ones(1, 2, 2, dtype=torch.promote_types(dtype, torch.float32), device=device)
    tensors = (query, query, query[:, :1], query[:, :1], query, lse)
    return refusal_of(partial(kernel.tile, *tensors, causal=True, scale=0.25, softcap=None))
