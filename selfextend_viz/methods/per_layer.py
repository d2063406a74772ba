"""A method of its own for each layer, for those who study which layers need one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from selfextend_viz.positions import Method, PlainRoPE, bands_of, whole_number

__all__ = ["Lent", "PerLayer", "lent_method", "method_of_layer", "number_ranges"]

Lent = Method | Mapping[int, Method]
"""What a model can be lent: one method for all its layers, or a method for each layer named."""


@dataclass(frozen=True)
class PerLayer(Mapping[int, Method]):
    """Methods by number of the layer; every layer that is not named stays stock.

    Attributes
    ----------
    methods
        Pairs of layer and method, by rising layer.

    Examples
    --------
    >>> str(PerLayer.of({2: SelfExtend(8, 64), 3: SelfExtend(8, 64)}))
    'SelfExtend(G=8, w_n=64) on layers 2-3'
    """

    methods: tuple[tuple[int, Method], ...]

    @classmethod
    def of(cls, methods: Mapping[int, Method]) -> PerLayer:
        """The methods of a mapping, checked.

        Raises
        ------
        TypeError
            If a layer is not a whole number, or a method has no bands.
        ValueError
            If no layer is named, or one by a number below 0.
        """
        if isinstance(methods, PerLayer):
            return methods
        if not methods:
            raise ValueError("the methods name 0 layers; name at least one, as in {0: SelfExtend(8, 64)}")
        found = {whole_number("layer", layer, at_least=0): method for layer, method in methods.items()}
        for method in found.values():
            bands_of(method)
        return cls(tuple(sorted(found.items(), key=lambda item: item[0])))

    def __getitem__(self, layer: int) -> Method:
        return dict(self.methods)[layer]

    def __iter__(self) -> Iterator[int]:
        return (layer for layer, _ in self.methods)

    def __len__(self) -> int:
        return len(self.methods)

    def __str__(self) -> str:
        parts = (
            f"{method} on {'layer' if len(layers) == 1 else 'layers'} {number_ranges(layers)}"
            for method, layers in self.by_method()
        )
        return " and ".join(parts)

    def by_method(self) -> list[tuple[Method, list[int]]]:
        """Every method with its layers, in the order of the first one."""
        groups: list[tuple[Method, list[int]]] = []
        for layer, method in self.methods:
            mine = next((layers for known, layers in groups if known == method), None)
            if mine is None:
                groups.append((method, [layer]))
            else:
                mine.append(layer)
        return groups


def lent_method(lent: Any) -> Method | PerLayer:
    """A method or a mapping of methods, checked; ``TypeError`` for what is neither, else errors as `PerLayer.of`."""
    if isinstance(lent, Mapping):
        return PerLayer.of(lent)
    bands_of(lent)
    method: Method = lent
    return method


def method_of_layer(lent: Lent, layer: int) -> Method:
    """What one layer runs: its method, or plain RoPE where it is not named."""
    return lent.get(layer, PlainRoPE()) if isinstance(lent, Mapping) else lent


def number_ranges(numbers: Iterable[int]) -> str:
    """``0-5, 8`` for 0, 1, 2, 3, 4, 5, 8."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "none"
