"""Methods beside Self-Extend: what each changes, stated as bands of integers and as rules for frequencies.

``METHODS`` maps the name of every published method to its class, Self-Extend among them. Each class states
``training_free``, whether its authors use it on a model that was not trained for it, and its ``mechanism`` in a few
words. The others are controls: :class:`SinksAtTrueDistance` and :class:`ShuffledSelfExtend`.
"""

from typing import Any

from selfextend_viz.methods.chunking import DualChunkAttention, LlamaCppSelfExtend
from selfextend_viz.methods.logistic import LogisticSelfExtend
from selfextend_viz.methods.masking import SinksAtTrueDistance, SlidingWindow
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.methods.remapping import LeakyReRoPE, ReRoPE, StringAttention
from selfextend_viz.methods.scaling import DynamicNTK, Llama3Scaling, LongRoPE, NTKAware, PositionInterpolation, YaRN
from selfextend_viz.methods.shifted import ShiftedSparseAttention
from selfextend_viz.methods.shuffled import ShuffledSelfExtend
from selfextend_viz.methods.sinks import LMInfinite, StreamingLLM
from selfextend_viz.positions import SelfExtend

METHODS: dict[str, type[Any]] = {
    method.__name__: method
    for method in (
        PositionInterpolation,
        NTKAware,
        DynamicNTK,
        YaRN,
        Llama3Scaling,
        LongRoPE,
        SlidingWindow,
        StreamingLLM,
        LMInfinite,
        ShiftedSparseAttention,
        SelfExtend,
        ReRoPE,
        LeakyReRoPE,
        DualChunkAttention,
        StringAttention,
        LogisticSelfExtend,
        LlamaCppSelfExtend,
    )
}

__all__ = [
    "METHODS",
    "DualChunkAttention",
    "DynamicNTK",
    "LMInfinite",
    "LeakyReRoPE",
    "Llama3Scaling",
    "LlamaCppSelfExtend",
    "LogisticSelfExtend",
    "LongRoPE",
    "NTKAware",
    "PerLayer",
    "PositionInterpolation",
    "ReRoPE",
    "ShiftedSparseAttention",
    "ShuffledSelfExtend",
    "SinksAtTrueDistance",
    "SlidingWindow",
    "StreamingLLM",
    "StringAttention",
    "YaRN",
]
