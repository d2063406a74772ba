"""The rows of a comparison of methods, and the table that a method enters only beside its controls."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import nan
from pathlib import Path
from typing import Any

from selfextend_viz.experiments.rows import (
    BLINDFOLD,
    NO_NEEDLE,
    STOCK,
    TRUNCATE,
    PasskeyRow,
    PerplexityRow,
    wilson_interval,
)

CONTROLS = (STOCK, TRUNCATE, BLINDFOLD)
"""The conditions that every method is shown beside."""


@dataclass(frozen=True)
class MassRow:
    """Attention mass outside the trained range, averaged over heads, layers, sampled queries and texts.

    Attributes
    ----------
    condition, length
        Under what the model read, and N. ``"truncate"`` reads the last L tokens alone.
    outside
        Softmax mass on told distances that no training has taught, L or more. Where a method slows frequencies, a
        distance counts as the one at which the plain model has the same angles; see `slowdown`.
    worst
        The same in the head that has most.
    uniform
        What uniform attention over the keys that are seen would put there.
    slowdown
        By what told distances are divided: 1 but for methods that change frequencies.
    texts, queries, heads
        How many texts, queries of each (``"truncate"`` has those of them in the last L tokens), heads of all layers.
    """

    condition: str
    length: int
    outside: float
    worst: float
    uniform: float
    slowdown: float
    texts: int
    queries: int
    heads: int


CompareRow = PasskeyRow | PerplexityRow | MassRow
"""What `compare` yields."""


@dataclass(frozen=True)
class Found:
    """How many needles were found, of how many; `low` and `high` are Wilson's 95 % bounds."""

    exact: int
    trials: int

    @property
    def low(self) -> float:
        """Lower bound."""
        return wilson_interval(self.exact, self.trials)[0]

    @property
    def high(self) -> float:
        """Upper bound."""
        return wilson_interval(self.exact, self.trials)[1]

    def __str__(self) -> str:
        return f"{self.exact}/{self.trials}"


@dataclass(frozen=True)
class TableRow:
    """One line of the table: a control or a method with all that was measured of it.

    Attributes
    ----------
    condition
        Its label.
    control
        Whether it is one of the conditions that methods are shown beside.
    passkey
        Needles found at each length, all depths together.
    near, far
        Needles found at 2 L in the last L tokens (depths of 0.6 and more), and before them (0.4 and less); ``None``
        where none was asked for.
    middle
        Needles found in the middle half of texts of 4 L or, where none was asked for, of the next longer ones.
    perplexity
        The rows by context length, each with its paired difference to the truncated stock.
    mass
        Attention outside the trained range by length.
    """

    condition: str
    control: bool
    passkey: dict[int, Found]
    near: Found | None
    far: Found | None
    middle: Found | None
    perplexity: dict[int, PerplexityRow]
    mass: dict[int, MassRow]


