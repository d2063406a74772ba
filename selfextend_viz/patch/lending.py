"""Lend a method to a transformers model, for one ``with`` block or until it is restored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from selfextend_viz.attention import Choice, choose
from selfextend_viz.patch.binding import IMPLEMENTATION, Block, blocks_of, pop, push
from selfextend_viz.patch.frequencies import check_frequencies
from selfextend_viz.patch.grouped_cache import CacheKeeper
from selfextend_viz.patch.models import Layer, attention_layers, context_length, text_config
from selfextend_viz.positions import Method, bands_of

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def extended(model: Model, method: Method, *, implementation: str = "auto") -> Iterator[Model]:
    """Lend a method to a model for one ``with`` block; afterwards the model is exactly what it was.

    Nothing of the model is copied or rewritten, and caches stay ordinary: a conversation can be continued with the
    method switched on, off or changed. While a :class:`~transformers.DynamicCache` grows inside the block, its keys
    turned to the method's positions are kept beside it, which takes the memory of its keys once more; they are gone
    when the block ends. The fused kernel needs none. Blocks nest; the inner one holds.

    A method that scales frequencies, such as ``YaRN(4)``, changes how keys are turned before they are cached: its
    conversation has to start inside the block and end with it. Inside blocks a cache of other frequencies is refused;
    outside them nothing can refuse it.

    Parameters
    ----------
    model
        A transformers model of a supported type: Llama, Mistral, Qwen2, Qwen3 or Phi.
    method
        Any method with ``bands``, such as ``SelfExtend(group_size=8, neighbor_window=64)``.
    implementation
        ``"auto"``, ``"eager"``, ``"flash"`` or ``"fused"``.

    Yields
    ------
    Model
        The same model.

    Raises
    ------
    TypeError
        If the model is not a transformers model, or the method has no bands.
    ValueError
        If the model cannot take a method, the neighbour window does not fit its context length, or the implementation
        is unknown or cannot run the method. The model is left untouched.

    Warns
    -----
    BeyondReachWarning
        Once per block, when a text is longer than the method reaches.

    Examples
    --------
    >>> with extended(model, SelfExtend(group_size=8, neighbor_window=64)):
    ...     model.generate(**inputs)
    """
    block = make_block(model, method, implementation)
    push(block)
    try:
        yield model
    finally:
        pop(block)


def extend(model: Model, method: Method, *, implementation: str = "auto") -> Model:
    """Lend a method to a model until :func:`restore`; a second call replaces the first.

    Parameters, errors and warnings are those of :func:`extended`.

    Returns
    -------
    Model
        The same model.
    """
    block = make_block(model, method, implementation)
    block.lasting = True
    for earlier in blocks_of(block.layers[0].module):
        if earlier.lasting:
            pop(earlier)
    push(block)
    return model


def restore(model: Model) -> Model:
    """Give a model back its stock attention, whatever methods it was lent; nothing happens if there are none.

    Returns
    -------
    Model
        The same model.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    """
    text_config(model)
    for module in model.modules():
        for block in blocks_of(module):
            pop(block)
    return model


def is_extended(model: nn.Module) -> bool:
    """Whether a method is lent to this model; ``TypeError`` if it is not a transformers model."""
    text_config(model)
    modules: Iterator[Any] = model.modules()
    return any(blocks_of(module) and module.config._attn_implementation == IMPLEMENTATION for module in modules)


def check_lending(model: nn.Module, method: Method, *, implementation: str = "auto") -> None:
    """Raise what :func:`extended` would raise for these arguments; the model is not touched."""
    make_block(model, method, implementation)


def make_block(model: nn.Module, method: Method, implementation: str) -> Block:
    """Check a model, a method and an implementation against each other; touches nothing."""
    every = attention_layers(model)
    layers = tuple(layer for layer in every if layer.skipped is None)
    bands_of(method)
    check_frequencies(method, every)
    length, window = context_length(model), getattr(method, "neighbor_window", 0)
    if window >= length:
        raise ValueError(
            f"neighbor_window {window} leaves no room inside the context length {length} of {type(model).__name__}; "
            f"use one of at most {length - 1}"
        )
    capacity = getattr(method, "capacity", None)
    block = Block(method, implementation, None if capacity is None else capacity(length), layers, keeper=CacheKeeper())
    choice_for(layers[0], block)
    return block


def choice_for(layer: Layer, block: Block) -> Choice:
    """The implementation that runs a layer without gradients, found with tensors of the layer's kind and one token."""
    module: Any = layer.module
    heads = module.config.num_attention_heads
    weight = next(module.parameters())
    query, key = (_token(weight, count, module.head_dim) for count in (heads, heads // module.num_key_value_groups))
    return choose(block.implementation, query, key, key, block.bands)


def _token(like: Tensor, heads: int, head_dim: int) -> Tensor:
    dtype = like.dtype if like.is_floating_point() else torch.float32
    return torch.zeros(1, heads, 1, head_dim, dtype=dtype, device=like.device)
