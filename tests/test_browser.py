"""The lab in a real browser: a slider step changes all four panels, to what the library computes."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from jupyter_browser import browser_page, chromium, figures, jupyter_server, run_all, stamps

from selfextend_viz.demo import load_demo
from selfextend_viz.plots import staircase
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.instant_panels import MAX_CELLS
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import LabWork, Subject

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
PANELS = ["Position map", "Reach", "Attention logits", "Live pass key"]
SECONDS = 1000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.timeout(400),
    pytest.mark.skipif(chromium() is None, reason="no Chromium or Chrome on this machine"),
]


def named(traces, name):
    return next(trace for trace in traces if trace["name"] == name)


def answered(page, label):
    """Whether all panels show results of the method called `label`, its first cell among them."""
    shown = [trace for trace in figures(page)["Live pass key"] if trace["name"] == label]
    cells = [value for row in (shown[0]["z"] if shown else []) for value in row]
    return "stale" not in stamps(page).values() and any(value is not None for value in cells)


def wait_until(page, condition, seconds):
    for _ in range(int(seconds * 4)):
        if condition():
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"not so within {seconds} s; the stamps are {stamps(page)}")


def test_a_slider_step_changes_all_four_panels(tmp_path):
    model, tokenizer = load_demo()
    context_length = model.config.max_position_embeddings
    before, after = (SelfExtend(size, context_length // 4) for size in (8, 16))
    faults = []
    folder = shutil.copytree(NOTEBOOKS, tmp_path / "notebooks")  # JupyterLab saves what it runs
    with (
        jupyter_server(folder, tmp_path) as address,
        browser_page(tmp_path / "profile") as page,
    ):
        page.on("pageerror", lambda error: faults.append(str(error)))
        run_all(page, address.format(notebook="00_lab.ipynb"))
        page.locator(".sv-card .js-plotly-plot").nth(4).wait_for(timeout=90 * SECONDS)
        assert list(dict.fromkeys(figures(page))) == PANELS
        wait_until(page, lambda: answered(page, str(before)), 120)
        first = figures(page)

        handle = page.locator(".sv-slider-group-size .noUi-handle")
        handle.focus()
        page.keyboard.press("ArrowRight")
        wait_until(page, lambda: page.locator(".sv-box-group-size input").input_value() == "16", 20)
        wait_until(page, lambda: answered(page, str(after)), 120)
        second = figures(page)

        assert set(stamps(page).values()) == {"live"}
        assert all(first[name] != second[name] for name in PANELS)
        length = 4 * context_length
        tokens = np.linspace(0, length - 1, MAX_CELLS).round().astype(int)
        told = named(second["Position map"], "method map")["z"][-1]
        last, window = tokens[-1], context_length // 4
        far = last // 16 + window - window // 16 - tokens // 16
        assert told == np.where(last - tokens < window, last - tokens, far).tolist()
        distances, stairs = staircase(after, length)
        drawn = named(second["Attention logits"], "told method")
        assert (drawn["x"], drawn["y"]) == (distances.tolist(), list(stairs))
        first_cell = next(LabWork(Subject(model, tokenizer)).cell_steps(Setting(length, 16, window, context_length)))
        cells = named(second["Live pass key"], str(after))["z"]
        assert cells[0][-1] == first_cell.compute().accuracy
        assert page.locator(".sv-slider-group-size .noUi-handle").get_attribute("aria-valuetext") == "16"
        assert page.locator(".jp-Notebook [data-mime-type='application/vnd.jupyter.error']").count() == 0
        assert page.locator(".jp-Notebook [data-mime-type='application/vnd.jupyter.stderr']").count() == 0
    assert faults == []
