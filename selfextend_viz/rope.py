"""Rotary position embedding: frequencies, and the one rotation that turns positions into phases.

The only place in the package with cosines and sines. Layout is half-split, as in Llama: dimension ``d`` is paired with
dimension ``d + rotary_dim / 2``; :func:`turn` also knows the interleaved one, where ``2 d`` is paired with ``2 d + 1``.

Source: RoFormer (arXiv 2104.09864), eq. 15 and 34.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["cos_sin", "default_inv_freq", "rotate", "turn"]

SHARED_FROM = 512


def default_inv_freq(head_dim: int, *, theta: float = 10000.0) -> tuple[Tensor, float]:
    """Frequencies of plain RoPE: ``theta ** (-2 d / head_dim)``, and an attention factor of 1.

    Parameters
    ----------
    head_dim : int
        Rotated dimensions per head; even and positive.
    theta : float
        Base of the geometric progression.

    Returns
    -------
    inv_freq : Tensor
        float32 ``[head_dim // 2]``, radians per token.
    attention_factor : float
        What cosines and sines are multiplied by; 1.0 here.

    Raises
    ------
    TypeError
        If ``head_dim`` is not an integer.
    ValueError
        If ``head_dim`` is odd or below 2, or ``theta`` is not a positive finite number.
    """
    if isinstance(head_dim, bool) or not isinstance(head_dim, int):
        raise TypeError(f"head_dim must be an integer, got {head_dim!r}; pass the size of the last axis of query.")
    if head_dim < 2 or head_dim % 2:
        raise ValueError(
            f"head_dim must be even and at least 2, since RoPE turns dimensions in pairs; got {head_dim}. "
            "For a partly rotated head pass inv_freq with one frequency per rotated pair."
        )
    if not (math.isfinite(theta) and theta > 0):
        raise ValueError(f"theta must be a positive finite number, got {theta}; Llama uses 10000.0.")
    exponent = torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim
    return 1.0 / (float(theta) ** exponent), 1.0


def cos_sin(
    positions: Tensor, inv_freq: Tensor, *, attention_factor: float = 1.0, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Cosines and sines of ``positions * inv_freq``.

    Parameters
    ----------
    positions : Tensor
        ``[length]`` or ``[batch, length]``.
    inv_freq : Tensor
        ``[pairs]``.
    attention_factor : float
        Multiplies both results (YaRN's and LongRoPE's scaling).
    dtype : torch.dtype
        float32 or float64: what the angles are computed in.

    Returns
    -------
    tuple of Tensor
        Each ``[length, pairs]``, or ``[batch, 1, length, pairs]``.
    """
    if (shared := _shared_positions(positions)) is not None:
        distinct, which = shared
        tables = cos_sin(distinct, inv_freq, attention_factor=attention_factor, dtype=dtype)
        cos, sin = (table.index_select(0, which.flatten()).unflatten(0, which.shape) for table in tables)
        return (cos[:, None], sin[:, None]) if positions.ndim == 2 else (cos, sin)
    angles = positions.to(dtype)[..., None] * inv_freq.to(device=positions.device, dtype=dtype)
    if positions.ndim == 2:
        angles = angles[:, None]
    cos, sin = angles.cos(), angles.sin()
    return (cos, sin) if attention_factor == 1.0 else (cos * attention_factor, sin * attention_factor)


def _shared_positions(positions: Tensor) -> tuple[Tensor, Tensor] | None:
    """Distinct positions and which of them each is, where tokens share them; not off the CPU, which would wait."""
    if positions.device.type != "cpu" or positions.is_floating_point() or positions.numel() < SHARED_FROM:
        return None
    low, high = (int(bound) for bound in positions.aminmax())
    if 2 * (high - low + 1) > positions.numel():
        return None
    return torch.arange(low, high + 1), positions - low


def rotate(tensor: Tensor, positions: Tensor, inv_freq: Tensor, *, attention_factor: float = 1.0) -> Tensor:
    """Turn every head of ``tensor`` to ``positions``.

    The first ``2 * len(inv_freq)`` dimensions turn, the others pass through. Angles and products are computed in
    float32 at least, whatever the precision of ``tensor``, and rounded once.

    Parameters
    ----------
    tensor : Tensor
        ``[batch, heads, length, head_dim]``.
    positions : Tensor
        ``[length]`` or ``[batch, length]``.
    inv_freq : Tensor
        ``[pairs]`` with ``2 * pairs <= head_dim``.
    attention_factor : float
        Multiplies cosines and sines, hence the rotated dimensions.

    Returns
    -------
    Tensor
        Shape and dtype of ``tensor``.

    Raises
    ------
    ValueError
        If the shapes do not fit each other.
    """
    _check(tensor, positions, inv_freq)
    dtype = torch.promote_types(tensor.dtype, torch.float32)
    cos, sin = cos_sin(positions.to(tensor.device), inv_freq, attention_factor=attention_factor, dtype=dtype)
    return turn(tensor, cos, sin)


def turn(tensor: Tensor, cos: Tensor, sin: Tensor, *, some: slice = slice(None), interleaved: bool = False) -> Tensor:
    """Turn every head of ``tensor`` by angles whose cosines and sines are known.

    Parameters
    ----------
    tensor : Tensor
        ``[batch, heads, length, head_dim]``.
    cos, sin : Tensor
        float32 at least, broadcasting to ``[batch, heads, length, pairs]``; the first ``2 * pairs`` dimensions turn.
    some : slice
        The part of the length to turn, where no gradient is asked for. The rest of the result is not written.
    interleaved : bool
        Whether pairs are neighbours, ``(0, 1), (2, 3), ...``, as in GPT-J and Cohere, and not halves apart.

    Returns
    -------
    Tensor
        Shape and dtype of ``tensor``; products are computed in the precision of ``cos`` and rounded once.
    """
    pairs = cos.shape[-1]
    first, second = (slice(0, 2 * pairs, 2), slice(1, 2 * pairs, 2)) if interleaved else _halves(pairs)
    if torch.is_grad_enabled() and (tensor.requires_grad or cos.requires_grad):
        low, high = tensor[..., first].to(cos.dtype), tensor[..., second].to(cos.dtype)
        turned = low * cos - high * sin, high * cos + low * sin
        paired = torch.stack(turned, dim=-1).flatten(-2) if interleaved else torch.cat(turned, dim=-1)
        return torch.cat((paired.to(tensor.dtype), tensor[..., 2 * pairs :]), dim=-1)
    into = result = torch.empty_like(tensor, dtype=cos.dtype)
    source = tensor
    if some != slice(None):
        into, source, cos, sin = result[:, :, some], tensor[:, :, some], cos[..., some, :], sin[..., some, :]
    members = source[..., first].to(cos.dtype), source[..., second].to(cos.dtype)
    _turn_into(into[..., first], into[..., second], *members, cos, sin)
    if 2 * pairs < tensor.shape[-1]:
        into[..., 2 * pairs :] = source[..., 2 * pairs :]
    return result.to(tensor.dtype)


def _halves(pairs: int) -> tuple[slice, slice]:
    return slice(0, pairs), slice(pairs, 2 * pairs)


def _turn_into(low: Tensor, high: Tensor, first: Tensor, second: Tensor, cos: Tensor, sin: Tensor) -> None:
    """The rotation without temporaries, whose allocation would cost more than the arithmetic."""
    torch.mul(first, cos, out=low)
    low.addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=high)
    high.addcmul_(first, sin)


def _check(tensor: Tensor, positions: Tensor, inv_freq: Tensor) -> None:
    if tensor.ndim != 4:
        raise ValueError(f"tensor must be [batch, heads, length, head_dim], got shape {tuple(tensor.shape)}.")
    if inv_freq.ndim != 1 or not 0 < 2 * inv_freq.shape[0] <= tensor.shape[-1]:
        raise ValueError(
            f"inv_freq must be one-dimensional with 1 to head_dim // 2 = {tensor.shape[-1] // 2} frequencies, "
            f"got shape {tuple(inv_freq.shape)}."
        )
    batch, _, length, _ = tensor.shape
    if tuple(positions.shape) not in {(length,), (batch, length), (1, length)}:
        raise ValueError(
            f"positions must be [{length}] or [{batch}, {length}] to fit tensor {tuple(tensor.shape)}, "
            f"got {tuple(positions.shape)}."
        )
