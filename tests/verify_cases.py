"""A setting, models and shorthands that the tests of verify() share."""

from selfextend_viz import verify
from selfextend_viz.positions import SelfExtend

METHOD = SelfExtend(group_size=3, neighbor_window=7)
YARN = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
RUNNING = ("eager", "flash")
CHECKS = ["prefill", "active", "decode", "chunked", "padded", "cached"]


def verified(model, method=METHOD, implementations=RUNNING, **options):
    return verify(model, method, implementations=implementations, **options)


def plant(monkeypatch, bands):
    """Put other bands in the place of Self-Extend's."""
    monkeypatch.setattr(SelfExtend, "bands", property(bands))
