"""The course in a real JupyterLab: guesses are kept and shown as cards, and the strip alone follows its sliders."""

import pytest
from accessibility import serious_faults
from jupyter_browser import Faults, browser_page, run_all
from lab_page import LabPage
from screen_contrast import SHARP, unreadable

pytestmark = [pytest.mark.browser, pytest.mark.slow]

CELLS = (
    "import os, tempfile\nos.environ['SELFEXTEND_VIZ_HOME'] = tempfile.mkdtemp()",
    "from selfextend_viz import check, predict, reveal, strip_explorer\npredict('04.2', 'a')",
    "reveal('04.2', 'b', details='<b>5</b>')",
    "check.ex_05_1(lambda L, G, w: (L - w) * G + w)",
    "app = strip_explorer(length=640, group_size=1, neighbor_window=80)\napp",
)


def test_cards_and_the_strip(jupyter):
    notebook, faults = jupyter.write("course.ipynb", *CELLS), Faults()
    with browser_page(faults=faults, device_scale_factor=SHARP) as page:
        run_all(page, jupyter.address(notebook))
        lab = LabPage(page)
        page.locator(".sv-strip-sentence mark").wait_for(timeout=90_000)
        cards = page.locator(".jp-OutputArea-output [role=note]").all_inner_texts()
        assert "sliding window" in cards[0] and "common belief" in cards[1] and "(<b>5</b>)" in cards[1]
        assert "the paper's formula" in cards[2]
        lab.until(lambda: "wrong" in page.locator(".sv-strip-sentence").inner_text(), 60)
        assert lab.press("group_size", "ArrowRight") == 2
        assert lab.press("group_size", "ArrowRight") == 4
        lab.until(lambda: "Self-Extend looks at the key" in page.locator(".sv-strip-sentence").inner_text(), 60)
        lab.until(lambda: "and reads 29026" in page.locator(".sv-strip-sentence").inner_text(), 60)
        lab.until(lambda: not page.locator(".sv-dim").count(), 60)
        assert serious_faults(page, ".sv-lab") == []
        assert unreadable(page, ".sv-lab") == []
        assert lab.cell_errors() == 0
    jupyter.end_kernel(notebook)
    assert faults.found == []
