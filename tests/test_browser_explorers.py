"""Each explorer in JupyterLab, and the page it writes: sliders move both to what the library computes."""

from dataclasses import dataclass
from functools import cache

import pytest
from accessibility import serious_faults
from jupyter_browser import DARK, LIGHT, Faults, browser_page, wear
from lab_page import LabPage, open_lab
from screen_contrast import SHARP, unreadable

from selfextend_viz.demo import load_demo
from selfextend_viz.methods import DualChunkAttention, ReRoPE
from selfextend_viz.plots import plot_query_positions, plot_reach, plot_rotation, plot_wavelengths, staircase
from selfextend_viz.positions import PlainRoPE, SelfExtend
from selfextend_viz.rope import default_inv_freq
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import LabWork, Subject

pytestmark = pytest.mark.browser

FORMULA = ("length", "group_size", "neighbor_window")
STOP = (
    "(name) => document.querySelector(`.sv-controls [name=${name}]`).parentElement.querySelector('output').textContent"
)


@dataclass(frozen=True)
class Case:
    """An explorer: the call that opens it, its sliders, and what its page is asked for.

    ``card`` and ``page_card`` are the names of the card that a model's answers fill.
    """

    call: str
    page: str
    sliders: tuple[str, ...] = FORMULA
    card: str = ""
    page_card: str = ""


CASES = {
    "position": Case(
        "position_explorer(length=200, context_length=64)",
        "lengths=[96, 200], group_sizes=[2, 8], neighbor_windows=[0, 16]",
    ),
    "reach": Case(
        "reach_explorer(length=12000)",
        "lengths=[8192, 12000], group_sizes=[4, 8], neighbor_windows=[512, 1024]",
    ),
    "methods": Case(
        "method_explorer(first=SelfExtend(4, 16), second=ReRoPE(16), length=100, context_length=64)",
        "methods=['SlidingWindow'], lengths=[60, 100]",
        ("length",),
        page_card="One query",
        card="One query",
    ),
    "rope": Case(
        "rope_explorer(head_dim=64, context_length=1024)",
        "pairs=[3, 9], distances=[500, 4095], group_sizes=[2, 8], neighbor_windows=[128, 256]",
        ("pair", "distance", "group_size", "neighbor_window"),
    ),
    "divergence": Case(
        "divergence_explorer(length=384)",
        "lengths=[256, 384], group_sizes=[2, 8], neighbor_windows=[64, 80], heads=2",
        card="Attention logits",
        page_card="Attention logits on a pass-key prompt",
    ),
    "passkey": Case(
        "passkey_explorer(length=384, trials=1)",
        "lengths=[352, 384], group_sizes=[2, 8], neighbor_windows=[64, 80]",
        card="Live pass key",
        page_card="Pass key",
    ),
}


@pytest.fixture(scope="module", params=CASES)
def opened(request, jupyter):
    """An explorer in a notebook of its own; nothing may have gone wrong once its tests are through."""
    case, faults = CASES[request.param], Faults()
    name = case.call.partition("(")[0]
    notebook = jupyter.write(
        f"{name}.ipynb", f"from selfextend_viz import ReRoPE, SelfExtend, {name}", f"app = {case.call}\napp"
    )
    with browser_page(faults=faults, device_scale_factor=SHARP) as page:
        lab = open_lab(page, jupyter, notebook)
        yield request.param, case, lab
        assert lab.cell_errors() == 0
    jupyter.end_kernel(notebook)
    assert faults.found == []


@cache
def demo() -> LabWork:
    """What the pass-key explorer asks of the demo model, asked here."""
    return LabWork(Subject(*load_demo()), trials=1)


