"""From the positions a model rotated to, to the positions a band tells.

Rotations compose: a query or key the model has turned to position p is turned on by ``told(p) - p``. The cosines and
sines come from the model's own rotary module, so that its frequencies, rounding included, are the ones used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from selfextend_viz.positions import Band, Positions, true_position
from selfextend_viz.rope import turn

Told = Callable[[Positions], Positions]
"""Where a band says that tokens stand."""

_PINNED = "_selfextend_pinned"
_DYNAMIC_STATE = ("inv_freq", "original_inv_freq", "max_seq_len_cached", "attention_scaling")


class Turns:
    """Turns queries and keys from their true positions to a band's; cosines and sines are made once per position map.

    Parameters
    ----------
    rotary
        The model's rotary module.
    query_positions, key_positions
        True positions, int64 ``[length]`` or ``[batch, length]``; on padding anything.
    """

    def __init__(self, rotary: nn.Module, query_positions: Tensor, key_positions: Tensor) -> None:
        self._rotary = rotary
        self._positions = {"query": query_positions, "key": key_positions}
        self._tables: dict[tuple[str, int, Told, torch.device, torch.dtype], tuple[Tensor, Tensor]] = {}

    @property
    def frequencies(self) -> Tensor:
        """The rotary module's frequencies, as they are now."""
        frequencies: Any = self._rotary.inv_freq
        return frequencies

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        """Turn ``[batch, heads, length, head_dim]``; the very tensor where the band tells the true positions."""
        return self.part(tensor, band, side, slice(None))

    def part(self, tensor: Tensor, band: Band, side: str, some: slice) -> Tensor:
        """As :meth:`selfextend_viz.attention.logits.PartRotate.part`."""
        tables = self.tables(tensor, band, side, dtype=torch.float32)
        return tensor if tables is None else turn(tensor, *tables, some=some)

    def tables(self, tensor: Tensor, band: Band, side: str, *, dtype: torch.dtype) -> tuple[Tensor, Tensor] | None:
        """As :meth:`selfextend_viz.attention.logits.TableRotate.tables`."""
        told = band.query_position if side == "query" else band.key_position
        return None if told is true_position else self._table(side, 0, told, tensor.device, dtype)

    def keys_from(self, first: int, keys: Tensor, told: Told) -> Tensor:
        """Turn the keys ``[batch, key heads, some, head_dim]`` of the slots from ``first`` on, of all, as told."""
        return turn(keys, *self._table("key", first, told, keys.device))

    def _table(
        self, side: str, first: int, told: Told, device: torch.device, dtype: torch.dtype = torch.float32
    ) -> tuple[Tensor, Tensor]:
        asked = (side, first, told, device, dtype)
        if asked not in self._tables:
            if dtype is torch.float32:
                positions = self._positions[side][..., first:]
                self._tables[asked] = cos_sin_of_shift(self._rotary, told(positions) - positions, device)
            else:
                cos, sin = self._table(side, first, told, device)
                self._tables[asked] = cos.to(dtype), sin.to(dtype)
        return self._tables[asked]


def cos_sin_of_shift(rotary: nn.Module, shift: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of a shift of positions, float32 ``[batch or 1, 1, length, pairs]``, attention scaling removed.

    The module's forward is called past its wrappers: those of dynamic and long rotary modules rewrite its buffers.
    """
    forward = inspect.unwrap(type(rotary).forward)
    buffer: Any = rotary.inv_freq
    like = torch.empty(0, dtype=torch.float32, device=buffer.device)
    with torch.no_grad():
        cos, sin = forward(rotary, like, torch.atleast_2d(shift).to(buffer.device))
        scaling = getattr(rotary, "attention_scaling", 1.0)
        pairs = cos.shape[-1] // 2
        return tuple((part[:, None, :, :pairs] / scaling).to(device) for part in (cos, sin))  # type: ignore[return-value]


def changes_frequencies(rotary: nn.Module) -> bool:
    """Whether a rotary module is a dynamic one, whose frequencies follow the length of the text."""
    return "dynamic" in str(getattr(rotary, "rope_type", ""))


def pin_frequencies(rotary: nn.Module, pinned: bool) -> None:
    """Hold a dynamic rotary module at the frequencies it was trained with, or give it back exactly as it was.

    Dynamic NTK changes its frequencies with the length; under a method that keeps positions inside the trained range
    there is nothing to scale. Other modules are left alone.
    """
    state = rotary.__dict__
    if pinned and _PINNED not in state and changes_frequencies(rotary):
        state[_PINNED] = {name: getattr(rotary, name) for name in _DYNAMIC_STATE if hasattr(rotary, name)}
        rotary.inv_freq = rotary.original_inv_freq
        rotary.forward = partial(inspect.unwrap(type(rotary).forward), rotary)
    elif not pinned and _PINNED in state:
        del state["forward"]
        for name, value in state.pop(_PINNED).items():
            setattr(rotary, name, value)
