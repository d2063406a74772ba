"""The web site builds without a warning, and opens from a folder without a server, a network or an error."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from jupyter_browser import Faults, browser_page

ROOT = Path(__file__).parents[1]
pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if importlib.util.find_spec("myst_nb") is None:
        pytest.skip("the site extra is not installed")
    target = tmp_path_factory.mktemp("site")
    command = [sys.executable, str(ROOT / "docs" / "build_site.py"), str(target)]
    built = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert built.returncode == 0, built.stderr[-2000:]
    return target


def test_every_page_opens_without_a_fault(site):
    faults = Faults()
    with browser_page(faults=faults) as page:
        for path in sorted(set(site.rglob("*.html")) - set((site / "_static").rglob("*"))):
            page.goto(path.as_uri())
            page.wait_for_load_state("load")
    assert faults.found == []
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} <= {path.stem for path in site.rglob("*.html")}


def test_pictures_have_words(site):
    with browser_page() as page:
        page.goto((site / "notebooks" / "11_why_it_costs_nothing.html").as_uri())
        figures = "article img:not([src$='colab.svg'])"
        told = page.eval_on_selector_all(figures, "images => images.map(image => image.alt)")
    assert told
    assert all(len(words) > 20 for words in told)


def test_formulas_are_drawn(site):
    with browser_page() as page:
        page.goto((site / "notebooks" / "11_why_it_costs_nothing.html").as_uri())
        assert page.locator("math").count() > 0
        assert page.locator("math").first.bounding_box()["width"] > 5


@pytest.mark.parametrize(("name", "control"), [("position", "group_size"), ("reach", "group_size"), ("rope", "pair")])
def test_an_explorer_moves_in_its_page(site, name, control):
    with browser_page() as page:
        page.goto((site / "explorers.html").as_uri())
        frame = page.frame_locator(f'iframe[src="explorers/{name}.html"]')
        slider = frame.locator(f".sv-controls [name={control}]")
        page.locator(f'iframe[src="explorers/{name}.html"]').evaluate(
            "frame => frame.scrollIntoView()"
        )  # it loads late
        words = frame.locator(".sv-views").inner_text
        before = words()
        slider.focus()
        slider.press("ArrowLeft")
        page.wait_for_timeout(500)
        assert words() != before


def test_every_public_name_is_documented(site):
    import selfextend_viz

    page = (site / "names.html").read_text(encoding="utf-8")
    missing = [name for name in selfextend_viz.__all__ if f'id="selfextend_viz.{name}"' not in page]
    assert missing == []
    index = json.loads((site / "searchindex.js").read_text(encoding="utf-8").removeprefix("Search.setIndex(")[:-1])
    assert "names" in index["docnames"]
