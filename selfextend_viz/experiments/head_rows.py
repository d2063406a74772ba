"""Collect what layers show, at length N and within L, and make rows of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from selfextend_viz.attention import head_slices
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
MOST_LOGITS = 2**22
"""Logits that are held at one time, unless the heads that share one key head have more."""


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

    @property
    def query(self) -> Tensor:
        """``[1, heads, rows, head_dim]``."""
        ...

    @property
    def key(self) -> Tensor:
        """``[1, key heads, keys, head_dim]``."""
        ...

    def logits(self, method: Method, heads: slice = slice(None)) -> Tensor:
        """Logits ``[1, heads, rows, keys]`` of some heads under a method, from the same q and k."""
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
        within = [edge for edge in self.edges if edge <= self.context_length]
        thresholds = []
        for part in _parts(view):
            stock = view.logits(PlainRoPE(), part)[0]
            told = view.logits(method_of_layer(self.method, view.layer), part)[0]
            self._keep(view.layer, REFERENCE, binned(stock, view.row_positions, within))
            thresholds.append(high_quantile(stock))
            self._note(view.layer, kl_in_range=row_divergence(stock, told))
        self.thresholds[view.layer] = torch.cat(thresholds)

    def see_length(self, view: View) -> None:
        """Take note of stock and method at N, on the same q and k; comes after `see_reference`."""
        rows, layer = view.row_positions[: self.sampled], view.layer
        heads, keys = view.query.shape[1], view.key.shape[2]
        uniform = uniform_far_mass(rows, self.context_length)
        self.numbers[layer]["far_mass_uniform"] = [uniform] * heads
        methods = {"stock": PlainRoPE(), "method": method_of_layer(self.method, layer)}
        told = {name: told_positions(method, rows, keys, heads) for name, method in methods.items()}
        for part in _parts(view):
            logits = {name: view.logits(method, part)[0] for name, method in methods.items()}
            if self.needle is not None:
                for name, each in logits.items():
                    on_needle = _mass_on(each[:, self.sampled :], slice(*self.needle))
                    self._note(layer, **{f"needle_mass_{name}": on_needle})
            logits = {name: each[:, : self.sampled] for name, each in logits.items()}
            for name, each in logits.items():
                places = told[name] if len(told[name]) == 1 else told[name][part]
                self._see_part(layer, name, each, rows, places, part)
            self._note(layer, kl=row_divergence(*logits.values()))

    def _see_part(self, layer: int, name: str, logits: Tensor, rows: Tensor, told: Tensor, part: slice) -> None:
        threshold = self.thresholds[layer][part]
        shares = outlier_share(logits, rows, threshold=threshold, context_length=self.context_length)
        self._note(layer, **{f"outlier_share_{name}": shares})
        self._note(layer, **{f"far_mass_{name}": far_mass(logits, told, self.context_length)})
        self._note(layer, **{f"distant_mass_{name}": distant_mass(logits, rows, self.context_length)})
        label = STOCK if name == "stock" else str(self.method)
        if name == "stock" or label != STOCK:
            self._keep(layer, label, binned(logits, rows, self.edges))

    def see_cut(self, view: View, span: tuple[int, int]) -> None:
        """Take note of the same needle in a text cut to L, under stock; all rows are the answer's."""
        for part in _parts(view):
            on_needle = _mass_on(view.logits(PlainRoPE(), part)[0], slice(*span))
            self._note(view.layer, needle_mass_reference=on_needle)

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
        """Add numbers of the next heads of a layer."""
        noted = self.numbers.setdefault(layer, {})
        for name, value in values.items():
            noted.setdefault(name, []).extend(value.tolist())

    def _keep(self, layer: int, label: str, found: Binned) -> None:
        """Add the bins of the next heads of a layer."""
        found = Binned(*(part.cpu() for part in found))
        known = self.logits.get((layer, label))
        self.logits[layer, label] = found if known is None else Binned(*map(torch.cat, zip(known, found, strict=True)))


def _parts(view: View) -> list[slice]:
    return head_slices(view.query, view.key, MOST_LOGITS)


def _mass_on(logits: Tensor, span: slice) -> Tensor:
    inside = torch.zeros(logits.shape[-1], dtype=torch.bool, device=logits.device)
    inside[span] = True
    return mass(logits, inside)
