"""``selfextend-viz divergence``: what long distances do to each head's attention logits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Any

import typer

from selfextend_viz.cli.options import (
    DeviceOption,
    DtypeOption,
    GroupOption,
    HtmlOption,
    ImplementationOption,
    JsonOption,
    ModelOption,
    SeedOption,
    TextOption,
    TrustOption,
    WindowOption,
    choose_method,
    load_with_length,
    read_texts,
)
from selfextend_viz.cli.output import Destination, print_table, print_text, with_progress

MOST_HEADS = 5


def divergence(
    model: ModelOption = None,
    length: Annotated[int | None, typer.Option("--length", "-n", help="N; 3 L when absent.")] = None,
    group_size: GroupOption = None,
    neighbor_window: WindowOption = None,
    queries: Annotated[int, typer.Option(help="Sampled queries; memory grows as queries times N.")] = 64,
    text: TextOption = None,
    random: Annotated[
        int | None,
        typer.Option("--random", metavar="L", help="No model: random heads, with this L taken for trained."),
    ] = None,
    implementation: ImplementationOption = "auto",
    seed: SeedOption = 0,
    json: JsonOption = None,
    html: HtmlOption = None,
    device: DeviceOption = None,
    dtype: DtypeOption = None,
    trust_remote_code: TrustOption = False,
) -> None:
    """What long distances do to each head's attention logits, and what Self-Extend makes of it.

    The outlier share is the part of the logits at distance L and more that
    lies above the head's own in-range 99.9 % quantile; chance is 0.001.
    The mass is the attention that goes there, beside what uniform attention
    would send. The figure shows the head with the largest outlier share.

    \b
    [bold]Examples[/bold]
      selfextend-viz divergence --html divergence.html
      selfextend-viz divergence --model ./my-llama -n 16384 -G 8 -w 1024
      selfextend-viz divergence --random 4096
    """
    destination = Destination(json, html)
    if random is not None and (model is not None or text):
        raise ValueError("--random runs without a model: leave out --model and --text")
    texts = [] if random is not None else read_texts(text or [])
    if random is None:
        loaded, tokenizer, trained = load_with_length(
            model, trust_remote_code=trust_remote_code, device=device, dtype=dtype
        )
    else:
        trained = random
    target = 3 * trained if length is None else length
    method = choose_method(group_size, neighbor_window, context_length=trained, target_length=target)
    rows: Iterator[Any]
    if random is None:
        from selfextend_viz.experiments.divergence import divergence as run

        ids = _first_tokens(tokenizer, texts, target)
        rows = run(loaded, ids, method, queries=queries, seed=seed, implementation=implementation)
    else:
        from selfextend_viz.experiments.random_heads import random_divergence

        rows = random_divergence(method, length=target, context_length=trained, queries=queries, seed=seed)
    found = with_progress(rows, total=None, label="Divergence")
    _print(found, method=str(method))
    source = "random heads" if random is not None else model or "demo"
    settings = {"model": source, "context_length": trained, "length": target, "method": str(method), "seed": seed}
    destination.write_rows("divergence", settings, found)
    if html is not None:
        from selfextend_viz.plots import plot_divergence

        destination.write_figure(plot_divergence(found, context_length=trained, method=method))


def _first_tokens(tokenizer: Any, texts: Sequence[str], length: int) -> list[int]:
    """The first `length` tokens of the texts put one after another."""
    from selfextend_viz.experiments.tokens import encode, start_tokens

    ids = start_tokens(tokenizer)
    for text in texts:
        ids.extend(encode(tokenizer, text))
        if len(ids) >= length:
            return ids[:length]
    raise ValueError(
        f"the texts have {len(ids)} tokens, fewer than --length {length}; give more --text or a shorter length"
    )


def _print(rows: Sequence[Any], *, method: str) -> None:
    from selfextend_viz.experiments.rows import HeadRow, OutputRow

    heads = [row for row in rows if isinstance(row, HeadRow)]
    heads.sort(key=lambda row: row.outlier_share_stock, reverse=True)
    shown = heads[:MOST_HEADS]
    print_table(
        f"The {len(shown)} heads of {len(heads)} that stock positions disturb most, and the same under {method}: "
        "share of outliers among logits, and attention mass, at d >= L",
        (
            "layer, head",
            "share stock",
            "share method",
            "mass stock",
            "mass method",
            "mass uniform",
            "KL at N",
            "KL in L",
        ),
        [
            (
                f"{row.layer}, {row.head}",
                f"{row.outlier_share_stock:.4f}",
                f"{row.outlier_share_method:.4f}",
                f"{row.distant_mass_stock:.3f}",
                f"{row.distant_mass_method:.3f}",
                f"{row.far_mass_uniform:.3f}",
                f"{row.kl:.3f}",
                f"{row.kl_in_range:.3f}",
            )
            for row in shown
        ],
        words=("layer, head",),
    )
    for row in rows:
        if isinstance(row, OutputRow):
            print_text(
                f"Output KL to stock on the last L tokens, {row.condition}: "
                f"{row.kl:.3f} ± {row.kl_error:.3f} nats over {row.positions} positions"
            )
