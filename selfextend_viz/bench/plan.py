"""What is measured: shapes, lengths, windows and models, for a CPU and for a GPU, in full and quickly."""

from __future__ import annotations

from dataclasses import dataclass, replace

__all__ = ["DEMO", "Heads", "ModelShape", "Plan", "plan_for"]


@dataclass(frozen=True)
class Heads:
    """The shape of an attention call at batch 1, without its length."""

    heads: int
    key_heads: int
    head_dim: int
    dtype: str

    def __str__(self) -> str:
        shared = "" if self.heads == self.key_heads else f" ({self.key_heads} key heads)"
        return f"{self.heads} x {self.head_dim}{shared}, {self.dtype}"


@dataclass(frozen=True)
class ModelShape:
    """A Llama of random weights: what a token costs does not depend on what it says."""

    name: str
    layers: int
    hidden: int
    heads: int
    key_heads: int
    intermediate: int
    vocabulary: int
    context_length: int
    theta: float = 10000.0
    dtype: str = "float32"


@dataclass(frozen=True)
class Plan:
    """All that one call of the benchmark measures.

    Attributes
    ----------
    device : str
        ``"cpu"`` or ``"cuda"``.
    shapes, lengths, windows
        Prefill: every window at every length of every shape, in one group of contestants.
    eager_lengths
        Lengths at which eager is timed too, apart from the others, in the first of the shapes.
    peer_lengths
        Lengths at which other people's code takes part.
    decoded
        ``(model or "demo", cached tokens)``.
    end_to_end
        ``(model, prompt length)``: time to first token, and decoding behind the prompt.
    memory_length
        N at which peaks of memory are taken; None leaves them out.
    threads : tuple of int
        Torch threads; prefill takes the most, decoding each in turn.
    runs : int
        How often the whole is run.
    seconds : float
        About how long one group of contestants may take in one run.
    tokens : int
        How many are decoded in one round.
    """

    device: str
    shapes: tuple[Heads, ...]
    lengths: tuple[int, ...]
    windows: tuple[int, ...]
    eager_lengths: tuple[int, ...]
    peer_lengths: tuple[int, ...]
    decoded: tuple[tuple[ModelShape | str, int], ...]
    end_to_end: tuple[tuple[ModelShape, int], ...]
    memory_length: int | None
    threads: tuple[int, ...]
    runs: int = 3
    seconds: float = 20.0
    tokens: int = 16
    group_size: int = 8


DEMO = "demo"
SMALL = ModelShape("random Llama", 1, 512, 8, 8, 1024, 256, 2048)
LAYER = ModelShape("one layer of Llama-3-8B's shape", 1, 4096, 32, 8, 14336, 256, 8192, 500000.0, "bfloat16")
LLAMA_2 = ModelShape("Llama-2-7B's shape", 32, 4096, 32, 32, 11008, 32000, 4096, 10000.0, "bfloat16")
LLAMA_3 = ModelShape("Llama-3-8B's shape", 32, 4096, 32, 8, 14336, 128256, 8192, 500000.0, "bfloat16")

_CPU = Plan(
    device="cpu",
    shapes=(Heads(4, 4, 64, "float32"), Heads(8, 8, 128, "float32")),
    lengths=(1024, 4096, 8192, 16384),
    windows=(256, 512, 1024),
    eager_lengths=(1024, 4096, 8192),
    peer_lengths=(1024,),
    decoded=((SMALL, 8192), (DEMO, 8192)),
    end_to_end=(),
    memory_length=32768,
    threads=(1, 2),
    seconds=8.0,
)
_CUDA = replace(
    _CPU,
    device="cuda",
    shapes=(Heads(32, 8, 128, "bfloat16"),),
    lengths=(1024, 4096, 8192, 16384, 65536, 131072),
    eager_lengths=(),
    peer_lengths=(4096, 16384, 65536),
    decoded=((LAYER, 8192), (LAYER, 65536)),
    end_to_end=((LLAMA_2, 16384), (LLAMA_3, 32768)),
    threads=(1,),
    seconds=5.0,
    tokens=32,
)
_QUICK = {
    "cpu": replace(
        _CPU,
        shapes=_CPU.shapes[:1],
        lengths=(1024, 4096),
        windows=(512,),
        eager_lengths=(1024,),
        memory_length=8192,
        threads=(2,),
        runs=1,
        seconds=4.0,
    ),
    "cuda": replace(
        _CUDA,
        lengths=(4096, 16384, 65536),
        windows=(1024,),
        peer_lengths=(16384,),
        runs=1,
        seconds=2.0,
    ),
}


def plan_for(device: str, *, quick: bool = False) -> Plan:
    """What is measured on a device.

    Raises
    ------
    ValueError
        If the device is neither ``"cpu"`` nor ``"cuda"``.
    """
    if device not in _QUICK:
        raise ValueError(f"the benchmark runs on cpu or cuda, not {device!r}")
    if quick:
        return _QUICK[device]
    return _CPU if device == "cpu" else _CUDA
