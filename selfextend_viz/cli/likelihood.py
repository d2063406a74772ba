"""``selfextend-viz perplexity``: the loss on the same tokens while the text to their left grows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from selfextend_viz.cli.options import (
    SELF_EXTEND,
    ColumnOption,
    ConditionsOption,
    DatasetOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    HtmlOption,
    ImplementationOption,
    JsonOption,
    ModelOption,
    SplitOption,
    TextOption,
    TextsOption,
    TrustOption,
    WindowOption,
    choose_method,
    condition_names,
    load_with_length,
    numbers,
    read_texts,
    with_method,
)
from selfextend_viz.cli.output import Destination, print_table, with_progress

if TYPE_CHECKING:
    from selfextend_viz.experiments.rows import PerplexityRow


def perplexity(
    model: ModelOption = None,
    context_lengths: Annotated[
        str | None, typer.Option(help="Tokens of context, with commas; L, 2L and 4L when absent.")
    ] = None,
    conditions: ConditionsOption = f"stock,blindfold,{SELF_EXTEND}",
    text: TextOption = None,
    dataset: DatasetOption = None,
    split: SplitOption = "test",
    column: ColumnOption = "text",
    texts: TextsOption = 16,
    targets: Annotated[int, typer.Option(help="Tokens to score, the same at every context length.")] = 20_000,
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    implementation: ImplementationOption = "auto",
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Loss on the same target tokens while their left context grows.

    Only doing better than the blindfold shows that far text is used. The
    difference to stock on the last L tokens is paired over texts.

    \b
    [bold]Examples[/bold]
      selfextend-viz perplexity
      selfextend-viz perplexity --targets 2000
      selfextend-viz perplexity --model ./my-llama --text book.txt
      selfextend-viz perplexity --model ./my-llama --dataset pg19
    """
    destination = Destination(json, html)
    names = condition_names(conditions)
    wanted = None if context_lengths is None else numbers("--context-lengths", context_lengths, int)
    if dataset is not None and text:
        raise ValueError(f"--dataset {dataset} and {len(text)} --text files are given; give one or the other")
    loaded, tokenizer, trained = load_with_length(
        model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    wanted = wanted or [trained, 2 * trained, 4 * trained]
    target = max(*wanted, 2 * trained)
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=target)
    from selfextend_viz.experiments.perplexity import perplexity as run
    from selfextend_viz.experiments.texts import load_texts

    if dataset is None:
        read = iter(read_texts(text or []))
    else:
        read = load_texts(dataset, split=split, column=column, limit=texts, at_least=max(*wanted, trained))
    compared = with_method(names, method)
    running = run(
        loaded,
        tokenizer,
        read,
        context_lengths=wanted,
        conditions=compared,
        targets=targets,
        implementation=implementation,
    )
    rows = with_progress(running, total=len(wanted) * len(compared), label="Perplexity")
    _print(rows, title=f"Perplexity of the same target tokens, L = {trained}")
    settings = {"model": model or "demo", "context_length": trained, "method": str(method), "dataset": dataset}
    destination.write_rows("perplexity", settings, rows)
    if html is not None:
        from selfextend_viz.plots import plot_perplexity

        destination.write_figure(plot_perplexity(rows, context_length=trained))


def _print(rows: Sequence[PerplexityRow], *, title: str) -> None:
    columns = ("condition", "context", "perplexity", "nats a token", "minus stock on the last L")
    lines = [
        (
            row.condition,
            str(row.context_length),
            f"{row.perplexity:.2f}",
            f"{row.nll:.3f} ± {row.nll_error:.3f}",
            f"{row.difference:+.3f} ± {row.difference_error:.3f}",
        )
        for row in rows
    ]
    print_table(title, columns, lines, words=("condition",))
