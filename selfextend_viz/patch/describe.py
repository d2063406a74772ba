"""Say in words what is lent to a model: layers, implementation, reach."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from torch import nn

from selfextend_viz.methods.per_layer import PerLayer, number_ranges
from selfextend_viz.patch.binding import Block, blocks_of, stock_implementation, stock_window
from selfextend_viz.patch.cache_memory import cache_memory, in_gib
from selfextend_viz.patch.context import trained_length
from selfextend_viz.patch.lending import choice_for
from selfextend_viz.patch.models import Layer, attention_layers
from selfextend_viz.positions import log_scale_of

_BESIDE = (
    "ordinary; while a dynamic one grows, its keys turned to the method's positions are kept beside it, as large as "
    "its keys; the keys of any other are turned at every step"
)

_AS_READ = "ordinary; its keys are turned to the method's positions as they are read"


@dataclass(frozen=True)
class Description:
    """What is lent to a model. ``str`` of it is readable.

    Attributes
    ----------
    model
        Name of the model's class.
    method
        Label of the method that holds, or of all of them with their layers; ``None`` for the stock model.
    touched
        Numbers of the attention layers that run a method.
    methods
        Number of every touched layer, with the label of its method.
    unnamed
        Numbers of the layers that stay stock since no method was named for them.
    skipped
        Number of every other layer, with the reason.
    implementation, reason
        What runs the attention without gradients, and why.
    context_length
        L.
    context_reason
        Which number of the model's configuration L is, and why.
    max_length, capacity
        The paper's reach and the exact one, in tokens; ``None`` where the method states none.
    differs_from
        The first length at which logits differ from the stock model's; ``None`` if unknown, or if none does.
    log_scale
        The length past which the method makes queries longer, or ``None``.
    sliding_window
        The window of the stock model that the method lifts, or ``None``.
    cache
        What becomes of the key-value cache.
    length, cache_bytes, beside_bytes
        The length that was asked for, the bytes of one text's cache at that length, and of what is kept beside it.
    """

    model: str
    method: str | None
    touched: tuple[int, ...]
    skipped: tuple[tuple[int, str], ...]
    implementation: str
    reason: str
    context_length: int
    context_reason: str
    max_length: int | None = None
    capacity: int | None = None
    differs_from: int | None = None
    log_scale: int | None = None
    sliding_window: int | None = None
    cache: str = "ordinary"
    methods: tuple[tuple[int, str], ...] = ()
    unnamed: tuple[int, ...] = ()
    length: int | None = None
    cache_bytes: int | None = None
    beside_bytes: int | None = None

    def __str__(self) -> str:
        return "\n".join([_headline(self), *_reach_lines(self), *_layer_lines(self), *_running_lines(self)])


def describe(model: nn.Module, *, length: int | None = None) -> Description:
    """Say which layers a model's method touches, what runs it, how far it reaches and where it starts to differ.

    Where layers have methods of their own, reach and implementation are those of the one that reaches least far.

    Parameters
    ----------
    model
        A transformers model, stock or lent a method.
    length
        Tokens of one text, to say how much memory its cache takes.

    Raises
    ------
    TypeError
        If the object is not a transformers model, or the length not a whole number.
    ValueError
        If no method can be lent to the model; the sentence says why.
    """
    layers = attention_layers(model)
    trained = trained_length(model)
    stated: dict[str, Any] = {"context_length": trained.tokens, "context_reason": trained.reason}
    if length is not None:
        memory = cache_memory(model, length)
        stated |= {"length": length, "cache_bytes": memory.stock, "beside_bytes": memory.beside}
    stated["skipped"] = tuple((layer.index, layer.skipped) for layer in layers if layer.skipped)
    name, blocks = type(model).__name__, _holding(layers)
    if not blocks:
        stock = stock_implementation(layers[0].module.config)
        return Description(name, None, (), implementation=stock, reason="the stock model's own attention", **stated)
    named = [each for each in blocks if each.named]
    block = min(named, key=lambda each: inf if each.reach is None else each.reach)
    methods = {layer.index: each.method for each in named for layer in each.layers}
    choice = choice_for(block.layers[0], block)
    paper = getattr(block.method, "max_length", None)
    return Description(
        name,
        str(block.method) if len(blocks) == 1 else str(PerLayer.of(methods)),
        tuple(sorted(methods)),
        implementation=choice.name,
        reason=choice.reason,
        max_length=None if paper is None else paper(trained.tokens),
        capacity=block.reach,
        differs_from=_first_change(blocks),
        log_scale=log_scale_of(block.method),
        sliding_window=None if all(each.plain for each in blocks) else stock_window(block.layers[0].module.config),
        cache=_cache_of(block, choice.name),
        methods=tuple(sorted((number, str(method)) for number, method in methods.items())),
        unnamed=tuple(sorted(layer.index for each in blocks if not each.named for layer in each.layers)),
        **stated,
    )


def _holding(layers: tuple[Layer, ...]) -> list[Block]:
    """The blocks that hold now, in the order of the layers."""
    return list(dict.fromkeys(blocks_of(layer.module)[-1] for layer in layers if blocks_of(layer.module)))


def _first_change(blocks: list[Block]) -> int | None:
    found = [getattr(block.method, "differs_from", None) for block in blocks]
    return min((first for first in found if first is not None), default=None)


def _cache_of(block: Block, implementation: str) -> str:
    if not block.moves_keys:
        return "ordinary"
    return _AS_READ if implementation == "fused" else _BESIDE


def _headline(description: Description) -> str:
    return f"{description.model}: {description.method or 'stock, no method is lent'}"


def _reach_lines(description: Description) -> list[str]:
    lines = [f"  context length L: {description.context_length} tokens ({description.context_reason})"]
    if description.capacity is not None:
        lines.append(f"  reach: {description.capacity} tokens within trained positions{_overstated(description)}")
    if description.method is not None:
        first = description.differs_from
        start = "not known for this method" if first is None else f"{first} tokens on"
        if description.capacity is not None and first is None:
            start = "no length on"
        lines.append(f"  differs from the stock model from: {start}")
    if (scale := description.log_scale) is not None:
        lines.append(f"  queries: longer by log(i + 1) / log({scale}) from {scale + 1} tokens on")
    if description.sliding_window is not None:
        lines.append(f"  sliding window: {description.sliding_window} in the stock model, lifted by the method")
    return lines


def _overstated(description: Description) -> str:
    paper, exact = description.max_length, description.capacity
    if paper is None or exact is None or paper == exact:
        return ""
    return f" (the paper's formula says {paper}, {paper - exact} too many, since G does not divide w_n)"


def _layer_lines(description: Description) -> list[str]:
    lines = [f"  layers touched: {number_ranges(description.touched)}"]
    if description.unnamed:
        lines.append(f"  layers left stock: {number_ranges(description.unnamed)}, for no method was named for them")
    return lines + [f"  layer {number} left as it is: {reason}" for number, reason in description.skipped]


def _running_lines(description: Description) -> list[str]:
    lines = [f"  attention: {description.implementation} ({description.reason.rstrip('.')})"]
    if description.method is not None:
        lines.append(f"  cache: {description.cache}")
    if description.cache_bytes is not None:
        beside = f" and {in_gib(description.beside_bytes)} beside it" if description.beside_bytes else ""
        lines.append(f"  cache of one text of {description.length} tokens: {in_gib(description.cache_bytes)}{beside}")
    return lines
