"""What a sweep asks: a grid of settings, lengths, depths and seeds, taken apart into cells, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import Any

from selfextend_viz.experiments.rows import CONDITIONS, NO_NEEDLE, STOCK
from selfextend_viz.experiments.tasks import check_task
from selfextend_viz.methods.per_layer import Lent, PerLayer, lent_method
from selfextend_viz.positions import SelfExtend, whole_number

__all__ = ["TASKS", "Cell", "Grid", "Planned", "Setting", "expand"]

PASSKEY, PERPLEXITY, DIVERGENCE, ORDER = "passkey", "perplexity", "divergence", "order"
TASKS = (PASSKEY, PERPLEXITY, DIVERGENCE, ORDER)
"""Every task; ``"passkey:natural"`` and its like name a task of the pass-key experiment."""


@dataclass(frozen=True)
class Cell:
    """One thing to measure: equal cells of one model give equal rows.

    Attributes
    ----------
    task
        One of `TASKS`, or ``"passkey:"`` and the name of a pass-key task.
    method
        The condition's label, as every experiment shows it.
    group_size, neighbor_window
        G and w_n; ``None`` for conditions that have none (stock, its controls, other methods).
    length
        N, tokens of a prompt or a context.
    depth
        Where the needle stands; ``None`` where a task has none.
    seed
        Chooses prompts and texts. Every setting of one (task, length, depth, seed) reads the same ones.
    trials
        Prompts of a pass-key task, windows of text for the perplexity, texts for the divergence.
    """

    task: str
    method: str
    group_size: int | None
    neighbor_window: int | None
    length: int
    depth: float | None
    seed: int
    trials: int

    @property
    def cost(self) -> int:
        """``trials * length ** 2``: attention reads N^2 pairs a forward, and each trial takes as many forwards."""
        return self.trials * self.length**2

    @property
    def prompts(self) -> tuple[str, int, float | None, int, int]:
        """What cells have in common that were asked the same: their outcomes can be paired, trial by trial."""
        return self.task, self.length, self.depth, self.seed, self.trials


@dataclass(frozen=True)
class Setting:
    """A condition as a sweep knows it: its label, and what the model is lent."""

    label: str
    lent: str | Lent

    @classmethod
    def of(cls, wanted: str | Lent | None) -> Setting:
        """The setting that a condition's name or a method stands for; ``TypeError`` or ``ValueError`` for no such."""
        if wanted is None or isinstance(wanted, str):
            name = STOCK if wanted is None else wanted
            if name not in (*CONDITIONS, NO_NEEDLE):
                known = ", ".join((*CONDITIONS, NO_NEEDLE))
                raise ValueError(f"unknown condition {name!r}; choose one of {known}, or give a method")
            return cls(name, name)
        method = lent_method(wanted)
        return cls(str(method), method)

    @property
    def numbers(self) -> tuple[int | None, int | None]:
        """G and w_n, where it has them."""
        if isinstance(self.lent, SelfExtend):
            return self.lent.group_size, self.lent.neighbor_window
        return None, None

    def reach(self, context_length: int) -> int | None:
        """How many tokens it keeps within trained positions, where it says so: L for stock.

        Raises
        ------
        ValueError
            If its w_n leaves no room inside L.
        """
        if self.label in (STOCK, NO_NEEDLE):
            return context_length
        lent: Any = self.lent.values() if isinstance(self.lent, PerLayer) else [self.lent]
        reaches = [method.capacity(context_length) for method in lent if hasattr(method, "capacity")]
        return min(reaches, default=None)


@dataclass(frozen=True)
class Planned:
    """A cell with what the model is lent for it.

    Attributes
    ----------
    expected_failure
        Whether the length is beyond the setting's exact reach: ``SelfExtend.capacity(L)``, or L for the stock model.
    """

    cell: Cell
    setting: Setting
    expected_failure: bool


