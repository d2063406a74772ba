"""The rows a verification yields, and the table they make: no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

COLUMNS = ("check", "by", "N", "error", "tolerance", "verdict", "layer: where")


@dataclass(frozen=True)
class VerifyRow:
    """One check of one layer, or one that was skipped.

    Attributes
    ----------
    check
        ``"prefill"`` (one forward), ``"decode"`` (token by token), ``"chunked"`` (several forwards), ``"padded"`` (a
        left-padded batch) or ``"cached"`` (a second turn on one cache): the largest error must be within the tolerance.
        ``"active"``: the largest difference from plain RoPE must be beyond it. ``"all"`` where all were skipped.
    implementation
        ``"eager"``, ``"flash"`` or ``"fused"``.
    layer
        Number of the layer; ``None`` where the check was skipped or the model raised.
    length
        N.
    error, tolerance
        Absolute, of the attention's output; ``None`` where there is no layer.
    passed
        ``None`` where the check was skipped.
    note
        Head and query of the largest error, or why there is none.
    """

    check: str
    implementation: str
    layer: int | None
    length: int
    error: float | None
    tolerance: float | None
    passed: bool | None
    note: str

    @property
    def verdict(self) -> str:
        """``"ok"``, ``"FAILED"`` or ``"skipped"``."""
        if self.passed is None:
            return "skipped"
        return "ok" if self.passed else "FAILED"

    @property
    def strain(self) -> float:
        """How near the row is to failing: above 1 it fails. An ``active`` row is near where its difference is small."""
        if self.error is None or self.tolerance is None:
            return 0.0 if self.passed is None else float("inf")
        small, large = (self.tolerance, self.error) if self.check == "active" else (self.error, self.tolerance)
        return float("inf") if small != small or large != large else small / large if large else float("inf")


@dataclass(frozen=True)
class Verification:
    """What `verify` found. ``str`` of it is a table with the worst layer of each check.

    Attributes
    ----------
    model, method
        Name of the model's class, label of the method.
    dtype, device
        Of the model.
    rows
        One for each check, implementation, length and layer.
    """

    model: str
    method: str
    dtype: str
    device: str
    rows: tuple[VerifyRow, ...]

    @property
    def passed(self) -> bool:
        """Whether every check that ran has passed, and any has run."""
        return bool(self.failures or self._ran) and not self.failures

    @property
    def failures(self) -> tuple[VerifyRow, ...]:
        """The rows that failed."""
        return tuple(row for row in self.rows if row.passed is False)

    @property
    def _ran(self) -> tuple[VerifyRow, ...]:
        return tuple(row for row in self.rows if row.passed is not None)

    def __iter__(self) -> Iterator[VerifyRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def title(self) -> str:
        """What was verified."""
        return f"{self.model} under {self.method}, {self.dtype} on {self.device}"

    @property
    def summary(self) -> str:
        """The outcome in one sentence."""
        if not self._ran:
            return "nothing could run, so nothing is verified"
        if self.failures:
            return f"{len(self.failures)} of {len(self._ran)} comparisons failed"
        active = "active, and " if any(row.check == "active" for row in self._ran) else ""
        return f"all {len(self._ran)} comparisons passed: {self.method} is {active}right within the tolerance"

    def lines(self) -> list[tuple[str, ...]]:
        """The table's cells, as named in ``COLUMNS``: of each check the layer that is nearest to failing."""
        groups: dict[tuple[str, int, str], list[VerifyRow]] = {}
        for row in self.rows:
            groups.setdefault((row.implementation, row.length, row.check), []).append(row)
        return [_cells(rows) for rows in groups.values()]

    @property
    def skipped(self) -> list[str]:
        """What was skipped, a sentence each."""
        return [f"{row.implementation} at {row.length} skipped: {row.note}" for row in self.rows if row.passed is None]

    def __str__(self) -> str:
        return "\n".join([self.title, *_aligned([COLUMNS, *self.lines()]), *self.skipped, self.summary])


def _cells(rows: Sequence[VerifyRow]) -> tuple[str, ...]:
    worst = max(rows, key=lambda row: row.strain)
    error, tolerance = ("-" if number is None else f"{number:.1e}" for number in (worst.error, worst.tolerance))
    if worst.check == "active":
        tolerance = f"> {tolerance}"
    where = f"{worst.layer}: {worst.note}"
    if worst.layer is None:
        where = "-" if worst.passed is None else worst.note
    failed = sum(row.passed is False for row in rows)
    more = f", and {failed - 1} more layers" if failed > 1 else ""
    return (worst.check, worst.implementation, str(worst.length), error, tolerance, worst.verdict, where + more)


def _aligned(table: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(line[column]) for line in table) for column in range(len(COLUMNS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in table]
