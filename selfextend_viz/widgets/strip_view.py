"""The strip's drawing as a widget of our own: Python sets the state, the page draws it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from selfextend_viz.widgets.look import script

STRIP_SCRIPTS = ("strip_answer.js", "strip_tracks.js", "strip_arcs.js", "strip.js")
"""The files that together define ``stripView(element, {onNeedle})``, for any page that shows a strip."""
HEIGHT = 124


class StripView(anywidget.AnyWidget):
    """Two tracks, their arcs and their digits; its style sheet comes with the page's `Companion`.

    Parameters
    ----------
    on_needle
        Called with a token when the reader moves the key there.
    """

    _esm = script(*STRIP_SCRIPTS, "strip_widget.js")
    state = traitlets.Dict().tag(sync=True)

    def __init__(self, *, on_needle: Callable[[int], object]) -> None:
        super().__init__(state={})
        self._on_needle = on_needle
        self.layout.min_height = f"{HEIGHT}px"
        self.add_class("sv-strip-drawn")
        self.on_msg(self._hear)

    def _hear(self, widget: Any, content: Any, buffers: Any) -> None:
        if content.get("kind") == "needle":
            self._on_needle(int(content["token"]))
