"""Self-Extend in one pass of a Triton kernel: as many products as plain attention, and no partial results to merge.

Inference only. Where queries are many, they and the keys are turned beforehand, which costs one reading of them. Where
they are a handful, against a long cache, a kernel of its own turns the keys as it reads them.
"""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.attention.backward import requires_gradients
from selfextend_viz.attention.logits import Rotate, TableRotate, Unturned
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band

__all__ = ["FusedUnavailableError", "fused_attention", "fused_probe", "fused_refusal", "two_bands"]

DTYPES = (torch.float16, torch.bfloat16, torch.float32)
LARGEST_HEAD = 256
MOST_DECODED = 8
"""Queries that still go through the decode kernel."""

NO_GRADIENTS = (
    "the fused kernel has no backward pass and an input requires gradients; call it under torch.no_grad(), "
    "or use implementation='flash' or 'eager'."
)


class FusedUnavailableError(ValueError):
    """The fused kernel was asked for by name and cannot run this call."""


def fused_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    rotate: Rotate,
    slots: Slots,
    scale: float,
    softcap: float | None = None,
    sinks: Tensor | None = None,
) -> Tensor:
    """Attention over one causal band, or over a near one and the far one that goes on where it ends, in one pass.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``.
    key, value : Tensor
        ``[batch, key heads, k, head_dim]``.
    bands, rotate, slots, scale, softcap, sinks
        As in :func:`selfextend_viz.attention.core`. A few queries are turned in the kernel if ``rotate`` has
        ``tables`` (:class:`selfextend_viz.attention.logits.TableRotate`).

    Returns
    -------
    Tensor
        Shape and precision of query; zeros where a query sees nothing (padding).

    Raises
    ------
    FusedUnavailableError
        If :func:`fused_refusal` has a reason.
    """
    refusal = fused_refusal(query, key, value, bands, sinks=sinks)
    found = two_bands(bands)
    if refusal or found is None:
        raise FusedUnavailableError(refusal)
    near, far = found
    options: dict[str, Any] = {"rotate": rotate, "slots": slots, "scale": scale, "softcap": softcap, "sinks": sinks}
    few = query.shape[2] <= MOST_DECODED and isinstance(rotate, TableRotate)
    room = importlib.import_module(f"selfextend_viz.attention.fused_{'decode' if few else 'prefill'}")
    tensors = [tensor if tensor.stride(-1) == 1 else tensor.contiguous() for tensor in (query, key, value)]
    result: Tensor = room.run(*tensors, near, far, **options)
    return result


def refuse_gradients(*tensors: Tensor) -> None:
    """Raise where a rotation brought gradients in, as one by trained frequencies does."""
    if requires_gradients(*tensors):
        raise FusedUnavailableError(NO_GRADIENTS)


def two_bands(bands: Sequence[Band]) -> tuple[Band, Band | None] | None:
    """The near band from distance 0 on and the far band that goes on where it ends, if that is what the bands are.

    Returns
    -------
    tuple or None
        ``(near, far)`` in this order, ``far`` None where one band covers every distance; None for anything else.
    """
    if any(band.visible is not None or band.heads != slice(None) for band in bands):
        return None
    near, *rest = sorted(bands, key=lambda band: band.nearest)
    if near.nearest == 0 and near.beyond is None and not rest:
        return near, None
    if near.nearest == 0 and len(rest) == 1 and (rest[0].nearest, rest[0].beyond) == (near.beyond, None):
        return near, rest[0]
    return None


def fused_refusal(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    bands: Sequence[Band],
    *,
    sinks: Tensor | None = None,
) -> str | None:
    """Why the fused kernel cannot run this call, as a sentence with the remedy, or None."""
    if requires_gradients(query, key, value, sinks):
        return NO_GRADIENTS
    if two_bands(bands) is None:
        return (
            "its bands are not one over all distances, or a near one and a far one that share them for all pairs and "
            "heads; use implementation='flash' or 'eager'."
        )
    head_dim = query.shape[-1]
    if value.shape[-1] != head_dim:
        return f"value has head_dim {value.shape[-1]} and query {head_dim}; use implementation='eager'."
    if head_dim > LARGEST_HEAD:
        return f"it takes a head_dim of at most {LARGEST_HEAD}, not {head_dim}; use implementation='flash'."
    if query.dtype not in DTYPES:
        return f"it has no {str(query.dtype).removeprefix('torch.')}; use implementation='flash'."
    failure = fused_probe(query.device, query.dtype)
    return None if failure is None else f"{failure}; use implementation='flash'."


@lru_cache(maxsize=64)
def fused_probe(device: torch.device, dtype: torch.dtype) -> str | None:
    """Run both kernels once on a few tokens; None if they work, else why not."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    kernels = importlib.import_module("selfextend_viz.attention.fused_kernels")
    if device.type != "cuda" and not kernels.INTERPRETED:
        return f"Triton compiles for CUDA, not for {device.type}"
    refused = importlib.import_module("triton.errors").TritonError, RuntimeError, TypeError, AttributeError
    # Triton builds its launcher with the machine's C compiler, which may be missing or lack Python's headers.
    unbuilt = ImportError, OSError, subprocess.SubprocessError
    query = torch.ones(1, 2, 2, 16, dtype=dtype, device=device)
    slots, band = Slots.full(batch=1, queries=2, keys=2, device=device), Band()
    try:
        with torch.no_grad():
            for room in ("decode", "prefill"):
                run = importlib.import_module(f"selfextend_viz.attention.fused_{room}").run
                run(query, query[:, :1], query[:, :1], band, None, rotate=Unturned(), slots=slots, scale=0.25)
    except (*refused, *unbuilt) as error:
        said = str(error) or type(error).__name__
        return f"it is not available: {said.splitlines()[0]}"
    return None
