"""Sweeps: what is asked, what is kept, and what becomes of both when something goes wrong."""

import dataclasses
import random
import sqlite3
import subprocess
import sys
import time

import pytest

from selfextend_viz.positions import SelfExtend
from selfextend_viz.sweeps import CellRow, Grid, Store, StoreError, expand

SMALL = Grid(group_sizes=(4, 8), neighbor_windows=(64,), lengths=(1280, 640), depths=(0, 1), trials=3)


def row_of(planned, **measured):
    """A row as if it had been measured."""
    cell = dataclasses.asdict(planned.cell)
    return CellRow(**cell, expected_failure=planned.expected_failure, **{"fingerprint": "abc", **measured})


def rows_of(grid=SMALL):
    return [row_of(each, exact=2, outcomes=(1, 0, 1)) for each in expand(grid, context_length=320, tasks=["passkey"])]


def test_cells_come_cheapest_first_and_each_once():
    planned = expand(SMALL, context_length=320)
    cells = [each.cell for each in planned]
    assert len(set(cells)) == len(cells) == 2 * (2 + 1 + 1) * 3
    costs = [cell.trials * cell.length**2 for cell in cells]
    assert costs == sorted(costs)
    assert {cell.depth for cell in cells if cell.task == "passkey"} == {0.0, 1.0}
    assert {cell.depth for cell in cells if cell.task != "passkey"} == {None}


def test_cells_beyond_the_exact_reach_are_expected_to_fail():
    grid = Grid(group_sizes=(4,), neighbor_windows=(66,), lengths=(1080, 1081), methods=("stock", "blindfold"))
    assert SelfExtend(4, 66).capacity(320) == 1080
    found = {
        (each.cell.method, each.cell.length): each.expected_failure
        for each in expand(grid, context_length=320, tasks=["perplexity"])
    }
    assert found == {
        ("stock", 1080): True,
        ("stock", 1081): True,
        ("blindfold", 1080): False,
        ("blindfold", 1081): False,
        ("SelfExtend(G=4, w_n=66)", 1080): False,
        ("SelfExtend(G=4, w_n=66)", 1081): True,
    }


@pytest.mark.parametrize(
    ("grid", "tasks", "sentence"),
    [
        ({}, ["passkey"], "grid has no lengths"),
        ({"lengths": []}, ["passkey"], "lengths has 0 entries"),
        ({"lengths": [640], "methods": []}, ["passkey"], "0 settings"),
        ({"lengths": [640], "group_sizes": [4]}, ["passkey"], "neighbor_windows has 0 entries"),
        ({"lengths": [640], "group_sizes": [4], "neighbor_windows": [320]}, ["passkey"], "at most 319"),
        ({"lengths": [640], "depths": [1.5]}, ["passkey"], "depth is 1.5"),
        ({"lengths": [640], "windows": [64]}, ["passkey"], "grid has 'windows'"),
        ({"lengths": [640]}, ["passkeys"], "unknown task 'passkeys'"),
        ({"lengths": [640]}, ["passkey:grass"], "unknown task 'grass'"),
        ({"lengths": [640]}, [], "tasks has 0 entries"),
        ({"lengths": [640], "methods": ["no_needle"]}, ["perplexity"], "anything to do"),
        ({"lengths": [640], "methods": ["stok"]}, ["perplexity"], "unknown condition 'stok'"),
    ],
)
def test_a_grid_that_cannot_be_is_refused_in_a_sentence(grid, tasks, sentence):
    with pytest.raises(ValueError, match=sentence):
        expand(grid, context_length=320, tasks=tasks)


@pytest.mark.parametrize("grid", [{"lengths": 640}, {"lengths": "640"}, 640])
def test_one_number_alone_is_no_grid(grid):
    with pytest.raises(TypeError, match="list|mapping"):
        expand(grid, context_length=320)


def test_a_store_gives_back_what_it_was_given(tmp_path):
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as store:
        store.claim("abc", {"digits": 5})
        for row in rows:
            store.add(row)
        assert store.rows() == rows
    again = Store(tmp_path / "sweep.db")
    assert again.rows() == rows and len(again) == len(rows)
    assert all(again.has(row.cell) for row in rows)
    assert not again.has(dataclasses.replace(rows[0].cell, trials=4))
    assert again.row(rows[3].cell) == rows[3]


def test_a_cell_is_in_a_store_once_also_where_it_has_no_depth(tmp_path):
    (planned,) = expand(Grid(lengths=[640]), context_length=320, tasks=["perplexity"])
    with Store(tmp_path / "sweep.db") as store:
        store.add(row_of(planned, nll=1.5))
        with pytest.raises(StoreError, match="has this cell already"):
            store.add(row_of(planned, nll=1.6))
        assert [row.nll for row in store.rows()] == [1.5]


