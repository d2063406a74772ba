"""The lab's second row: what the worker says, and the tools: presets, story, reset, share, tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ipywidgets

from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.presets import PresetMenu
from selfextend_viz.widgets.question import QuestionState
from selfextend_viz.widgets.sharing import ShareBox
from selfextend_viz.widgets.story import Story

STORY_OF_DEMO = "The story is told on the demo model; open it with lab()"


class ToolRow(ipywidgets.VBox):
    """Tools on one row, which the story takes while it runs.

    Parameters
    ----------
    state, question
        What the tools set and share.
    words
        The status line, at the left.
    is_demo
        Whether the lab's model is the demo model, of which the story tells.
    on_reset, on_tables
        What the two buttons do; the latter is given whether tables are wanted.
    """

    def __init__(
        self,
        state: LabState,
        question: QuestionState,
        *,
        words: ipywidgets.Widget,
        is_demo: bool,
        rival: Any = None,
        on_reset: Callable[[], None],
        on_tables: Callable[[bool], None],
    ) -> None:
        self.story = Story(state, question, on_close=self._story_ended)
        self.share_box = ShareBox(state, question, with_model=not is_demo, rival=rival)
        self.share_box.layout.display = "none"
        home = "The demo model" if is_demo else "Your model"
        self.presets = PresetMenu(state, home=f"{home}, as the lab opened", on_home=on_reset)
        self.start = button("Story", STORY_OF_DEMO if not is_demo else "Six steps from inside L to a good setting")
        self.start.disabled = not is_demo
        self.reset = button("Reset", "Back to the numbers and the question that the lab opened with")
        self.share = toggle("Share", "A line of Python that opens the lab like this")
        self.tables = toggle("Tables", "The panels' numbers as tables")
        self.start.add_class("sv-start")
        self.start.on_click(lambda clicked: self._start_story())
        self.reset.on_click(lambda clicked: on_reset())
        self.share.observe(self._share, "value")
        self.tables.observe(lambda change: on_tables(change["new"]), "value")
        tools = ipywidgets.HBox([self.presets, self.start, self.reset, self.share, self.tables])
        tools.add_class("sv-tools")
        self.row = ipywidgets.HBox([words, self.share_box, tools])
        self.row.add_class("sv-tool-row")
        super().__init__([self.row, self.story])

    def _start_story(self) -> None:
        self.row.layout.display = "none"
        self.story.start()

    def _story_ended(self) -> None:
        self.row.layout.display = ""

    def _share(self, change: Any) -> None:
        self.share_box.layout.display = "" if change["new"] else "none"


def button(words: str, tooltip: str) -> ipywidgets.Button:
    """A small button."""
    return ipywidgets.Button(description=words, tooltip=tooltip, layout=ipywidgets.Layout(width="auto"))


def toggle(words: str, tooltip: str) -> ipywidgets.ToggleButton:
    """A small button that stays down."""
    return ipywidgets.ToggleButton(description=words, tooltip=tooltip, layout=ipywidgets.Layout(width="auto"))
