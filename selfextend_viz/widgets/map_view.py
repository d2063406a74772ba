"""The position map as a widget of our own, whose page draws each state in a few milliseconds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from selfextend_viz.widgets.look import script

MAP_SCRIPTS = ("map_paint.js", "map_labels.js", "map_difference.js", "map_words.js", "map.js")
"""The files that together define ``mapView(element, {onPoint})``, for any page that shows a map."""


class MapView(anywidget.AnyWidget):
    """Two position maps on a canvas, and their difference if asked; its style sheet comes with the `Companion`.

    Parameters
    ----------
    state
        What `plots.map_state` or `plots.methods_state` gives; set the trait of that name to show another.
    height
        In pixels.
    on_point
        Called with (query, key), true positions, when the reader points at a pair.
    """

    _esm = script(*MAP_SCRIPTS, "map_widget.js")
    state = traitlets.Dict().tag(sync=True)

    def __init__(
        self, state: dict[str, Any], *, height: int, on_point: Callable[[int, int], object] | None = None
    ) -> None:
        super().__init__(state=state)
        self._on_point = on_point or (lambda query, key: None)
        self.layout.height = f"{height}px"
        self.add_class("sv-figure")
        self.on_msg(self._hear)

    def _hear(self, widget: Any, content: Any, buffers: Any) -> None:
        if content.get("kind") == "point":
            self._on_point(int(content["query"]), int(content["key"]))
