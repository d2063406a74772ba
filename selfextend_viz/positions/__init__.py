"""Where each token is told it stands: bands of distances, in integers, and what follows from them.

Symbols: L pretrained context length, G ``group_size``, w_n ``neighbor_window``, N sequence length,
i query position, j key position, d = i - j. NumPy and the standard library only.
"""

from selfextend_viz.positions.bands import (
    Band,
    Method,
    PlainRoPE,
    Positions,
    band_index,
    bands_of,
    log_scale_of,
    pair_bands,
    pair_positions,
    real_number,
    real_positions,
    relative_positions,
    true_position,
    visible_pairs,
    whole_number,
)
from selfextend_viz.positions.self_extend import (
    SelfExtend,
    SuggestedSelfExtend,
    inside_trained_region,
    suggest,
)
from selfextend_viz.positions.tiling import Tile, TileRun, slanted_runs, tile_runs, tiles

__all__ = [
    "Band",
    "Method",
    "PlainRoPE",
    "Positions",
    "SelfExtend",
    "SuggestedSelfExtend",
    "Tile",
    "TileRun",
    "band_index",
    "bands_of",
    "inside_trained_region",
    "log_scale_of",
    "pair_bands",
    "pair_positions",
    "real_number",
    "real_positions",
    "relative_positions",
    "slanted_runs",
    "suggest",
    "tile_runs",
    "tiles",
    "true_position",
    "visible_pairs",
    "whole_number",
]
