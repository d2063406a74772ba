"""Lend a method to a transformers model, for one ``with`` block or until it is restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import nn

from selfextend_viz.attention import Choice, choose
from selfextend_viz.methods.per_layer import Lent, PerLayer, lent_method, number_ranges
from selfextend_viz.patch.binding import IMPLEMENTATION, Block, blocks_of, pop, push
from selfextend_viz.patch.context import context_length
from selfextend_viz.patch.frequencies import check_frequencies
from selfextend_viz.patch.grouped_cache import CacheKeeper
from selfextend_viz.patch.models import Layer, attention_layers, text_config
from selfextend_viz.patch.rotation import changes_frequencies
from selfextend_viz.positions import Method, PlainRoPE

Model = TypeVar("Model", bound=nn.Module)


@contextmanager
def extended(model: Model, method: Lent, *, implementation: str = "auto") -> Iterator[Model]:
    """Lend a method to a model for one ``with`` block; afterwards the model is exactly what it was.

    Nothing of the model is copied or rewritten, and caches stay ordinary: a conversation can be continued with the
    method switched on, off or changed. While a :class:`~transformers.DynamicCache` grows inside the block, its keys
    turned to the method's positions are kept beside it, which takes the memory of its keys once more; they are gone
    when the block ends. The fused kernel needs none. Blocks nest; the inner one holds. Threads may run the model inside
    a block; a forward that is under way on another thread when the block begins ends in a ValueError.

    A method that scales frequencies, such as ``YaRN(4)``, changes how keys are turned before they are cached: its
    conversation has to start inside the block and end with it. Inside blocks a cache of other frequencies is refused;
    outside them nothing can refuse it.

    Parameters
    ----------
    model
        A transformers model that rotates queries and keys and calls transformers' attention interface: Llama,
        Mistral, Qwen, Phi, Gemma, GPT-NeoX and most others. A layer that is local or not rotated is left as it is.
    method
        Any method with ``bands``, such as ``SelfExtend(group_size=8, neighbor_window=64)``; or a mapping of layers to
        methods, such as ``{4: SelfExtend(8, 64), 5: SelfExtend(8, 64)}``, where the layers not named stay stock.
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
        If the model or a layer named cannot take a method, the neighbour window does not fit its context length, or
        the implementation is unknown or cannot run the method. The model is left untouched.

    Warns
    -----
    BeyondReachWarning
        Once per block, when a text is longer than the method reaches.

    Examples
    --------
    >>> with extended(model, SelfExtend(group_size=8, neighbor_window=64)):
    ...     model.generate(**inputs)
    """
    with pushed(make_blocks(model, method, implementation)):
        yield model


@contextmanager
def pushed(blocks: Sequence[Block]) -> Iterator[None]:
    """A block of code in which these blocks hold."""
    try:
        for block in blocks:
            push(block)
        yield
    finally:
        for block in reversed(blocks):
            pop(block)


def extend(model: Model, method: Lent, *, implementation: str = "auto") -> Model:
    """Lend a method to a model until :func:`restore`; a second call replaces the first.

    Parameters, errors and warnings are those of :func:`extended`.

    Returns
    -------
    Model
        The same model.
    """
    blocks = make_blocks(model, method, implementation)
    for earlier in [each for block in blocks for layer in block.layers for each in blocks_of(layer.module)]:
        if earlier.lasting:
            pop(earlier)
    try:
        for block in blocks:
            block.lasting = True
            push(block)
    except BaseException:
        for block in reversed(blocks):
            pop(block)
        raise
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


def check_lending(model: nn.Module, method: Lent, *, implementation: str = "auto") -> None:
    """Raise what :func:`extended` would raise for these arguments; the model is not touched."""
    make_blocks(model, method, implementation)


def make_blocks(model: nn.Module, lent: Lent, implementation: str) -> tuple[Block, ...]:
    """Check a model, what it is lent and an implementation against each other; touches nothing.

    One block for each method, which together cover every layer that a method may touch.
    """
    layers = attention_layers(model)
    free = tuple(layer for layer in layers if layer.skipped is None)
    method = lent_method(lent)
    length = context_length(model)
    if not isinstance(method, PerLayer):
        check_frequencies(method, free, layers, length)
        return (_make_block(model, method, implementation, free, length),)
    _check_named(method, layers)
    parts = [(method, [layer for layer in free if layer.index in mine]) for method, mine in method.by_method()]
    blocks = [_make_block(model, part, implementation, tuple(mine), length) for part, mine in parts]
    if rest := tuple(layer for layer in free if layer.index not in method):
        blocks.append(_make_block(model, PlainRoPE(), "auto", rest, length))
        blocks[-1].named = False
    _check_shared_frequencies(blocks)
    for block in blocks:
        check_frequencies(block.method, block.layers, layers, length)
    return tuple(blocks)


def _make_block(model: nn.Module, method: Method, implementation: str, layers: tuple[Layer, ...], length: int) -> Block:
    window = getattr(method, "neighbor_window", 0)
    if window >= length:
        raise ValueError(
            f"neighbor_window {window} leaves no room inside the context length {length} of {type(model).__name__}; "
            f"use one of at most {length - 1}"
        )
    capacity = getattr(method, "capacity", None)
    reach = None if capacity is None else capacity(length)
    block = Block(method, implementation, reach, layers, length, keeper=CacheKeeper())
    choice_for(layers[0], block)
    return block


def _check_named(methods: PerLayer, layers: tuple[Layer, ...]) -> None:
    known = {layer.index: layer for layer in layers}
    for number in methods:
        if number not in known:
            raise ValueError(f"there is no layer {number} to lend a method to; the layers are {number_ranges(known)}")
        if known[number].skipped is not None:
            raise ValueError(f"layer {number} cannot take a method: {known[number].skipped}; leave it out")


def _check_shared_frequencies(blocks: Sequence[Block]) -> None:
    still = [layer for block in blocks if not block.moves for layer in block.layers]
    moving = [layer for block in blocks if block.moves for layer in block.layers]
    shared = {layer.rotary.module for layer in moving if changes_frequencies(layer.rotary.module)}
    clash = [layer.index for layer in still if layer.rotary.module in shared]
    if clash:
        raise ValueError(
            f"layer {clash[0]} would stay stock, whose dynamic RoPE changes its frequencies with the length, but it "
            "shares them with layers whose method needs the trained ones; lend those methods to every layer"
        )


def choice_for(layer: Layer, block: Block) -> Choice:
    """The implementation that runs a layer without gradients, found with what it hands to attention for one token."""
    handed = layer.handed
    if handed is None:
        raise ValueError(f"{layer.name} is not touched by any method: {layer.skipped}")
    tensors = handed.query, handed.key, handed.value
    return choose(block.implementation, *tensors, block.bands, softcap=handed.softcap, sinks=handed.sinks)
