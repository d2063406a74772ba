"""The options that several commands share, and what they stand for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from selfextend_viz.cli.output import say

if TYPE_CHECKING:
    from selfextend_viz.positions import SelfExtend

SELF_EXTEND = "self-extend"
SHUFFLED = "shuffled"
NAMED_CONDITIONS = ("stock", "blindfold", "truncate", "sinks", "no_needle", SELF_EXTEND, SHUFFLED)

_MODEL, _METHOD, _OUTPUT = "Model", "Self-Extend", "Output"

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="FOLDER_OR_ID",
        help="Any causal language model of transformers; without it, the demo model that comes with the package.",
        rich_help_panel=_MODEL,
    ),
]
TrustOption = Annotated[
    bool,
    typer.Option("--trust-remote-code", help="Let the checkpoint run its own Python code.", rich_help_panel=_MODEL),
]
DeviceOption = Annotated[
    str | None,
    typer.Option("--device", help="cpu, cuda, cuda:1, mps; the best one here when absent.", rich_help_panel=_MODEL),
]
DtypeOption = Annotated[
    str | None,
    typer.Option(
        "--dtype", help="float32, bfloat16 or float16; the checkpoint's own when absent.", rich_help_panel=_MODEL
    ),
]
GroupOption = Annotated[
    int | None,
    typer.Option(
        "--group-size", "-G", help="G: positions beyond the window are floored by it.", rich_help_panel=_METHOD
    ),
]
WindowOption = Annotated[
    int | None,
    typer.Option(
        "--neighbor-window", "-w", help="w_n: nearer than this, distances stay exact.", rich_help_panel=_METHOD
    ),
]
JsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="PATH", help="Write the rows here.", rich_help_panel=_OUTPUT)
]
HtmlOption = Annotated[
    Path | None,
    typer.Option("--html", metavar="PATH", help="Write the figure here, as one file.", rich_help_panel=_OUTPUT),
]
ImplementationOption = Annotated[
    str, typer.Option("--implementation", help="auto, eager, flash or fused.", rich_help_panel=_METHOD)
]
ConditionsOption = Annotated[
    str,
    typer.Option(
        "--conditions",
        help="With commas: stock, blindfold (far keys hidden), truncate (the last L tokens), sinks (blindfold and the "
        "first 4 tokens), self-extend, shuffled (its far groups out of order); for passkey also no_needle.",
    ),
]
TextOption = Annotated[
    list[Path] | None,
    typer.Option("--text", help="A UTF-8 text file; may be repeated. Held-out documentation when absent.", exists=True),
]
DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        metavar="NAME_OR_PATH",
        help="Texts of a data set instead: pg19, any id of the Hugging Face hub, a folder, a .jsonl, .parquet or .csv "
        "file. Streamed; needs the extra lm-eval.",
    ),
]
SplitOption = Annotated[str, typer.Option("--split", help="Which part of the data set.")]
ColumnOption = Annotated[str, typer.Option("--column", help="Where the data set keeps its text.")]
TextsOption = Annotated[
    int, typer.Option("--texts", help="How many texts of the data set to take, of those that are long enough.")
]
SeedOption = Annotated[int, typer.Option("--seed", help="The same seed gives the same result.")]

Number = TypeVar("Number", int, float)


def numbers(option: str, text: str, kind: Callable[[str], Number]) -> list[Number]:
    """The numbers of a comma-separated list; ValueError names the option and the piece that is none."""
    found = []
    for piece in text.split(","):
        try:
            found.append(kind(piece))
        except ValueError as error:
            wanted = "whole numbers" if kind is int else "numbers"
            raise ValueError(f"{option} has {piece.strip()!r}; give {wanted} with commas between them") from error
    return found


def load_chosen(
    model: str | None, *, trust_remote_code: bool, device: str | None, dtype: str | None
) -> tuple[Any, Any]:
    """The model and tokenizer that were asked for: a checkpoint, or the demo."""
    from selfextend_viz.checkpoints import floating_dtype, load_model, usable_device

    if model is not None:
        try:
            return load_model(model, trust_remote_code=trust_remote_code, device=device, dtype=dtype)
        except ValueError as error:
            if trust_remote_code or "trust_remote_code" not in str(error):
                raise
            raise ValueError(
                f"{model} brings Python code of its own, which is not run; add --trust-remote-code if you trust it"
            ) from error
    from selfextend_viz.demo import load_demo

    demo, tokenizer = load_demo()
    chosen_dtype = None if dtype is None else floating_dtype(dtype)
    return demo.to(device=usable_device(device), dtype=chosen_dtype), tokenizer


def load_with_length(
    model: str | None, *, trust_remote_code: bool, device: str | None, dtype: str | None
) -> tuple[Any, Any, int]:
    """The model, its tokenizer, and the length L it was trained on."""
    say("Loading the model")
    loaded, tokenizer = load_chosen(model, trust_remote_code=trust_remote_code, device=device, dtype=dtype)
    from selfextend_viz.patch import context_length

    return loaded, tokenizer, context_length(loaded)


def choose_method(
    group_size: int | None, neighbor_window: int | None, *, context_length: int, target_length: int
) -> SelfExtend:
    """The settings that were given, or the first suggestion that reaches the target.

    Raises
    ------
    ValueError
        If only one of the two is given.
    """
    from selfextend_viz.positions import SelfExtend
    from selfextend_viz.positions import suggest as suggestions

    if group_size is None and neighbor_window is None:
        return suggestions(context_length, target_length)[0]
    if group_size is None or neighbor_window is None:
        missing = "--group-size" if group_size is None else "--neighbor-window"
        raise ValueError(f"{missing} is missing: give both -G and -w, or neither to have them suggested")
    return SelfExtend(group_size=group_size, neighbor_window=neighbor_window)


def condition_names(text: str) -> list[str]:
    """The names in a comma-separated list of conditions; ValueError when one is none."""
    names = [name.strip() for name in text.split(",")]
    unknown = next((name for name in names if name not in NAMED_CONDITIONS), None)
    if unknown is not None:
        raise ValueError(f"--conditions has {unknown!r}; choose from {', '.join(NAMED_CONDITIONS)}")
    return names


def with_method(names: Sequence[str], method: SelfExtend) -> list[Any]:
    """The conditions to run: methods stand in the place of ``self-extend`` and ``shuffled``."""
    from selfextend_viz.methods.shuffled import ShuffledSelfExtend

    methods = {SELF_EXTEND: method, SHUFFLED: ShuffledSelfExtend(method.group_size, method.neighbor_window)}
    return [methods.get(name, name) for name in names]


def read_texts(paths: Sequence[Path]) -> list[str]:
    """The files' texts, or without files the standard library's documentation that the demo never saw."""
    if paths:
        return [path.read_text(encoding="utf-8") for path in paths]
    from selfextend_viz.demo.corpus import held_out_texts

    return held_out_texts()