def is_as_computed(kind: str, lab: LabPage, card: str, numbers: dict[str, int]) -> bool:
    """Whether a page shows what the library computes for these numbers."""
    if kind == "methods":
        curves = plot_query_positions(
            [PlainRoPE(), SelfExtend(4, 16), ReRoPE(16)], numbers["length"], context_length=64
        )
        return lab.tells(ReRoPE(16), numbers["length"]) and lab.shows(card, curves)
    method = SelfExtend(numbers["group_size"], numbers["neighbor_window"])
    if kind == "position":
        return lab.tells(method, numbers["length"])
    if kind == "reach":
        return lab.shows("Reach", plot_reach(context_length=4096, **numbers))
    if kind == "rope":
        inv_freq, pair = tuple(default_inv_freq(64)[0].tolist()), numbers["pair"]
        circle = plot_rotation(inv_freq, 1024, pair=pair, distance=numbers["distance"], method=method)
        return lab.shows("Wavelengths", plot_wavelengths(inv_freq, 1024, pair=pair)) and lab.shows("Rotation", circle)
    if kind == "divergence":
        distances, stairs = staircase(method, numbers["length"])
        drawn = lab.trace(card, "told method")
        return (drawn["x"], drawn["y"]) == (distances.tolist(), list(stairs))
    first = next(demo().cell_steps(Setting(**numbers, context_length=320)))
    drawn = lab.trace(card, str(method))
    return drawn is not None and drawn["z"][0][0] == demo().run(first).accuracy


def assert_as_computed(kind: str, case: Case, lab: LabPage) -> None:
    """The explorer comes to show what the library computes for the numbers in its boxes, which may still follow."""

    def holds() -> bool:
        numbers = {name: int(lab.box(name).input_value()) for name in case.sliders}
        return is_as_computed(kind, lab, case.card, numbers)

    lab.until(holds, 60)


def test_every_slider_moves_it_by_keyboard_and_by_mouse(opened):
    kind, case, lab = opened
    assert_as_computed(kind, case, lab)
    for name in case.sliders:
        lab.press(name, "ArrowRight" if name in ("length", "group_size") else "ArrowLeft")
        assert_as_computed(kind, case, lab)
        lab.drag(name, 0.8 if name == "length" else None)
        assert_as_computed(kind, case, lab)
    assert all(lab.sentences().values())


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_it_is_readable_and_axe_finds_nothing_serious(opened, theme):
    _, _, lab = opened
    wear(lab.page, theme)
    lab.rest()  # text over a bar that moves between two screenshots would be compared with another ground
    lab.page.wait_for_timeout(500)
    try:
        assert serious_faults(lab.page, ".sv-lab") == []
        assert unreadable(lab.page, ".sv-lab") == []
    finally:
        wear(lab.page, LIGHT)


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_its_page_works_alone(opened, scheme, tmp_path):
    kind, case, lab = opened
    path = tmp_path / "page.html"
    lab.ask(f"str(app.to_html({str(path)!r}, {case.page}))")
    assert path.stat().st_size < 6_000_000
    faults = Faults()
    with browser_page(faults=faults, color_scheme=scheme, device_scale_factor=SHARP) as tab:
        tab.goto(path.as_uri())
        page = LabPage(tab)
        for name in case.sliders:
            slider = tab.locator(f".sv-controls [name={name}]")
            slider.focus()
            before = tab.evaluate(STOP, name)
            tab.keyboard.press("End" if slider.input_value() == "0" else "Home")
            assert tab.evaluate(STOP, name) != before
            numbers = {one: int(tab.evaluate(STOP, one).replace(",", "")) for one in case.sliders}
            page.until(lambda numbers=numbers: is_as_computed(kind, page, case.page_card, numbers))
        assert serious_faults(tab, "body") == []
        assert unreadable(tab, "body") == []
    assert faults.found == []


@pytest.mark.parametrize("opened", ["methods"], indirect=True)
def test_methods_are_chosen_by_menu_and_a_wrong_number_is_said(opened):
    _, _, lab = opened
    lab.ask("app.state.set_trait('length', 100)")
    menu, words = lab.page.locator(".sv-method-second select"), lab.page.locator(".sv-refusal")
    menu.select_option("DualChunkAttention")
    lab.until(lambda: lab.tells(DualChunkAttention(48, 8), int(lab.box("length").input_value())))
    lab.box("local_window").fill("48")
    lab.box("local_window").press("Enter")
    lab.until(lambda: "local_window is 48, but must be at most 47" in words.text_content())
    lab.page.locator(".sv-map canvas").last.press("ArrowRight")
    said = "DualChunkAttention(48, local_window=8): token 99 sees token 1 as if"
    lab.until(lambda: said in lab.sentences()["Position maps"])
    menu.select_option("ReRoPE")
    lab.box("window").fill("16")
    lab.box("window").press("Enter")
    lab.until(lambda: lab.tells(ReRoPE(16), int(lab.box("length").input_value())))
