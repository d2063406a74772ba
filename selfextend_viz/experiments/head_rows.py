"""Collect what layers show, at length N and within L, and make rows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from selfextend_viz.experiments.heads import (
    Binned,
    binned,
    distant_mass,
    far_mass,
    high_quantile,
    mass,
    outlier_share,
    row_divergence,
    told_positions,
    uniform_far_mass,
)
from selfextend_viz.experiments.rows import STOCK, HeadRow, LogitRow
from selfextend_viz.methods.per_layer import PerLayer, method_of_layer
from selfextend_viz.positions import Method, PlainRoPE

REFERENCE = "reference"


class View(Protocol):
    """Sampled queries of one layer; ``patch.LayerView`` is one."""

    @property
    def layer(self) -> int:
        """Number of the layer."""
        ...

    @property
    def row_positions(self) -> Tensor:
        """int64 ``[rows]``: positions of the queries."""
        ...

    def logits(self, method: Method) -> Tensor:
        """Logits ``[1, heads, rows, keys]`` of the queries under a method, from the same q and k."""
        ...


@dataclass
class Survey:
    """What was seen of every head, as lists of one number a head.

    Attributes
    ----------
    method
        What stock is compared with.
    length, context_length
        N and L.
    edges
        Edges of the bins of distances.
    sampled
        How many of a view's rows are the sampled ones at N; the answer's queries come after them.
    needle
        Span of the key's digits at N, if there is a needle.
    """

    method: Method | PerLayer
    length: int
    context_length: int
    edges: Sequence[int]
    sampled: int
    needle: tuple[int, int] | None = None
    logits: dict[tuple[int, str], Binned] = field(default_factory=dict)
    numbers: dict[int, dict[str, list[float]]] = field(default_factory=dict)
    thresholds: dict[int, Tensor] = field(default_factory=dict)

    def see_reference(self, view: View) -> None:
        """Take note of the stock model within L: the logits that training taught, and what coarsening costs."""
        stock, told = view.logits(PlainRoPE())[0], view.logits(method_of_layer(self.method, view.layer))[0]
        within = [edge for edge in self.edges if edge <= self.context_length]
        self.logits[view.layer, REFERENCE] = _on_cpu(binned(stock, view.row_positions, within))
        self.thresholds[view.layer] = high_quantile(stock)
        self._note(view.layer, kl_in_range=row_divergence(stock, told))

    def see_length(self, view: View) -> None:
        """Take note of stock and method at N, on the same q and k; comes after `see_reference`."""
        rows, layer = view.row_positions[: self.sampled], view.layer
        lent = method_of_layer(self.method, layer)
        stock, other = (view.logits(method)[0] for method in (PlainRoPE(), lent))
        if self.needle is not None:
            answer = slice(self.sampled, None)
            span = slice(*self.needle)
            self._note(layer, needle_mass_stock=_mass_on(stock[:, answer], span))
            self._note(layer, needle_mass_method=_mass_on(other[:, answer], span))
        stock, other = stock[:, : self.sampled], other[:, : self.sampled]
        named = (STOCK, "stock", PlainRoPE(), stock), (str(self.method), "method", lent, other)
        for label, name, method, logits in named:
            told = told_positions(method, rows, logits.shape[-1], logits.shape[0])
            shares = outlier_share(logits, rows, threshold=self.thresholds[layer], context_length=self.context_length)
            self._note(layer, **{f"outlier_share_{name}": shares})
            self._note(layer, **{f"far_mass_{name}": far_mass(logits, told, self.context_length)})
            self._note(layer, **{f"distant_mass_{name}": distant_mass(logits, rows, self.context_length)})
            self.logits[layer, label] = _on_cpu(binned(logits, rows, self.edges))
        uniform = uniform_far_mass(rows, self.context_length)
        self.numbers[layer]["far_mass_uniform"] = [uniform] * len(stock)
        self._note(layer, kl=row_divergence(stock, other))

    def see_cut(self, view: View, span: tuple[int, int]) -> None:
        """Take note of the same needle in a text cut to L, under stock; all rows are the answer's."""
        self._note(view.layer, needle_mass_reference=_mass_on(view.logits(PlainRoPE())[0], slice(*span)))

    def rows(self) -> Iterator[LogitRow | HeadRow]:
        """The rows, layer by layer."""
        labels = dict.fromkeys((REFERENCE, STOCK, str(self.method)))
        for layer, numbers in sorted(self.numbers.items()):
            for head in range(len(numbers["kl"])):
                for label in labels:
                    yield from self._logit_rows(layer, head, label)
                yield HeadRow(layer, head, self.length, **{name: values[head] for name, values in numbers.items()})

    def _logit_rows(self, layer: int, head: int, label: str) -> Iterator[LogitRow]:
        mean, low, high, pairs = (part[head].tolist() for part in self.logits[layer, label])
        for index, count in enumerate(pairs):
            if count:
                yield LogitRow(
                    layer=layer,
                    head=head,
                    condition=label,
                    distance_low=self.edges[index],
                    distance_high=self.edges[index + 1],
                    mean=mean[index],
                    low=low[index],
                    high=high[index],
                    pairs=count,
                )

    def _note(self, layer: int, **values: Tensor) -> None:
        noted = self.numbers.setdefault(layer, {})
        noted.update({name: value.tolist() for name, value in values.items()})


def _mass_on(logits: Tensor, span: slice) -> Tensor:
    inside = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    inside[span] = True
    return mass(logits, inside)


def _on_cpu(found: Binned) -> Binned:
    return Binned(*(part.cpu() for part in found))
