"""Say in words what is lent to a model: layers, implementation, reach."""

from __future__ import annotations

from dataclasses import dataclass

from torch import nn

from selfextend_viz.patch.binding import Block, blocks_of, stock_implementation, stock_window
from selfextend_viz.patch.lending import choice_for
from selfextend_viz.patch.models import Layer, attention_layers, context_length, text_config
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
        Label of the method that holds, or ``None`` for the stock model.
    touched
        Numbers of the attention layers that run the method.
    skipped
        Number of every other layer, with the reason.
    implementation, reason
        What runs the attention without gradients, and why.
    context_length
        L.
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
    """

    model: str
    method: str | None
    touched: tuple[int, ...]
    skipped: tuple[tuple[int, str], ...]
    implementation: str
    reason: str
    context_length: int
    max_length: int | None = None
    capacity: int | None = None
    differs_from: int | None = None
    log_scale: int | None = None
    sliding_window: int | None = None
    cache: str = "ordinary"

    def __str__(self) -> str:
        return "\n".join([_headline(self), *_reach_lines(self), *_layer_lines(self), *_running_lines(self)])


def describe(model: nn.Module) -> Description:
    """Say which layers a model's method touches, what runs it, how far it reaches and where it starts to differ.

    Raises
    ------
    TypeError
        If the object is not a transformers model.
    ValueError
        If no method can be lent to the model; the sentence says why.
    """
    layers = attention_layers(model)
    name, length = type(model).__name__, context_length(model)
    skipped = tuple((layer.index, layer.skipped) for layer in layers if layer.skipped)
    block = _holding(layers)
    if block is None:
        stock = stock_implementation(text_config(model))
        return Description(name, None, (), skipped, stock, "the stock model's own attention", length)
    touched = tuple(layer.index for layer in block.layers)
    choice = choice_for(block.layers[0], block)
    window = None if block.plain else stock_window(block.layers[0].module)
    paper = getattr(block.method, "max_length", None)
    return Description(
        name,
        str(block.method),
        touched,
        skipped,
        choice.name,
        choice.reason,
        length,
        max_length=None if paper is None else paper(length),
        capacity=block.reach,
        differs_from=getattr(block.method, "differs_from", None),
        log_scale=log_scale_of(block.method),
        sliding_window=window,
        cache=_cache_of(block, choice.name),
    )


def _holding(layers: tuple[Layer, ...]) -> Block | None:
    return next((blocks_of(layer.module)[-1] for layer in layers if blocks_of(layer.module)), None)


def _cache_of(block: Block, implementation: str) -> str:
    if not block.moves_keys:
        return "ordinary"
    return _AS_READ if implementation == "fused" else _BESIDE


def _headline(description: Description) -> str:
    return f"{description.model}: {description.method or 'stock, no method is lent'}"


def _reach_lines(description: Description) -> list[str]:
    lines = [f"  context length L: {description.context_length} tokens"]
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
    lines = [f"  layers touched: {_ranges(description.touched)}"]
    return lines + [f"  layer {number} left as it is: {reason}" for number, reason in description.skipped]


def _running_lines(description: Description) -> list[str]:
    lines = [f"  attention: {description.implementation} ({description.reason.rstrip('.')})"]
    if description.method is not None:
        lines.append(f"  cache: {description.cache}")
    return lines


def _ranges(numbers: tuple[int, ...]) -> str:
    """``0-5, 8`` for 0, 1, 2, 3, 4, 5, 8."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "none"
