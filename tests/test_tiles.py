"""Every pair of a band lies in exactly one tile, and no tile has an empty row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfextend_viz.positions import SelfExtend, Tile, slanted_runs, tile_runs, tiles


def pairs_of(tile: Tile) -> np.ndarray:
    """bool [rows, keys] of one tile, checked for empty rows."""
    assert tile.rows > 0 and tile.keys > 0
    seen = np.ones((tile.rows, tile.keys), dtype=bool)
    if tile.kind == "slanted":
        assert 1 < tile.rows <= tile.keys
        seen = np.tril(np.triu(seen), tile.keys - tile.rows)
    elif tile.kind != "rectangle":
        assert tile.rows == tile.keys
        seen = np.tril(seen) if tile.kind == "causal" else np.triu(seen)
    assert seen.any(axis=1).all()
    return seen


def coverage(queries: int, keys: int, nearest: int, beyond: int | None, slanted: int | None = None) -> np.ndarray:
    count = np.zeros((keys, keys), dtype=int)
    found = tiles(queries, keys, nearest, beyond)
    if slanted is not None:
        found = (tile for run in slanted_runs(queries, keys, nearest, beyond, rows=slanted) for tile in run)
    for tile in found:
        assert tile.pairs == pairs_of(tile).sum()
        assert keys - queries <= tile.row_start < tile.row_stop <= keys
        assert 0 <= tile.key_start < tile.key_stop <= keys
        count[tile.row_start : tile.row_stop, tile.key_start : tile.key_stop] += pairs_of(tile)
    return count


def wanted(queries: int, keys: int, nearest: int, beyond: int | None) -> np.ndarray:
    distance = np.subtract.outer(np.arange(keys), np.arange(keys))
    in_band = (distance >= nearest) & (distance < (keys + 1 if beyond is None else beyond))
    return in_band & (np.arange(keys)[:, None] >= keys - queries)


@pytest.mark.parametrize("keys", range(1, 12))
def test_every_pair_once_for_all_small_sizes(keys: int) -> None:
    for queries in range(1, keys + 1):
        for nearest in range(keys + 2):
            for beyond in [None, *range(nearest + 1, keys + 3)]:
                for slanted in (None, 1, 3):
                    np.testing.assert_array_equal(
                        coverage(queries, keys, nearest, beyond, slanted), wanted(queries, keys, nearest, beyond)
                    )


@settings(deadline=None)
@given(data=st.data())
def test_every_pair_once_for_larger_sizes(data: st.DataObject) -> None:
    keys = data.draw(st.integers(1, 130))
    queries = data.draw(st.integers(1, keys))
    nearest = data.draw(st.integers(0, keys + 5))
    beyond = data.draw(st.none() | st.integers(nearest + 1, nearest + keys + 5))
    slanted = data.draw(st.none() | st.integers(1, 40))
    np.testing.assert_array_equal(
        coverage(queries, keys, nearest, beyond, slanted), wanted(queries, keys, nearest, beyond)
    )


@settings(deadline=None)
@given(data=st.data())
def test_runs_are_few_equal_and_evenly_spaced(data: st.DataObject) -> None:
    keys = data.draw(st.integers(1, 400))
    queries = data.draw(st.integers(1, keys))
    nearest = data.draw(st.integers(0, keys))
    beyond = data.draw(st.none() | st.integers(nearest + 1, nearest + 20))
    runs = list(tile_runs(queries, keys, nearest, beyond))
    assert len(runs) <= 8
    assert [tile for run in runs for tile in run] == list(tiles(queries, keys, nearest, beyond))
    for run in runs:
        members = list(run)
        assert len(members) == run.count
        for before, after in zip(members, members[1:], strict=False):
            assert (after.kind, after.rows, after.keys) == (before.kind, before.rows, before.keys)
            assert after.row_start - before.row_start == after.key_start - before.key_start == run.stride
            assert before.row_stop <= after.row_start


def test_decoding_needs_two_rectangles_and_no_causal_flag() -> None:
    found = [
        tile
        for band in SelfExtend(group_size=8, neighbor_window=64).bands
        for tile in tiles(1, 1000, band.nearest, band.beyond)
    ]
    assert found == [Tile("rectangle", 999, 1000, 936, 1000), Tile("rectangle", 999, 1000, 0, 936)]


def test_a_one_shot_prompt() -> None:
    assert list(tiles(10, 10, 0, 4)) == [
        Tile("causal", 0, 4, 0, 4),
        Tile("causal", 4, 8, 4, 8),
        Tile("upper", 4, 7, 1, 4),
        Tile("causal", 8, 10, 8, 10),
        Tile("rectangle", 8, 10, 6, 8),
        Tile("upper", 8, 9, 5, 6),
    ]
    assert list(tiles(10, 10, 4)) == [Tile("causal", 4, 10, 0, 6)]


def test_no_pair_is_computed_twice_or_in_vain() -> None:
    work = sum(
        pairs_of(tile).sum() for band in SelfExtend(4, 50).bands for tile in tiles(300, 300, band.nearest, band.beyond)
    )
    assert work == 300 * 301 // 2


@pytest.mark.parametrize(
    ("numbers", "error", "message"),
    [
        ((0, 4), ValueError, "queries is 0"),
        ((1, 0), ValueError, "keys is 0"),
        ((5, 4), ValueError, "5 queries .* 4 keys"),
        ((1, 4, -1), ValueError, "nearest is -1"),
        ((1, 4, 3, 3), ValueError, "empty"),
        ((1.0, 4), TypeError, "queries must be a whole number"),
        ((1, True), TypeError, "keys must be a whole number"),
    ],
)
def test_bad_sizes(numbers: tuple[int, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        tiles(*numbers)  # at once, before any tile is asked for
