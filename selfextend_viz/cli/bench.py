"""``selfextend-viz bench``: what Self-Extend costs on this machine, beside plain attention."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from selfextend_viz.cli.options import HtmlOption, JsonOption
from selfextend_viz.cli.output import Destination, print_table, progress_bar, say

if TYPE_CHECKING:
    from selfextend_viz.bench.resuming import Measured
    from selfextend_viz.bench.rows import Row, Summary
    from selfextend_viz.bench.suite import Stage, Suite


def bench(
    device: Annotated[str | None, typer.Option(help="cpu or cuda; cuda where there is one when absent.")] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer lengths and windows, one run: a minute or a few.")
    ] = False,
    longlm: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH", help="A checkout of the authors' repository; its kernels take part. Their code is run."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="Begin no stage after so many minutes; --resume goes on later.", min=0)
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the file of --json, which holds what was measured so far.")
    ] = False,
    json: JsonOption = None,
    html: HtmlOption = None,
) -> None:
    """Measure prefill, decoding and memory under Self-Extend beside plain attention.

    All contestants of a row take turns, so that whatever else the machine
    does hits all alike; ratios are to the plain one of the same round, and
    medians over three runs. What cannot run here is listed with its reason.

    \b
    [bold]Examples[/bold]
      selfextend-viz bench --quick
      selfextend-viz bench --device cpu --json cpu.json --html cpu.html
      selfextend-viz bench --device cpu --json cpu.json --minutes 4 --resume
      selfextend-viz bench --device cuda --longlm ../LongLM
    """
    destination = Destination(json, html)
    if resume and json is None:
        raise ValueError("--resume goes on with the file of --json; give one")
    from selfextend_viz.bench.environment import environment
    from selfextend_viz.bench.plan import plan_for
    from selfextend_viz.bench.resuming import Measured, measured_before
    from selfextend_viz.bench.suite import Suite
    from selfextend_viz.checkpoints import usable_device

    plan = plan_for(usable_device(device).type, quick=quick)
    settings = {**environment(plan), "quick": quick, "group_size": plan.group_size}
    found = measured_before(json, settings) if resume and json is not None and json.exists() else Measured()
    suite, rows = Suite(plan, longlm=longlm, known=found.rows), found.rows
    stages = [stage for stage in suite.stages() if stage.title not in found.stages]
    try:
        _collect(suite, stages, found, minutes=minutes)
    finally:
        # Long measuring is kept also where it was cut short, and says so.
        left = len(suite.stages()) - len(found.stages)
        destination.write_rows("bench", {**settings, "complete": left == 0, "stages": found.stages}, rows)
    if left:
        say(f"{left} stages are left" + (f"; --json {json} --resume goes on with them" if json else ""))
    _print(rows, title=f"{settings['device']}, torch {settings['torch']}")
    if html is not None and any(getattr(row, "kind", "") == "prefill" for row in rows):
        from selfextend_viz.plots.speed import plot_ratios

        destination.write_figure(plot_ratios(rows, limit=True))


def _collect(suite: Suite, stages: list[Stage], found: Measured, *, minutes: float | None) -> None:
    """Measure stage after stage, counted on a bar, while there is time; skipped ones are said at once."""
    from selfextend_viz.bench.rows import SkippedRow

    began = monotonic()
    with progress_bar() as bar:
        task = bar.add_task("", total=len(stages))
        for stage in stages:
            if minutes is not None and monotonic() - began >= 60 * minutes:
                break
            bar.update(task, description=stage.title)
            fresh = suite.measure(stage)
            found.rows += fresh
            found.stages.append(stage.title)
            for row in fresh:
                if isinstance(row, SkippedRow):
                    bar.console.print(f"skipped {row.what}: {row.reason}", markup=False, highlight=False)
            bar.advance(task)


def _print(rows: Sequence[Row], *, title: str) -> None:
    """One table for each kind of figure."""
    from selfextend_viz.bench.rows import over_runs

    found = over_runs(rows)
    for kind in dict.fromkeys(row.kind for row in found):
        columns = ("shape", "N", "contestant", "median", "ratio", "runs")
        print_table(
            f"{kind.capitalize()}: {title}", columns, [_line(row) for row in found if row.kind == kind], words=_WORDS
        )


_WORDS = ("shape", "contestant")


def _line(row: Summary) -> tuple[str, ...]:
    scale, unit = {"s": (1e3, "ms"), "bytes": (2**-20, "MiB"), "tokens/s": (1.0, "tokens/s")}[row.unit]
    spread = f" ({row.lowest:.3f}-{row.highest:.3f})" if row.runs > 1 else ""
    return (
        row.shape,
        f"{row.length:,}",
        row.label,
        f"{row.value * scale:.4g} {unit}",
        f"{row.ratio:.3f}{spread}",
        str(row.runs),
    )
