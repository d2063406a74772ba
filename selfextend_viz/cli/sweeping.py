"""``selfextend-viz sweep``: a grid of settings, measured into a store that survives being killed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfextend_viz.cli.options import (
    SELF_EXTEND,
    SHUFFLED,
    DeviceOption,
    DtypeOption,
    ImplementationOption,
    TextOption,
    TrustOption,
    condition_names,
    numbers,
)
from selfextend_viz.cli.output import check_writable, cost_bar, print_table, say

if TYPE_CHECKING:
    from selfextend_viz.sweeps import CellRow
    from selfextend_viz.sweeps.sweep import Start

_GRID, _PLACE = "Grid", "Where"
INTERRUPTED = 130


def sweep(
    model: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER_OR_ID", help="Any causal language model of transformers; absent, the demo."),
    ] = None,
    group_sizes: Annotated[
        str | None, typer.Option("--group-sizes", "-G", help="G, with commas.", rich_help_panel=_GRID)
    ] = None,
    neighbor_windows: Annotated[
        str | None,
        typer.Option("--neighbor-windows", "-w", help="w_n; every G is tried with each.", rich_help_panel=_GRID),
    ] = None,
    lengths: Annotated[str | None, typer.Option(help="N in tokens.", rich_help_panel=_GRID)] = None,
    depths: Annotated[str, typer.Option(help="Where keys stand: 0 to 1.", rich_help_panel=_GRID)] = "0,0.25,0.5,0.75,1",
    seeds: Annotated[str, typer.Option(help="One set of prompts each.", rich_help_panel=_GRID)] = "0",
    conditions: Annotated[
        str,
        typer.Option(help="Beside the settings: stock, blindfold, truncate, sinks, no_needle.", rich_help_panel=_GRID),
    ] = "stock,blindfold",
    trials: Annotated[int, typer.Option(help="Prompts in a pass-key cell.", rich_help_panel=_GRID)] = 10,
    texts: Annotated[int, typer.Option(help="Texts in the other cells.", rich_help_panel=_GRID)] = 8,
    tasks: Annotated[
        str, typer.Option(help="passkey, passkey:natural and its like, order, perplexity, divergence.")
    ] = "passkey,perplexity,divergence",
    digits: Annotated[int, typer.Option(help="Digits of the key.")] = 5,
    text: TextOption = None,
    store: Annotated[
        Path, typer.Option(help="The file that rows are kept in; one that is there is gone on with.")
    ] = Path("sweep.db"),
    parquet: Annotated[
        Path | None, typer.Option(metavar="PATH", help="At the end, write all rows of the store here.")
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(help="local, auto or ray://HOST:10001: measure on Ray's workers.", rich_help_panel=_PLACE),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="How many; one for each GPU, or core where there is none.", rich_help_panel=_PLACE),
    ] = None,
    implementation: ImplementationOption = "auto",
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Measure every G with every w_n, cheapest cells first, into a file that no interruption harms.

    Stop it when you like, or let it be killed: the same command goes on
    where it ended, and no cell is measured twice. Absent numbers are
    L, 2 L and 4 L for N; 2, 4, 8, 16 for G; L/8, L/4, L/2 for w_n.

    \b
    [bold]Examples[/bold]
      selfextend-viz sweep
      selfextend-viz sweep -G 4,8 -w 64,128 --lengths 640,1280 --trials 20
      selfextend-viz sweep ./my-llama --tasks passkey:natural,order
      selfextend-viz sweep ./my-llama -G 8 -w 512 --lengths 8192,16384 \\
        --cluster ray://head:10001
    """
    for option, path in (("--store", store), ("--parquet", parquet)):
        if path is not None:
            check_writable(option, path)
    wanted = {
        "lengths": _whole("--lengths", lengths),
        "group_sizes": _whole("--group-sizes", group_sizes),
        "neighbor_windows": _whole("--neighbor-windows", neighbor_windows),
    }
    grid = {
        "depths": numbers("--depths", depths, float),
        "seeds": numbers("--seeds", seeds, int),
        "methods": _conditions(conditions),
        "trials": trials,
        "texts": texts,
    }
    if cluster is not None and None in wanted.values():
        missing = next(name for name, value in wanted.items() if value is None)
        raise ValueError(f"--{missing.replace('_', '-')} is missing: with --cluster no model is here to take L from")
    from selfextend_viz.sweeps.source import DEMO, Source
    from selfextend_viz.sweeps.sweep import sweep as run

    source = Source(name=model or DEMO, device=device, dtype=dtype, trust_remote_code=trust_remote_code)
    if cluster is None:
        say("Loading the model")
        source = source.here()
        wanted = _with_defaults(wanted, source.model)
    else:
        say(f"Starting workers on {cluster}")
    starts: list[Start] = []
    rows = run(
        source,
        None,
        {**grid, **wanted},
        tasks=[name.strip() for name in tasks.split(",")],
        store=store,
        digits=digits,
        texts=None if text is None else [path.read_text(encoding="utf-8") for path in text],
        implementation=implementation,
        cluster=cluster,
        workers=workers,
        started=starts.append,
    )
    _print(_collected(rows, starts[0], store))
    if parquet is not None:
        from selfextend_viz.sweeps import Store

        say(f"wrote {Store(store).to_parquet(parquet)}")


