"""The trade-off explorer in JupyterLab: it follows a store that this process fills, and reads well in both themes."""

import pytest
from accessibility import serious_faults
from jupyter_browser import DARK, LIGHT, Faults, browser_page, wear
from lab_page import open_lab
from screen_contrast import SHARP, unreadable
from test_tradeoff import LONG, SHORT, fill
from test_tradeoff_plots import C, L

from selfextend_viz import recommend
from selfextend_viz.plots import plot_cells_in, plot_frontier, plot_worst_depth
from selfextend_viz.sweeps.store import Store

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def opened(jupyter, tmp_path_factory):
    """The explorer on a store with one length; nothing may have gone wrong once its tests are through."""
    path, faults = tmp_path_factory.mktemp("followed") / "sweep.db", Faults()
    with Store(path) as store:
        fill(store, SHORT)
    notebook = jupyter.write(
        "tradeoff.ipynb",
        f"from selfextend_viz import tradeoff_explorer\napp = tradeoff_explorer({str(path)!r}, seconds=0.2)\napp",
    )
    with browser_page(faults=faults, device_scale_factor=SHARP) as page:
        lab = open_lab(page, jupyter, notebook)
        yield lab, path
        assert lab.cell_errors() == 0
    jupyter.end_kernel(notebook)
    assert faults.found == []


def shows(lab, rows, length):
    """Whether the page shows what the library computes of these rows."""
    found = recommend(rows, length, context_length=L)
    return (
        lab.shows("Worst depth", plot_worst_depth(rows, length, context_length=L, choice=found.setting))
        and lab.shows("KL against price", plot_frontier(rows, length, context_length=L, choice=found.setting))
        and lab.shows("Cells in", plot_cells_in(rows))
        and found.sentence in lab.sentences()["Worst depth"]
    )


def test_it_follows_the_store_and_its_slider_moves_all_cards(opened):
    lab, path = opened
    lab.until(lambda: shows(lab, Store(path).rows(), 64))
    with Store(path) as store:
        fill(store, LONG)
    lab.until(lambda: shows(lab, Store(path).rows(), 64))
    assert lab.press("length", "ArrowRight") == 128
    lab.until(lambda: shows(lab, Store(path).rows(), 128))
    assert str(C) in lab.sentences()["Worst depth"]
    lab.box("length").fill("100")
    lab.page.keyboard.press("Enter")
    alert = lab.page.locator(".sv-refusal[role=alert]")
    alert.wait_for()
    assert "100 has none" in alert.text_content()
    lab.until(lambda: lab.box("length").input_value() == "128")


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_it_is_readable_and_axe_finds_nothing_serious(opened, theme):
    lab, _ = opened
    wear(lab.page, theme)
    lab.page.wait_for_timeout(500)
    try:
        assert serious_faults(lab.page, ".sv-lab") == []
        assert unreadable(lab.page, ".sv-lab") == []
    finally:
        wear(lab.page, LIGHT)
