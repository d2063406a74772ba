"""Sweeps: settings measured cell by cell into a store that survives being killed.

Cells, rows and the store cost no torch. The function ``sweep`` has the name of its module, so it is to be had from
there, or from the top of the package.
"""

from selfextend_viz.sweeps.cells import TASKS, Cell, Grid, Planned, Setting, expand
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.store import Store, StoreError

__all__ = ["TASKS", "Cell", "CellRow", "Grid", "Planned", "Setting", "Store", "StoreError", "expand"]
