"""``selfextend-viz recommend`` and ``choose``: which G and w_n, from a sweep's store or from a model asked now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    HtmlOption,
    JsonOption,
    TrustOption,
    load_with_length,
    numbers,
)
from selfextend_viz.cli.output import Destination, print_table, print_text, say

if TYPE_CHECKING:
    from selfextend_viz.sweeps.recommendation import Recommendation
    from selfextend_viz.sweeps.rows import CellRow

TargetOption = Annotated[int, typer.Option("--target-length", "-n", help="N: the length you want to read.")]


def recommend(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="The file of a sweep; a running one may be read.")],
    target_length: TargetOption,
    context_length: Annotated[
        int | None, typer.Option("--context-length", help="L, where the store does not say it.")
    ] = None,
    json: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Which G and w_n the cells of a sweep speak for, against which others that is decided, and what is open.

    Settings are ranked by Wilson's lower bound at their worst depth, then by
    what they cost in range, then by the order task, and compared on the same
    prompts. The map of --html shows every setting at that length.

    \b
    [bold]Examples[/bold]
      selfextend-viz recommend sweep.db --target-length 1000
      selfextend-viz recommend sweep.db -n 16384 --html map.html
    """
    destination = Destination(json, html)
    from selfextend_viz.sweeps.recommend import recommend as run
    from selfextend_viz.sweeps.store import Store

    with Store(store) as opened:
        rows = opened.rows()
        found = run(opened, target_length, context_length=context_length)
    _show(found)
    _write(destination, "recommend", found, rows)


def choose(
    target_length: TargetOption,
    model: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER_OR_ID", help="Any causal language model of transformers; absent, the demo."),
    ] = None,
    budget_minutes: Annotated[float, typer.Option("--budget-minutes", "-b", help="The most it may take.")] = 10,
    tasks: Annotated[
        str, typer.Option(help="With commas: passkey (the paper's prompt), passkey:natural and its like.")
    ] = "passkey:natural",
    depths: Annotated[str, typer.Option(help="Where the key stands: 0 is the start, 1 the end.")] = "0,0.25,0.5,0.75,1",
    trials: Annotated[int, typer.Option(help="Prompts for each setting and depth in a round.")] = 4,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="A UTF-8 text file for the price in range; may be repeated.", exists=True),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Keep the rows here; the same call later goes on from them.")
    ] = None,
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Find G and w_n for a length by asking a model for pass keys, within so many minutes; the cost comes first.

    The settings of suggest, and for each of their windows the smallest G that
    reaches, are asked in rounds until they are told apart or time is spent.

    \b
    [bold]Examples[/bold]
      selfextend-viz choose --target-length 1000 --budget-minutes 2
      selfextend-viz choose ./my-llama -n 16384 -b 30 --store choice.db
    """
    destination = Destination(json, html)
    wanted = numbers("--depths", depths, float)
    texts = [path.read_text(encoding="utf-8") for path in text or []]
    loaded, tokenizer, trained = load_with_length(
        None if model == "demo" else model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    from selfextend_viz.sweeps.choose import choose as run

    rows: list[CellRow] = []
    found = run(
        loaded,
        tokenizer,
        target_length,
        budget_minutes=budget_minutes,
        tasks=[task.strip() for task in tasks.split(",")],
        depths=wanted,
        trials=trials,
        texts=texts or None,
        store=store,
        tell=say,
        heard=rows.append,
    )
    _show(found)
    _write(destination, "choose", found, rows)


def _show(found: Recommendation) -> None:
    from selfextend_viz.sweeps.recommendation import COLUMNS

    title = f"Pass keys at N = {found.measured_length:,}, L = {found.context_length:,}"
    print_table(title, COLUMNS, found.lines(), words=("verdict",))
    print_text("\n".join([found.sentence, *(f"- {note}" for note in found.notes()), *filter(None, [found.code])]))


def _write(destination: Destination, command: str, found: Recommendation, rows: list[CellRow]) -> None:
    settings = {
        "target_length": found.target_length,
        "context_length": found.context_length,
        "choice": found.code or None,
        "decided": found.decided,
        "more_trials": found.more_trials,
        "notes": list(found.notes()),
    }
    destination.write_rows(command, settings, rows)
    if destination.html is not None:
        from selfextend_viz.plots import plot_worst_depth

        figure = plot_worst_depth(
            rows, found.measured_length, context_length=found.context_length, choice=found.setting
        )
        destination.write_figure(figure)
