"""Torch's own attention kernels that return log-sum-exp, brought to one contract.

A tile kernel takes ``query [batch, heads, rows, head_dim]`` and ``key, value [batch, key heads, keys, head_dim]`` and
returns the output, of query's shape, and the natural log-sum-exp ``[batch, heads, rows]`` in float32 at least. It is
called on a rectangle (``causal=False``) or a square (``causal=True``) only, since back ends align other shapes
differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import torch
from einops import repeat
from torch import Tensor

from selfextend_viz.attention.logits import scaled_products
from selfextend_viz.attention.merge import Merged

__all__ = [
    "TORCH_KERNELS",
    "Kernel",
    "blockwise_tile",
    "check_tile",
    "cpu_tile",
    "cudnn_tile",
    "efficient_tile",
    "first_fitting",
    "refusal_of",
    "rows_of_memory",
    "slanted_mask",
]

HALF = (torch.float16, torch.bfloat16)
BLOCK_LENGTH = 1024
BLOCK_CELLS = 2**22
SLANTED_ROWS = 32
HALVED_ROWS = (384, 640)
"""The CPU kernel leaves out hidden keys 512 at a time, so that it computes all of a square of 512 rows."""


@dataclass(frozen=True, eq=False)
class Kernel:
    """One way to run a tile, and what it accepts.

    Attributes
    ----------
    name : str
        What it is called in messages.
    device : str
        ``"cpu"``, ``"cuda"``, or ``"any"``.
    dtypes : tuple of torch.dtype
        Precisions it takes.
    tile : callable
        ``tile(query, key, value, *, causal, scale, softcap) -> (output, lse)``.
    multiple, largest : int
        head_dim must be a multiple of the one and at most the other.
    softcaps : bool
        Whether it can cap logits.
    band : callable, optional
        ``band(query, key, value, *, nearest, beyond, scale, softcap) -> (first row, output, lse)`` for kernels that
        run a whole band in one call.
    slanted : int, optional
        Rows of a slanted tile, for kernels whose ``tile`` also takes ``mask``: what it is fastest with.
    halved : tuple of int, optional
        Fewest and most rows of a causal square that is cheaper in halves: the kernel would compute nearly all of it.
    """

    name: str
    device: str
    dtypes: tuple[torch.dtype, ...]
    tile: Callable[..., Any]
    multiple: int = 1
    largest: int = 512
    softcaps: bool = False
    band: Callable[..., tuple[int, Tensor, Tensor]] | None = None
    slanted: int | None = None
    halved: tuple[int, int] | None = None

    def refusal(self, query: Tensor, softcap: float | None) -> str | None:
        """Why it cannot take these queries, or None."""
        head_dim = query.shape[-1]
        if self.device not in (query.device.type, "any"):
            return f"runs on {self.device}, not {query.device.type}"
        if query.dtype not in self.dtypes:
            return f"has no {str(query.dtype).removeprefix('torch.')}"
        if head_dim % self.multiple or head_dim > self.largest:
            return f"takes multiples of {self.multiple} up to {self.largest} as head_dim, not {head_dim}"
        if softcap is not None and not self.softcaps:
            return "has no softcap"
        return None


def first_fitting(
    kernels: Sequence[Kernel],
    query: Tensor,
    softcap: float | None,
    probe: Callable[[Kernel, torch.device, torch.dtype], str | None],
) -> tuple[Kernel | None, str]:
    """The first kernel that takes these queries and passes its probe, and why the ones before it do not."""
    return _first_fitting(tuple(kernels), query.device, query.dtype, query.shape[-1], softcap is not None, probe)


# Every layer of every decoded token asks several times.
@lru_cache(maxsize=256)
def _first_fitting(
    kernels: tuple[Kernel, ...],
    device: torch.device,
    dtype: torch.dtype,
    head_dim: int,
    capped: bool,
    probe: Callable[[Kernel, torch.device, torch.dtype], str | None],
) -> tuple[Kernel | None, str]:
    query, softcap = torch.empty((0, 0, 0, head_dim), dtype=dtype, device=device), 1.0 if capped else None
    reasons: list[str] = []
    for kernel in kernels:
        if kernel.device not in (device.type, "any"):
            continue
        refusal = kernel.refusal(query, softcap) or probe(kernel, device, dtype)
        if refusal is None:
            return kernel, "; ".join(reasons)
        reasons.append(f"{kernel.name} {refusal}")
    return None, "; ".join(reasons) or f"none is known for {device.type}"


def check_tile(query: Tensor, key: Tensor, *, causal: bool) -> None:
    """Refuse what kernels get wrong without a word, or die of.

    Raises
    ------
    ValueError
        An empty axis, heads that do not divide, or a causal tile that is not square.
    """
    if 0 in query.shape or 0 in key.shape:
        raise ValueError(f"a tile is empty: query {tuple(query.shape)}, key {tuple(key.shape)}; skip it.")
    if query.shape[1] % key.shape[1]:
        raise ValueError(f"{query.shape[1]} query heads do not divide over {key.shape[1]} key heads.")
    if causal and query.shape[2] != key.shape[2]:
        raise ValueError(f"a causal tile must be square, got {query.shape[2]} rows and {key.shape[2]} keys.")


def rows_of_memory(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors with a contiguous last axis, copied where they have none: kernels read others wrongly, silently."""
    return tuple(tensor if tensor.stride(-1) == 1 else tensor.contiguous() for tensor in tensors)


