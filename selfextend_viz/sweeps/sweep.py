"""Measure a grid of settings, cell by cell, into a store that survives whatever happens to the sweep."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from selfextend_viz.experiments.progress import Advance, counted
from selfextend_viz.sweeps.cells import DIVERGENCE, PASSKEY, PERPLEXITY, Grid, Planned, checked_tasks, expand
from selfextend_viz.sweeps.measure import Asking, Measurer, Subject
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.source import Source
from selfextend_viz.sweeps.store import Store

__all__ = ["Start", "sweep"]


@dataclass(frozen=True)
class Start:
    """What a sweep is about to do.

    Attributes
    ----------
    planned
        All cells, the cheapest first.
    missing
        Those that the store has not.
    dashboard
        Link to the cluster's dashboard, where there is one.
    """

    planned: tuple[Planned, ...]
    missing: tuple[Planned, ...]
    dashboard: str | None = None

    @property
    def found(self) -> int:
        """How many cells the store has."""
        return len(self.planned) - len(self.missing)

    @property
    def cost(self) -> int:
        """Of the missing cells, in the unit of ``Cell.cost``."""
        return sum(each.cell.cost for each in self.missing)


class Crew(Protocol):
    """What measures cells: this process, or the workers of a cluster."""

    @property
    def dashboard(self) -> str | None:
        """Link to the cluster's dashboard, where there is one."""
        ...

    def subject(self) -> Subject:
        """L and the fingerprint of the model."""
        ...

    def check(self, planned: Sequence[Planned]) -> None:
        """Refuse what some cell would refuse."""
        ...

    def rows(self, planned: Sequence[Planned]) -> Iterator[CellRow]:
        """One row a cell, as they are finished."""
        ...


def sweep(
    model: Any,
    tokenizer: Any,
    grid: Grid | Mapping[str, Any],
    *,
    tasks: Sequence[str] = (PASSKEY, PERPLEXITY, DIVERGENCE),
    store: Store | str | Path | None = None,
    digits: int = 5,
    scoring: str = "teacher",
    texts: Sequence[str] | None = None,
    implementation: str = "auto",
    batch_size: int | None = None,
    cluster: str | None = None,
    workers: int | None = None,
    progress: bool = False,
    started: Callable[[Start], object] | None = None,
) -> Iterator[CellRow]:
    """Measure every cell of a grid, the cheapest first; each row is in the store before it is yielded.

    A sweep that was stopped, by whatever, goes on with the same call: cells in the store are yielded from it, first,
    and never measured again. A grid that grows adds its new cells to the same store.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer; or ``"demo"``, a checkpoint's folder
        or its id, and ``None``, to be loaded where it is measured.
    grid
        A `Grid`, or a mapping of its fields.
    tasks
        ``"passkey"`` (the paper's; ``"passkey:natural"`` and its like for others), ``"order"`` (two keys that
        contradict each other), ``"perplexity"`` (paired with stock on the last L tokens) and ``"divergence"`` (KL of
        the output from stock on the last L tokens, at N and at L).
    store
        A file, or a `Store`; left out, rows are only yielded.
    digits, scoring, implementation, batch_size
        As for :func:`~selfextend_viz.passkey`.
    texts
        For perplexity and divergence; the demo model's held-out texts if left out.
    cluster
        ``"local"`` or a Ray address, to measure on the workers of a cluster; left out, this process measures.
    workers
        How many of them; one for each GPU, or each processor core where there is none, if left out.
    progress
        Show a bar with the remaining time, in the notebook or on stderr.
    started
        Called once, before the first row, with what there is to do.

    Yields
    ------
    CellRow
        One for each cell: those of the store, then the others as they are finished.

    Raises
    ------
    TypeError, ValueError
        At once, before any row: if a number is out of range, a name is unknown, w_n leaves no room in L, a prompt is
        longer than its length, or texts are too short.
    StoreError
        If the store is another model's, was measured otherwise, is being written, or cannot be written: at once, or in
        mid-sweep where the disk fills. What was finished is kept.
    ImportError
        If `cluster` is given and Ray is missing.

    Examples
    --------
    >>> grid = Grid(group_sizes=(4, 8), neighbor_windows=(64, 128), lengths=(640, 1280))
    >>> for row in sweep(model, tokenizer, grid, store="sweep.db", progress=True): ...
    """
    grid, tasks = Grid.of(grid), checked_tasks(tasks)
    asking = Asking(digits, scoring, implementation, None if texts is None else tuple(texts), batch_size)
    with ExitStack() as stack:
        crew = stack.enter_context(_crew(Source.of(model, tokenizer), asking, cluster, workers))
        subject = crew.subject()
        planned = expand(grid, context_length=subject.context_length, tasks=tasks)
        crew.check(planned)
        kept = stack.enter_context(_opened(store))
        if kept is not None:
            kept.claim(subject.fingerprint, {"context_length": subject.context_length, **asking.facts})
        known = {} if kept is None else {row.cell: row for row in kept.rows()}
        found = [known[each.cell] for each in planned if each.cell in known]
        missing = tuple(each for each in planned if each.cell not in known)
        start = Start(tuple(planned), missing, crew.dashboard)
        if started is not None:
            started(start)
        held = stack.pop_all()

    def rows(advance: Advance) -> Iterator[CellRow]:
        with held:
            yield from found
            for row in crew.rows(missing):
                told = replace(row, fingerprint=subject.fingerprint)
                if kept is not None:
                    kept.add(told)
                advance(row.cell.cost)
                yield told

    return counted(rows, label="Sweep", work=start.cost, shown=progress)


def _crew(source: Source, asking: Asking, cluster: str | None, workers: int | None) -> AbstractContextManager[Crew]:
    if cluster is not None:
        from selfextend_viz.sweeps.cluster import ray_crew

        return ray_crew(source, asking, cluster=cluster, workers=workers)
    if workers is not None:
        raise ValueError(f'workers is {workers}, but only a cluster has workers; give cluster="local" or an address')
    return nullcontext(Measurer(*source.load(), asking))


def _opened(store: Store | str | Path | None) -> AbstractContextManager[Store | None]:
    """The store: closed at the end if it was opened here."""
    if store is None or isinstance(store, Store):
        return nullcontext(store)
    return Store(store)
