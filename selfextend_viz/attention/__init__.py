"""Attention over bands: eager, the reference; flash and fused, the same numbers without an N x N tensor.

:func:`attend` and :func:`attention_logits` take raw tensors and a method. :func:`core` and :func:`band_logits` are the
same for tensors that something else rotates. :func:`choose` picks the implementation and says why.
"""

from selfextend_viz.attention.dispatch import Choice, Implementation, check_name, choose, core, implementations
from selfextend_viz.attention.flash import FlashUnavailableError
from selfextend_viz.attention.fused import FusedUnavailableError
from selfextend_viz.attention.head_parts import head_slices, picked_heads
from selfextend_viz.attention.logits import Rotate, TableRotate, band_logits
from selfextend_viz.attention.query_scale import query_factors, scaled_by, scaled_query
from selfextend_viz.attention.raw import attend, attention_logits
from selfextend_viz.attention.slots import Run, Slots

__all__ = [
    "Choice",
    "FlashUnavailableError",
    "FusedUnavailableError",
    "Implementation",
    "Rotate",
    "Run",
    "Slots",
    "TableRotate",
    "attend",
    "attention_logits",
    "band_logits",
    "check_name",
    "choose",
    "core",
    "head_slices",
    "implementations",
    "picked_heads",
    "query_factors",
    "scaled_by",
    "scaled_query",
]