def refusal_of(tiny_call: Callable[[], Any]) -> str | None:
    """Run a kernel once, without gradients; None if it works, else why it is not available, in its own first line."""
    try:
        with torch.no_grad():
            tiny_call()
    except (ImportError, AttributeError, RuntimeError, NotImplementedError, TypeError) as error:
        return f"is not available: {(str(error) or type(error).__name__).splitlines()[0]}"
    return None


def _one_key_head_each(query: Tensor, *shared: Tensor) -> tuple[Tensor, ...]:
    groups = query.shape[1] // shared[0].shape[1]
    return shared if groups == 1 else tuple(repeat(tensor, "b h n d -> b (h g) n d", g=groups) for tensor in shared)


def cpu_tile(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    *,
    causal: bool,
    scale: float,
    softcap: float | None = None,
    mask: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Torch's CPU flash kernel. It takes grouped heads, and needs the last axis contiguous.

    It walks its batch in the outer loop. So heads go in place of the batch where each has its own keys: tiles of one
    head, one after the other, find most of theirs in the cache.
    """
    check_tile(query, key, causal=causal)
    query, key, value = rows_of_memory(query, key, value)
    masked = {} if mask is None else {"attn_mask": mask}
    call = partial(torch.ops.aten._scaled_dot_product_flash_attention_for_cpu, scale=scale, **masked)
    if query.shape[1] != key.shape[1]:
        output, lse = call(query, key, value, 0.0, causal)
        return output, lse
    output, lse = call(*(tensor.transpose(0, 1) for tensor in (query, key, value)), 0.0, causal)
    return output.transpose(0, 1), lse.transpose(0, 1)


@lru_cache(maxsize=8)
def slanted_mask(rows: int, keys: int, dtype: torch.dtype) -> Tensor:
    """What to add to the logits ``[rows, keys]`` of a slanted tile; the same for every such tile of a band.

    The lowest finite number, not ``-inf``, of which the CPU kernel makes a log-sum-exp of 0 where a row starts with
    many hidden keys.
    """
    ahead = torch.arange(keys) - torch.arange(rows)[:, None]
    seen = (ahead >= 0) & (ahead <= keys - rows)
    return torch.zeros(seen.shape, dtype=dtype).masked_fill_(~seen, torch.finfo(dtype).min)


def flash_tile(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Torch's FlashAttention-2 on CUDA. It takes grouped heads."""
    check_tile(query, key, causal=causal)
    query, key, value = rows_of_memory(query, key, value)
    result = torch.ops.aten._scaled_dot_product_flash_attention(query, key, value, 0.0, causal, False, scale=scale)
    return result[0], result[1][..., : query.shape[2]]


def cudnn_tile(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """CuDNN's attention; its log-sum-exp has had a trailing axis of one since torch 2.9."""
    check_tile(query, key, causal=causal)
    key, value = _one_key_head_each(query, key, value)
    query, key, value = rows_of_memory(query, key, value)
    result = torch.ops.aten._scaled_dot_product_cudnn_attention(
        query, key, value, None, True, 0.0, causal, False, scale=scale
    )
    return result[0], result[1].reshape(query.shape[:3])


def efficient_tile(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """Torch's memory-efficient kernel; its log-sum-exp is padded to a multiple of 32 rows."""
    check_tile(query, key, causal=causal)
    key, value = _one_key_head_each(query, key, value)
    query, key, value = rows_of_memory(query, key, value)
    result = torch.ops.aten._scaled_dot_product_efficient_attention(
        query, key, value, None, True, 0.0, causal, scale=scale
    )
    return result[0], result[1][..., : query.shape[2]]


def blockwise_tile(
    query: Tensor, key: Tensor, value: Tensor, *, causal: bool, scale: float, softcap: float | None = None
) -> tuple[Tensor, Tensor]:
    """A tile in plain torch, a block of logits at a time: for soft-capped logits, which torch's kernels lack.

    Blocks hold at most 1024 x 1024 logits a head, and fewer where there are many heads.
    """
    check_tile(query, key, causal=causal)
    merged = Merged.empty(query, value.shape[-1])
    heads = query.shape[1]
    side = max(32, min(BLOCK_LENGTH, int((BLOCK_CELLS // heads) ** 0.5)))
    together = max(1, BLOCK_CELLS // (heads * min(side, query.shape[2]) * min(side, key.shape[2])))
    for low in range(0, query.shape[0], together):
        some = slice(low, low + together)
        for top in range(0, query.shape[2], side):
            rows = query[some, :, top : top + side]
            part = merged.part(some, top, top + rows.shape[2])
            for left in range(0, top + 1 if causal else key.shape[2], side):
                keys, values = key[some, :, left : left + side], value[some, :, left : left + side]
                part.add(*_block(rows, keys, values, causal and left == top, scale, softcap), start=0)
    return merged.output, merged.lse


def _block(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, scale: float, softcap: float | None
) -> tuple[Tensor, Tensor]:
    logits = scaled_products(query, key, scale=scale, softcap=softcap)
    if causal:
        side = query.shape[2]
        later = torch.ones(side, side, dtype=torch.bool, device=query.device).triu(1)
        logits.masked_fill_(later, -torch.inf)
    lse = logits.logsumexp(-1)
    weights = logits.sub_(lse[..., None]).exp_()
    groups = query.shape[1] // key.shape[1]
    shared = weights.unflatten(1, (key.shape[1], groups)).flatten(2, 3)
    output = shared @ value.to(weights.dtype)
    return output.unflatten(2, (groups, query.shape[2])).flatten(1, 2), lse


TORCH_KERNELS = (
    Kernel(
        "torch's CPU flash kernel",
        "cpu",
        (torch.float32, torch.float64, *HALF),
        cpu_tile,
        slanted=SLANTED_ROWS,
        halved=HALVED_ROWS,
    ),
    Kernel("torch's FlashAttention-2", "cuda", HALF, flash_tile, multiple=8, largest=256),
    Kernel("cuDNN's attention", "cuda", HALF, cudnn_tile, multiple=8, largest=128),
    Kernel("torch's memory-efficient kernel", "cuda", (torch.float32, *HALF), efficient_tile, multiple=8),
    Kernel(
        "a blockwise loop", "any", (torch.float32, torch.float64, *HALF), blockwise_tile, largest=2**16, softcaps=True
    ),
)
