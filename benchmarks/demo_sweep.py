"""Sweep G and w_n on the demo model into the store that the notebook on trade-offs opens.

python benchmarks/demo_sweep.py notebooks/data/demo_sweep.db

Pass keys in natural text at two, three and five times L (320), three depths, six prompts each; the order task; output
KL and paired loss on four texts. Some ten minutes on one core. It may be stopped: the same call goes on.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from selfextend_viz import Grid, load_demo, sweep

SETTINGS = {"group_sizes": (2, 4, 8, 16), "neighbor_windows": (40, 80, 160)}
LENGTHS = (640, 1024, 1600)
DEPTHS = (0.0, 0.5, 1.0)
GRIDS = (
    (Grid(LENGTHS, **SETTINGS, depths=DEPTHS, methods=("stock", "blindfold"), trials=6), ("passkey:natural",)),
    (Grid(LENGTHS, **SETTINGS, methods=("stock", "blindfold"), texts=4), ("perplexity", "divergence")),
    (Grid((1024,), **SETTINGS, depths=(0.0,), methods=("stock",), trials=6), ("order",)),
)


def main() -> None:
    """Sweep every grid into the store, with a bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("store", type=Path, help="the file to make, or to go on with")
    parser.add_argument("--threads", type=int, default=1, help="threads for torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model, tokenizer = load_demo()
    for grid, tasks in GRIDS:
        count = sum(1 for _ in sweep(model, tokenizer, grid, tasks=tasks, store=arguments.store, progress=True))
        print(f"{count} cells of {', '.join(tasks)}")


if __name__ == "__main__":
    main()