@dataclass(frozen=True)
class Grid:
    """What to sweep over: every G with every w_n, beside extra conditions, at every length, depth and seed.

    Parameters
    ----------
    group_sizes, neighbor_windows
        G and w_n; leave both out to sweep over `methods` alone.
    lengths
        N in tokens.
    depths
        Where needles stand: 0 is the start, 1 right before the question.
    seeds
        One set of prompts and texts each.
    methods
        Extra conditions, by name or as methods, such as ``"stock"``, ``"blindfold"`` or ``ReRoPE(128)``.
    trials
        Prompts in each pass-key cell.
    texts
        Windows of text in each perplexity cell, texts in each divergence cell.

    Examples
    --------
    >>> Grid(group_sizes=(4, 8), neighbor_windows=(64,), lengths=(640, 1280), trials=10)
    """

    lengths: Sequence[int]
    group_sizes: Sequence[int] = ()
    neighbor_windows: Sequence[int] = ()
    depths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0)
    seeds: Sequence[int] = (0,)
    methods: Sequence[str | Lent | None] = (STOCK,)
    trials: int = 10
    texts: int = 8

    def __post_init__(self) -> None:
        for name in ("lengths", "group_sizes", "neighbor_windows", "depths", "seeds", "methods"):
            object.__setattr__(self, name, _several(name, getattr(self, name)))
        for name in ("trials", "texts"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        for length in self.lengths:
            whole_number("length", length, at_least=2)
        for seed in self.seeds:
            whole_number("seed", seed, at_least=0)
        for depth in self.depths:
            if isinstance(depth, bool) or not isinstance(depth, int | float) or not 0 <= depth <= 1:
                raise ValueError(f"depth is {depth!r}, but must be from 0 (start) to 1 (right before the question)")

    @classmethod
    def of(cls, grid: Grid | Mapping[str, Any]) -> Grid:
        """A grid as it is, or from a mapping of its fields; ``TypeError`` or ``ValueError`` for what is neither."""
        if isinstance(grid, Grid):
            return grid
        if not isinstance(grid, Mapping):
            raise TypeError(f"grid must be a Grid or a mapping of its fields, not {grid!r}")
        known = [each.name for each in fields(cls)]
        unknown = next((name for name in grid if name not in known), None)
        if unknown is not None:
            raise ValueError(f"grid has {unknown!r}; its fields are {', '.join(known)}")
        if "lengths" not in grid:
            raise ValueError("grid has no lengths; give at least one")
        return cls(**grid)

    def settings(self) -> tuple[Setting, ...]:
        """The extra conditions, then every G with every w_n; one for each label.

        Raises
        ------
        ValueError
            If there are none, or G is given without w_n or the other way round.
        """
        if bool(self.group_sizes) != bool(self.neighbor_windows):
            missing = "neighbor_windows" if self.group_sizes else "group_sizes"
            raise ValueError(f"{missing} has 0 entries; give group_sizes and neighbor_windows, or neither")
        pairs = (SelfExtend(size, window) for size, window in product(self.group_sizes, self.neighbor_windows))
        found = [Setting.of(wanted) for wanted in (*self.methods, *pairs)]
        if not found:
            raise ValueError("the grid has 0 settings; give group_sizes and neighbor_windows, or methods")
        return tuple({setting.label: setting for setting in found}.values())


def expand(
    grid: Grid | Mapping[str, Any],
    *,
    context_length: int,
    tasks: Sequence[str] = (PASSKEY, PERPLEXITY, DIVERGENCE),
) -> list[Planned]:
    """All cells of a grid, the cheapest first, those beyond their setting's reach marked.

    The cost is ``trials * length ** 2``; of cells that cost the same, those of one prompt set follow each other, so
    that settings can be compared early.

    Parameters
    ----------
    grid
        A `Grid`, or a mapping of its fields.
    context_length
        L.
    tasks
        See `TASKS`.

    Raises
    ------
    TypeError, ValueError
        If a number is out of range, a task or a condition is unknown, w_n leaves no room in L, or there are no cells.
    """
    grid = Grid.of(grid)
    settings = grid.settings()
    reaches = {setting.label: setting.reach(context_length) for setting in settings}
    for name in ("lengths", "depths", "seeds"):
        if not getattr(grid, name):
            raise ValueError(f"the grid's {name} has 0 entries, so there is nothing to sweep; give at least one")
    planned = [
        Planned(cell, setting, beyond(cell.length, reaches[setting.label]))
        for task, length, seed in product(checked_tasks(tasks), dict.fromkeys(grid.lengths), dict.fromkeys(grid.seeds))
        for cell, setting in _cells(grid, settings, task, length, seed)
    ]
    if not planned:
        raise ValueError(f"no condition of the grid has anything to do in {', '.join(tasks)}; add one")
    return sorted(planned, key=lambda each: each.cell.cost)


def beyond(length: int, reach: int | None) -> bool:
    """Whether so many tokens are more than a setting's reach, where it has one."""
    return reach is not None and length > reach


def passkey_task(task: str) -> str | None:
    """The pass-key task that a sweep's task asks for; ``None`` for tasks without prompts."""
    if task == ORDER:
        return ORDER
    kind, _, name = task.partition(":")
    return (name or "paper") if kind == PASSKEY else None


def checked_tasks(tasks: Sequence[str]) -> tuple[str, ...]:
    """The tasks, each once; ``TypeError`` for one name alone, ``ValueError`` for none or an unknown one."""
    for task in _several("tasks", tasks):
        if not isinstance(task, str):
            raise TypeError(f"a task is a name, not {task!r}; choose from {', '.join(TASKS)}")
        name = passkey_task(task)
        if name is None and task not in TASKS:
            raise ValueError(f"unknown task {task!r}; choose from {', '.join(TASKS)}, or passkey:natural and its like")
        if name is not None:
            check_task(name)
    if not tasks:
        raise ValueError(f"tasks has 0 entries; choose from {', '.join(TASKS)}")
    return tuple(dict.fromkeys(tasks))


def _cells(
    grid: Grid, settings: Iterable[Setting], task: str, length: int, seed: int
) -> Iterator[tuple[Cell, Setting]]:
    prompted = passkey_task(task) is not None
    depths = tuple(dict.fromkeys(map(float, grid.depths))) if prompted else (None,)
    for depth, setting in product(depths, settings):
        if setting.label == NO_NEEDLE and not prompted:
            continue
        group_size, neighbor_window = setting.numbers
        trials = grid.trials if prompted else grid.texts
        yield Cell(task, setting.label, group_size, neighbor_window, length, depth, seed, trials), setting


def _several(name: str, values: Any) -> tuple[Any, ...]:
    if isinstance(values, str) or not isinstance(values, Iterable) or isinstance(values, Mapping):
        raise TypeError(f"{name} must be a list, not {values!r} alone; put it in brackets")
    return tuple(values)