def _whole(option: str, text: str | None) -> list[int] | None:
    return None if text is None else numbers(option, text, int)


def _conditions(text: str) -> list[str]:
    names = condition_names(text)
    for name in (SELF_EXTEND, SHUFFLED):
        if name in names:
            raise ValueError(f"--conditions has {name!r}; a sweep takes Self-Extend from --group-sizes and the windows")
    return names


def _with_defaults(wanted: dict[str, list[int] | None], model: Any) -> dict[str, list[int] | None]:
    """The numbers that were given, and for the others some that suit the model's L."""
    from selfextend_viz.patch import context_length

    trained = context_length(model)
    usual = {
        "lengths": [trained, 2 * trained, 4 * trained],
        "group_sizes": [2, 4, 8, 16],
        "neighbor_windows": [trained // 8, trained // 4, trained // 2],
    }
    return {name: usual[name] if value is None else value for name, value in wanted.items()}


def _collected(rows: Iterator[CellRow], start: Start, store: Path) -> list[CellRow]:
    """All rows, counted on a bar by what cells cost, so that the remaining time is true; Ctrl-C says how to go on."""
    collected: list[CellRow] = []
    if start.dashboard is not None:
        say(f"dashboard: {start.dashboard}")
    if start.found:
        say(f"{start.found} of {len(start.planned)} cells are in {store} already")
    with cost_bar() as bar:
        task = bar.add_task("Sweep", total=start.cost, count=f"0/{len(start.planned)} cells")
        try:
            for row in rows:
                collected.append(row)
                cost = row.cell.cost if len(collected) > start.found else 0
                bar.update(task, advance=cost, count=f"{len(collected)}/{len(start.planned)} cells")
        except KeyboardInterrupt:
            bar.stop()
            say(f"stopped with {len(collected)} cells of this grid in {store}; the same command goes on from there")
            raise typer.Exit(INTERRUPTED) from None
    return collected


def _print(rows: Sequence[CellRow]) -> None:
    """One table a task: settings by lengths."""
    lengths = sorted({row.length for row in rows})
    for task in dict.fromkeys(row.task for row in rows):
        mine = [row for row in rows if row.task == task]
        lines = []
        for method in dict.fromkeys(row.method for row in mine):
            cells = [[row for row in mine if (row.method, row.length) == (method, length)] for length in lengths]
            lines.append((method, *map(_cell, cells)))
        columns = ("condition", *(f"N = {length}" for length in lengths))
        print_table(
            f"{task}: {_TITLES.get(task, _WORST)}; ~ is beyond the exact reach", columns, lines, words=columns[:1]
        )


_WORST = "right of all at the worst depth"
_TITLES = {
    "perplexity": "nats a token above stock on the last L, and its standard error",
    "divergence": "KL from stock on the last L, and at L in brackets",
}


def _cell(rows: Sequence[CellRow]) -> str:
    """What the rows of one setting and length say: of depths the worst, of seeds all together."""
    mark = "~" if any(row.expected_failure for row in rows) else ""
    if rows[0].kl is not None:
        return f"{mark}{_mean(row.kl for row in rows)} ({_mean(row.kl_in_range for row in rows)})"
    if rows[0].difference is not None:
        errors = [row.difference_error for row in rows if row.difference_error is not None]
        error = f" ± {sum(each**2 for each in errors) ** 0.5 / len(errors):.3f}" if errors else ""
        return f"{mark}{_mean(row.difference for row in rows)}{error}"
    of_depths = [[row for row in rows if row.depth == depth] for depth in dict.fromkeys(row.depth for row in rows)]
    pooled = [(sum(row.exact or 0 for row in each), sum(row.trials for row in each)) for each in of_depths]
    exact, trials = min(pooled, key=lambda counts: counts[0] / counts[1])
    return f"{mark}{exact}/{trials}"


def _mean(values: Iterable[float | None]) -> str:
    return f"{fmean(value for value in values if value is not None):.3f}"
