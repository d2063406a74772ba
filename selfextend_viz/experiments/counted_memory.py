"""The bytes that torch's tensors take at most while something runs, counted as they come and go, on any device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["peak_bytes"]


class _Counted(TorchDispatchMode):
    """Counts the storages that operations make, until the last tensor on them is gone."""

    def __init__(self) -> None:
        super().__init__()
        self.held = self.peak = 0
        self._known: dict[int, weakref.finalize[Any, Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with self:
            result = func.decompose(*args, **(kwargs or {}))
        if result is not NotImplemented:
            return result
        result = func(*args, **(kwargs or {}))
        given = {
            tensor.untyped_storage()._cdata for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)
        }
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self._note(tensor.untyped_storage(), given)
        return result

    def _note(self, storage: torch.UntypedStorage, given: set[int]) -> None:
        address = storage._cdata
        if address in self._known or address in given:
            return
        size = storage.nbytes()
        self.held += size
        self.peak = max(self.peak, self.held)
        self._known[storage._cdata] = weakref.finalize(storage, self._gone, storage._cdata, size)

    def _gone(self, address: int, size: int) -> None:
        self.held -= size
        self._known.pop(address, None)


def _storages(tree: Any) -> Iterator[torch.UntypedStorage]:
    return (leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most that tensors made inside a call take at one time; what operations use within themselves is not seen."""
    with _Counted() as counted:
        run()
    return counted.peak
