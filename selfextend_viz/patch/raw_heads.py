"""Look at attention layers from outside a method: heads before any rotation, and what the layer made of them.

Each layer's own projections run a second time on the inputs they were given, with cosines of one and sines of zero, and
are stopped where they would attend. What is seen owes nothing to the positions, the bands or the caches of a method.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface

from selfextend_viz.patch.binding import IMPLEMENTATION, blocks_of
from selfextend_viz.patch.lending import extended
from selfextend_viz.patch.models import Layer, attention_layers
from selfextend_viz.patch.raw_rotation import RawRotation
from selfextend_viz.positions import Method

_RECORDED = "selfextend_recorded"
_CACHES = ("past_key_values", "past_key_value", "layer_past")
_HERE = threading.local()


@dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of one attention layer.

    Attributes
    ----------
    layer
        Number of the layer.
    query, key, value
        ``[batch, heads, new, head_dim]``, keys and values of key heads: the new tokens', not rotated.
    output
        ``[batch, heads, new, head_dim]``: what the method's attention gave back.
    rotation
        How the model turns this layer's heads.
    scale, softcap, sinks
        As the attention was handed them.
    window
        The sliding window that a plain method keeps, or ``None``.
    """

    layer: int
    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    rotation: RawRotation
    scale: float
    softcap: float | None
    sinks: Tensor | None
    window: int | None


@contextmanager
def recorded(
    model: nn.Module, method: Method, callback: Callable[[LayerCall], None], *, implementation: str = "auto"
) -> Iterator[tuple[int, ...]]:
    """Lend a method as :func:`extended` does, and call back after the attention of every layer it touches.

    Every layer's projections run twice. Calls should not be kept: they hold the layer's tensors.

    Parameters
    ----------
    model, method, implementation
        As for :func:`extended`.
    callback
        Called with each :class:`LayerCall`, layer by layer, in every forward inside the block.

    Yields
    ------
    tuple of int
        Numbers of the layers that will be seen.

    Raises
    ------
    TypeError, ValueError
        As :func:`extended`; ``ValueError`` also where a layer's rotation cannot be asked of the model.
    """
    layers = tuple(layer for layer in attention_layers(model) if layer.skipped is None)
    for layer in layers:
        RawRotation.of(layer)
    with extended(model, method, implementation=implementation):
        config = layers[0].module.config
        watches = {layer.module: _Watch(layer, callback) for layer in layers}
        hooks = [module.register_forward_pre_hook(watch.note, with_kwargs=True) for module, watch in watches.items()]
        _WATCHES.update(watches)
        config._attn_implementation = _RECORDED
        try:
            yield tuple(layer.index for layer in layers)
        finally:
            config._attn_implementation = IMPLEMENTATION
            for hook in hooks:
                hook.remove()
            for module in watches:
                _WATCHES.pop(module, None)


class _Stopped(Exception):
    """A module's second run has come to where it would attend."""

    def __init__(self, *heads: Tensor) -> None:
        super().__init__()
        self.heads = heads


class _Watch:
    """What one layer was given, until its attention is done."""

    def __init__(self, layer: Layer, callback: Callable[[LayerCall], None]) -> None:
        self._layer, self._callback = layer, callback
        self._given: inspect.BoundArguments | None = None

    def note(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before the module runs: a forward pre-hook."""
        self._given = inspect.signature(type(module).forward).bind(module, *args, **kwargs)

    def see(self, output: Tensor, options: dict[str, Any]) -> None:
        """After its attention ran."""
        module = self._layer.module
        query, key, value = self._raw_heads(output.device)
        scale = options.get("scaling")
        plain = blocks_of(module)[-1].plain
        call = LayerCall(
            self._layer.index,
            query,
            key,
            value,
            rearrange(output, "b q h d -> b h q d"),
            RawRotation.of(self._layer),
            query.shape[-1] ** -0.5 if scale is None else scale,
            options.get("softcap"),
            options.get("s_aux"),
            options.get("sliding_window") if plain else None,
        )
        self._callback(call)

    def _raw_heads(self, device: torch.device) -> tuple[Tensor, ...]:
        assert self._given is not None
        given, self._given = self._given, None
        cos, sin = given.arguments["position_embeddings"]
        given.arguments["position_embeddings"] = (
            torch.ones_like(cos, device=device),
            torch.zeros_like(sin, device=device),
        )
        given.arguments["hidden_states"] = given.arguments["hidden_states"].to(device)
        for arguments in (given.arguments, given.arguments.get("kwargs", {})):
            arguments.update({name: None for name in _CACHES if name in arguments})
        _HERE.stop = True
        try:
            type(self._layer.module).forward(*given.args, **given.kwargs)
        except _Stopped as stopped:
            return stopped.heads
        finally:
            _HERE.stop = False
        raise ValueError(f"layer {self._layer.index} did not hand its heads to transformers' attention interface")


_WATCHES: weakref.WeakKeyDictionary[nn.Module, _Watch] = weakref.WeakKeyDictionary()


@torch.compiler.disable
def _recording_function(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, Tensor | None]:
    """What runs under a method, looked up when it runs, and then a look at what it did."""
    if getattr(_HERE, "stop", False):
        raise _Stopped(query, key, value)
    output, weights = AttentionInterface()[IMPLEMENTATION](module, query, key, value, attention_mask, **options)
    watch = _WATCHES.get(module)
    if watch is not None:
        watch.see(output, options)
    return output, weights


def _recording_mask(*args: Any, **kwargs: Any) -> Any:
    return AttentionMaskInterface()[IMPLEMENTATION](*args, **kwargs)


AttentionInterface.register(_RECORDED, _recording_function)
AttentionMaskInterface.register(_RECORDED, _recording_mask)
