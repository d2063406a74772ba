"""Where the rows of a sweep are kept: one SQLite file, one row a cell, one writer at a time.

The file has a rollback journal and full syncs, not a write-ahead log: a row is in the one file once it is added, and
a process that is killed leaves at most a journal, which the next one to open the file rolls back. A log would be
faster, but keeps the latest rows in a second file that is easily left behind, and does not work on network disks.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from selfextend_viz.sweeps.cells import Cell
from selfextend_viz.sweeps.rows import CellRow

__all__ = ["Store", "StoreError"]

FORMAT = 1
APPLICATION = 0x53765377
"""Tells a sweep's file from other SQLite files."""
PATIENCE = 30.0
"""Seconds that a reader and the writer wait for each other."""
COLUMNS = tuple(each.name for each in fields(CellRow))
_TEXTS = ("task", "method", "outcomes", "fingerprint", "versions", "finished")
_WHOLE = ("group_size", "neighbor_window", "length", "seed", "trials", "expected_failure", "exact")
_KINDS = {name: "TEXT" if name in _TEXTS else "INTEGER" if name in _WHOLE else "REAL" for name in COLUMNS}
_KEY = {"fingerprint": "fingerprint", **{each.name: each.name for each in fields(Cell)}}
for _name in ("group_size", "neighbor_window", "depth"):
    _KEY[_name] = f"coalesce({_name}, -1)"  # SQLite takes every NULL for different from every other
_SCHEMA = (
    f"CREATE TABLE cells ({', '.join(f'{name} {kind}' for name, kind in _KINDS.items())})",
    f"CREATE UNIQUE INDEX one_row_a_cell ON cells ({', '.join(_KEY.values())})",
    "CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT)",
    f"PRAGMA application_id = {APPLICATION}",
    f"PRAGMA user_version = {FORMAT}",
)


class StoreError(ValueError):
    """A store cannot be read or written; says why in one sentence. The rows that it holds are not touched."""


