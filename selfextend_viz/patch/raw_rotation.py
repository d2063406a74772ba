"""A model's own rotation at any precision, read off the function its file turns queries and keys with.

No layout is written down here: which dimensions turn together, which way, and by which frequency, is asked of the
model's code with numbers that show it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from selfextend_viz.patch.models import Layer


@dataclass(frozen=True, eq=False)
class RawRotation:
    """Turns heads that nothing has turned yet.

    Attributes
    ----------
    frequencies
        float64 ``[turned]``: radians a token, of every dimension that turns.
    partner, sign
        int64 and float64 ``[turned]``: the dimension that each turns with, and whether it is added or subtracted.
    scaling
        What the model multiplies cosines and sines by, as YaRN does.
    """

    frequencies: Tensor
    partner: Tensor
    sign: Tensor
    scaling: float

    @classmethod
    def of(cls, layer: Layer) -> RawRotation:
        """The rotation of one layer, with the frequencies its rotary module has now.

        Raises
        ------
        ValueError
            If the model's file has no ``apply_rotary_pos_emb``, or one that does not turn pairs of dimensions.
        """
        rotary: Any = layer.rotary.module
        kind = _layer_type(layer, rotary)
        prefix = "" if kind is None else f"{kind}_"
        frequencies: Tensor = getattr(rotary, f"{prefix}inv_freq").cpu().double()
        scaling = float(getattr(rotary, f"{prefix}attention_scaling", 1))
        columns = _column_frequencies(rotary, kind, frequencies)
        column, pair = _layout(layer.module, turned=2 * len(frequencies), columns=len(columns))
        return cls(columns[column], pair.abs().long() - 1, pair.sign().double(), scaling)

    def __call__(self, tensor: Tensor, positions: Tensor) -> Tensor:
        """Turn ``[batch or 1, heads, length, head_dim]`` to positions ``[batch, length]``, whole or not.

        In float64 for a float64 tensor; for others as transformers does, angles in float32 and products in theirs.
        """
        return self.turner(tensor)(positions)

    def turner(self, tensor: Tensor) -> Callable[[Tensor], Tensor]:
        """What turns this tensor to one set of positions after another."""
        turning, rest = tensor[..., : len(self.frequencies)], tensor[..., len(self.frequencies) :]
        partner = turning[..., self.partner.to(tensor.device)]

        def turned_to(positions: Tensor) -> Tensor:
            cos, sin = self._tables(positions, tensor)
            turned = turning * cos
            turned += partner * sin
            return torch.cat((turned, rest.expand(len(turned), -1, -1, -1)), dim=-1) if rest.shape[-1] else turned

        return turned_to

    def _tables(self, positions: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines ``[batch, 1, length, turned]``; equal positions share one evaluation."""
        wide = torch.promote_types(like.dtype, torch.float32)
        frequencies, sign = (part.to(device=like.device, dtype=wide) for part in (self.frequencies, self.sign))
        distinct, which = positions.unique(return_inverse=True)
        angles = distinct.to(wide)[:, None] * frequencies
        cos, sin = ((table * self.scaling).to(like.dtype) for table in (angles.cos(), angles.sin() * sign))
        return cos[which][:, None], sin[which][:, None]


def _layer_type(layer: Layer, rotary: Any) -> str | None:
    """The kind of the layer, for rotary modules that keep frequencies by kind."""
    types = getattr(layer.module.config, "layer_types", None)
    kind = None if types is None else types[layer.index]
    return kind if kind is not None and hasattr(rotary, f"{kind}_inv_freq") else None


def _column_frequencies(rotary: Any, kind: str | None, frequencies: Tensor) -> Tensor:
    """The frequency behind each column of the model's cosines, float64: at position 1 a column is its own angle."""
    device = getattr(rotary, "inv_freq" if kind is None else f"{kind}_inv_freq").device
    one, like = torch.ones(1, 1, dtype=torch.int64, device=device), torch.empty(0, dtype=torch.float32, device=device)
    forward = inspect.unwrap(type(rotary).forward)
    with torch.no_grad():
        cos, sin = forward(rotary, like, one) if kind is None else forward(rotary, like, one, kind)
    angles = torch.atan2(sin.cpu().double(), cos.cpu().double())[0, 0]
    return frequencies[(angles[:, None] - frequencies).abs().argmin(-1)]


def _layout(module: Any, *, turned: int, columns: int) -> tuple[Tensor, Tensor]:
    """Of each dimension that turns: its column of the cosines, and its partner from 1 on, negative if subtracted."""
    apply = getattr(sys.modules[type(module).__module__], "apply_rotary_pos_emb", None)
    if apply is None:
        raise ValueError(
            f"the file of {type(module).__name__} has no apply_rotary_pos_emb, so how its heads turn cannot be asked "
            "of it; only models that have one can be verified"
        )
    names, zero = torch.arange(1.0, columns + 1)[None, None], torch.zeros(1, 1, columns)
    dimensions = torch.arange(1.0, turned + 1)
    column = _first(apply, torch.ones(turned), names, zero)
    pair = _first(apply, dimensions, zero, torch.ones_like(names))
    whole = sorted(pair.abs().tolist()) == dimensions.tolist() and torch.isin(column, names).all()
    if not whole or not torch.equal(pair.sign() * pair[pair.abs().long() - 1], -dimensions):
        raise ValueError(
            f"apply_rotary_pos_emb of {type(module).__name__} does not turn its {turned} dimensions in pairs; "
            "only such models can be verified"
        )
    return column.long() - 1, pair


def _first(apply: Any, head: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    turned: Tensor = apply(head[None, None, None], head[None, None, None], cos, sin)[0]
    return turned[0, 0, 0]
