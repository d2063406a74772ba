"""``selfextend-viz eval``: lm-evaluation-harness's tasks on a model, stock and under Self-Extend."""

from __future__ import annotations

import json as json_format
import math
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selfextend_viz.cli.options import (
    SELF_EXTEND,
    DeviceOption,
    DtypeOption,
    GroupOption,
    ImplementationOption,
    JsonOption,
    SeedOption,
    TrustOption,
    WindowOption,
    choose_method,
    condition_names,
    load_with_length,
    with_method,
)
from selfextend_viz.cli.output import Destination, print_table

if TYPE_CHECKING:
    from selfextend_viz.evaluation import TaskRow

DEMO = "demo"


def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="A checkpoint folder, a hub id, or demo for the package's own."),
    ],
    tasks: Annotated[
        str, typer.Option(help="Tasks, tags, groups or patterns of lm-evaluation-harness, or task files; with commas.")
    ],
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    conditions: Annotated[
        str,
        typer.Option(
            help="With commas: stock, blindfold (far keys hidden), truncate (the last L tokens), sinks, self-extend, "
            "shuffled; all are asked the same."
        ),
    ] = f"stock,{SELF_EXTEND}",
    target_length: Annotated[
        int | None,
        typer.Option("--target-length", "-n", help="N to have G and w_n suggested for; 4 L when absent."),
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(help="The longest text in tokens, answer included; Self-Extend's exact reach when absent."),
    ] = None,
    cut: Annotated[bool, typer.Option("--cut", help="Cut longer texts from the left; refused otherwise.")] = False,
    limit: Annotated[int | None, typer.Option(help="Documents of each task; all when absent.")] = None,
    num_fewshot: Annotated[int | None, typer.Option(help="Worked examples before each question.")] = None,
    batch_size: Annotated[int, typer.Option(help="Texts in one forward.")] = 1,
    chat_template: Annotated[bool, typer.Option("--chat-template", help="Use the tokenizer's chat template.")] = False,
    include_path: Annotated[Path | None, typer.Option(help="A folder of task files of your own.")] = None,
    metadata: Annotated[
        str | None, typer.Option(help="""What tasks are told, as JSON: '{"max_seq_lengths": [4096]}' for RULER's.""")
    ] = None,
    implementation: ImplementationOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """Tasks of lm-evaluation-harness on a model, stock and under Self-Extend.

    Both are given texts as long as Self-Extend reaches. A longer text is
    refused, not cut in silence. Needs the extra lm-eval.

    \b
    [bold]Examples[/bold]
      selfextend-viz eval ./my-llama --tasks longbench_hotpotqa -G 8 -w 1024
      selfextend-viz eval demo --tasks my_task --include-path ./tasks
      selfextend-viz eval ./my-llama --tasks niah_single_2 --limit 50
        --metadata '{"max_seq_lengths": [8192]}' -n 16384 --json ruler.json
    """
    destination = Destination(json, None)
    names = condition_names(conditions)
    told = _metadata(metadata)
    loaded, tokenizer, trained = load_with_length(
        None if model == DEMO else model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
    )
    target = 4 * trained if target_length is None else target_length
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=target)
    from selfextend_viz.evaluation import evaluate as run

    running = run(
        loaded,
        tokenizer,
        [name.strip() for name in tasks.split(",")],
        conditions=with_method(names, method),
        max_length=max_length,
        cut=cut,
        limit=limit,
        num_fewshot=num_fewshot,
        batch_size=batch_size,
        chat_template=chat_template,
        include_path=include_path,
        metadata=told,
        implementation=implementation,
        seed=seed,
    )
    with redirect_stdout(sys.stderr):  # the harness prints what it is at
        rows = list(running)
    _print(rows, title=f"lm-evaluation-harness, L = {trained}: each metric and its 95 % interval")
    settings = {"model": model, "context_length": trained, "method": str(method), "limit": limit, "seed": seed}
    destination.write_rows("eval", settings, rows)


def _metadata(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json_format.loads(text)
    except json_format.JSONDecodeError as error:
        raise ValueError(f"--metadata is no JSON at character {error.pos}: {text!r}; give an object") from error
    if not isinstance(found, dict):
        raise ValueError(f"--metadata is {text!r}; give an object of JSON, in braces")
    return found


def _print(rows: Sequence[TaskRow], *, title: str) -> None:
    labels = list(dict.fromkeys(row.condition for row in rows))
    said = {(row.task, row.metric, row.filter, row.condition): _value(row) for row in rows}
    sizes = {(row.task, row.metric, row.filter): row.samples for row in rows}
    lines = [
        (task, _metric(metric, name), str(samples), *(said.get((task, metric, name, label), "") for label in labels))
        for (task, metric, name), samples in sizes.items()
    ]
    print_table(title, ("task", "metric", "n", *labels), lines, words=("task", "metric"))


def _metric(metric: str, name: str) -> str:
    return metric if name == "none" else f"{metric} ({name})"


def _value(row: TaskRow) -> str:
    return f"{row.value:.3f}" + ("" if math.isnan(row.low) else f"  {row.low:.2f}-{row.high:.2f}")
