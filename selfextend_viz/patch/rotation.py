"""From the positions a model rotated to, to the positions a band tells.

Rotations compose: a query or key the model has turned to position p is turned on by ``told(p) - p``. The frequencies
are the model's own buffers, rounding included, and never its attention scaling, which the model has applied already.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from selfextend_viz.positions import Band, Positions, true_position
from selfextend_viz.rope import cos_sin, turn

Told = Callable[[Positions], Positions]
"""Where a band says that tokens stand."""

_PINNED = "_selfextend_pinned"
_DYNAMIC_STATE = ("inv_freq", "original_inv_freq", "max_seq_len_cached", "attention_scaling")


@dataclass(frozen=True)
class Rotary:
    """How one attention layer is rotated.

    Attributes
    ----------
    module
        The model's rotary module.
    layer_type
        The kind of layer whose frequencies are meant, where the module has some for each kind; else ``None``.
    interleaved
        Whether pairs of dimensions are neighbours, as in Cohere, and not halves apart, as in Llama.
    """

    module: nn.Module
    layer_type: str | None = None
    interleaved: bool = False

    @property
    def frequencies(self) -> Tensor:
        """The frequencies ``[pairs]`` as they are now, fastest first."""
        frequencies: Any = getattr(self.module, f"{_prefix(self.layer_type)}inv_freq")
        return frequencies

    def cos_sin_at(self, position: int) -> tuple[Tensor, ...]:
        """What the module itself makes of a position: cosines and sines ``[1, 1, ...]`` without attention scaling.

        Its forward is called past its wrappers: those of dynamic and long rotary modules rewrite its buffers.
        """
        device = self.frequencies.device
        kind = () if self.layer_type is None else (self.layer_type,)
        like, positions = torch.empty(0, dtype=torch.float32, device=device), torch.tensor([[position]], device=device)
        found = inspect.unwrap(type(self.module).forward)(self.module, like, positions, *kind)
        scaling = getattr(self.module, f"{_prefix(self.layer_type)}attention_scaling", 1.0)
        return tuple(part / scaling for part in found)


def turns_of(rotary: Rotary, query_positions: Tensor, key_positions: Tensor) -> Turns:
    """The :class:`Turns` of a layer's layout; kernels know the angles of half-split pairs only."""
    return (Turns if rotary.interleaved else TableTurns)(rotary, query_positions, key_positions)


class Turns:
    """Turns queries and keys from their true positions to a band's; cosines and sines are made once per position map.

    Parameters
    ----------
    rotary
        How the layer is rotated.
    query_positions, key_positions
        True positions, int64 ``[length]`` or ``[batch, length]``; on padding anything.
    """

    def __init__(self, rotary: Rotary, query_positions: Tensor, key_positions: Tensor) -> None:
        self._rotary = rotary
        self._positions = {"query": query_positions, "key": key_positions}
        self._tables: dict[tuple[str, int, Told, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    @property
    def frequencies(self) -> Tensor:
        """The layer's frequencies, as they are now."""
        return self._rotary.frequencies

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        """Turn ``[batch, heads, length, head_dim]``; the very tensor where the band tells the true positions."""
        return self.part(tensor, band, side, slice(None))

    def part(self, tensor: Tensor, band: Band, side: str, some: slice) -> Tensor:
        """As :meth:`selfextend_viz.attention.logits.PartRotate.part`."""
        told = _told(band, side)
        return tensor if told is true_position else self._turned(tensor, side, 0, told, some)

    def keys_from(self, first: int, keys: Tensor, told: Told) -> Tensor:
        """Turn the keys ``[batch, key heads, some, head_dim]`` of the slots from ``first`` on, of all, as told."""
        return self._turned(keys, "key", first, told, slice(None))

    def _turned(self, tensor: Tensor, side: str, first: int, told: Told, some: slice) -> Tensor:
        tables = self._table(side, first, told, tensor.device)
        return turn(tensor, *tables, some=some, interleaved=self._rotary.interleaved)

    def _table(
        self, side: str, first: int, told: Told, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        asked = (side, first, told, device, dtype)
        if asked not in self._tables:
            if dtype is torch.float32:
                positions = self._positions[side][..., first:]
                self._tables[asked] = cos_sin_of_shift(self._rotary.frequencies, told(positions) - positions, device)
            else:
                cos, sin = self._table(side, first, told, device)
                self._tables[asked] = cos.to(dtype), sin.to(dtype)
        return self._tables[asked]


class TableTurns(Turns):
    """Turns that can also say by which angles they turn."""

    def tables(self, tensor: Tensor, band: Band, side: str, *, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """As :meth:`selfextend_viz.attention.logits.TableRotate.tables`."""
        told = _told(band, side)
        return None if told is true_position else self._table(side, 0, told, tensor.device, dtype)


def _told(band: Band, side: str) -> Told:
    return band.query_position if side == "query" else band.key_position


def cos_sin_of_shift(frequencies: Tensor, shift: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of a shift of positions, float32 ``[batch or 1, 1, length, pairs]``."""
    with torch.no_grad():
        cos, sin = cos_sin(torch.atleast_2d(shift).to(frequencies.device), frequencies)
    return cos.to(device), sin.to(device)


def changes_frequencies(rotary: nn.Module) -> bool:
    """Whether a rotary module is a dynamic one, whose frequencies follow the length of the text."""
    return any(True for _ in _dynamic_prefixes(rotary))


def pin_frequencies(rotary: nn.Module, pinned: bool) -> None:
    """Hold a dynamic rotary module at the frequencies it was trained with, or give it back exactly as it was.

    Dynamic NTK changes its frequencies with the length; under a method that keeps positions inside the trained range
    there is nothing to scale. Other modules are left alone.
    """
    state = rotary.__dict__
    prefixes = tuple(_dynamic_prefixes(rotary))
    if pinned and _PINNED not in state and prefixes:
        names = dict.fromkeys(f"{prefix}{name}" for prefix in ("", *prefixes) for name in _DYNAMIC_STATE)
        state[_PINNED] = {name: getattr(rotary, name) for name in names if hasattr(rotary, name)}
        for prefix in prefixes:
            setattr(rotary, f"{prefix}inv_freq", getattr(rotary, f"{prefix}original_inv_freq"))
        rotary.forward = partial(inspect.unwrap(type(rotary).forward), rotary)
    elif not pinned and _PINNED in state:
        del state["forward"]
        for name, value in state.pop(_PINNED).items():
            setattr(rotary, name, value)


def _dynamic_prefixes(rotary: nn.Module) -> Iterator[str]:
    """Of the names of those buffers that dynamic NTK changes."""
    kinds: Any = getattr(rotary, "rope_type", "")
    for layer_type, kind in kinds.items() if isinstance(kinds, dict) else ((None, kinds),):
        if "dynamic" in str(kind):
            yield _prefix(layer_type)


def _prefix(layer_type: str | None) -> str:
    return "" if layer_type is None else f"{layer_type}_"
