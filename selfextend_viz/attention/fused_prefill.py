"""Many queries through the fused kernel: queries and keys turned beforehand, the kernel launched, its blocks tuned."""

from __future__ import annotations

import contextlib
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import torch
import triton
from torch import Tensor

from selfextend_viz.attention.fused import refuse_gradients
from selfextend_viz.attention.fused_kernels import INTERPRETED, prefill_kernel, turn_kernel
from selfextend_viz.attention.logits import Rotate, TableRotate
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = [
    "compile_options",
    "on_device",
    "output_like",
    "parts",
    "power_of_two",
    "row_bounds",
    "run",
    "strides",
    "turned",
]

WORTH_TUNING = 512
WIDE_HEAD = 128
BLOCKS = ((128, 64, 8, 3), (128, 32, 8, 4), (128, 32, 8, 2), (64, 64, 4, 3), (64, 32, 4, 3), (64, 32, 4, 2))
BLOCKS_OF_WIDE_HEADS = ((128, 32, 8, 2), (64, 32, 8, 2), (32, 16, 4, 2))
"""Queries and keys of a tile, warps, stages: what tuning tries; what does not fit into a GPU drops out."""

_BOUNDS: WeakKeyDictionary[Slots, Tensor] = WeakKeyDictionary()


def run(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    near: Band,
    far: Band | None,
    *,
    rotate: Rotate,
    slots: Slots,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention over a near band and the far band beyond it, or over one band.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``, last axis contiguous, as those of key and value.
    key, value : Tensor
        ``[batch, key heads, k, head_dim]``.
    near, far
        As :func:`selfextend_viz.attention.fused.two_bands` returns them.
    rotate, slots, scale, softcap, sinks
        As in :func:`selfextend_viz.attention.core`.

    Returns
    -------
    Tensor
        ``[batch, heads, q, head_dim]``, laid out ``[batch, q, heads, head_dim]`` in memory, as models want it.
    """
    sides = [turned(tensor, near, side, rotate) for side, tensor in (("query", query), ("key", key))]
    beyond = sides if far is None else [turned(t, far, side, rotate) for side, t in (("query", query), ("key", key))]
    tensors = (sides[0], beyond[0], sides[1], beyond[1], value, output_like(query))
    refuse_gradients(*tensors)
    batch, heads, queries, head_dim = query.shape
    bounds = row_bounds(slots, batch=batch, device=query.device)
    options = compile_options(query, key, softcap=softcap)
    options |= {"TWO_BANDS": far is not None, "BOUNDED": bounds is not None, "SINKS": sinks is not None}

    def grid(meta: dict[str, int]) -> tuple[int, int]:
        return parts(queries, meta["BLOCK_M"]), batch * heads

    window = 0 if far is None else far.nearest
    kernel, blocks = _kernel_for(query)
    with on_device(query):
        kernel[grid](
            *tensors,
            sinks,
            bounds,
            *(stride for tensor in tensors for stride in strides(tensor)),
            *(heads, queries, slots.written, window, slots.keys.bit_length()),
            *(scale if softcap is None else scale / softcap, softcap or 0.0),
            **options,
            **blocks,
        )
    return tensors[-1]


def output_like(query: Tensor) -> Tensor:
    """An unwritten result of query's shape and precision, laid out ``[batch, q, heads, head_dim]`` in memory."""
    batch, heads, queries, head_dim = query.shape
    return torch.empty((batch, queries, heads, head_dim), dtype=query.dtype, device=query.device).transpose(1, 2)


def _kernel_for(query: Tensor) -> tuple[Any, dict[str, int]]:
    """The kernel and its blocks; tuned where tuning is possible and repaid."""
    if query.is_cuda and query.shape[2] >= WORTH_TUNING and query.dtype is not torch.float32:
        return _tuned(query.shape[-1] > WIDE_HEAD), {}
    return prefill_kernel, default_blocks(query.shape[-1], query.dtype)


def default_blocks(head_dim: int, dtype: torch.dtype) -> dict[str, int]:
    """Blocks for calls too short to tune, and for float32, whose exact products leave tensor cores aside."""
    if INTERPRETED:
        return {"BLOCK_M": 64, "BLOCK_N": 64}
    wide = head_dim > WIDE_HEAD
    if dtype is torch.float32:
        return {"BLOCK_M": 16 if wide else 32, "BLOCK_N": 16 if wide else 32, "num_warps": 8, "num_stages": 1}
    return {"BLOCK_M": 32 if wide else 64, "BLOCK_N": 16 if wide else 32, "num_warps": 4, "num_stages": 2}


@lru_cache(maxsize=2)
def _tuned(wide: bool) -> Any:
    """The kernel that times its blocks once per head, precision and power of two of keys; the disk remembers."""
    configs = [
        triton.Config({"BLOCK_M": rows, "BLOCK_N": keys}, num_warps=warps, num_stages=stages)
        for rows, keys, warps, stages in (BLOCKS_OF_WIDE_HEADS if wide else BLOCKS)
    ]
    key = ["length_class", "HEAD_DIM", "TWO_BANDS", "BOUNDED", "SOFTCAP"]
    return triton.autotune(configs=configs, key=key, cache_results=True)(prefill_kernel)


def compile_options(query: Tensor, key: Tensor, *, softcap: float | None) -> dict[str, Any]:
    """What both attention kernels are compiled for."""
    head_dim = query.shape[-1]
    return {
        "GROUPS": query.shape[1] // key.shape[1],
        "SOFTCAP": softcap is not None,
        "UPCAST": INTERPRETED and query.dtype is torch.bfloat16,
        "PRECISION": "ieee" if query.dtype is torch.float32 else "tf32",
        "HEAD_DIM": head_dim,
        "BLOCK_D": power_of_two(head_dim),
    }


def power_of_two(size: int, *, at_least: int = 16) -> int:
    """The smallest power of two that holds a size; 16 is the least that a tensor core takes."""
    return max(at_least, 1 << (size - 1).bit_length() if size > 0 else 1)


def parts(length: int, size: int) -> int:
    """How many parts of a size hold a length."""
    return -(-length // size)


def strides(tensor: Tensor) -> tuple[int, int, int]:
    """Steps in memory from row to row of the batch, head to head and token to token."""
    return tensor.stride(0), tensor.stride(1), tensor.stride(2)


def on_device(tensor: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Launch where the tensor is: Triton takes the current device."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else contextlib.nullcontext()


def row_bounds(slots: Slots, *, batch: int, device: torch.device) -> Tensor | None:
    """Each row's first token and one past its last, int32 ``[batch, 2]``; None where every slot in use holds one.

    Made once for all layers of a forward.
    """
    first = slots.runs[0] if len(slots.runs) == 1 else None
    if first is not None and (first.rows, first.start, first.stop) == (slice(0, batch), 0, slots.written):
        return None
    if slots not in _BOUNDS:
        table = torch.zeros(batch, 2, dtype=torch.int32)
        for each in slots.runs:
            table[each.rows] = torch.tensor([each.start, each.stop], dtype=torch.int32)
        _BOUNDS[slots] = table.to(device)
    return _BOUNDS[slots]


def turned(tensor: Tensor, band: Band, side: str, rotate: Rotate) -> Tensor:
    """A tensor at a band's positions, in one reading of it where ``rotate`` tells its angles."""
    if not isinstance(rotate, TableRotate):
        result = rotate(tensor, band, side).to(tensor.dtype)
        return result if result.stride(-1) == 1 else result.contiguous()
    tables = rotate.tables(tensor, band, side, dtype=torch.float32)
    if tables is None:
        return tensor
    refuse_gradients(*tables)
    cos, sin = (table.expand(tensor.shape[0], -1, -1, -1) for table in tables)
    batch, heads, length, head_dim = tensor.shape
    pairs = cos.shape[-1]
    result = torch.empty_like(tensor, memory_format=torch.contiguous_format)
    with on_device(tensor):
        turn_kernel[(parts(length, 32), batch * heads)](
            *(tensor, result, cos, sin),
            *strides(tensor),
            *strides(result),
            *(cos.stride(0), cos.stride(2), heads, length),
            HEAD_DIM=head_dim,
            PAIRS=pairs,
            BLOCK_P=power_of_two(pairs, at_least=1),
            BLOCK_R=power_of_two(head_dim - 2 * pairs, at_least=1),
            BLOCK_N=32,
        )
    return result
