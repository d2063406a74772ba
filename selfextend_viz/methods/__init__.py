"""Methods beside Self-Extend: what each changes, stated as bands of integers."""

from selfextend_viz.methods.masking import SinksAtTrueDistance, SlidingWindow
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.methods.remapping import ShuffledSelfExtend

__all__ = ["PerLayer", "ShuffledSelfExtend", "SinksAtTrueDistance", "SlidingWindow"]