class Store:
    """The file that a sweep writes, open to any number of readers and one writer.

    Reading needs no more than the path. A sweep calls `claim`, which makes the file where there is none and keeps other
    writers away until `close`.

    Parameters
    ----------
    path
        The file; it need not exist yet.

    Examples
    --------
    >>> Store("sweep.db").rows()
    >>> pandas.read_sql("select * from cells", sqlite3.connect("sweep.db"))
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self._connection: sqlite3.Connection | None = None
        self._lock: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        with self._asking() as connection:
            (count,) = connection.execute("SELECT count(*) FROM cells").fetchone()
        return int(count)

    def rows(self) -> list[CellRow]:
        """All rows, in the order they were added.

        Raises
        ------
        StoreError
            If there is no such file, or it is no sweep's.
        """
        with self._asking() as connection:
            found = connection.execute(f"SELECT {', '.join(COLUMNS)} FROM cells ORDER BY rowid").fetchall()
        return [_as_row(values) for values in found]

    def has(self, cell: Cell) -> bool:
        """Whether a cell is there."""
        return self.row(cell) is not None

    def row(self, cell: Cell) -> CellRow | None:
        """A cell's row, if it is there."""
        wanted = [f"{each.name} IS ?" for each in fields(Cell)]
        query = f"SELECT {', '.join(COLUMNS)} FROM cells WHERE {' AND '.join(wanted)}"
        with self._asking() as connection:
            found = connection.execute(query, [getattr(cell, each.name) for each in fields(Cell)]).fetchone()
        return None if found is None else _as_row(found)

    def about(self) -> dict[str, Any]:
        """What is known of the model and the settings of the rows: empty for a store without any."""
        with self._asking() as connection:
            return {name: json.loads(value) for name, value in connection.execute("SELECT name, value FROM about")}

    def claim(self, fingerprint: str, settings: Mapping[str, Any] | None = None) -> None:
        """Become the one writer, until `close` or the end of the process, for a model and settings that fit the rows.

        Parameters
        ----------
        fingerprint
            Of the model.
        settings
            What else decides what rows say, as JSON can hold it, such as the digits of a pass key.

        Raises
        ------
        StoreError
            If another process writes the file, it cannot be written, or it holds rows of another model or other
            settings.
        """
        self._take_lock()
        try:
            if not self.path.exists() or not self.path.stat().st_size:
                self._make()
            about = self.about()
            self._check_model(about, fingerprint)
            self._check_settings(about, dict(settings or {}))
            writer = f"process {os.getpid()} on {platform.node()}, since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
            self._tell(fingerprint=fingerprint, settings=dict(settings or {}), writer=writer)
        except BaseException:
            self._release()
            raise

    def add(self, row: CellRow) -> None:
        """Add a row; when this returns, it is on the disk.

        Raises
        ------
        StoreError
            If another process writes the file, the disk is full or cannot be written, the cell is there already, or
            the row is another model's.
        """
        if self._lock is None:
            self.claim(row.fingerprint)
        self._check_model(self.about(), row.fingerprint)
        places = ", ".join("?" * len(COLUMNS))
        with self._asking() as connection:
            try:
                connection.execute(f"INSERT INTO cells ({', '.join(COLUMNS)}) VALUES ({places})", _as_values(row))
            except sqlite3.IntegrityError as error:
                raise StoreError(f"{self.path} has this cell already: {row.cell}") from error

    def to_parquet(self, path: str | Path) -> Path:
        """Write all rows as a Parquet file, whole or not at all; the extra ``sweep`` brings what this needs.

        Raises
        ------
        ImportError
            If pyarrow is missing.
        StoreError
            If there is no such store.
        """
        from selfextend_viz.sweeps.parquet import write_parquet

        return write_parquet(self.rows(), Path(path).expanduser())

    def close(self) -> None:
        """Let others write; the object still reads."""
        self._release()

    def _take_lock(self) -> None:
        """SQLite's own lock on a file beside the store: the system drops it with the process, however that ends."""
        if self._lock is not None:
            return
        beside = self.path.with_name(f"{self.path.name}.lock")
        try:
            self._lock = sqlite3.connect(beside, timeout=0, isolation_level=None)
            self._lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            self._release()
            if "locked" not in str(error):
                raise self._unwritable(error) from error
            writer = self.about().get("writer", "another process") if self.path.exists() else "another process"
            raise StoreError(
                f"{self.path} is being written by {writer}; wait until it ends, or give another file"
            ) from error

    def _release(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _make(self) -> None:
        with self._asking(fresh=True) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")

    def _check_model(self, about: Mapping[str, Any], fingerprint: str) -> None:
        known = about.get("fingerprint", fingerprint)
        if known != fingerprint:
            raise StoreError(
                f"{self.path} holds rows of another model (its fingerprint is {known}, this model's {fingerprint}); "
                "give another file"
            )

    def _check_settings(self, about: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
        known = about.get("settings")
        if not known or not settings or known == json.loads(json.dumps(settings)):
            return
        name = next(name for name in {**known, **settings} if known.get(name) != settings.get(name))
        raise StoreError(
            f"{self.path} was measured with {name} {known.get(name)!r}, but this sweep has {settings.get(name)!r}; "
            "give another file, or ask as it was asked"
        )

    def _tell(self, **facts: Any) -> None:
        with self._asking() as connection:
            for name, value in facts.items():
                if value:
                    connection.execute("INSERT OR REPLACE INTO about VALUES (?, ?)", (name, json.dumps(value)))

    @contextmanager
    def _asking(self, *, fresh: bool = False) -> Iterator[sqlite3.Connection]:
        """The writer's connection, or a reader's for this one question; SQLite's errors as sentences."""
        try:
            if self._lock is None:
                with closing(self._opened(fresh)) as connection:
                    yield connection
                return
            if self._connection is None:
                self._connection = self._opened(fresh)
            yield self._connection
        except sqlite3.DatabaseError as error:
            raise self._unwritable(error) from error

    def _opened(self, fresh: bool) -> sqlite3.Connection:
        if not fresh and not self.path.exists():
            raise StoreError(f"there is no store {self.path}; a sweep makes it")
        # The writer's is used by whichever thread draws the rows; SQLite locks each call by itself.
        connection = sqlite3.connect(self.path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        connection.execute("PRAGMA synchronous = FULL")
        if not fresh:
            self._check_format(connection)
        return connection

    def _check_format(self, connection: sqlite3.Connection) -> None:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if (application, version) != (APPLICATION, FORMAT):
            connection.close()
            newer = f"a sweep of another version (format {version}, this one reads {FORMAT})"
            told = newer if application == APPLICATION else "no sweep"
            raise StoreError(f"{self.path} was written by {told}; give another file")

    def _unwritable(self, error: sqlite3.DatabaseError) -> StoreError:
        said = str(error)
        if "full" in said:
            why = "the disk is full; the rows in it are kept, so free some space and ask again"
        elif "readonly" in said:
            why = "it cannot be written here; its rows are kept, so change its permissions or copy it elsewhere"
        elif "unable to open" in said:
            why = "it cannot be opened; its folder must exist, and be writable for a sweep"
        elif "not a database" in said:
            why = "it is no SQLite file; give another file"
        elif "locked" in said:
            why = f"another program has held it for more than {PATIENCE:.0f} s; close that, and ask again"
        else:
            why = f"SQLite says {said}; the rows that were added before are kept"
        return StoreError(f"{self.path}: {why}")


def _as_values(row: CellRow) -> list[Any]:
    values = {name: getattr(row, name) for name in COLUMNS}
    outcomes = None if row.outcomes is None else "".join(map(str, row.outcomes))
    return list({**values, "outcomes": outcomes, "expected_failure": int(row.expected_failure)}.values())


def _as_row(values: tuple[Any, ...]) -> CellRow:
    found = dict(zip(COLUMNS, values, strict=True))
    if found["outcomes"] is not None:
        found["outcomes"] = tuple(map(int, found["outcomes"]))
    return CellRow(**{**found, "expected_failure": bool(found["expected_failure"])})
