"""What runs beside plain attention: ours, and other people's code where it can run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from selfextend_viz.attention import attend, choose
from selfextend_viz.bench.plan import Heads
from selfextend_viz.bench.rows import PLAIN, SkippedRow
from selfextend_viz.positions import SelfExtend
from selfextend_viz.rope import cos_sin, default_inv_freq, rotate, turn

__all__ = ["Contestant", "Inputs", "banded", "check_alike", "inputs_of", "ours", "plain", "plain_contestants", "tried"]

Call = Callable[[], Tensor]


@dataclass(frozen=True)
class Inputs:
    """Raw queries, keys and values of one case, not rotated."""

    query: Tensor = field(repr=False)
    key: Tensor = field(repr=False)
    value: Tensor = field(repr=False)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.query.device


@dataclass(frozen=True)
class Contestant:
    """Something to time, and what is said of it."""

    name: str
    call: Call = field(repr=False)
    method: SelfExtend | None = None
    detail: str = ""

    @property
    def key(self) -> str:
        """What tells it from the others of its group."""
        return self.name if self.method is None else f"{self.name} {self.method.neighbor_window}"


def inputs_of(shape: Heads, length: int, *, device: str) -> Inputs:
    """Random tensors ``[1, heads, length, head_dim]``, the same for the same arguments."""
    generator = torch.Generator(device).manual_seed(0)
    dtype = getattr(torch, shape.dtype)

    def normal(heads: int) -> Tensor:
        size = (1, heads, length, shape.head_dim)
        return torch.randn(size, generator=generator, device=device, dtype=torch.float32).to(dtype)

    return Inputs(normal(shape.heads), normal(shape.key_heads), normal(shape.key_heads))


def plain(inputs: Inputs, backend: SDPBackend | None = None) -> Tensor:
    """RoPE, its angles computed once, and torch's own causal attention; a named backend runs or refuses."""
    positions = torch.arange(inputs.query.shape[2], device=inputs.device)
    inv_freq, _ = default_inv_freq(inputs.query.shape[-1])
    tables = cos_sin(positions, inv_freq)
    turned = turn(inputs.query, *tables), turn(inputs.key, *tables)
    grouped = inputs.query.shape[1] != inputs.key.shape[1]
    attention = partial(F.scaled_dot_product_attention, *turned, inputs.value, is_causal=True, enable_gqa=grouped)
    if backend is None:
        return attention()
    with sdpa_kernel([backend]):
        return attention()


def plain_contestants(inputs: Inputs) -> Iterator[Contestant | SkippedRow]:
    """Plain attention: torch's flash, which ratios are taken to (or what torch picks without it); on CUDA cuDNN's."""
    attention = "scaled_dot_product_attention"
    flash = partial(plain, inputs, SDPBackend.FLASH_ATTENTION)
    found = tried("plain, flash", lambda: Contestant(PLAIN, flash, detail=f"{attention}, flash"))
    yield found
    if isinstance(found, SkippedRow):
        yield Contestant(PLAIN, partial(plain, inputs), detail=f"{attention}, torch's own choice")
    if inputs.device.type != "cuda":
        yield SkippedRow("plain, cuDNN", "needs a CUDA device")
        return
    call = partial(plain, inputs, SDPBackend.CUDNN_ATTENTION)
    yield tried("plain, cuDNN", lambda: Contestant("plain, cuDNN", call, detail=f"{attention}, cuDNN"))


def ours(inputs: Inputs, method: SelfExtend, implementation: str) -> Contestant | SkippedRow:
    """Self-Extend by one of this package's implementations, or why it cannot run here."""

    def make() -> Contestant:
        query, key, value = inputs.query, inputs.key, inputs.value
        detail = str(choose(implementation, query, key, value, method.bands))
        call = partial(attend, query, key, value, method, implementation=implementation)
        return Contestant(implementation, call, method, detail)

    return tried(implementation, make)


def tried(name: str, make: Callable[[], Contestant]) -> Contestant | SkippedRow:
    """The contestant after a first call, or the first line of what it raised: other people's code raises anything."""
    try:
        contestant = make()
        contestant.call()
    except Exception as error:
        said = (str(error) or type(error).__name__).strip().splitlines()[0]
        return SkippedRow(name, f"{type(error).__name__}: {said}"[:300])
    return contestant


def check_alike(contestant: Contestant, expected: Tensor) -> Contestant | SkippedRow:
    """The contestant, or how far its answer is from what it should be: a wrong answer is not worth timing."""
    try:
        found = contestant.call()
        off = float((found.float() - expected.float()).abs().max())
    except Exception as error:
        return SkippedRow(contestant.name, f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
    allowed = 1e-4 if expected.dtype == torch.float32 else 0.05
    if not off <= allowed:
        return SkippedRow(contestant.name, f"its result is off by {off:.2g} (allowed: {allowed:g})")
    return contestant


def banded(inputs: Inputs, method: SelfExtend) -> list[tuple[Tensor, Tensor]]:
    """Queries and keys turned for the near and for the far band: what peers are given, at our cost of turning."""
    positions = torch.arange(inputs.query.shape[2], device=inputs.device)
    inv_freq, _ = default_inv_freq(inputs.query.shape[-1])
    return [
        (
            rotate(inputs.query, band.query_position(positions), inv_freq),
            rotate(inputs.key, band.key_position(positions), inv_freq),
        )
        for band in method.bands
    ]


def missing_checkout(path: Path | None) -> str | None:
    """Why the authors' code cannot be had, or None."""
    if path is None:
        return "give the path of a checkout with --longlm"
    if not (path / "self_extend_patch").is_dir():
        return f"{path} has no folder self_extend_patch"
    return None
