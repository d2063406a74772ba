"""Markup in a tokenizer's text, a question, a filler and a model's name stays text on the pages that show it."""

import pytest
from jupyter_browser import Faults, browser_page
from lab_page import LabPage, open_lab
from test_security import EVIL

from selfextend_viz.widgets.page import Page, PageControl, PageView, write_page
from selfextend_viz.widgets.strip_state import answer_state, waiting_state, with_answer

pytestmark = pytest.mark.browser

SETUP = f"""
import torch
from transformers import LlamaConfig, LlamaForCausalLM
from selfextend_viz import lab
from selfextend_viz.demo.tokenizer import byte_tokenizer
from selfextend_viz.experiments.tasks import Phrasing

EVIL = {EVIL!r}
plain = byte_tokenizer(128)

class Evil:
    def __getattr__(self, name): return getattr(plain, name)
    def __call__(self, *args, **options): return plain(*args, **options)
    def decode(self, ids, **options):
        text = plain.decode(ids, **options)
        return EVIL if len(text) <= 1 else text

torch.manual_seed(0)
sizes = dict(vocab_size=257, hidden_size=32, intermediate_size=48, num_hidden_layers=1, num_attention_heads=2)
model = LlamaForCausalLM(LlamaConfig(**sizes, max_position_embeddings=128, initializer_range=0.4)).eval()
model.__class__ = type(EVIL, (LlamaForCausalLM,), {{}})
asked = Phrasing(subject="key " + EVIL, statement=EVIL + " {{Subject}} is {{key}}.", question="What is {{subject}}?")
"""
OPEN = (
    "app = lab(model, Evil(), length=400, group_size=4, neighbor_window=32,"
    " ask={'filler': 'own', 'own_text': EVIL + ' is grass. ', 'phrasing': asked})\napp"
)


def owned(page) -> bool:
    """Whether an image of the text came onto the page, or its script ran."""
    page.wait_for_timeout(1000)  # what is inserted loads, and fails, a moment later
    return bool(page.locator('img[src="x"]').count()) or page.title() == "owned"


def test_the_check_notices_an_image_that_runs():
    with browser_page() as page:
        page.set_content(f"<p>{EVIL}</p>")
        assert owned(page)


def test_the_lab_shows_it_as_text(jupyter):
    faults = Faults()
    notebook = jupyter.write("evil.ipynb", SETUP, OPEN)
    with browser_page(faults=faults) as page:
        lab = open_lab(page, jupyter, notebook)
        lab.settle()
        lab.ask("app.show_tables(True)")
        lab.ask(f"app.bar.refuse('no ' + {EVIL!r})")
        lab.until(lambda: "onerror=" in page.locator(".sv-status").inner_text())
        for place in (".sv-strip-words", ".sv-strip-drawn"):
            assert "onerror=" in page.locator(place).first.text_content()
        assert not owned(page)
        assert lab.cell_errors() == 0
    jupyter.end_kernel(notebook)
    assert faults.found == []


def test_a_page_without_a_kernel_shows_it_as_text(tmp_path):
    digit = {"said": EVIL, "wanted": "7", "probability_said": 0.6, "probability_wanted": 0.1}
    strip = waiting_state(
        length=100,
        context_length=50,
        reach=170,
        needle=(40, 41),
        needle_range=(10, 90),
        answer="7",
        question=EVIL,
        head=(1, 3),
        heads=(),
        labels=("stock", EVIL),
    )
    for label in ("stock", EVIL):
        strip = with_answer(strip, label, {**answer_state([], None), "digits": [digit], "arcs": []})
    figure = {"data": [{"x": [1], "y": [2], "name": EVIL, "text": [EVIL]}], "layout": {"title": {"text": EVIL}}}
    frame = {"strip": strip, "figure": figure, "words": {"strip": f"<b>{EVIL}</b>", "figure": EVIL}}
    views = (PageView("strip", EVIL, "strip", 200), PageView("figure", EVIL, "plotly", 300))
    control = PageControl("name", EVIL, (EVIL, "plain"), EVIL)
    path = write_page(tmp_path / "page.html", Page(EVIL, EVIL, (control,), {"0": frame, "1": frame}, views))
    faults = Faults()
    with browser_page(faults=faults) as page:
        page.goto(path.as_uri())
        LabPage(page).until(lambda: page.locator(".sv-card .main-svg").count())
        page.locator(".sv-controls select").select_option("plain")
        shown = page.locator("main").inner_text()
        assert shown.count("onerror=") >= 6
        page.title()
        assert not page.locator('img[src="x"]').count()
        page.wait_for_timeout(1000)
        assert page.title() == EVIL
    assert faults.found == []
