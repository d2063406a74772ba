"""``selfextend-viz compare``: methods beside each other and beside what a model reaches without them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    HtmlOption,
    ImplementationOption,
    JsonOption,
    ModelOption,
    SeedOption,
    TextOption,
    TrustOption,
    load_with_length,
    numbers,
    read_texts,
)
from selfextend_viz.cli.output import Destination, print_table, say, with_progress

if TYPE_CHECKING:
    from selfextend_viz.experiments.comparison_rows import Comparison, TableRow

ALL = "all"


def compare(
    model: ModelOption = None,
    methods: Annotated[
        str, typer.Option(help="Names with commas, as METHODS has them, or all.")
    ] = "SlidingWindow,StreamingLLM,YaRN,SelfExtend",
    lengths: Annotated[
        str | None, typer.Option(help="Prompt lengths in tokens, with commas; 2L and 4L when absent.")
    ] = None,
    target_length: Annotated[
        int | None, typer.Option(help="The length that settings are chosen for; the longest prompt when absent.")
    ] = None,
    depths: Annotated[str, typer.Option(help="Where the key stands: 0 is the start, 1 the end.")] = "0,0.25,0.5,0.75,1",
    task: Annotated[str, typer.Option(help="paper, natural, words, distractor, named:2 or order.")] = "natural",
    trials: Annotated[int, typer.Option(help="Prompts in each cell.")] = 4,
    text: TextOption = None,
    targets: Annotated[int, typer.Option(help="Tokens that perplexity scores.")] = 1920,
    implementation: ImplementationOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Pass keys, perplexity and attention outside the trained range: methods beside stock, truncate and blindfold.

    All conditions read the same prompts and texts. A key near the end of a
    prompt of 2L is what a window finds; a far one needs far text. Settings
    are those that the papers would choose for the target length.

    \b
    [bold]Examples[/bold]
      selfextend-viz compare
      selfextend-viz compare --methods SelfExtend,ReRoPE --lengths 640
      selfextend-viz compare --methods all --trials 2 --json rows.json
    """
    destination = Destination(json, html)
    names = None if methods.strip() == ALL else [name.strip() for name in methods.split(",")]
    wanted_depths = numbers("--depths", depths, float)
    wanted = None if lengths is None else numbers("--lengths", lengths, int)
    texts = read_texts(text or [])
    loaded, tokenizer, trained = load_with_length(
        model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    wanted = wanted or [2 * trained, 4 * trained]
    from selfextend_viz.experiments.compare import compare as run
    from selfextend_viz.experiments.comparison_rows import CONTROLS, Comparison
    from selfextend_viz.experiments.settings import methods_for

    compared = methods_for(loaded, target_length or max(*wanted, 2 * trained), names)
    contexts = list(dict.fromkeys([trained, *wanted]))
    rows = with_progress(
        run(
            loaded,
            tokenizer,
            list(compared.values()),
            lengths=wanted,
            depths=wanted_depths,
            context_lengths=contexts,
            texts=texts,
            trials=trials,
            targets=targets,
            task=task,
            seed=seed,
            implementation=implementation,
        ),
        total=(len(CONTROLS) + len(compared)) * (len(wanted) * (len(wanted_depths) + 1) + len(contexts))
        + len(wanted) * len(wanted_depths),
        label="Comparing",
    )
    comparison = Comparison.of(rows, context_length=trained)
    _print(comparison)
    settings = {
        "model": model or "demo",
        "context_length": trained,
        "seed": seed,
        "methods": {name: str(method) for name, method in compared.items()},
    }
    destination.write_rows("compare", settings, rows)
    if html is not None:
        from selfextend_viz.plots import plot_comparison

        destination.write_figure(plot_comparison(comparison.passkey, comparison.perplexity, context_length=trained))


def _print(comparison: Comparison) -> None:
    table = comparison.table()
    lengths, context = list(table[0].passkey), max(table[0].perplexity)
    columns = ("condition", *(f"keys at {length}" for length in lengths), *("near", "far", "nats", "outside"))
    lines = [(row.condition, *_cells(row, lengths, context)) for row in table]
    print_table(f"Methods and controls, L = {comparison.context_length}", columns, lines, words=("condition",))
    say("near, far: keys at 2L that stand in the last L tokens, and before them")
    say(f"nats: loss a token at {context}, minus the truncated stock's on the same targets, and 95 %")
    say(f"outside: attention at {max(lengths)} on distances that no training taught")


def _cells(row: TableRow, lengths: list[int], context: int) -> Iterator[str]:
    yield from (str(row.passkey[length]) for length in lengths)
    yield from ("" if found is None else str(found) for found in (row.near, row.far))
    losses, mass = row.perplexity.get(context), row.mass.get(max(lengths))
    yield "" if losses is None else f"{losses.difference:+.3f} ± {1.96 * losses.difference_error:.3f}"
    yield "" if mass is None else f"{mass.outside:.3f}"
