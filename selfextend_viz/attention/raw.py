"""Attention of a method on raw tensors, which no model has rotated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from selfextend_viz.attention.checks import check_options, check_padding, check_rotary, check_tensors
from selfextend_viz.attention.dispatch import core
from selfextend_viz.attention.logits import band_logits
from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band, bands_of
from selfextend_viz.rope import cos_sin, default_inv_freq, turn

if TYPE_CHECKING:
    from selfextend_viz.positions import Method

__all__ = ["attend", "attention_logits"]


def attend(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    method: Method,
    *,
    theta: float = 10000.0,
    inv_freq: Tensor | None = None,
    attention_factor: float = 1.0,
    scale: float | None = None,
    softcap: float | None = None,
    sinks: Tensor | None = None,
    key_padding: Tensor | None = None,
    implementation: str = "auto",
) -> Tensor:
    """Attention under a method: Self-Extend, plain RoPE, or any other set of bands.

    Parameters
    ----------
    query : Tensor
        ``[batch, heads, q, head_dim]``, not rotated; the queries are the last of the keys' positions.
    key, value : Tensor
        ``[batch, key heads, k, head_dim]``, not rotated; heads is a multiple of key heads.
    method : Method
        E.g. ``SelfExtend(group_size=8, neighbor_window=1024)``.
    theta : float
        RoPE's base, where ``inv_freq`` is not given.
    inv_freq : Tensor, optional
        Frequencies ``[pairs]``; ``2 * pairs`` dimensions of each head are rotated.
    attention_factor : float
        Multiplies cosines and sines.
    scale : float, optional
        ``head_dim ** -0.5`` if left out.
    softcap : float, optional
        Logits become ``softcap * tanh(logits / softcap)``.
    sinks : Tensor, optional
        ``[heads]``: one more logit per head that takes softmax mass and gives nothing.
    key_padding : Tensor, optional
        bool ``[batch, k]``, True where a key is padding, on the left or right of a row. Positions count from a row's
        first token.
    implementation : {"auto", "eager", "flash", "fused"}
        ``"auto"`` takes the fastest that can run.

    Returns
    -------
    Tensor
        Shape and precision of query; zeros for queries that are padding.

    Raises
    ------
    TypeError, ValueError
        For inputs that do not fit, with the number that is wrong; for flash or fused where it cannot run.

    Notes
    -----
    Source: Self-Extend, arXiv 2401.01325, section 3.

    Examples
    --------
    >>> query = key = value = torch.randn(1, 4, 500, 64)
    >>> attend(query, key, value, SelfExtend(group_size=8, neighbor_window=64)).shape
    torch.Size([1, 4, 500, 64])
    """
    bands = bands_of(method)
    check_tensors(query, key, value)
    check_rotary(query, inv_freq, attention_factor)
    slots = _slots(query, key, key_padding)
    frequencies = default_inv_freq(query.shape[-1], theta=theta)[0] if inv_freq is None else inv_freq
    return core(
        query,
        key,
        value,
        bands,
        rotate=_Turns(slots, frequencies, attention_factor),
        key_positions=slots,
        scale=scale,
        softcap=softcap,
        sinks=sinks,
        implementation=implementation,
    )


def attention_logits(
    query: Tensor,
    key: Tensor,
    method: Method,
    *,
    theta: float = 10000.0,
    inv_freq: Tensor | None = None,
    attention_factor: float = 1.0,
    scale: float | None = None,
    softcap: float | None = None,
    key_padding: Tensor | None = None,
) -> Tensor:
    """The logits that :func:`attend` would put through its softmax; the arguments are the same.

    Returns
    -------
    Tensor
        ``[batch, heads, q, k]``, float32 (float64 for float64 inputs), ``-inf`` where a key is not seen.

    Raises
    ------
    TypeError, ValueError
        For inputs that do not fit, with the number that is wrong.
    """
    bands = bands_of(method)
    check_tensors(query, key)
    check_rotary(query, inv_freq, attention_factor)
    check_options(query, scale=scale, softcap=softcap, sinks=None)
    slots = _slots(query, key, key_padding)
    frequencies = default_inv_freq(query.shape[-1], theta=theta)[0] if inv_freq is None else inv_freq
    turn = _Turns(slots, frequencies, attention_factor)
    return band_logits(query, key, bands, rotate=turn, key_positions=slots, scale=scale, softcap=softcap)


def _slots(query: Tensor, key: Tensor, key_padding: Tensor | None) -> Slots:
    batch, queries, keys = query.shape[0], query.shape[2], key.shape[2]
    if key_padding is None:
        return Slots.full(batch=batch, queries=queries, keys=keys, device=query.device)
    check_padding(key_padding, batch=batch, keys=keys)
    seen = ~key_padding.to(query.device)
    positions = torch.where(seen, seen.cumsum(-1) - 1, -1)
    return Slots.of(positions, queries=queries, written=keys)


class _Turns:
    """Turns raw queries and keys to a band's positions; angles are computed once per position map."""

    def __init__(self, slots: Slots, inv_freq: Tensor, attention_factor: float) -> None:
        self._places = {"query": slots.query_positions.clamp(min=0), "key": slots.positions.clamp(min=0)}
        self._alike = slots.queries == slots.keys
        self._inv_freq = inv_freq
        self._attention_factor = attention_factor
        self._known: dict[Any, tuple[Tensor, Tensor]] = {}
        self._spent: dict[str, Tensor] = {}

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        return turn(tensor, *self.tables(tensor, band, side, dtype=torch.promote_types(tensor.dtype, torch.float32)))

    def part(self, tensor: Tensor, band: Band, side: str, some: slice) -> Tensor:
        """As :meth:`selfextend_viz.attention.logits.PartRotate.part`."""
        dtype = torch.promote_types(tensor.dtype, torch.float32)
        tables = self.tables(tensor, band, side, dtype=dtype)
        if tensor.dtype != dtype:
            return turn(tensor, *tables, some=some)
        self._spent[side] = turn(tensor, *tables, some=some, spent=self._spent.get(side))
        return self._spent[side]

    def tables(self, tensor: Tensor, band: Band, side: str, *, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """As :meth:`selfextend_viz.attention.logits.TableRotate.tables`."""
        exact = torch.promote_types(dtype, torch.float32)
        position = band.query_position if side == "query" else band.key_position
        asked = (position, self._alike or side, tensor.device, exact)
        if asked not in self._known:
            told: Tensor = position(self._places[side])
            told = told.to(tensor.device)
            self._known[asked] = cos_sin(told, self._inv_freq, attention_factor=self._attention_factor, dtype=exact)
        cos, sin = self._known[asked]
        return cos.to(dtype), sin.to(dtype)
