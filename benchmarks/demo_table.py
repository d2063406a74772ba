"""Measure what the demo model can and cannot do, and write every row to a file.

python benchmarks/demo_table.py --json benchmarks/results/demo_table.json

Pass keys at and beyond each reach, named keys, controls and other wordings, 40 trials a cell over five depths; then
the loss on the same held-out bytes at one, two and four times L. Some 20 minutes on two cores.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers

from selfextend_viz import SelfExtend, load_demo, passkey, perplexity
from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments.conditions import Wanted
from selfextend_viz.patch import BeyondReachWarning, context_length

TRIALS_A_DEPTH = 8
RETRIEVAL = ("paper", "natural", "distractor")
SEED = 20260000
INSIDE = {2: (0.9, 0.95), 4: (0.9, 0.95), 8: (0.9, 0.95), 16: (0.75, 0.90)}
"""By G: the share of the exact reach that is tried, and the share of right answers wanted there."""
BEYOND = 1.6
COMMAND = "python benchmarks/demo_table.py --json benchmarks/results/demo_table.json"


@dataclass(frozen=True)
class Cell:
    """One cell of the table.

    Attributes
    ----------
    condition, length, options
        As `passkey` takes them.
    share
        N over the condition's exact reach, or over L where it has none.
    wanted
        What the demo model is meant to reach: ``">="`` or ``"<="`` and a share of right answers.
    """

    condition: Wanted
    length: int
    share: float
    options: dict[str, Any]
    wanted: tuple[str, float] | None = None


def cells(trained: int) -> Iterator[Cell]:
    """The table's cells for a model trained at L."""
    doubled = SelfExtend(4, trained // 4)
    for task in RETRIEVAL:
        yield Cell("stock", trained, 1, {"task": task}, (">=", 0.95))
        yield Cell("stock", 2 * trained, 2, {"task": task}, ("<=", 0.10))
        for group_size, (inside, wanted) in INSIDE.items():
            method = SelfExtend(group_size, trained // 4)
            reach = method.capacity(trained)
            yield Cell(method, int(inside * reach), inside, {"task": task}, (">=", wanted))
            yield Cell(method, int(BEYOND * reach), BEYOND, {"task": task}, ("<=", 0.40))
    for task in ("named:2", "named:4"):
        yield Cell("stock", trained, 1, {"task": task}, (">=", 0.85) if task == "named:2" else None)
        yield Cell("stock", 2 * trained, 2, {"task": task})
        yield Cell(doubled, 2 * trained, 2 * trained / doubled.capacity(trained), {"task": task})
    for condition, times in (("stock", 1), ("stock", 2), (doubled, 2)):
        yield Cell(condition, times * trained, times, {"task": "control"}, ("<=", 0.02))
    for condition in ("blindfold", "sinks", "truncate"):
        yield Cell(condition, 2 * trained, 2, {"task": "natural"})
    for wording in ({"task": "words"}, {"phrasing": "once"}, {"phrasing": "secret"}, {"digits": 3}, {"digits": 8}):
        for condition, times in (("stock", 1), (doubled, 2)):
            yield Cell(condition, times * trained, times, {"task": "natural"} | wording)


def measure(model: Any, tokenizer: Any) -> Iterator[dict[str, Any]]:
    """The rows of every cell, one for each depth, with what sets the cell apart."""
    for cell in cells(context_length(model)):
        kept = {
            "share": cell.share,
            "phrasing": cell.options.get("phrasing", "paper"),
            "digits": cell.options.get("digits", 5),
            "wanted": cell.wanted,
        }
        rows = passkey(
            model,
            tokenizer,
            lengths=[cell.length],
            conditions=[cell.condition],
            trials=TRIALS_A_DEPTH,
            seed=SEED,
            **cell.options,
        )
        yield from (asdict(row) | kept for row in rows)


def main() -> None:
    """Measure, say each cell as it comes, and write the file at the end."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore", BeyondReachWarning)
    model, tokenizer = load_demo()
    trained = context_length(model)
    started, rows = time.perf_counter(), []
    for row in measure(model, tokenizer):
        rows.append(row)
        print(
            f"{row['task']:11s} {row['condition']:24s} N={row['length']:5d} depth {row['depth']:.2f} {row['exact']}/8"
        )
    losses = perplexity(
        model,
        tokenizer,
        held_out_texts(),
        context_lengths=(trained, 2 * trained, 4 * trained),
        conditions=("stock", "blindfold", SelfExtend(8, trained // 4)),
    )
    report = {
        "command": COMMAND,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        "context_length": trained,
        "rows": rows,
        "perplexity": [asdict(row) for row in losses],
        "seconds": round(time.perf_counter() - started),
    }
    partial = arguments.json.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.json)


if __name__ == "__main__":
    main()
