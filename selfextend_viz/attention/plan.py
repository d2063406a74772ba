"""Which kernel calls a band takes: its tiles, gathered into as few batched calls as can be."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from itertools import chain

from selfextend_viz.attention.slots import Slots
from selfextend_viz.positions import Band, Tile, TileRun, slanted_runs, tile_runs

__all__ = ["reached", "tile_plan"]


@lru_cache(maxsize=512)
def tile_plan(
    queries: int,
    keys: int,
    nearest: int,
    beyond: int | None,
    most: int,
    slanted: int | None = None,
    halved: tuple[int, int] | None = None,
) -> tuple[TileRun, ...]:
    """The tiles of a band, equal neighbours in one run of at most ``most``; remembered, since layers ask alike.

    Parameters
    ----------
    queries, keys, nearest, beyond
        As in :func:`selfextend_viz.positions.tile_runs`.
    most : int
        Tiles that one kernel call may take.
    slanted : int, optional
        Rows of a slanted tile, for kernels that take a mask; left out, none is slanted.
    halved : tuple of int, optional
        Fewest and most rows of a lone causal square that is cut into two of half its rows and the rectangle beside
        the later one; left out, none is cut.
    """
    if slanted is None:
        runs = tile_runs(queries, keys, nearest, beyond)
    else:
        runs = slanted_runs(queries, keys, nearest, beyond, rows=slanted)
    if halved is not None:
        runs = chain.from_iterable(_halves(run, *halved) for run in runs)
    return tuple(part for run in _joined(runs) for part in _split(run, most))


def reached(slots: Slots, band: Band) -> tuple[slice, slice] | None:
    """The queries that see a key in a band, and the keys that any of them sees, padding apart; None if there are none.

    Slices of the query axis and the key axis.
    """
    found = [part for span in slots.spans() if (part := _reached(span[1], span[2], band)) is not None]
    if not found:
        return None
    first, keys_first = (min(part[side].start for part in found) for side in (0, 1))
    last, keys_last = (max(part[side].stop for part in found) for side in (0, 1))
    return slice(first, last), slice(keys_first, keys_last)


def _reached(queries: slice, keys: slice, band: Band) -> tuple[slice, slice] | None:
    length = keys.stop - keys.start
    before = length - (queries.stop - queries.start)
    first_row = max(before, band.nearest)
    if first_row >= length:
        return None
    first_key = 0 if band.beyond is None else max(0, first_row - band.beyond + 1)
    rows = slice(queries.start + first_row - before, queries.stop)
    return rows, slice(keys.start + first_key, keys.stop - band.nearest)


def _halves(run: TileRun, fewest: int, most: int) -> Iterator[TileRun]:
    """A lone causal square of so many rows as two halves and a rectangle; any other run as it is."""
    square = run.first
    if square.kind != "causal" or run.count > 1 or not fewest <= square.rows <= most:
        yield run
        return
    half = square.rows // 2
    row, key = square.row_stop - half, square.key_stop - half
    yield TileRun(Tile("causal", square.row_start, row, square.key_start, key), stride=half)
    yield TileRun(Tile("causal", row, square.row_stop, key, square.key_stop), stride=half)
    yield TileRun(Tile("rectangle", row, square.row_stop, square.key_start, key))


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
