"""The commands that answer at once: which settings reach a length, and what a method does to a model."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    HtmlOption,
    ImplementationOption,
    JsonOption,
    ModelOption,
    TrustOption,
    WindowOption,
    choose_method,
    load_with_length,
)
from selfextend_viz.cli.output import Destination, print_table, print_text


def suggest(
    context_length: Annotated[int, typer.Argument(help="L: the length the model was trained on.")],
    target_length: Annotated[int, typer.Argument(help="N: the length you want to read.")],
    json: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Which group size G and neighbour window w_n reach N tokens from L, best first, each with its reason.

    The reach is G * (L - w_n + w_n // G). The rule is the authors': stay
    within two thirds of L where you can, for the largest positions are
    trained least.

    \b
    [bold]Examples[/bold]
      selfextend-viz suggest 4096 16384
      selfextend-viz suggest 8192 131072 --html reach.html
    """
    destination = Destination(json, html)
    from selfextend_viz.positions import suggest as suggestions

    found = suggestions(context_length, target_length)
    rows = [
        {
            "group_size": method.group_size,
            "neighbor_window": method.neighbor_window,
            "capacity": method.capacity(context_length),
            "max_length": method.max_length(context_length),
            "inside_rule": method.inside_rule,
            "reason": method.reason,
        }
        for method in found
    ]
    numbers = ("group_size", "neighbor_window", "capacity")
    print_table(
        f"From L = {context_length} to N = {target_length}",
        ("G", "w_n", "reach", "why"),
        [(*(str(row[name]) for name in numbers), str(row["reason"])) for row in rows],
        words=("why",),
    )
    settings = {"context_length": context_length, "target_length": target_length}
    destination.write_rows("suggest", settings, rows)
    if html is not None:
        from selfextend_viz.plots import plot_reach

        first = found[0]
        chosen = {"group_size": first.group_size, "neighbor_window": first.neighbor_window}
        destination.write_figure(plot_reach(context_length=context_length, length=target_length, **chosen))


def describe(
    model: ModelOption = None,
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    length: Annotated[
        int | None, typer.Option("--length", "-n", help="N: the length to reach; 4 L when absent.")
    ] = None,
    implementation: ImplementationOption = "auto",
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """What Self-Extend would do to a model: layers, implementation, reach, first changed length.

    With --html it draws the position map at N beside plain RoPE's.

    \b
    [bold]Examples[/bold]
      selfextend-viz describe
      selfextend-viz describe --model ./my-llama -G 8 -w 1024
    """
    destination = Destination(json, html)
    loaded, _, trained = load_with_length(model, trust_remote_code=trust_remote_code, device=device, dtype=dtype)
    from selfextend_viz.patch import describe as describe_model
    from selfextend_viz.patch import extended

    target = 4 * trained if length is None else length
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=target)
    with extended(loaded, method, implementation=implementation):
        description = describe_model(loaded, length=target)
    print_text(str(description))
    settings = {"model": model or "demo", "method": str(method), "context_length": trained, "length": target}
    fields = {field.name: getattr(description, field.name) for field in dataclasses.fields(description)}
    destination.write_rows("describe", settings, [{"row": type(description).__name__, **fields}])
    if html is not None:
        from selfextend_viz.plots import plot_position_map

        destination.write_figure(plot_position_map(method, target, context_length=trained))
