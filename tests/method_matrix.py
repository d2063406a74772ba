"""Every method once, with easy and awkward numbers: tests that hold for all methods run over this list."""

from numpy import stack
from numpy.typing import NDArray
from torch import Tensor

from selfextend_viz.frequencies import rule_of, scaled_frequencies
from selfextend_viz.methods import (
    DualChunkAttention,
    DynamicNTK,
    LeakyReRoPE,
    Llama3Scaling,
    LlamaCppSelfExtend,
    LMInfinite,
    LogisticSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    ShiftedSparseAttention,
    ShuffledSelfExtend,
    SinksAtTrueDistance,
    SlidingWindow,
    StreamingLLM,
    StringAttention,
    YaRN,
)
from selfextend_viz.positions import Band, Method, PlainRoPE, SelfExtend, relative_positions

METHODS: list[Method] = [
    PlainRoPE(),
    SelfExtend(group_size=1, neighbor_window=4),
    SelfExtend(group_size=2, neighbor_window=4),
    SelfExtend(group_size=3, neighbor_window=4),
    SelfExtend(group_size=5, neighbor_window=17),
    SelfExtend(group_size=4, neighbor_window=0),
    SelfExtend(group_size=4, neighbor_window=1),
    SelfExtend(group_size=64, neighbor_window=8),
    SelfExtend(group_size=2, neighbor_window=100_000),
    SelfExtend(group_size=3, neighbor_window=7, compat="longlm"),
    SlidingWindow(1),
    SlidingWindow(7),
    SinksAtTrueDistance(7),
    SinksAtTrueDistance(3, sinks=1),
    ShuffledSelfExtend(group_size=2, neighbor_window=6),
    ShuffledSelfExtend(group_size=3, neighbor_window=8, seed=1),
    StreamingLLM(sinks=1, window=1),
    StreamingLLM(sinks=4, window=7),
    LMInfinite(sinks=4, window=7),
    ShiftedSparseAttention(2),
    ShiftedSparseAttention(8),
    ReRoPE(1),
    ReRoPE(7),
    LeakyReRoPE(7, factor=1),
    LeakyReRoPE(5, factor=2.5),
    DualChunkAttention(2, local_window=1),
    DualChunkAttention(11, local_window=4),
    StringAttention(shift=9, window=0),
    StringAttention(shift=9, window=9),
    StringAttention(shift=12, window=5),
    LogisticSelfExtend(4, ceiling=2),
    LogisticSelfExtend(6, ceiling=5, rate=0.4),
    LlamaCppSelfExtend(group_size=1, window=5),
    LlamaCppSelfExtend(group_size=4, window=8),
    PositionInterpolation(4),
    NTKAware(2.5),
    DynamicNTK(4, original_length=12),
    YaRN(4, original_length=12),
    Llama3Scaling(8, original_length=12),
    LongRoPE(short=[1.0] * 4 + [1.2] * 4, long=[1.0, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0], factor=4, original_length=12),
]
METHOD_CASES: list[tuple[str, Method]] = [(str(method), method) for method in METHODS]
"""All methods; the last one's numbers are for 8 pairs of dimensions."""


class OneHead:
    """What one head sees of a method."""

    def __init__(self, method: Method, head: int, heads: int) -> None:
        self.bands: tuple[Band, ...] = tuple(
            band for band in method.bands if head in range(heads)[band.heads_of(heads)]
        )


def head_positions(method: Method, length: int, heads: int) -> NDArray:
    """Relative positions of every head: ``[heads, length, length]``, -1 where one sees none."""
    return stack([relative_positions(OneHead(method, head, heads), length) for head in range(heads)])


def frequencies_of(method: Method, inv_freq: Tensor, length: int) -> tuple[Tensor, float]:
    """Frequencies and attention factor that a method makes of plain ones whose base is 10000."""
    rule = rule_of(method)
    return (inv_freq, 1.0) if rule is None else scaled_frequencies(rule, inv_freq, theta=10000.0, length=length)
