"""How much memory a call takes at its peak, its inputs included: in a process of its own on the CPU."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from selfextend_viz.bench.contestants import Contestant, Inputs, inputs_of, ours, plain
from selfextend_viz.bench.plan import Heads
from selfextend_viz.bench.rows import MEMORY, PLAIN, BenchRow, Row, SkippedRow, settings_of
from selfextend_viz.positions import SelfExtend

__all__ = ["memory_rows", "peak_here"]

STATUS = Path("/proc/self/status")
IMPLEMENTATIONS = {"cpu": ("flash",), "cuda": ("flash", "fused")}


def memory_rows(shape: Heads, length: int, *, method: SelfExtend, device: str, threads: int, run: int = 0) -> list[Row]:
    """Peak bytes of plain attention and of ours: tensors that go in, what is made on the way, the result."""
    if device == "cpu" and not STATUS.exists():
        return [SkippedRow("memory", f"the peak of a process is read from {STATUS}, which is not here")]
    measure = _in_a_fresh_process if device == "cpu" else _on_cuda
    rows: list[Row] = []
    base: int | None = None
    for name in (PLAIN, *IMPLEMENTATIONS[device]):
        peak = measure(name, shape, length, method, threads)
        if isinstance(peak, SkippedRow):
            rows.append(peak)
            continue
        base = base or peak
        told = settings_of(None if name == PLAIN else method)
        figures: dict[str, Any] = {"value": peak, "unit": "bytes", "ratio": peak / base, "rounds": 1, "run": run}
        rows.append(BenchRow(MEMORY, name, str(shape), length, **told, **figures))
    return rows


def _call(name: str, inputs: Inputs, method: SelfExtend) -> Contestant | SkippedRow:
    """A contestant that has been called once, on the tensors given."""
    return Contestant(PLAIN, lambda: plain(inputs)) if name == PLAIN else ours(inputs, method, name)


def _on_cuda(name: str, shape: Heads, length: int, method: SelfExtend, threads: int) -> int | SkippedRow:
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    inputs = inputs_of(shape, length, device="cuda")
    contestant = _call(name, inputs, method)
    if isinstance(contestant, SkippedRow):
        return contestant
    torch.cuda.reset_peak_memory_stats()
    contestant.call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _in_a_fresh_process(name: str, shape: Heads, length: int, method: SelfExtend, threads: int) -> int:
    """The peak of a process that does nothing else, above what it held after a call on a few tokens."""
    asked = json.dumps([name, vars(shape), length, method.group_size, method.neighbor_window, threads])
    code = "import sys; from selfextend_viz.bench.memory import peak_here; print(peak_here(sys.argv[1]))"
    found = subprocess.run([sys.executable, "-c", code, asked], capture_output=True, text=True, timeout=600)
    if found.returncode:
        raise RuntimeError(f"measuring the memory of {name} failed: {found.stderr.strip().splitlines()[-1]}")
    return int(found.stdout)


def peak_here(asked: str) -> int:
    """Run the contestant that JSON asks for, and return by how many bytes this process's peak rose."""
    name, shape_fields, length, group_size, window, threads = json.loads(asked)
    torch.set_num_threads(threads)
    shape, method = Heads(**shape_fields), SelfExtend(group_size, window)
    with torch.no_grad():
        # A first call maps libraries and thread stacks, which belong to neither contestant.
        _run(name, shape, 64, method)
        before = _high_water()
        _run(name, shape, length, method)
    return _high_water() - before


def _run(name: str, shape: Heads, length: int, method: SelfExtend) -> None:
    contestant = _call(name, inputs_of(shape, length, device="cpu"), method)
    if isinstance(contestant, SkippedRow):
        raise RuntimeError(contestant.reason)
    if name == PLAIN:
        contestant.call()


def _high_water() -> int:
    """The most that this process ever held. ``ru_maxrss`` is no use: a child begins with its parent's."""
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
