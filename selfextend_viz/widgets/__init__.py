"""The live lab and its explorers for JupyterLab: sliders that move figures, and a model that answers meanwhile."""

from selfextend_viz.widgets.explorers import (
    Explorer,
    divergence_explorer,
    method_explorer,
    passkey_explorer,
    position_explorer,
    reach_explorer,
    rope_explorer,
    strip_explorer,
)
from selfextend_viz.widgets.lab import Lab, lab
from selfextend_viz.widgets.tradeoff import TradeoffExplorer, tradeoff_explorer

__all__ = [
    "Explorer",
    "Lab",
    "TradeoffExplorer",
    "divergence_explorer",
    "lab",
    "method_explorer",
    "passkey_explorer",
    "position_explorer",
    "reach_explorer",
    "rope_explorer",
    "strip_explorer",
    "tradeoff_explorer",
]
