"""Figures: numbers in, a plotly Figure out; nothing is displayed, and no model or torch is needed."""

from selfextend_viz.plots.divergence import LogitCurve, logit_curves, plot_divergence, staircase
from selfextend_viz.plots.outlier_grid import OutlierGrid, outlier_grid, plot_outlier_grid, worst_head
from selfextend_viz.plots.passkey import PasskeyMap, passkey_maps, plot_passkey
from selfextend_viz.plots.perplexity import LossCurve, loss_curves, plot_perplexity
from selfextend_viz.plots.position_map import PositionMap, explain_pair, plot_position_map, position_map
from selfextend_viz.plots.reach import ReachMap, plot_reach, reach_map, reach_sentence
from selfextend_viz.plots.speed import plot_ratios

__all__ = [
    "LogitCurve",
    "LossCurve",
    "OutlierGrid",
    "PasskeyMap",
    "PositionMap",
    "ReachMap",
    "explain_pair",
    "logit_curves",
    "loss_curves",
    "outlier_grid",
    "passkey_maps",
    "plot_divergence",
    "plot_outlier_grid",
    "plot_passkey",
    "plot_perplexity",
    "plot_position_map",
    "plot_ratios",
    "plot_reach",
    "position_map",
    "reach_map",
    "reach_sentence",
    "staircase",
    "worst_head",
]
