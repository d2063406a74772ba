"""What a block lends to a model: settings on each attention module, and the switch on its configuration.

Settings sit on the attention modules, since two models can share one configuration. Blocks of one model are stacked:
the last one holds.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Protocol

from torch import nn
from torch.utils.hooks import RemovableHandle

from selfextend_viz.frequencies import rule_of
from selfextend_viz.patch.frequencies import hold_cache, lend_frequencies
from selfextend_viz.patch.given_rotation import GivenRotation
from selfextend_viz.patch.models import SLIDING, Layer, local_window
from selfextend_viz.patch.rotation import Rotary, pin_frequencies
from selfextend_viz.positions import Band, Method, log_scale_of, true_position

IMPLEMENTATION = "selfextend"
"""The name under which transformers knows our attention function."""

_BLOCKS = "_selfextend_blocks"
_LOCK = threading.RLock()


class Keeper(Protocol):
    """What keeps turned keys beside caches, see :mod:`selfextend_viz.patch.grouped_cache`."""

    def adopt(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before an attention module runs: a forward pre-hook."""

    def release(self) -> None:
        """Give all caches back as they were."""


@dataclass(eq=False)
class Block:
    """One lending of a method to a model.

    Attributes
    ----------
    method, bands
        The method, and its bands, built once.
    implementation
        As asked for: ``"auto"``, ``"eager"``, ``"flash"`` or ``"fused"``.
    reach
        The longest text whose told positions are all trained ones, where the method knows it.
    layers
        The layers it touches.
    context_length
        The model's L.
    named
        Whether its layers were asked for; not so those that stay stock beside layers with methods of their own.
    lasting
        Whether it stays until :func:`restore`.
    observer
        Called with every extended layer's module, query, key, positions and options before its attention runs.
    warned
        Whether a text beyond the reach was already warned of.
    keeper
        Keeps turned keys beside the caches of its layers, where it moves keys.
    hooks
        The handles of what was hooked to its layers.
    """

    method: Method
    implementation: str
    reach: int | None
    layers: tuple[Layer, ...]
    context_length: int
    named: bool = True
    lasting: bool = False
    observer: Callable[..., None] | None = None
    warned: bool = False
    keeper: Keeper | None = None
    hooks: list[RemovableHandle] = field(default_factory=list, repr=False)
    bands: tuple[Band, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.bands = self.method.bands

    @property
    def moves(self) -> bool:
        """Whether any token is told another position than its own."""
        return any(
            place is not true_position for band in self.bands for place in (band.query_position, band.key_position)
        )

    @property
    def moves_keys(self) -> bool:
        """Whether any key is told another position than its own."""
        return any(band.key_position is not true_position for band in self.bands)

    @cached_property
    def plain(self) -> bool:
        """Whether the method is what the stock model does."""
        unscaled = log_scale_of(self.method) is None and rule_of(self.method) is None
        return self.bands == (Band(),) and unscaled

    def rotary_of(self, module: nn.Module) -> Rotary:
        """What turned the queries and keys of one of the block's layers."""
        return self.layer_of(module).rotary

    def layer_of(self, module: nn.Module) -> Layer:
        """The block's layer of an attention module."""
        return next(layer for layer in self.layers if layer.module is module)


@dataclass(eq=False)
class _Switch:
    """A configuration that is switched to our attention function, and what it said before.

    The blocks live on the modules: a model that is dropped without being restored takes its blocks along.
    """

    config: Any
    implementation: str
    sliding_window: int | None
    blocks: weakref.WeakSet[Block] = field(default_factory=weakref.WeakSet)


_SWITCHES: dict[int, _Switch] = {}


def blocks_of(module: nn.Module) -> tuple[Block, ...]:
    """The blocks a module is in, the one that holds last."""
    blocks: tuple[Block, ...] = module.__dict__.get(_BLOCKS, ())
    return blocks


def stock_window(config: Any) -> int | None:
    """The sliding window of all layers of a model like Mistral, whether or not a block has lifted it."""
    if getattr(config, "layer_types", None) is not None:
        return None
    switch = _SWITCHES.get(id(config))
    return getattr(config, "sliding_window", None) if switch is None else switch.sliding_window


def own_window(module: Any) -> int | None:
    """The sliding window of one layer of the stock model, by the kind of layer it is."""
    layer_types = getattr(module.config, "layer_types", None)
    if layer_types is None:
        return stock_window(module.config)
    return local_window(module) if layer_types[module.layer_idx] == SLIDING else None


def stock_implementation(config: Any) -> str:
    """The attention implementation a configuration names outside every block."""
    switch = _SWITCHES.get(id(config))
    return str(config._attn_implementation if switch is None else switch.implementation)


def push(block: Block) -> None:
    """Put a block on top of its layers."""
    with _LOCK:
        for abandoned in [switch for switch in _SWITCHES.values() if not switch.blocks]:
            _set_config(abandoned)
        given = GivenRotation()
        for layer in block.layers:
            object.__setattr__(layer.module, _BLOCKS, (*blocks_of(layer.module), block))
            hold = partial(hold_cache, rule_of(block.method))
            block.hooks.append(layer.module.register_forward_pre_hook(hold, with_kwargs=True))
            if block.keeper is not None and block.moves_keys:
                block.hooks.append(layer.module.register_forward_pre_hook(block.keeper.adopt, with_kwargs=True))
            if block.moves:
                look = partial(given.look, layer)
                block.hooks.append(layer.module.register_forward_pre_hook(look, with_kwargs=True))
        config = block.layers[0].module.config
        switch = _SWITCHES.get(id(config))
        if switch is None:
            switch = _Switch(config, config._attn_implementation, getattr(config, "sliding_window", None))
            _SWITCHES[id(config)] = switch
        switch.blocks.add(block)
        _settle(switch, block)


def pop(block: Block) -> None:
    """Take a block away, wherever in the stack it is; nothing happens if it is gone already."""
    with _LOCK:
        while block.hooks:
            block.hooks.pop().remove()
        if block.keeper is not None:
            block.keeper.release()
        for layer in block.layers:
            left = tuple(other for other in blocks_of(layer.module) if other is not block)
            if left:
                object.__setattr__(layer.module, _BLOCKS, left)
            else:
                layer.module.__dict__.pop(_BLOCKS, None)
        switch = _SWITCHES.get(id(block.layers[0].module.config))
        if switch is not None and block in switch.blocks:
            switch.blocks.discard(block)
            _settle(switch, block)


def _settle(switch: _Switch, changed: Block) -> None:
    """Make a configuration and the rotary modules say what the blocks that hold now need."""
    for layer in changed.layers:
        holding = blocks_of(layer.module)
        pin_frequencies(layer.rotary.module, bool(holding) and holding[-1].moves)
        lend_frequencies(layer, holding[-1].method if holding else None, changed.context_length)
    _set_config(switch)


def _set_config(switch: _Switch) -> None:
    config = switch.config
    if not switch.blocks:
        del _SWITCHES[id(config)]
    config._attn_implementation = IMPLEMENTATION if switch.blocks else switch.implementation
    if switch.sliding_window is not None and getattr(config, "layer_types", None) is None:
        lifted = any(holds(block) and not block.plain for block in switch.blocks)
        config.sliding_window = None if lifted else switch.sliding_window


def holds(block: Block) -> bool:
    """Whether a block is the one on top of its layers."""
    return blocks_of(block.layers[0].module)[-1:] == (block,)
