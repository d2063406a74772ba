"""Which slots of a batch hold tokens, and which of them the queries are.

A slot is an index along the key axis. Within a row the tokens stand in one unbroken run of slots; before it may be left
padding, after it right padding or cache that is not yet written.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Run", "Slots"]


@dataclass(frozen=True)
class Run:
    """Neighbouring batch rows whose tokens lie in the same slots.

    Attributes
    ----------
    rows : slice
        Batch indices, consecutive ones, so that taking them copies nothing.
    start, stop : int
        Their tokens are the slots ``start <= slot < stop``.
    """

    rows: slice
    start: int
    stop: int


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots of one attention call; build it once per forward and hand it to every layer.

    Attributes
    ----------
    queries, keys : int
        Lengths of the query and key axes.
    written : int
        Slots in use, padding included; the queries are ``written - queries .. written - 1`` in every row.
    runs : tuple of Run
        Neighbouring batch rows grouped by where their tokens lie. Rows without any token are in none.
    positions : Tensor
        int64 ``[batch or 1, keys]``: each slot's position, negative where there is no token.
    """

    queries: int
    keys: int
    written: int
    runs: tuple[Run, ...]
    positions: Tensor

    @classmethod
    def full(cls, *, batch: int, queries: int, keys: int, device: torch.device | None = None) -> Slots:
        """Every slot holds a token; positions count from 0."""
        positions = torch.arange(keys, device=device)[None]
        return cls(queries, keys, keys, (Run(slice(0, batch), 0, keys),), positions)

    @classmethod
    def of(cls, key_positions: Tensor, *, queries: int, written: int | None = None) -> Slots:
        """Read the slots from each slot's position.

        Parameters
        ----------
        key_positions : Tensor
            Integers ``[batch, keys]``, negative where a slot is padding or not yet written.
        queries : int
            Length of the query axis.
        written : int, optional
            Slots in use. Left out, they end with the last token of any row (and are at least ``queries``), which is
            right unless every row is padded on the right.

        Raises
        ------
        TypeError
            If ``key_positions`` are not integers.
        ValueError
            If the shape is not ``[batch, keys]``, or within a row the tokens have a gap or do not count up by one.
        """
        if key_positions.is_floating_point() or key_positions.dtype is torch.bool:
            raise TypeError(f"key_positions must be integers, got {key_positions.dtype}; use int64.")
        if key_positions.ndim != 2:
            raise ValueError(f"key_positions must be [batch, keys], got shape {tuple(key_positions.shape)}.")
        bounds, keys = _bounds(key_positions), key_positions.shape[1]
        last = max(stop for _, stop in bounds)
        if written is None:
            written = max(queries, last)
        if not max(queries, last) <= written <= keys:
            raise ValueError(f"written must lie in {max(queries, last)} .. {keys}, got {written}.")
        return cls(queries, keys, written, _runs(bounds), key_positions)

    @property
    def query_start(self) -> int:
        """The slot of the first query."""
        return self.written - self.queries

    @property
    def query_positions(self) -> Tensor:
        """int64 ``[batch or 1, queries]``, negative where a query is padding."""
        return self.positions[:, self.query_start : self.written]

    def spans(self) -> Iterator[tuple[slice, slice, slice]]:
        """Batch rows, queries and keys of every run that has a query: a call without padding each."""
        for run in self.runs:
            first = max(self.query_start, run.start)
            if first < run.stop:
                yield run.rows, slice(first - self.query_start, run.stop - self.query_start), slice(run.start, run.stop)


def _bounds(key_positions: Tensor) -> list[tuple[int, int]]:
    """First token and one past the last of every row, as ``(0, 0)`` for a row without tokens; one device sync."""
    seen = key_positions >= 0
    count = seen.sum(-1)
    start = seen.to(torch.int8).argmax(-1)
    slot = torch.arange(key_positions.shape[1], device=key_positions.device)
    inside = (slot >= start[:, None]) & (slot < (start + count)[:, None])
    expected = torch.where(inside, key_positions.gather(-1, start[:, None]) + slot - start[:, None], -1)
    broken = (torch.where(seen, key_positions, -1) != expected).any(-1)
    table = torch.stack((start, start + count, broken), -1).tolist()
    for row, (first, stop, wrong) in enumerate(table):
        if wrong:
            raise ValueError(
                f"key_positions of row {row} must count up by one over one unbroken run of slots and be -1 elsewhere; "
                f"they do not within slots {first} .. {stop}. Packed sequences and gaps are not supported: "
                "put each sequence in a row of its own."
            )
    return [(first, stop) if stop > first else (0, 0) for first, stop, _ in table]


def _runs(bounds: list[tuple[int, int]]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for row, (start, stop) in enumerate(bounds):
        if stop <= start:
            continue
        if runs and (runs[-1].rows.stop, runs[-1].start, runs[-1].stop) == (row, start, stop):
            runs[-1] = Run(slice(runs[-1].rows.start, row + 1), start, stop)
        else:
            runs.append(Run(slice(row, row + 1), start, stop))
    return tuple(runs)
