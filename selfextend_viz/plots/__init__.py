"""Figures: numbers in, a plotly Figure out; nothing is displayed, and no model or torch is needed."""

from selfextend_viz.plots.answer import AnswerTrack, answer_tracks, plot_answer
from selfextend_viz.plots.cells_in import plot_cells_in
from selfextend_viz.plots.collisions import Collisions, collisions, collisions_sentence, plot_collisions
from selfextend_viz.plots.comparison import FoundCurve, found_curves, plot_comparison
from selfextend_viz.plots.depth_maps import plot_depth_maps
from selfextend_viz.plots.divergence import plot_divergence, staircase
from selfextend_viz.plots.frontier import plot_frontier, plot_pareto
from selfextend_viz.plots.headroom import headroom, plot_headroom
from selfextend_viz.plots.layers import plot_layer_sensitivity
from selfextend_viz.plots.logit_curves import LogitCurve, logit_curves
from selfextend_viz.plots.map_bands import map_state, row_table
from selfextend_viz.plots.mass_outside import plot_mass_outside
from selfextend_viz.plots.method_maps import plot_position_maps, position_maps
from selfextend_viz.plots.method_state import methods_state, methods_table
from selfextend_viz.plots.outlier_grid import OutlierGrid, outlier_grid, plot_outlier_grid, worst_head
from selfextend_viz.plots.pair_angles import PairAngles, pair_angles, pair_sentence
from selfextend_viz.plots.pair_logits import plot_pair_logits
from selfextend_viz.plots.paired_losses import plot_paired_losses
from selfextend_viz.plots.passkey import plot_passkey
from selfextend_viz.plots.passkey_grid import PasskeyMap, passkey_maps
from selfextend_viz.plots.perplexity import LossCurve, loss_curves, plot_perplexity
from selfextend_viz.plots.position_losses import plot_position_losses
from selfextend_viz.plots.position_map import PositionMap, explain_pair, plot_position_map, position_map
from selfextend_viz.plots.query_positions import QueryPositions, plot_query_positions, query_positions
from selfextend_viz.plots.reach import plot_reach
from selfextend_viz.plots.reach_numbers import ReachMap, reach_map, reach_sentence, reach_table
from selfextend_viz.plots.rotation import plot_rotation
from selfextend_viz.plots.speed import plot_ratios
from selfextend_viz.plots.tiles import plot_tiles
from selfextend_viz.plots.wavelengths import Wavelengths, plot_wavelengths, wavelengths, wavelengths_sentence
from selfextend_viz.plots.worst_depth import WorstDepthMap, plot_worst_depth, worst_depth_map

__all__ = [
    "AnswerTrack",
    "Collisions",
    "FoundCurve",
    "LogitCurve",
    "LossCurve",
    "OutlierGrid",
    "PairAngles",
    "PasskeyMap",
    "PositionMap",
    "QueryPositions",
    "ReachMap",
    "Wavelengths",
    "answer_tracks",
    "collisions",
    "collisions_sentence",
    "explain_pair",
    "found_curves",
    "WorstDepthMap",
    "headroom",
    "logit_curves",
    "loss_curves",
    "map_state",
    "methods_state",
    "methods_table",
    "outlier_grid",
    "pair_angles",
    "pair_sentence",
    "passkey_maps",
    "plot_answer",
    "plot_collisions",
    "plot_comparison",
    "plot_divergence",
    "plot_mass_outside",
    "plot_outlier_grid",
    "plot_pair_logits",
    "plot_cells_in",
    "plot_depth_maps",
    "plot_frontier",
    "plot_headroom",
    "plot_layer_sensitivity",
    "plot_paired_losses",
    "plot_pareto",
    "plot_passkey",
    "plot_perplexity",
    "plot_position_losses",
    "plot_position_map",
    "plot_position_maps",
    "plot_query_positions",
    "plot_ratios",
    "plot_reach",
    "plot_rotation",
    "plot_tiles",
    "plot_wavelengths",
    "plot_worst_depth",
    "position_map",
    "position_maps",
    "query_positions",
    "reach_map",
    "reach_sentence",
    "reach_table",
    "row_table",
    "staircase",
    "wavelengths",
    "wavelengths_sentence",
    "worst_depth_map",
    "worst_head",
]
