"""Write the results that the lab opens on: ``python -m selfextend_viz.widgets.stored``.

Run it after the demo model's weights change; the lab sets results of other weights aside.
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.lab import inference_mode
from selfextend_viz.widgets.results import STORED, Setting
from selfextend_viz.widgets.work import LabWork, Subject


def write_stored(path: Path | None = None) -> Path:
    """Ask the demo model everything the lab opens on, and write the answers; returns where."""
    target = path or Path(str(files("selfextend_viz.widgets"))) / STORED
    subject = Subject()
    state = LabState(subject.context_length)
    setting = Setting(state.length, state.group_size, state.neighbor_window, state.context_length)
    with inference_mode():
        results = LabWork(subject).results(setting)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(results.to_json(), encoding="utf-8")
    return target


if __name__ == "__main__":
    write_stored()
