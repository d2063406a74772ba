"""Which kernel calls a band takes: its tiles, gathered into as few batched calls as can be."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from selfextend_viz.positions import TileRun, tile_runs

__all__ = ["tile_plan"]


@lru_cache(maxsize=512)
def tile_plan(queries: int, keys: int, nearest: int, beyond: int | None, most: int) -> tuple[TileRun, ...]:
    """The tiles of a band, equal neighbours in one run of at most ``most``; remembered, since layers ask alike.

    Parameters
    ----------
    queries, keys, nearest, beyond
        As in :func:`selfextend_viz.positions.tile_runs`.
    most : int
        Tiles that one kernel call may take.
    """
    return tuple(part for run in _joined(tile_runs(queries, keys, nearest, beyond)) for part in _split(run, most))


def _joined(runs: Iterator[TileRun]) -> Iterator[TileRun]:
    """Let a first square join the run of equal squares that goes on where it ends."""
    held: TileRun | None = None
    for run in runs:
        if held is not None and run.first == _next_after(held, run.stride):
            held = TileRun(held.first, held.count + run.count, run.stride)
            continue
        if held is not None:
            yield held
        held = run
    if held is not None:
        yield held


def _next_after(run: TileRun, stride: int) -> object:
    if run.count > 1 and run.stride != stride:
        return None
    return tuple(TileRun(run.first, run.count + 1, stride))[-1]


def _split(run: TileRun, most: int) -> Iterator[TileRun]:
    members = tuple(run)[::most] if run.count > most else (run.first,)
    for index, first in enumerate(members):
        yield TileRun(first, min(most, run.count - index * most), run.stride)
