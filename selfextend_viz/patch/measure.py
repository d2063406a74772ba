"""What one attention layer does, measured with one token: whether it rotates, in which layout, and what it hands on.

No architecture is known by its name. The layer's own forward runs on a stand-in that shares its weights, with cosines
and sines of our choice, and stops where it calls transformers' attention interface; the model is not touched.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from selfextend_viz.patch.rotation import Rotary
from selfextend_viz.rope import turn

__all__ = ["Handed", "NotRotary", "measure", "through_interface"]

_PROBE = "selfextend_probe"
_INTERFACE = "ALL_ATTENTION_FUNCTIONS"
_POSITION = 3
_CLOSE = 0.03
"""Share of the largest query within which two are the same: far above rounding in bfloat16, far below any turn."""

_MEASURED: weakref.WeakKeyDictionary[nn.Module, tuple[object, Handed]] = weakref.WeakKeyDictionary()


class NotRotary(ValueError):
    """A layer that no method can be lent to; the sentence says why."""


@dataclass(frozen=True, eq=False)
class Handed:
    """What a layer hands to attention, for one token.

    Attributes
    ----------
    query
        ``[1, heads, 1, head_dim]``.
    key, value
        ``[1, key heads, 1, head_dim]``.
    softcap, sinks
        As the layer passes them, or ``None``.
    layout
        ``"halves"`` or ``"interleaved"``; ``None`` for a layer that is not rotated.
    """

    query: Tensor
    key: Tensor
    value: Tensor
    softcap: float | None
    sinks: Tensor | None
    layout: str | None


class _Stopped(Exception):
    """Carries what an attention function was called with out of the layer."""

    def __init__(self, tensors: tuple[Tensor, ...], options: dict[str, Any]) -> None:
        super().__init__()
        self.tensors, self.options = tensors, options


def _stop(module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any) -> Any:
    raise _Stopped((query, key, value), options)


AttentionInterface.register(_PROBE, _stop)


class _ProbedConfig:
    """A layer's configuration that names the probe as its attention."""

    _attn_implementation = _PROBE

    def __init__(self, config: Any) -> None:
        self._config = config

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)


def through_interface(module: nn.Module) -> bool:
    """Whether a module's forward calls transformers' attention interface."""
    code = getattr(inspect.unwrap(type(module).forward), "__code__", None)
    return code is not None and _INTERFACE in code.co_names


def measure(module: Any, rotary: Rotary) -> Handed:
    """What a layer hands to attention; measured once for each precision and device it is moved to.

    Parameters
    ----------
    module
        An attention module for which :func:`through_interface` holds.
    rotary
        Its frequencies; of ``interleaved`` nothing is assumed.

    Raises
    ------
    NotRotary
        If it turns its queries and keys in no layout known here.
    """
    dtype, device = _precision(module, rotary)
    stamp = (id(rotary.module), rotary.layer_type, dtype, device)
    known = _MEASURED.get(module)
    if known is None or known[0] != stamp:
        known = _MEASURED[module] = stamp, _measured(module, rotary, dtype, device)
    return known[1]


def _precision(module: Any, rotary: Rotary) -> tuple[torch.dtype, torch.device]:
    """What a layer computes in, and where; weights of fewer bits, or ones that wait elsewhere, do not say."""
    weight = next((weight for weight in module.parameters() if weight.is_floating_point()), None)
    dtype = getattr(module.config, "dtype", None) if weight is None or weight.itemsize < 2 else weight.dtype
    device = _place_of(module, rotary) if weight is None or weight.is_meta else weight.device
    return dtype or torch.float32, device


def _place_of(module: nn.Module, rotary: Rotary) -> torch.device:
    """Where accelerate's hooks bring a layer's weights, or else where its frequencies are."""
    hooks = (getattr(part, "_hf_hook", None) for part in module.modules())
    places = (getattr(hook, "execution_device", None) for hook in hooks)
    return torch.device(next((place for place in places if place is not None), rotary.frequencies.device))


