"""The live lab for JupyterLab: sliders that move figures, and a model that answers while they move."""

from selfextend_viz.widgets.lab import Lab, lab

__all__ = ["Lab", "lab"]
