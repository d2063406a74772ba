"""Lend a method to a Hugging Face transformers model, and give the model back exactly as it was.

The only part of the package that touches transformers' internals. transformers hands every supported model's
attention to a registered function, with queries and keys already rotated; a band only turns them on by the difference
between the told and the true position, so that no forward is rewritten and caches stay ordinary.
"""

from selfextend_viz.patch.attention_function import BeyondReachWarning, register
from selfextend_viz.patch.cache_memory import CacheMemory, cache_memory, in_gib
from selfextend_viz.patch.context import TrainedLength, context_length, trained_length
from selfextend_viz.patch.describe import Description, describe
from selfextend_viz.patch.exporting import ExportedSettings, export_settings
from selfextend_viz.patch.frequencies import plain_frequencies
from selfextend_viz.patch.lending import check_lending, extend, extended, is_extended, restore
from selfextend_viz.patch.models import SUPPORTED
from selfextend_viz.patch.observe import LayerView, observe

__all__ = [
    "SUPPORTED",
    "BeyondReachWarning",
    "CacheMemory",
    "Description",
    "ExportedSettings",
    "LayerView",
    "TrainedLength",
    "cache_memory",
    "check_lending",
    "context_length",
    "describe",
    "export_settings",
    "extend",
    "extended",
    "in_gib",
    "is_extended",
    "observe",
    "plain_frequencies",
    "restore",
    "trained_length",
]

register()