@torch.no_grad()
def _measured(module: Any, rotary: Rotary, dtype: torch.dtype, device: torch.device) -> Handed:
    """One token thrice: not turned, turned by a quarter in every pair, and turned to a position by the model's own."""
    try:
        cos, sin = rotary.cos_sin_at(_POSITION)
        tables = (torch.stack(rows, dim=1).to(device, dtype) for rows in _three(cos[:, 0], sin[:, 0]))
        (query, key, value), options = _handed(module, tuple(tables), device, dtype)
    except NotRotary:
        raise
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        said = str(error).partition("\n")[0] or type(error).__name__
        raise NotRotary(f"its attention could not be tried with one token ({said})") from error
    if query.is_meta:
        raise NotRotary("its weights are on the meta device, so no rotation can be seen; load them first")
    layouts = {_layout(tensor, rotary.frequencies) for tensor in (query, key)}
    if len(layouts) > 1:
        raise NotRotary(f"its queries and keys are turned differently ({' and '.join(map(str, layouts))})")
    sinks = options.get("s_aux")
    sinks = None if sinks is None else sinks.detach()
    one = slice(0, 1)
    return Handed(query[:, :, one], key[:, :, one], value[:, :, one], options.get("softcap"), sinks, layouts.pop())


def _three(cos: Tensor, sin: Tensor) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    return (one, zero, cos), (zero, one, sin)


def _handed(
    module: Any, tables: tuple[Tensor, ...], device: torch.device, dtype: torch.dtype
) -> tuple[tuple[Tensor, ...], dict[str, Any]]:
    """Run a stand-in of the layer on one token, as often as there are cosines and sines ``[1, times, ...]``."""
    stand_in = object.__new__(type(module))
    stand_in.__dict__.update(module.__dict__)
    # Hooks that move weights sit on the layer's parts; one on the layer itself would call the layer, not its stand-in.
    stand_in.__dict__.pop("forward", None)
    stand_in.__dict__["config"] = _ProbedConfig(module.config)
    token = torch.randn(1, 1, module.config.hidden_size, generator=torch.Generator().manual_seed(0))
    tokens = token.to(device, dtype).expand(-1, tables[0].shape[1], -1)
    inputs: dict[str, Any] = {"hidden_states": tokens, "position_embeddings": tables, "attention_mask": None}
    if "position_ids" in inspect.signature(type(module).forward).parameters:
        inputs["position_ids"] = torch.zeros(tokens.shape[:2], dtype=torch.int64, device=device)
    try:
        type(module).forward(stand_in, **inputs)
    except _Stopped as stopped:
        return stopped.tensors, stopped.options
    raise NotRotary("its attention does not call transformers' attention interface")


def _layout(tensor: Tensor, frequencies: Tensor) -> str | None:
    """How the three copies ``[1, heads, 3, head_dim]`` of one query or key are turned; None if they are not."""
    plain, quarter, placed = tensor.float().split(1, dim=2)
    if not plain.any():
        raise NotRotary("its queries or keys are all zero, so no rotation can be seen; load the model's weights first")
    angles = _POSITION * frequencies.float().to(tensor.device)[None]
    if 2 * angles.shape[-1] > tensor.shape[-1]:
        raise NotRotary(
            f"it has {angles.shape[-1]} frequencies for a head of {tensor.shape[-1]}, of which half could turn"
        )
    if _same(plain, quarter, plain) and _same(plain, placed, plain):
        return None
    zero, one = torch.zeros_like(angles), torch.ones_like(angles)
    for name in ("halves", "interleaved"):
        for_quarter, for_placed = (
            turn(plain, cos, sin, interleaved=name == "interleaved")
            for cos, sin in ((zero, one), (angles.cos(), angles.sin()))
        )
        if _same(plain, quarter, for_quarter) and _same(plain, placed, for_placed):
            return name
    raise NotRotary(
        "it turns pairs of dimensions neither half a head apart nor side by side, or by other angles than its "
        "frequencies say, or does more to queries and keys after they are turned"
    )


def _same(plain: Tensor, one: Tensor, other: Tensor) -> bool:
    return bool((one - other).abs().max() <= _CLOSE * plain.abs().max())
