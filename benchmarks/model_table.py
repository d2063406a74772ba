"""Run every check on every architecture, and write what was found to a file.

python benchmarks/model_table.py --json benchmarks/results/models.json

The checks are those of tests/architecture_checks.py, on tiny models with random weights. A minute on two cores.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
import warnings
from datetime import date
from pathlib import Path

import torch
import transformers

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from architecture_checks import LENGTH, METHOD, row
from tiny_models import ARCHITECTURES

COMMAND = "make model-table"


def main() -> int:
    """Check, say each architecture as it comes, and write the file at the end; 1 if any check failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, required=True, help="where the rows go")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for name in ARCHITECTURES:
        rows.append(row(name))
        failed = [check for check, found in rows[-1]["checks"].items() if not found["passed"]]
        print(f"{name:16s} {'all hold' if not failed else 'FAILED: ' + ', '.join(failed)}")
    report = {
        "command": COMMAND,
        "date": date.today().isoformat(),
        "python": platform.python_version(),
        "torch": torch.__version__.partition("+")[0],
        "transformers": transformers.__version__,
        "method": str(METHOD),
        "length": LENGTH,
        "rows": rows,
    }
    partial = arguments.json.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    partial.replace(arguments.json)
    return int(any(not found["passed"] for each in rows for found in each["checks"].values()))


if __name__ == "__main__":
    sys.exit(main())
