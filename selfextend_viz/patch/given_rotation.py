"""Whether a model rotates a layer by the frequencies that its rotary module holds.

A layer is measured with cosines and sines of our choice; which ones it is given is up to the model, that may have
others beside, or none for this layer. So the first text that runs under a method is looked at, once for each layer.
"""

from __future__ import annotations

import inspect
import weakref
from typing import Any

import torch
from torch import Tensor, nn

from selfextend_viz.patch.models import Layer
from selfextend_viz.patch.rotation import Rotary

__all__ = ["GivenRotation"]

_CLOSE = 0.03


class GivenRotation:
    """A forward pre-hook of the layers of one block; each is looked at until two of its tokens stood side by side."""

    def __init__(self) -> None:
        self._seen: weakref.WeakSet[nn.Module] = weakref.WeakSet()
        self._right: dict[Rotary, weakref.ref[Tensor]] = {}

    # Reads numbers from the device: a compiler must call it, not trace it.
    @torch.compiler.disable
    def look(self, layer: Layer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Look at what a layer is given; layers that are given the very same are looked at once.

        Raises
        ------
        ValueError
            If from one token to the next it is not turned by its rotary module's frequencies.
        """
        if module in self._seen:
            return
        given = inspect.signature(type(module).forward).bind_partial(module, *args, **kwargs)
        tables = given.arguments.get("position_embeddings")
        if tables is None:
            raise ValueError(_sentence(layer, "is given no rotation at all"))
        known = self._right.get(layer.rotary)
        if known is None or known() is not tables[0]:
            right = _is_right(layer.rotary, *tables)
            if right is None:
                return
            if not right:
                raise ValueError(_sentence(layer, "is turned by other frequencies than those of its rotary module"))
            self._right[layer.rotary] = weakref.ref(tables[0])
        self._seen.add(module)


def _is_right(rotary: Rotary, cos: Tensor, sin: Tensor) -> bool | None:
    """Whether tokens are turned on by the frequencies of a rotary module; None if no two stand side by side."""
    steps = _steps(cos, sin)
    if steps is None:
        return None
    wanted = torch.stack([part[0, 0].float().cpu() for part in rotary.cos_sin_at(1)])
    return wanted.shape[-1] == steps.shape[-1] and bool(((steps - wanted).abs().amax((-2, -1)) < _CLOSE).any())


def _sentence(layer: Layer, what: str) -> str:
    return f"{layer.name} {what}, so a method would tell it wrong positions; this model cannot be extended"


@torch.no_grad()
def _steps(cos: Tensor, sin: Tensor) -> Tensor | None:
    """Cosines and sines ``[steps, 2, columns]`` of what each token is turned on from the one before; None if alone."""
    if cos.shape[-2] < 2:
        return None
    cos, sin = (part.float().cpu().flatten(0, -3) for part in (cos[..., -8:, :], sin[..., -8:, :]))
    earlier, later = slice(None, -1), slice(1, None)
    length = cos[:, earlier].square() + sin[:, earlier].square()
    along = cos[:, later] * cos[:, earlier] + sin[:, later] * sin[:, earlier]
    across = sin[:, later] * cos[:, earlier] - cos[:, later] * sin[:, earlier]
    steps = torch.stack((along, across), dim=-2) / length[..., None, :]
    moving = steps[..., 1, :].abs().amax(-1) > 0
    return steps[moving] if moving.any() else None
