"""``selfextend-viz plan``: memory and time of a long text before you wait for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    ImplementationOption,
    JsonOption,
    TrustOption,
    WindowOption,
    choose_method,
    load_with_length,
)
from selfextend_viz.cli.output import Destination, print_text


def plan(
    model: Annotated[
        str | None,
        typer.Argument(metavar="FOLDER_OR_ID", help="Any causal language model of transformers; absent, the demo."),
    ] = None,
    target: Annotated[
        int | None, typer.Option("--target", "-n", help="N: tokens of the text; 4 L when absent.")
    ] = None,
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Texts read at once.")] = 1,
    text: Annotated[
        list[Path] | None,
        typer.Option("--text", help="A UTF-8 text file to measure L by its losses; may be repeated.", exists=True),
    ] = None,
    implementation: ImplementationOption = "auto",
    json: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Memory and time that a long text will take, and whether it fits, from a few short forwards.

    With --text it also looks where the model's losses leave their level, and
    says whether that agrees with the L of its configuration.

    \b
    [bold]Examples[/bold]
      selfextend-viz plan --target 4096
      selfextend-viz plan ./my-llama --target 16384 -G 8 -w 1024
      selfextend-viz plan ./my-llama --target 16384 --text book.txt
    """
    destination = Destination(json, None)
    texts = [path.read_text(encoding="utf-8") for path in text or []]
    loaded, tokenizer, trained = load_with_length(
        model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    length = 4 * trained if target is None else target
    given = group_size is not None or neighbor_window is not None
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=length) if given else None
    from selfextend_viz.experiments.budget import plan as run

    asked = {"tokenizer": tokenizer, "text": texts} if texts else {}
    found = run(loaded, length, method=method, batch_size=batch_size, implementation=implementation, **asked)
    print_text(str(found))
    settings = {"model": model or "demo", "method": found.method, "context_length": trained, "length": length}
    destination.write_rows("plan", settings, [found])
