"""``selfextend-viz verify``: is Self-Extend active on a model, and is every way to run it right?"""

from __future__ import annotations

from typing import Annotated

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    JsonOption,
    SeedOption,
    TrustOption,
    WindowOption,
    choose_method,
    load_with_length,
)
from selfextend_viz.cli.output import Destination, print_table, print_text, with_progress


def verify(
    model: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER_OR_ID", help="The model; the demo model in the package when absent."),
    ] = None,
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    length: Annotated[
        list[int] | None, typer.Option("--length", "-n", help="N, may be repeated; some past 2 w_n when absent.")
    ] = None,
    implementation: Annotated[
        list[str] | None,
        typer.Option("--implementation", help="eager, flash or fused, may be repeated; all when absent."),
    ] = None,
    seed: SeedOption = 0,
    json: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Is Self-Extend active on your model, and right? Every layer against the formula in float64.

    Checks one forward, token by token, chunks, a left-padded batch and a second
    turn on one cache. The tolerance is twice what plain attention of the same
    precision errs on the same layer. Exit code 0: all passed; 1: one failed.

    \b
    [bold]Examples[/bold]
      selfextend-viz verify
      selfextend-viz verify ./my-llama --group-size 8 --neighbor-window 1024
      selfextend-viz verify ./my-llama -G 8 -w 1024 -n 16384 --implementation flash
    """
    destination = Destination(json, None)
    loaded, _, trained = load_with_length(model, trust_remote_code=trust_remote_code, device=device, dtype=dtype)
    from selfextend_viz.experiments.verdict import COLUMNS
    from selfextend_viz.experiments.verify import Plan, verification_rows

    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=4 * trained)
    plan = Plan.of(loaded, method, length or None, implementation or None, None, seed)
    found = plan.verdict(tuple(with_progress(verification_rows(plan), total=None, label="Comparisons")))
    print_table(found.title, COLUMNS, found.lines(), words=("check", "by", "verdict", COLUMNS[-1]))
    for sentence in (*found.skipped, found.summary):
        print_text(sentence)
    settings = {"model": model or "demo", "method": str(method), "lengths": plan.lengths, "seed": seed}
    settings |= {"model_class": found.model, "dtype": found.dtype, "device": found.device, "passed": found.passed}
    destination.write_rows("verify", settings, found.rows)
    if not found.passed:
        raise typer.Exit(1 if found.failures else 2)
