"""Frequencies lent to a model's rotary module for a block, and caches held to the frequencies they were filled with.

Static rules are computed once. Those that change with the length lend the module a forward, which computes them anew.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from selfextend_viz.attention import Rotate
from selfextend_viz.frequencies import Rule, changes_with_length, rule_of, scaled_frequencies
from selfextend_viz.patch.models import Layer, attention_layers
from selfextend_viz.patch.rotation import Rotary
from selfextend_viz.positions import Band, Method
from selfextend_viz.rope import cos_sin, turn

__all__ = ["check_frequencies", "hold_cache", "lend_frequencies", "plain_frequencies", "rotate_for"]

_LENT = "_selfextend_frequencies"
_FILLED_BY = "_selfextend_rule"


@dataclass(eq=False)
class _Lent:
    """What a rotary module is lent, and what it held before."""

    rule: Rule
    theta: float
    context_length: int
    inv_freq: Tensor
    attention_scaling: float
    forward: Any

    def scaled(self, length: int) -> tuple[Tensor, float]:
        """Frequencies and attention factor for a text of a length."""
        return scaled_frequencies(
            self.rule, self.inv_freq, theta=self.theta, length=length, context_length=self.context_length
        )


def check_frequencies(method: Method, lent: Sequence[Layer], every: Sequence[Layer], context_length: int) -> None:
    """Refuse a method that scales frequencies, with ``ValueError``, where they are not plain, or other layers' too.

    Parameters
    ----------
    method
        Any method; nothing is asked of one that leaves frequencies alone.
    lent
        The layers that it is lent to.
    every
        All attention layers of the model.
    context_length
        The model's L.
    """
    if (rule := rule_of(method)) is None:
        return
    mine, modules = {layer.name for layer in lent}, {id(layer.rotary.module) for layer in lent}
    for layer in every:
        turned = layer.handed is None or layer.handed.layout is not None
        if layer.name not in mine and turned and id(layer.rotary.module) in modules:
            raise ValueError(
                f"{method} would also change the frequencies of layer {layer.index}, which it is not lent to; lend it "
                "to every layer, or take a method that changes positions, such as SelfExtend"
            )
    for layer in lent:
        _new(rule, layer.rotary, layer.module.config, context_length).scaled(1)


def plain_frequencies(model: nn.Module) -> tuple[Tensor, float]:
    """A model's own frequencies ``[pairs]``, whatever it is lent now, and their base.

    Raises
    ------
    TypeError, ValueError
        If it is no transformers model that can be extended, or its frequencies are scaled already.
    """
    layer = next(layer for layer in attention_layers(model) if layer.skipped is None)
    found = _new({"rope_type": "any"}, layer.rotary, layer.module.config, 0)
    return found.inv_freq, found.theta


def lend_frequencies(layer: Layer, method: Method | None, context_length: int) -> None:
    """Let a layer's rotary module turn as a method says, or give it back exactly as it was.

    Parameters
    ----------
    layer
        A layer; others that share its module are turned alike.
    method
        The method that holds; ``None``, or one that leaves frequencies alone, gives the module back.
    context_length
        The model's L, where the method does not state it.
    """
    rotary: Any = layer.rotary.module
    state, rule = rotary.__dict__, rule_of(method)
    if _LENT in state:
        if state[_LENT].rule == rule:
            return
        _give_back(rotary)
    if rule is None:
        return
    lent = state[_LENT] = _new(rule, layer.rotary, layer.module.config, context_length)
    rotary.inv_freq, rotary.attention_scaling = lent.scaled(1)
    if changes_with_length(rule):
        rotary.forward = partial(_forward_by_length, rotary)


def _give_back(rotary: Any) -> None:
    lent: _Lent = rotary.__dict__.pop(_LENT)
    rotary.inv_freq, rotary.attention_scaling = lent.inv_freq, lent.attention_scaling
    rotary.__dict__.pop("forward", None)
    if lent.forward is not None:
        rotary.forward = lent.forward


def _forward_by_length(rotary: Any, x: Tensor, position_ids: Tensor, **options: Any) -> Any:
    """The module's own forward, past its wrappers, with the frequencies of a text that ends where this one does."""
    rotary.inv_freq, rotary.attention_scaling = rotary.__dict__[_LENT].scaled(int(position_ids.max()) + 1)
    return inspect.unwrap(type(rotary).forward)(rotary, x, position_ids, **options)


