"""Every notebook opened and run in JupyterLab: no cell fails, the page reports nothing, and its explorer moves."""

from pathlib import Path

import pytest
from jupyter_browser import Faults, browser_page, run_all
from lab_page import LabPage

NOTEBOOKS = sorted(path.name for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
WITHOUT_EXPLORER = {"11_why_it_costs_nothing.ipynb", "A1_flash_and_the_merge.ipynb"}
SLIDERS = ("group_size", "pair", "length")
"""What moves an explorer: G, and in one that has no G of its own, the pair or N."""

DONE = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const cells = [...panel.content.widgets].filter((cell) => cell.model.type === 'code');
    const kernel = panel.sessionContext.session.kernel;
    return kernel.status === 'idle' && cells.every((cell) => cell.model.executionState !== 'running')
        && cells.every((cell) => cell.model.executionCount !== null);
}"""

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_it_runs_in_a_browser_and_its_explorer_moves(jupyter, name):
    faults = Faults()
    with browser_page(faults=faults) as page:
        page.on("dialog", lambda dialog: dialog.accept())
        run_all(page, jupyter.address(name))
        page.wait_for_timeout(1000)
        page.wait_for_function(DONE, timeout=90_000)
        lab = LabPage(page)
        assert lab.cell_errors() == 0
        if name not in WITHOUT_EXPLORER:
            moves_by_keyboard(lab)
        assert lab.cell_errors() == 0
    jupyter.end_kernel(name)
    assert faults.found == []


def moves_by_keyboard(lab):
    """The first explorer's number changes with a key, and so does what the page says."""
    lab.page.locator(".sv-lab").first.evaluate("lab => lab.scrollIntoView()")
    slider = next(one for one in SLIDERS if lab.box(one).count())
    box, said = lab.box(slider).first, lambda: lab.page.locator(".sv-lab").first.inner_text()
    before, words = box.input_value(), said()
    lab.handle(slider).first.focus()
    lab.page.keyboard.press("ArrowRight")
    lab.until(lambda: box.input_value() != before)
    lab.until(lambda: said() != words, 60)
