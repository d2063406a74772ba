"""Time Self-Extend's flash against plain causal attention and against eager, RoPE included in each.

    python benchmarks/attention.py --json benchmarks/results/attention_cpu.json

Plain and flash take turns, so that a busy machine slows both alike; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.utils.benchmark import Timer

from selfextend_viz.attention import attend, choose
from selfextend_viz.positions import SelfExtend
from selfextend_viz.rope import default_inv_freq, rotate


def plain(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """RoPE and torch's own causal attention."""
    positions = torch.arange(query.shape[2], device=query.device)
    inv_freq, _ = default_inv_freq(query.shape[-1])
    turned = rotate(query, positions, inv_freq), rotate(key, positions, inv_freq)
    return F.scaled_dot_product_attention(*turned, value, is_causal=True)


def contestants(
    query: Tensor, key: Tensor, value: Tensor, method: SelfExtend, *, eager: bool
) -> dict[str, Callable[[], Tensor]]:
    """What is timed, by name."""
    named: dict[str, Callable[[], Tensor]] = {
        "plain": lambda: plain(query, key, value),
        "flash": lambda: attend(query, key, value, method, implementation="flash"),
    }
    if eager:
        named["eager"] = lambda: attend(query, key, value, method, implementation="eager")
    return named


def measure(runs: dict[str, Callable[[], Tensor]], *, threads: int, repeats: int) -> dict[str, list[float]]:
    """Seconds of every run after one round to warm up: plain and flash in turns, then three rounds of the slow eager.

    Eager comes last since its gigabytes of logits would leave the others cold memory to start from.
    """
    timers = {name: Timer("run()", globals={"run": run}, num_threads=threads) for name, run in runs.items()}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for names, rounds in ((("plain", "flash"), repeats), (("eager",), 3)):
        present = [name for name in names if name in timers]
        for name in present:
            timers[name].timeit(1)
        for _ in range(rounds):
            for name in present:
                seconds[name].append(timers[name].timeit(1).median)
    return seconds


def compare(length: int, options: argparse.Namespace) -> dict[str, object]:
    """One row of the table: medians and ratios at a length."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, options.heads, length, options.head_dim)
    dtype, device = getattr(torch, options.dtype), torch.device(options.device)
    query, key, value = (torch.randn(shape, generator=generator).to(device, dtype) for _ in range(3))
    method = SelfExtend(group_size=options.group_size, neighbor_window=options.neighbor_window or length // 8)
    runs = contestants(query, key, value, method, eager=length <= options.eager_up_to)
    seconds = measure(runs, threads=options.threads, repeats=options.repeats)
    middle = {name: median(times) for name, times in seconds.items()}
    return {
        "length": length,
        "group_size": method.group_size,
        "neighbor_window": method.neighbor_window,
        "flash_runs": str(choose("flash", query, key, value, method.bands)),
        "median_seconds": middle,
        "rounds": {name: len(times) for name, times in seconds.items()},
        "flash_over_plain": middle["flash"] / middle["plain"],
        "median_of_round_ratios": median(a / b for a, b in zip(seconds["flash"], seconds["plain"], strict=True)),
        "eager_over_flash": middle["eager"] / middle["flash"] if "eager" in middle else None,
    }


def device_name(device: str) -> str:
    """What ran it, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    models = [line.split(":")[1].strip() for line in _cpu_lines() if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _cpu_lines() -> list[str]:
    source = Path("/proc/cpuinfo")
    return source.read_text().splitlines() if source.exists() else []


def report(rows: list[dict[str, object]], options: argparse.Namespace) -> dict[str, object]:
    """Everything needed to judge the figures."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device_name(options.device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": options.threads,
        "heads": options.heads,
        "head_dim": options.head_dim,
        "dtype": options.dtype,
        "rows": rows,
    }


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[1024, 4096, 8192])
    parser.add_argument("--group-size", type=int, default=8)
    parser.add_argument("--neighbor-window", type=int, default=None, help="w_n; an eighth of the length if left out")
    parser.add_argument("--heads", type=int, default=4)
    parser.add_argument("--head-dim", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=31)
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--eager-up-to", type=int, default=8192, help="longest length at which eager is timed too")
    parser.add_argument("--json", type=Path, default=None, help="where to write the report")
    return parser.parse_args()


def as_table(rows: list[dict[str, object]]) -> Table:
    """The medians, to look at."""
    table = Table("N", "w_n", "plain, ms", "flash, ms", "eager, ms", "flash / plain", "eager / flash")
    for row in rows:
        times: dict[str, float] = row["median_seconds"]  # type: ignore[assignment]
        shown = [f"{1000 * times[name]:.1f}" if name in times else "-" for name in ("plain", "flash", "eager")]
        ratio = f"{row['eager_over_flash']:.1f}" if row["eager_over_flash"] else "-"
        table.add_row(str(row["length"]), str(row["neighbor_window"]), *shown, f"{row['flash_over_plain']:.3f}", ratio)
    return table


@torch.no_grad()
def main() -> None:
    """Measure, write after every length, show."""
    options = parse()
    rows: list[dict[str, object]] = []
    for length in options.lengths:
        rows.append(compare(length, options))
        if options.json is not None:
            options.json.parent.mkdir(parents=True, exist_ok=True)
            options.json.write_text(json.dumps(report(rows, options), indent=2) + "\n")
    Console().print(as_table(rows))


if __name__ == "__main__":
    main()
