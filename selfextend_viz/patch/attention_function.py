"""The attention function transformers calls for every layer of a model whose configuration names it."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface

from selfextend_viz.attention import band_logits, core, query_factors, scaled_query
from selfextend_viz.attention.eager import attention_weights
from selfextend_viz.attention.logits import Rotate, Unturned
from selfextend_viz.patch.binding import IMPLEMENTATION, Block, blocks_of, own_window
from selfextend_viz.patch.grouped_cache import GroupedLayer, layer_of
from selfextend_viz.patch.rotation import Rotary, TableTurns, Turns, turns_of
from selfextend_viz.patch.slots import Reading, key_positions, read_slots
from selfextend_viz.positions import Band, PlainRoPE, log_scale_of, true_position

_FORWARD = "selfextend_forward"


class BeyondReachWarning(UserWarning):
    """A text is longer than a method can keep within trained positions."""


class Forward:
    """What all layers of one forward share: its key slots, and the turns of each rotary module.

    It travels on the tensor of key positions, which transformers hands to every layer of a forward.
    """

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self._turns: dict[tuple[Rotary, tuple[int, ...] | None], Turns] = {}
        self._factors: dict[int, Tensor] = {}

    @classmethod
    def of(cls, table: Tensor, position_ids: Tensor | None, queries: int) -> Forward:
        """The one of this forward, made by the first layer that asks."""
        forward = getattr(table, _FORWARD, None)
        if forward is None:
            forward = cls(read_slots(table, position_ids, queries))
            setattr(table, _FORWARD, forward)
        return forward

    def turns(self, rotary: Rotary, rows: tuple[int, ...] | None = None) -> Turns:
        """Turns from this forward's true positions, of all its queries or of those at the given positions."""
        asked = (rotary, rows)
        if asked not in self._turns:
            slots = self.reading.slots
            queries = slots.query_positions if rows is None else torch.tensor(rows, device=slots.positions.device)
            self._turns[asked] = turns_of(rotary, queries, self._key_positions())
        return self._turns[asked]

    def query_factors(self, log_scale: int) -> Tensor:
        """As :func:`selfextend_viz.attention.query_factors`, of this forward's queries."""
        if log_scale not in self._factors:
            self._factors[log_scale] = query_factors(self.reading.slots.query_positions, log_scale)
        return self._factors[log_scale]

    def _key_positions(self) -> Tensor:
        """Every slot's distance from its row's first token, whether or not a token stands there yet."""
        slots = self.reading.slots
        if not self.reading.padded:
            return slots.positions
        starts = torch.tensor(self.reading.starts, device=slots.positions.device)
        return (torch.arange(slots.keys, device=starts.device) - starts[:, None]).clamp(min=0)


# Reads slots from the device and keeps them on the mask: a compiler must call it, not trace it.
@torch.compiler.disable
def attention_function(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    position_ids: Tensor | None = None,
    sliding_window: int | None = None,
    output_attentions: bool = False,
    **_: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention of one layer: by the method of its block, or by its plain band where it is in none.

    Parameters
    ----------
    module
        The attention module.
    query
        ``[batch, heads, q, head_dim]``, turned by the model to its true positions.
    key, value
        ``[batch, key heads, k, head_dim]``, the cache's included.
    attention_mask
        int64 ``[batch, 1, 1, k]`` from :func:`selfextend_viz.patch.slots.key_positions`.

    Returns
    -------
    output
        ``[batch, q, heads, head_dim]``.
    weights
        ``[batch, heads, q, k]`` if ``output_attentions``, else ``None``.
    """
    table = _checked(attention_mask, module, key, dropout)
    forward = Forward.of(table, position_ids, query.shape[2])
    slots, beside = forward.reading.slots, layer_of(key)
    key, value = key[:, :, : slots.keys], value[:, :, : slots.keys]
    block = next(iter(blocks_of(module)[::-1]), None)
    bands, rotate = _bands(module, block, forward, sliding_window)
    if beside is not None and isinstance(rotate, Turns) and slots.queries < slots.keys and not torch.is_grad_enabled():
        rotate = _TurnedOrKept(rotate, beside, forward.reading.starts)
    options: dict[str, Any] = {"rotate": rotate, "key_positions": slots, "scale": scaling, "softcap": softcap}
    if block is not None and block.observer is not None:
        block.observer(module, query, key, forward, scale=scaling, softcap=softcap)
    if block is not None and (log_scale := log_scale_of(block.method)) is not None:
        query = scaled_query(query, forward.query_factors(log_scale))
    implementation = "auto" if block is None else block.implementation
    output = core(query, key, value, bands, **options, sinks=s_aux, implementation=implementation)
    weights = attention_weights(band_logits(query, key, bands, **options), s_aux) if output_attentions else None
    return output.transpose(1, 2).contiguous(), weights


def register() -> None:
    """Make the attention function and its mask function known to transformers."""
    AttentionInterface.register(IMPLEMENTATION, attention_function)
    AttentionMaskInterface.register(IMPLEMENTATION, key_positions)


def _bands(module: Any, block: Block | None, forward: Forward, window: int | None) -> tuple[tuple[Band, ...], Rotate]:
    if block is not None:
        _check_reach(block, forward.reading)
    if block is None or block.plain:
        window = window if window is not None else own_window(module)
        return (dataclasses.replace(PlainRoPE().bands[0], beyond=window),), Unturned()
    return block.bands, forward.turns(block.rotary_of(module))


class _TurnedOrKept:
    """Turns queries; of the keys only those that the cache does not keep turned already.

    A kernel that asks for angles turns the keys as it reads them, and the cache is left to keep none.
    """

    def __init__(self, turns: Turns, layer: GroupedLayer, starts: tuple[int, ...]) -> None:
        if isinstance(turns, TableTurns):
            self.tables = turns.tables
        self._turns, self._layer, self._starts = turns, layer, starts

    def __call__(self, tensor: Tensor, band: Band, side: str) -> Tensor:
        if side == "query" or band.key_position is true_position:
            return self._turns(tensor, band, side)
        return self._layer.turned_keys(band.key_position, self._starts, self._turns)


def _checked(table: Tensor | None, module: Any, key: Tensor, dropout: float) -> Tensor:
    if table is None or table.dtype != torch.int64 or table.shape[2:3] != (1,):
        raise ValueError(
            "an extended model's mask is made by the method; pass attention_mask as [batch, length] of 0 and 1, "
            f"not {'none at all' if table is None else f'{table.dtype} {tuple(table.shape)}'} (a model whose layers "
            "make masks of their own cannot be extended)"
        )
    if table.shape[-1] != key.shape[2]:
        raise ValueError(
            f"layer {module.layer_idx} has {key.shape[2]} keys, but attention_mask and cache make {table.shape[-1]}; "
            "pass a mask over all cached and new tokens, and a cache made for this model"
        )
    if dropout:
        raise ValueError(f"attention dropout {dropout} is not supported under a method; call model.eval()")
    return table


def _check_reach(block: Block, reading: Reading) -> None:
    if reading.dropped and not block.plain:
        raise ValueError(
            f"the cache has dropped its first {reading.dropped} tokens, as the stock model's sliding window allows; "
            "a method needs them all: start the conversation inside the block"
        )
    if block.reach is not None and reading.longest > block.reach and not block.warned:
        block.warned = True
        warnings.warn(
            f"{reading.longest} tokens are more than the {block.reach} that {block.method} keeps within trained "
            "positions; expect the model to break, or take numbers that reach farther",
            BeyondReachWarning,
            stacklevel=2,
        )
