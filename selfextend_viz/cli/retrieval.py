"""``selfextend-viz passkey``: a number hidden in a long prompt, asked for under each condition."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from selfextend_viz.cli.options import (
    SELF_EXTEND,
    ConditionsOption,
    DeviceOption,
    DtypeOption,
    GroupOption,
    HtmlOption,
    ImplementationOption,
    JsonOption,
    ModelOption,
    SeedOption,
    TrustOption,
    WindowOption,
    choose_method,
    condition_names,
    load_with_length,
    numbers,
    with_method,
)
from selfextend_viz.cli.output import Destination, print_table, with_progress

if TYPE_CHECKING:
    from selfextend_viz.experiments.rows import PasskeyRow


def passkey(
    model: ModelOption = None,
    lengths: Annotated[
        str | None, typer.Option(help="Prompt lengths in tokens, with commas; L, 2L and 4L when absent.")
    ] = None,
    depths: Annotated[str, typer.Option(help="Where the key stands: 0 is the start, 1 the end.")] = "0,0.25,0.5,0.75,1",
    conditions: ConditionsOption = f"stock,blindfold,{SELF_EXTEND}",
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    task: Annotated[
        str,
        typer.Option(
            help="paper, natural, words, distractor, named:2, ruler, ruler:4 (one of 4 words' numbers), ruler:4:2 (two "
            "of them at once), control (no key), order or order:first."
        ),
    ] = "paper",
    trials: Annotated[int, typer.Option(help="Prompts in each cell.")] = 5,
    digits: Annotated[int, typer.Option(help="Digits of the key.")] = 5,
    scoring: Annotated[str, typer.Option(help="teacher (one forward a prompt) or generate.")] = "teacher",
    implementation: ImplementationOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Hide a number in a long prompt and ask for it: stock, blindfold and Self-Extend on the same prompts.

    The blindfold masks all keys at distance L and more, and changes no
    position: it shows how far a model gets that reads only near text. G and
    w_n are suggested for the longest prompt unless both are given.

    \b
    [bold]Examples[/bold]
      selfextend-viz passkey
      selfextend-viz passkey --lengths 256,1024 -G 8 -w 64 --html grid.html
      selfextend-viz passkey --model ./my-llama --task natural --json k.json
    """
    destination = Destination(json, html)
    names = condition_names(conditions)
    wanted_depths = numbers("--depths", depths, float)
    wanted = None if lengths is None else numbers("--lengths", lengths, int)
    loaded, tokenizer, trained = load_with_length(
        model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    wanted = wanted or [trained, 2 * trained, 4 * trained]
    target = max(*wanted, 2 * trained)
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=target)
    from selfextend_viz.experiments.passkey import passkey as run

    rows = with_progress(
        run(
            loaded,
            tokenizer,
            lengths=wanted,
            depths=wanted_depths,
            conditions=with_method(names, method),
            task=task,
            trials=trials,
            digits=digits,
            seed=seed,
            scoring=scoring,
            implementation=implementation,
        ),
        total=len(wanted) * len(wanted_depths) * len(names),
        label="Pass keys",
    )
    _print(rows, title=f"Pass key, task {task}, L = {trained}: right of all, and Wilson's 95 % interval")
    settings = {"model": model or "demo", "context_length": trained, "method": str(method), "seed": seed}
    destination.write_rows("passkey", settings, rows)
    if html is not None:
        from selfextend_viz.plots import plot_passkey

        reach = {str(method): method.capacity(trained)}
        destination.write_figure(plot_passkey(rows, context_length=trained, reach=reach))


def _print(rows: Sequence[PasskeyRow], *, title: str) -> None:
    lengths = sorted({row.length for row in rows})
    lines = []
    for condition in dict.fromkeys(row.condition for row in rows):
        cells = [[row for row in rows if (row.condition, row.length) == (condition, length)] for length in lengths]
        lines.append((condition, *map(_pooled, cells)))
    print_table(title, ("condition", *(f"N = {length}" for length in lengths)), lines, words=("condition",))


def _pooled(cell: Sequence[PasskeyRow]) -> str:
    """Counts over all depths of a length, with their interval."""
    from selfextend_viz.experiments.rows import wilson_interval

    exact, trials = sum(row.exact for row in cell), sum(row.trials for row in cell)
    low, high = wilson_interval(exact, trials)
    return f"{exact}/{trials}  {low:.2f}-{high:.2f}"