def test_a_store_opens_from_pandas_in_one_line_and_as_parquet(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as store:
        for row in rows:
            store.add(row)
        path = store.to_parquet(tmp_path / "sweep.parquet")
    read = pandas.read_sql("select * from cells", sqlite3.connect(tmp_path / "sweep.db"))
    written = pandas.read_parquet(path)
    for frame in (read, written):
        assert list(frame.columns) == [field.name for field in dataclasses.fields(CellRow)]
        assert frame["exact"].tolist() == [row.exact for row in rows]
        assert frame["length"].tolist() == [row.length for row in rows]
    assert [tuple(each) for each in written["outcomes"]] == [row.outcomes for row in rows]
    assert [path.name for path in tmp_path.glob("*.parquet*")] == ["sweep.parquet"]


def test_a_store_of_another_model_or_asked_otherwise_is_refused(tmp_path):
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as store:
        store.claim("abc", {"digits": 5})
        store.add(rows[0])
        with pytest.raises(StoreError, match="another model"):
            store.add(dataclasses.replace(rows[1], fingerprint="abd"))
    with Store(tmp_path / "sweep.db") as store:
        with pytest.raises(StoreError, match="its fingerprint is abc, this model's abd"):
            store.claim("abd", {"digits": 5})
        with pytest.raises(StoreError, match="digits 5, but this sweep has 10"):
            store.claim("abc", {"digits": 10})
        store.claim("abc", {"digits": 5})
        assert store.rows() == rows[:1]


def test_one_process_writes_and_others_read(tmp_path):
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as first:
        first.add(rows[0])
        second = Store(tmp_path / "sweep.db")
        with pytest.raises(StoreError, match=r"is being written by process \d+ on"):
            second.claim("abc")
        assert second.rows() == rows[:1]
    second.add(rows[1])
    assert second.rows() == rows[:2]
    second.close()


def test_a_file_that_is_no_store_is_left_alone(tmp_path):
    text, other = tmp_path / "notes.txt", tmp_path / "other.db"
    text.write_text("no database at all, only words\n" * 40, encoding="utf-8")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE cells (name TEXT)")
    connection.close()
    for path, sentence in ((text, "no SQLite file"), (other, "no sweep"), (tmp_path / "none.db", "there is no store")):
        before = path.read_bytes() if path.exists() else None
        with pytest.raises(StoreError, match=sentence):
            Store(path).rows()
        if before is not None:
            with pytest.raises(StoreError, match=sentence):
                Store(path).claim("abc")
            assert path.read_bytes() == before
    with pytest.raises(StoreError, match="folder must exist"):
        Store(tmp_path / "nowhere" / "sweep.db").claim("abc")


def test_a_full_disk_is_one_sentence_and_loses_nothing(tmp_path):
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as store:
        store.add(rows[0])
        (pages,) = store._connection.execute("PRAGMA page_count").fetchone()
        store._connection.execute(f"PRAGMA max_page_count = {pages}")
        long = dataclasses.replace(rows[1], versions="x" * 20_000)
        with pytest.raises(StoreError, match="the disk is full; the rows in it are kept"):
            store.add(long)
        assert store.rows() == rows[:1]
        store._connection.execute("PRAGMA max_page_count = 1000000")
        store.add(long)
        assert store.rows() == [rows[0], long]


def test_a_store_that_cannot_be_written_is_still_read(tmp_path):
    rows = rows_of()
    with Store(tmp_path / "sweep.db") as store:
        store.add(rows[0])
    with Store(tmp_path / "sweep.db") as store:
        store.claim("abc")
        store._connection.execute("PRAGMA query_only = 1")  # what a read-only disk is to SQLite, also for root
        with pytest.raises(StoreError, match="cannot be written here; its rows are kept"):
            store.add(rows[1])
        assert store.rows() == rows[:1]


WRITER = """
import dataclasses, sys
from selfextend_viz.sweeps import Store, Grid, expand, CellRow
planned = expand(Grid(lengths=(640,), seeds=range(2000)), context_length=320, tasks=["perplexity"])
with Store(sys.argv[1]) as store:
    store.claim("abc")
    for each in planned:
        if not store.has(each.cell):
            store.add(CellRow(**dataclasses.asdict(each.cell), nll=float(each.cell.seed), fingerprint="abc"))
"""


def test_a_writer_killed_at_any_time_leaves_whole_rows(tmp_path):
    path, counts = tmp_path / "sweep.db", [0]
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        while not path.exists() or not path.stat().st_size or len(Store(path)) < counts[-1] + 5:
            assert process.poll() is None
            time.sleep(0.05)
        time.sleep(random.random() / 20)
        process.kill()
        process.wait()
        rows = Store(path).rows()
        assert [row.nll for row in rows] == [float(row.seed) for row in rows] == list(range(len(rows)))
        counts.append(len(rows))
    assert sorted(counts) == counts and counts[-1] >= 15
    with Store(path) as store:
        store.claim("abc")  # the dead hold no lock
