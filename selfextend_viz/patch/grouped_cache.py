"""Keys turned for a method, kept beside a model's cache, so that a generated token turns its own key and no other.

The cache stays what it was: its layers hold the model's own keys and values, in the model's own order. A plain dynamic
layer is only given another class for as long as a block lasts, whose operations do to the turned keys what they do to
the keys. Turning commutes with all of them, since every key turns on its own. What grows has room to grow, so that a
token is not paid for with a copy of all tokens before it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.cache_utils import DynamicLayer

from selfextend_viz.patch.rotation import Told, Turns

__all__ = ["CacheKeeper", "GroupedLayer", "layer_of"]

_BESIDE = "_selfextend_beside"
_SPARE = 256
_HERE = threading.local()


class _Growing:
    """A tensor ``[batch, heads, length, head_dim]`` to which more is appended, most times without copying it.

    Appending writes only to room that was never handed out: whoever holds an earlier tensor keeps it unchanged.

    Attributes
    ----------
    tensor
        What there is by now.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = self._buffer = tensor

    def append(self, more: Tensor) -> Tensor:
        """Append ``[batch, heads, some, head_dim]``; without gradients only."""
        length, total = self.tensor.shape[2], self.tensor.shape[2] + more.shape[2]
        if total > self._buffer.shape[2] or self._frozen():
            self._buffer = more.new_empty((*more.shape[:2], total + total // 16 + _SPARE, more.shape[3]))
            self._buffer[:, :, :length] = self.tensor
        self._buffer[:, :, length:total] = more
        self.tensor = self._buffer[:, :, :total]
        return self.tensor

    def shrink(self, length: int) -> None:
        """Let go what is past a length; what is appended next may be written over it."""
        self.tensor = self._buffer[:, :, : min(length, self.tensor.shape[2])]

    def take(self, rows: Callable[[Tensor], Tensor]) -> None:
        """Take other batch rows, the room included."""
        length, self._buffer = self.tensor.shape[2], rows(self._buffer)
        self.tensor = self._buffer[:, :, :length]

    def _frozen(self) -> bool:
        return self._buffer.is_inference() and not torch.is_inference_mode_enabled()


def _version(tensor: Tensor) -> int:
    """How often a tensor was written into; torch does not count for tensors of inference mode."""
    return 0 if tensor.is_inference() else tensor._version


@dataclass(eq=False)
class _TurnedKeys:
    """The first keys of a layer, turned to the positions of one band.

    Attributes
    ----------
    keys
        As many as are turned.
    starts
        The slot of each batch row's first token, from which its positions count.
    frequencies
        The rotary module's tensor of frequencies that they were turned with.
    """

    keys: _Growing
    starts: tuple[int, ...]
    frequencies: Tensor

    def __post_init__(self) -> None:
        self._numbers, self._version = self.frequencies.clone(), _version(self.frequencies)

    @property
    def length(self) -> int:
        """How many are turned."""
        return self.keys.tensor.shape[2]

    def fits(self, starts: tuple[int, ...], frequencies: Tensor) -> bool:
        """Whether keys at these positions can be added."""
        if self.starts != starts:
            return False
        if self.frequencies is frequencies and self._version == _version(frequencies):
            return True
        # Some rotary modules set their frequencies anew in every forward, mostly to the same numbers.
        return self._numbers.device == frequencies.device and torch.equal(self._numbers, frequencies)


class _Beside:
    """What is kept beside one layer, and whether it still belongs to the layer's keys and values."""

    def __init__(self) -> None:
        self._turned: dict[Told, _TurnedKeys] = {}
        self._stock: tuple[_Growing, _Growing] | None = None
        self._versions = (0, 0)

    def follow(self, layer: DynamicLayer) -> None:
        """Take what the layer now holds as what the turned keys belong to."""
        if layer.keys is None:
            self._stock = None
        elif self._stock is None or self._stock[0].tensor is not layer.keys:
            self._stock = _Growing(layer.keys), _Growing(layer.values)
        self._versions = self._counted()

    def check(self, layer: DynamicLayer) -> dict[Told, _TurnedKeys]:
        """The turned keys of the layer; none are left if someone put other keys there, or wrote into them."""
        known = None if self._stock is None else self._stock[0].tensor
        if known is not layer.keys or self._versions != self._counted():
            self._turned.clear()
            self.follow(layer)
        return self._turned

    def growing(self, layer: DynamicLayer, *more: Tensor) -> tuple[_Growing, _Growing] | None:
        """The layer's keys and values, if such can be appended in place; ``None`` where autograd has to know."""
        if self._stock is None or torch.is_grad_enabled() or self._stock[1].tensor is not layer.values:
            return None
        mine, theirs = ([_kind(t) for t in tensors] for tensors in ((layer.keys, layer.values), more))
        return self._stock if mine == theirs else None

    def _counted(self) -> tuple[int, int]:
        return (0, 0) if self._stock is None else (_version(self._stock[0].tensor), _version(self._stock[1].tensor))


def _kind(tensor: Tensor) -> tuple[Any, ...]:
    return tensor.dtype, tensor.device, tensor.shape[:2], tensor.shape[3:]


class GroupedLayer(DynamicLayer):
    """A dynamic cache layer that keeps, beside its keys, the same keys turned to a method's positions.

    In all else it is a :class:`~transformers.cache_utils.DynamicLayer`, and so are its copies, pickled ones included.
    A dynamic layer becomes one for as long as a :class:`CacheKeeper` holds it.
    """

    @property
    def _beside(self) -> _Beside:
        beside: _Beside = self.__dict__[_BESIDE]
        return beside

    def turned_keys(self, told: Told, starts: tuple[int, ...], turns: Turns) -> Tensor:
        """The keys turned to a band's positions; only those are turned that were not before.

        Returns
        -------
        Tensor
            ``[batch, key heads, keys, head_dim]``, to be read only.
        """
        turned = self._beside.check(self)
        kept = turned.get(told)
        if kept is None or not kept.fits(starts, turns.frequencies):
            kept = turned[told] = _TurnedKeys(_Growing(self.keys[:, :, :0]), starts, turns.frequencies)
        if kept.length < self.keys.shape[2]:
            kept.keys.append(turns.keys_from(kept.length, self.keys[:, :, kept.length :], told))
        return kept.keys.tensor

    def update(self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor]:
        """Append; turned keys that were not asked for since the last time are let go."""
        turned, length = self._beside.check(self), self.get_seq_length()
        for told in [told for told, kept in turned.items() if kept.length < length]:
            del turned[told]
        stock = self._beside.growing(self, key_states, value_states) if length else None
        if stock is None:
            super().update(key_states, value_states, *args, **kwargs)
        else:
            self.keys, self.values = stock[0].append(key_states), stock[1].append(value_states)
        self._beside.follow(self)
        return self.keys, self.values

    def crop(self, tokens_to_remove: int) -> None:
        """Remove the last tokens."""
        turned = self._beside.check(self)
        super().crop(tokens_to_remove)
        for kept in turned.values():
            kept.keys.shrink(self.get_seq_length())
        self._beside.follow(self)

    def reorder_cache(self, beam_idx: Tensor) -> None:
        """Take other batch rows, as beam search does."""
        turned = self._beside.check(self)
        super().reorder_cache(beam_idx)
        self._take_rows(turned, lambda rows: rows.index_select(0, beam_idx.to(rows.device)))

    def batch_repeat_interleave(self, repeats: int) -> None:
        """Repeat every batch row."""
        turned = self._beside.check(self)
        super().batch_repeat_interleave(repeats)
        self._take_rows(turned, lambda rows: rows.repeat_interleave(repeats, dim=0))

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keep some batch rows."""
        turned = self._beside.check(self)
        super().batch_select_indices(indices)
        self._take_rows(turned, lambda rows: rows[indices, ...])

    def _take_rows(self, turned: dict[Told, _TurnedKeys], take: Callable[[Tensor], Tensor]) -> None:
        for kept in turned.values():
            kept.keys.take(take)
            if len(set(kept.starts)) > 1:
                kept.starts = tuple(take(torch.tensor(kept.starts, device=self.keys.device)).tolist())
            else:
                kept.starts = kept.starts[:1] * self.keys.shape[0]
        self._beside.follow(self)

    def reset(self) -> None:
        """Forget everything."""
        super().reset()
        self._beside.check(self).clear()

    def offload(self) -> None:
        """Move to the CPU; turned keys are made again where they are needed."""
        super().offload()
        self._beside.check(self).clear()

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        state = {name: value for name, value in self.__dict__.items() if name != _BESIDE}
        return DynamicLayer, (), state


class CacheKeeper:
    """Adopts the cache layers that one block's attention modules meet, and gives them back when the block ends."""

    def __init__(self) -> None:
        self._adopted: weakref.WeakSet[GroupedLayer] = weakref.WeakSet()

    # Changes the class of an object the compiler may know: it must call it, not trace it.
    @torch.compiler.disable
    def adopt(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Before an attention module runs, let its layer of the cache keep turned keys: a forward pre-hook.

        Only a plain dynamic layer can, in a cache that is not offloaded.
        """
        _HERE.layer = None
        cache, index = kwargs.get("past_key_values"), getattr(module, "layer_idx", None)
        layers = () if getattr(cache, "offloading", False) else getattr(cache, "layers", ())
        layer = layers[index] if isinstance(index, int) and index < len(layers) else None
        if type(layer) is DynamicLayer:
            layer.__class__ = GroupedLayer
            layer.__dict__[_BESIDE] = _Beside()
        if type(layer) is GroupedLayer:
            self._adopted.add(layer)
            _HERE.layer = weakref.ref(layer)

    def release(self) -> None:
        """Make the layers ordinary ones again, their keys and values without spare room, and let turned keys go."""
        while self._adopted:
            layer = self._adopted.pop()
            if type(layer) is GroupedLayer:
                layer.__dict__.pop(_BESIDE)
                layer.__class__ = DynamicLayer
                if layer.keys is not None:
                    layer.keys, layer.values = layer.keys.contiguous(), layer.values.contiguous()


def layer_of(key: Tensor) -> GroupedLayer | None:
    """The adopted layer whose keys an attention module was just handed, all of them, as the very same tensor."""
    asked = getattr(_HERE, "layer", None)
    layer = None if asked is None else asked()
    return layer if layer is not None and layer.keys is key else None
