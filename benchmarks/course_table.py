"""Measure the tables that lessons read: where the demo model loses keys, and what hides or feeds the fault.

python benchmarks/course_table.py --json selfextend_viz/course/measured.json
"""

from __future__ import annotations

import argparse
import json
import platform
import warnings
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import torch
import transformers

from selfextend_viz import SelfExtend, context_length, load_demo, passkey
from selfextend_viz.methods.masking import SinksAtTrueDistance
from selfextend_viz.patch import BeyondReachWarning

COMMAND = "python benchmarks/course_table.py --json selfextend_viz/course/measured.json"
METHOD = SelfExtend(4, 80)
FIRST_TOKENS = (16, 64, 128, 256)
"""How many of the first tokens a blindfolded model is shown again, besides the four of ``"sinks"``."""
SHARES = (0.9, 1.0, 1.1, 1.25, 1.5)
"""Of the reach."""


def tables(trained: int) -> dict[str, dict[str, Any]]:
    """The arguments of `passkey` for each table."""
    shown_again = tuple(SinksAtTrueDistance(trained, count) for count in FIRST_TOKENS)
    reach = METHOD.capacity(trained)
    return {
        "cliff": {
            "lengths": (trained, trained + 1, 352, 384, 416, 448, 512, 2 * trained),
            "depths": (0.1, 0.5, 0.9),
            "conditions": ("stock",),
            "trials": 10,
        },
        "near": {
            "lengths": (2 * trained,),
            "depths": (0.9,),
            "conditions": ("no_needle", "stock", "blindfold", "truncate", METHOD, "sinks", *shown_again),
            "trials": 20,
        },
        "reach": {
            "lengths": tuple(round(share * reach) for share in SHARES),
            "depths": (0.1, 0.3, 0.5, 0.7, 0.9),
            "conditions": (METHOD,),
            "trials": 4,
        },
    }


def main() -> None:
    """Measure all tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore", BeyondReachWarning)
    model, tokenizer = load_demo()
    trained = context_length(model)
    measured = {
        name: [asdict(row) for row in passkey(model, tokenizer, task="natural", **table)]
        for name, table in tables(trained).items()
    }
    report = {
        "command": COMMAND,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        "context_length": trained,
        "tables": measured,
    }
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
