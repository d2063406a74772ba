"""Measure every method on the demo model beside its controls, and write every row to a file.

python benchmarks/methods_table.py --json benchmarks/results/methods.json --resume

Pass keys at two, four and eight times L, perplexity at one, two and four times L, and attention outside the trained
range. Settings are those of ``methods_for`` for 8 L. What is measured is kept in a file beside the one asked for, so
that ``--resume`` goes on where a run was cut short. Some 15 minutes of one core, most of it for methods that only run
eager.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers

from selfextend_viz import load_demo, methods_for, passkey, perplexity
from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments.compare import DEPTHS, attention_outside
from selfextend_viz.experiments.comparison_rows import CONTROLS, CompareRow
from selfextend_viz.experiments.conditions import Wanted
from selfextend_viz.experiments.rows import NO_NEEDLE
from selfextend_viz.patch import BeyondReachWarning, context_length

COMMAND = "python benchmarks/methods_table.py --json benchmarks/results/methods.json --resume"
TARGET = 8
"""Settings are chosen for this many times L."""
TRIALS = {2: 4, 4: 4, 8: 2}
"""Prompts for each of the five depths, by length over L."""
CONTEXTS = (1, 2, 4)
MASSES = (2, 4)
TARGETS, STRIDE = 1920, 160
TASK, SEED = "natural", 20260000


class Measuring:
    """The demo model, the conditions, and the parts that each is measured in."""

    def __init__(self) -> None:
        self.model, self.tokenizer = load_demo()
        self.trained = context_length(self.model)
        self.methods = methods_for(self.model, TARGET * self.trained)
        self.conditions: dict[str, Wanted] = {name: name for name in (*CONTROLS, NO_NEEDLE)} | self.methods

    def parts(self) -> Iterator[tuple[str, str, int, float]]:
        """Condition, kind of rows, length over L and depth of each part, in order; 0 where the part has all."""
        for name in self.conditions:
            yield from ((name, "passkey", times, depth) for times in TRIALS for depth in DEPTHS)
            if name != NO_NEEDLE:
                yield from ((name, kind, 0, 0.0) for kind in ("perplexity", "mass"))

    def rows(self, name: str, kind: str, times: int, depth: float) -> list[CompareRow]:
        """The rows of one part."""
        read: dict[str, Any] = {"conditions": [self.conditions[name]]}
        if kind == "passkey":
            read |= {"lengths": [times * self.trained], "depths": [depth], "trials": TRIALS[times]}
            return list(passkey(self.model, self.tokenizer, task=TASK, seed=SEED, **read))
        if kind == "perplexity":
            read |= {"context_lengths": [times * self.trained for times in CONTEXTS], "targets": TARGETS}
            return list(perplexity(self.model, self.tokenizer, held_out_texts(), stride=STRIDE, **read))
        read |= {"lengths": [times * self.trained for times in MASSES], "seed": SEED}
        return list(attention_outside(self.model, self.tokenizer, held_out_texts(), **read))

    def settings(self) -> dict[str, Any]:
        """What was asked, and what is known of each method beside its rows."""
        return {
            "context_length": self.trained,
            "target_length": TARGET * self.trained,
            "task": TASK,
            "trials": {str(times): trials * len(DEPTHS) for times, trials in TRIALS.items()},
            "methods": {
                name: {
                    "label": str(method),
                    "training_free": type(method).training_free,
                    "mechanism": type(method).mechanism,
                    "eager_only": any(band.visible is not None for band in method.bands),
                }
                for name, method in self.methods.items()
            },
        }


def main() -> None:
    """Measure part by part, and write the file when all are there."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    parser.add_argument("--resume", action="store_true", help="go on where a run was cut short")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin no part after so many seconds")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", BeyondReachWarning)
    partial = arguments.json.with_suffix(".partial")
    done = json.loads(partial.read_text(encoding="utf-8")) if arguments.resume and partial.exists() else {}
    measuring, started = Measuring(), time.perf_counter()
    for part in measuring.parts():
        key, begun = " ".join(map(str, part)), time.perf_counter()
        if key in done:
            continue
        if begun - started > arguments.seconds:
            print("cut short; go on with --resume")
            return
        rows = [{"row": type(row).__name__, **asdict(row)} for row in measuring.rows(*part)]
        done[key] = {"seconds": time.perf_counter() - begun, "rows": rows}
        partial.write_text(json.dumps(done) + "\n", encoding="utf-8")
        print(f"{key}: {done[key]['seconds']:.0f} s", flush=True)
    report = {
        "command": COMMAND,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        "settings": measuring.settings(),
        "seconds": round(sum(part["seconds"] for part in done.values())),
        "rows": [row for part in done.values() for row in part["rows"]],
    }
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.unlink()


if __name__ == "__main__":
    main()