def _new(rule: Rule, rotary: Rotary, config: Any, length: int) -> _Lent:
    """What a rule needs to know of a module whose own frequencies are plain, whatever it is lent now."""
    module: Any = rotary.module
    before, parameters = module.__dict__.get(_LENT), getattr(config, "rope_parameters", None) or {}
    if rotary.layer_type is not None:
        raise ValueError(
            f"the model has frequencies for each kind of layer, and {rule['rope_type']!r} scaling is for models with "
            "one set; take a method that changes positions, such as SelfExtend"
        )
    kind = getattr(module, "rope_type", "default")
    if kind != "default" or "rope_theta" not in parameters:
        raise ValueError(
            f"the model's frequencies are already scaled (rope_type {kind!r}), so that {rule['rope_type']!r} scaling "
            "cannot start from plain ones; take a method that changes positions, such as SelfExtend"
        )
    theta = float(parameters["rope_theta"])
    if before is not None:
        return _Lent(rule, theta, length, before.inv_freq, before.attention_scaling, before.forward)
    own = module.__dict__.get("forward")
    return _Lent(rule, theta, length, module.inv_freq, getattr(module, "attention_scaling", 1.0), own)


# Reads the cache's length: a compiler must call it, not trace it.
@torch.compiler.disable
def hold_cache(rule: Rule | None, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Before an attention module runs, refuse a cache whose keys were turned by other frequencies: a forward pre-hook.

    A cache remembers the rule that was lent when its first keys came in; so do its copies.

    Raises
    ------
    ValueError
        If the cache holds keys, turned by another rule than this one.
    """
    cache = kwargs.get("past_key_values")
    if cache is None or getattr(cache, _FILLED_BY, None) == rule:
        return
    if tokens := int(cache.get_seq_length(module.layer_idx)):
        raise ValueError(
            f"the cache holds {tokens} tokens whose keys were turned by other frequencies than this block's; "
            "start the conversation inside the block, with a cache of its own"
        )
    if rule is not None:
        setattr(cache, _FILLED_BY, dict(rule))
    else:
        delattr(cache, _FILLED_BY)


def rotate_for(
    method: Method,
    layer: Layer,
    context_length: int,
    *,
    turns: Rotate,
    query_positions: Tensor,
    key_positions: Tensor,
) -> Rotate:
    """How queries and keys that a model has turned come to stand as a method says, its frequencies included.

    Parameters
    ----------
    method
        Any method.
    layer
        Their layer, with what it is lent now.
    context_length
        The model's L.
    turns
        What to take where neither the method nor what is lent now scales frequencies.
    query_positions, key_positions
        True positions, int64 ``[length]``.
    """
    rotary = layer.rotary
    module: Any = rotary.module
    lent, rule = module.__dict__.get(_LENT), rule_of(method)
    if lent is None and rule is None:
        return turns
    now = (module.inv_freq, module.attention_scaling)
    plain = now if lent is None else (lent.inv_freq, lent.attention_scaling)
    wanted = (
        plain
        if rule is None
        else _new(rule, rotary, layer.module.config, context_length).scaled(int(key_positions.max()) + 1)
    )
    places = {"query": query_positions, "key": key_positions}

    def turned(tensor: Tensor, positions: Tensor, inv_freq: Tensor, factor: float) -> Tensor:
        tables = cos_sin(positions, inv_freq.to(positions.device), attention_factor=factor)
        return turn(tensor.float(), *tables, interleaved=rotary.interleaved)

    def turned_anew(tensor: Tensor, band: Band, side: str) -> Tensor:
        told = (band.query_position if side == "query" else band.key_position)(places[side])
        return turned(turned(tensor, -places[side], now[0], 1 / now[1]), told, *wanted)

    return turned_anew
