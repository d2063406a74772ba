"""How many bytes a model's key-value cache takes at a length, and what is kept beside it under a method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import nn

from selfextend_viz.patch.binding import blocks_of
from selfextend_viz.patch.lending import choice_for
from selfextend_viz.patch.models import Layer, attention_layers
from selfextend_viz.positions import true_position, whole_number

__all__ = ["CacheMemory", "cache_memory", "in_gib"]


@dataclass(frozen=True)
class CacheMemory:
    """Bytes of a dynamic cache; one that grows token by token has room for a sixteenth more.

    Attributes
    ----------
    stock
        Keys and values, as the model caches them.
    beside
        Keys turned to a method's positions, kept beside them.
    """

    stock: int
    beside: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.stock + self.beside


def cache_memory(model: nn.Module, length: int, *, batch_size: int = 1) -> CacheMemory:
    """The cache of a model at a length, under the method that it is lent now.

    Parameters
    ----------
    model
        A transformers model that can be lent a method.
    length
        Tokens in each row, padding included.
    batch_size
        Rows.

    Raises
    ------
    TypeError, ValueError
        If a number is not whole and at least 1, or the model is none that a method can be lent to.
    """
    tokens = whole_number("length", length) * whole_number("batch_size", batch_size)
    width = getattr(model, "dtype", next(model.parameters()).dtype).itemsize
    stock = beside = 0
    for layer in attention_layers(model):
        keys = tokens * _key_numbers(layer) * width
        window = _cached_window(layer.module)
        stock += 2 * (keys if window is None else keys * min(length, window) // length)
        beside += keys * _turned_copies(layer)
    return CacheMemory(stock, beside)


def _key_numbers(layer: Layer) -> int:
    """Numbers in one token's keys."""
    if layer.handed is not None:
        return layer.handed.key.shape[1] * layer.handed.key.shape[3]
    module, heads = layer.module, layer.module.config.num_attention_heads
    head_dim: int = getattr(module, "head_dim", None) or module.config.hidden_size // heads
    return int(heads // getattr(module, "num_key_value_groups", 1) * head_dim)


def _cached_window(module: Any) -> int | None:
    """How many tokens a local layer's cache holds between forwards; ``None`` for all."""
    config = module.config
    kinds = getattr(config, "layer_types", None)
    if kinds is not None and kinds[module.layer_idx] != "sliding_attention":
        return None
    window: int | None = getattr(config, "sliding_window", None)
    return None if window is None else max(1, window - 1)


def _turned_copies(layer: Layer) -> int:
    """How many times a layer's keys are kept turned: once for each map of key positions, never under the kernel."""
    block = next(iter(blocks_of(layer.module)[::-1]), None)
    if block is None or not block.moves_keys or choice_for(layer, block).name == "fused":
        return 0
    return len({band.key_position for band in block.bands if band.key_position is not true_position})


def in_gib(count: float) -> str:
    """Bytes for people: ``1.50 GiB``, or ``3.2 MiB`` where there are fewer."""
    return f"{count / 2**30:.2f} GiB" if count >= 2**29 else f"{count / 2**20:.1f} MiB"
