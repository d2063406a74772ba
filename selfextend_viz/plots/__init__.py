"""Figures: numbers in, a plotly Figure out; nothing is displayed, and no model or torch is needed."""

from selfextend_viz.plots.answer import AnswerTrack, answer_tracks, plot_answer
from selfextend_viz.plots.divergence import plot_divergence, staircase
from selfextend_viz.plots.logit_curves import LogitCurve, logit_curves
from selfextend_viz.plots.map_bands import map_state, row_table
from selfextend_viz.plots.outlier_grid import OutlierGrid, outlier_grid, plot_outlier_grid, worst_head
from selfextend_viz.plots.pair_angles import PairAngles, pair_angles, pair_sentence
from selfextend_viz.plots.pair_logits import plot_pair_logits
from selfextend_viz.plots.passkey import PasskeyMap, passkey_maps, plot_passkey
from selfextend_viz.plots.perplexity import LossCurve, loss_curves, plot_perplexity
from selfextend_viz.plots.position_map import PositionMap, explain_pair, plot_position_map, position_map
from selfextend_viz.plots.reach import ReachMap, plot_reach, reach_map, reach_sentence, reach_table
from selfextend_viz.plots.rotation import plot_rotation
from selfextend_viz.plots.speed import plot_ratios
from selfextend_viz.plots.tiles import plot_tiles
from selfextend_viz.plots.wavelengths import Wavelengths, plot_wavelengths, wavelengths, wavelengths_sentence

__all__ = [
    "AnswerTrack",
    "LogitCurve",
    "LossCurve",
    "OutlierGrid",
    "PairAngles",
    "PasskeyMap",
    "PositionMap",
    "ReachMap",
    "Wavelengths",
    "answer_tracks",
    "explain_pair",
    "logit_curves",
    "loss_curves",
    "map_state",
    "outlier_grid",
    "pair_angles",
    "pair_sentence",
    "passkey_maps",
    "plot_answer",
    "plot_divergence",
    "plot_outlier_grid",
    "plot_pair_logits",
    "plot_passkey",
    "plot_perplexity",
    "plot_position_map",
    "plot_ratios",
    "plot_reach",
    "plot_rotation",
    "plot_tiles",
    "plot_wavelengths",
    "position_map",
    "reach_map",
    "reach_sentence",
    "reach_table",
    "row_table",
    "staircase",
    "wavelengths",
    "wavelengths_sentence",
    "worst_head",
]