@dataclass(frozen=True)
class Comparison:
    """All rows of one or more runs of `compare` on one model.

    Attributes
    ----------
    context_length
        L.
    passkey, perplexity, mass
        The rows, in the order in which they came.
    """

    context_length: int
    passkey: tuple[PasskeyRow, ...] = ()
    perplexity: tuple[PerplexityRow, ...] = ()
    mass: tuple[MassRow, ...] = ()

    @classmethod
    def of(cls, rows: Iterable[CompareRow], *, context_length: int) -> Comparison:
        """The rows, sorted by kind."""
        found = list(rows)
        return cls(
            context_length,
            tuple(row for row in found if isinstance(row, PasskeyRow)),
            tuple(row for row in found if isinstance(row, PerplexityRow)),
            tuple(row for row in found if isinstance(row, MassRow)),
        )

    @classmethod
    def read(cls, path: Path | str) -> Comparison:
        """The rows of a file that ``selfextend-viz compare --json`` wrote.

        Raises
        ------
        ValueError
            If something else wrote it.
        """
        written = json.loads(Path(path).read_text(encoding="utf-8"))
        if not isinstance(written, dict) or "context_length" not in written.get("settings", {}):
            raise ValueError(f"{path} has no rows of a comparison; choose a file that compare wrote")
        return cls.from_rows(written["rows"], context_length=written["settings"]["context_length"])

    @classmethod
    def from_rows(cls, rows: Iterable[Mapping[str, Any]], *, context_length: int) -> Comparison:
        """The rows as JSON has them: each with its kind as ``"row"``, and ``None`` where a number is none.

        Raises
        ------
        ValueError
            If a row is of another kind.
        """
        known: dict[str, Callable[..., CompareRow]] = {
            kind.__name__: kind for kind in (PasskeyRow, PerplexityRow, MassRow)
        }
        found = []
        for row in rows:
            if row.get("row") not in known:
                raise ValueError(f"a row of kind {row.get('row')!r} is none of a comparison's: {', '.join(known)}")
            numbers = {name: nan if value is None else value for name, value in row.items() if name != "row"}
            found.append(known[row["row"]](**numbers))
        return cls.of(found, context_length=context_length)

    @property
    def conditions(self) -> list[str]:
        """Labels, in the order in which they came."""
        rows: tuple[CompareRow, ...] = (*self.passkey, *self.perplexity, *self.mass)
        return list(dict.fromkeys(row.condition for row in rows))

    def table(self) -> tuple[TableRow, ...]:
        """A row for each condition, controls first.

        Raises
        ------
        ValueError
            If a method's rows come without those of stock, truncate and blindfold at the same lengths and depths,
            from the same seed and as many trials or targets.
        """
        self._check_controls()
        labels = [label for label in (*CONTROLS, NO_NEEDLE) if label in self.conditions]
        return tuple(map(self._table_row, dict.fromkeys((*labels, *self.conditions))))

    def _check_controls(self) -> None:
        """Refuse a method whose prompts or texts the controls did not read."""
        kinds: tuple[tuple[str, set[tuple[str, _Read]]], ...] = (
            ("pass keys", {(row.condition, _prompts(row)) for row in self.passkey}),
            ("perplexity", {(row.condition, _targets(row)) for row in self.perplexity}),
            ("attention mass", {(row.condition, _queries(row)) for row in self.mass}),
        )
        for kind, seen in kinds:
            for label, read in sorted(seen, key=str):
                missing = next((name for name in CONTROLS if (name, read) not in seen), None)
                if missing is not None and label not in (*CONTROLS, NO_NEEDLE):
                    raise ValueError(
                        f"{kind} of {label} ({', '.join(f'{name} {value}' for name, value in read)}) stand without "
                        f"those of {missing!r}; a method enters the table beside {', '.join(CONTROLS)} only"
                    )

    def _table_row(self, label: str) -> TableRow:
        trained = self.context_length
        keys = [row for row in self.passkey if row.condition == label]
        twice = [row for row in keys if row.length == 2 * trained]
        halfway = [row for row in keys if row.length >= 4 * trained and 0.25 <= row.depth <= 0.75]
        first = min((row.length for row in halfway), default=0)
        return TableRow(
            condition=label,
            control=label in (*CONTROLS, NO_NEEDLE),
            passkey={
                length: together([row for row in keys if row.length == length])  # type: ignore[misc]
                for length in dict.fromkeys(row.length for row in keys)
            },
            near=together([row for row in twice if row.depth >= 0.6]),
            far=together([row for row in twice if row.depth <= 0.4]),
            middle=together([row for row in halfway if row.length == first]),
            perplexity={row.context_length: row for row in self.perplexity if row.condition == label},
            mass={row.length: row for row in self.mass if row.condition == label},
        )


def together(rows: Iterable[PasskeyRow]) -> Found | None:
    """Needles found in several cells; ``None`` without any cell."""
    cells = list(rows)
    return Found(sum(row.exact for row in cells), sum(row.trials for row in cells)) if cells else None


_Read = tuple[tuple[str, object], ...]
"""What a row is measured on, in names and values."""


def _prompts(row: PasskeyRow) -> _Read:
    task = None if row.condition == NO_NEEDLE else row.task
    return ("task", task), ("N", row.length), ("depth", row.depth), ("trials", row.trials), ("seed", row.seed)


def _targets(row: PerplexityRow) -> _Read:
    return ("context", row.context_length), ("texts", row.texts), ("targets", row.targets)


def _queries(row: MassRow) -> _Read:
    return ("N", row.length), ("texts", row.texts), ("queries", row.queries), ("heads", row.heads)
