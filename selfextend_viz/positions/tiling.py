"""One band's attention cut into rectangles and squares, so that any attention kernel can run it without a mask."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from selfextend_viz.positions.bands import check_interval, whole_number


@dataclass(frozen=True)
class Tile:
    """A rectangle or square of attention pairs, in slots: rows are query slots, half open like the keys.

    ``kind`` says what a row sees: ``"rectangle"`` every key, ``"causal"`` the columns up to its own,
    ``"upper"`` those from its own on. These two are square. In a ``"slanted"`` tile every row sees equally many
    columns, row 0 from the first on, the last row up to the last.
    """

    kind: Literal["rectangle", "causal", "upper", "slanted"]
    row_start: int
    row_stop: int
    key_start: int
    key_stop: int

    @property
    def rows(self) -> int:
        """Number of query slots."""
        return self.row_stop - self.row_start

    @property
    def keys(self) -> int:
        """Number of key slots."""
        return self.key_stop - self.key_start

    @property
    def pairs(self) -> int:
        """Number of query-key products that the tile needs."""
        if self.kind == "rectangle":
            return self.rows * self.keys
        if self.kind == "slanted":
            return self.rows * (self.keys - self.rows + 1)
        return self.rows * (self.rows + 1) // 2


@dataclass(frozen=True)
class TileRun:
    """``count`` tiles of one kind and shape, each ``stride`` rows and ``stride`` keys after the one before.

    A run's tiles share no row, so it is one batched attention call.
    """

    first: Tile
    count: int = 1
    stride: int = 0

    @property
    def row_stop(self) -> int:
        """One past the last query slot of the last tile."""
        return self.first.row_stop + (self.count - 1) * self.stride

    def __iter__(self) -> Iterator[Tile]:
        for shift in range(0, self.count * max(self.stride, 1), max(self.stride, 1)):
            tile = self.first
            yield Tile(
                tile.kind, tile.row_start + shift, tile.row_stop + shift, tile.key_start + shift, tile.key_stop + shift
            )


def tiles(queries: int, keys: int, nearest: int = 0, beyond: int | None = None) -> Iterator[Tile]:
    """Cut one band's pairs into rectangles and causal squares, each pair in exactly one tile.

    The queries are the last ``queries`` of ``keys`` slots. No tile is empty and no row of a tile sees nothing.

    Parameters
    ----------
    queries, keys
        Numbers of query and key slots, ``1 <= queries <= keys``.
    nearest, beyond
        The band ``nearest <= i - j < beyond``; ``None`` is no far limit.

    Raises
    ------
    TypeError, ValueError
        At once, for sizes below 1, more queries than keys, or an empty band.

    See Also
    --------
    tile_runs : the same tiles, those of one shape together.
    """
    return chain.from_iterable(tile_runs(queries, keys, nearest, beyond))


def tile_runs(queries: int, keys: int, nearest: int = 0, beyond: int | None = None) -> Iterator[TileRun]:
    """The tiles of :func:`tiles`, equal ones gathered into runs: at most eight runs, whatever the lengths."""
    whole_number("queries", queries)
    if queries > whole_number("keys", keys):
        raise ValueError(f"{queries} queries cannot be the last of {keys} keys; give at least as many keys as queries")
    check_interval(nearest, beyond)
    return _runs(queries, keys, nearest, beyond)


def slanted_runs(
    queries: int, keys: int, nearest: int = 0, beyond: int | None = None, *, rows: int
) -> Iterator[TileRun]:
    """As :func:`tile_runs`, but rows that the far limit cuts lie in slanted tiles of ``rows`` rows, one tile a row.

    For kernels that take a mask: it is the same for all of a run's tiles, and hides ``rows - 1`` pairs of each row.
    """
    check_interval(nearest, beyond)
    whole_number("rows", rows)
    return _runs(queries, keys, nearest, beyond, slanted=rows)


def _runs(
    queries: int, keys: int, nearest: int, beyond: int | None, *, slanted: int | None = None
) -> Iterator[TileRun]:
    first_row = keys - queries
    start, stop = max(first_row, nearest), keys if beyond is None else min(beyond, keys)
    if start < stop:
        yield from _growing(start, stop, nearest)
    if beyond is None:
        return
    start = max(first_row, beyond)
    size, blocks = (beyond - nearest, _sliding) if slanted is None else (slanted, _slanted)
    full = max(0, keys - start) // size
    if full:
        yield from blocks(start, size, full, nearest, beyond)
    if (rest := keys - start - full * size) > 0:
        yield from blocks(start + full * size, rest, 1, nearest, beyond)


def _growing(start: int, stop: int, nearest: int) -> Iterator[TileRun]:
    """Rows whose far limit cuts nothing: row r sees keys ``[0, r - nearest]``."""
    if stop - start == 1:
        yield TileRun(Tile("rectangle", start, stop, 0, stop - nearest))
        return
    if start > nearest:
        yield TileRun(Tile("rectangle", start, stop, 0, start - nearest))
    yield TileRun(Tile("causal", start, stop, start - nearest, stop - nearest))


def _sliding(start: int, size: int, count: int, nearest: int, beyond: int) -> Iterator[TileRun]:
    """Blocks of ``size`` rows whose row r sees keys ``[r - beyond + 1, r - nearest]``."""
    stop = start + size
    if size == 1:
        yield TileRun(Tile("rectangle", start, stop, stop - beyond, stop - nearest), count, size)
        return
    yield TileRun(Tile("causal", start, stop, start - nearest, stop - nearest), count, size)
    if size < beyond - nearest:
        yield TileRun(Tile("rectangle", start, stop, stop - beyond, start - nearest), count, size)
    yield TileRun(Tile("upper", start, stop - 1, start - beyond + 1, stop - beyond), count, size)


def _slanted(start: int, size: int, count: int, nearest: int, beyond: int) -> Iterator[TileRun]:
    """Blocks of ``size`` rows whose row r sees keys ``[r - beyond + 1, r - nearest]``, each in one tile."""
    stop = start + size
    kind: Literal["rectangle", "slanted"] = "rectangle" if size == 1 else "slanted"
    yield TileRun(Tile(kind, start, stop, start - beyond + 1, stop - nearest), count, size)
