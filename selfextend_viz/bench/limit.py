"""The least time that causal attention can take on a device: products and bytes counted, rates measured."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.benchmark import Timer

from selfextend_viz.bench.plan import Heads
from selfextend_viz.bench.rows import RateRow

__all__ = ["Work", "measured_rates", "work_of"]

SIDE = {"cpu": 1536, "cuda": 8192}
COPIED = {"cpu": 2**27, "cuda": 2**30}


@dataclass(frozen=True)
class Work:
    """What an ideal kernel does: every causal pair's two products once, every tensor read or written once.

    RoPE's three operations for each number of query and key are counted; exponentials are not.
    """

    flops: int
    bytes: int

    def seconds(self, *, flops_rate: float, bytes_rate: float) -> float:
        """The least time at these rates, if arithmetic and memory overlap perfectly."""
        return max(self.flops / flops_rate, self.bytes / bytes_rate)


def work_of(shape: Heads, length: int) -> Work:
    """The work of causal attention with RoPE over `length` tokens."""
    pairs = length * (length + 1) // 2
    numbers = length * shape.head_dim
    products = 4 * pairs * shape.heads * shape.head_dim
    size = torch.finfo(getattr(torch, shape.dtype)).bits // 8
    turned = 3 * numbers * (shape.heads + shape.key_heads)
    return Work(products + turned, 2 * size * numbers * (shape.heads + shape.key_heads))


def measured_rates(
    shape: Heads, *, device: str, threads: int, run: int, side: int | None = None, copied: int | None = None
) -> list[RateRow]:
    """How fast the device multiplies large matrices and copies memory that fits no cache, best of five each.

    Parameters
    ----------
    shape
        Whose precision is multiplied in.
    side, copied
        Rows of the square matrices, and bytes of the copied tensor.
    """
    side, copied = side or SIDE[device], copied or COPIED[device]
    dtype = getattr(torch, shape.dtype)
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    source = torch.zeros(copied, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    multiply = _best("torch.mm(a, b, out=c)", {"a": left, "b": right, "c": torch.empty_like(left)}, threads)
    copy = _best("a.copy_(b)", {"a": target, "b": source}, threads)
    return [
        RateRow("products", str(shape), 2 * side**3 / multiply, "FLOP/s", run),
        RateRow("memory", str(shape), 2 * copied / copy, "bytes/s", run),
    ]


def _best(statement: str, names: dict[str, torch.Tensor], threads: int) -> float:
    timer = Timer(statement, globals={"torch": torch, **names}, num_threads=threads)
    return float(min(timer.timeit(3).median for _ in range(5)))
