"""The strip, the story and the other tools of the lab, worked in a real browser."""

import ast

import pytest

from selfextend_viz.demo import load_demo
from selfextend_viz.plots import plot_reach
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.presets import PRESETS
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.story import STORY
from selfextend_viz.widgets.strip_state import with_answer
from selfextend_viz.widgets.work import LabWork, Subject

pytestmark = pytest.mark.browser

NUMBERS = ("length", "group_size", "neighbor_window")
ANSWERED = """app.strip.stamp == 'live' and app.strip.state['rows'][1]['label'] == '{method}' \\
    and app.strip.state['length'] == app.state.length and all(row['digits'] for row in app.strip.state['rows'])"""
STRIP = """() => ({
    digits: [0, 1].map((row) => [...document.querySelectorAll(`.sv-strip-digits.sv-strip-row-${row} .sv-strip-said`)]
        .map((digit) => digit.textContent)),
    token: Number(document.querySelector('.sv-strip-handle').getAttribute('aria-valuenow')),
    says: document.querySelector('.sv-strip-drawing').getAttribute('aria-label'),
})"""


@pytest.fixture(scope="module")
def asked():
    """What the lab asks of the demo model, asked here."""
    return LabWork(Subject(*load_demo()))


def answers(work, setting, question):
    """The strip as the library fills it: (said in each row, the key's first token)."""
    strip = work.strip(setting, question)
    for step in work.plan(setting, question):
        if step.kind == "strip":
            strip = with_answer(strip, step.label, work.run(step))
    return [[digit["said"] for digit in row["digits"]] for row in strip["rows"]], strip["needle"][0]


def numbers_in_boxes(lab):
    return {name: int(lab.box(name).input_value()) for name in NUMBERS}


def assert_strip_as_computed(lab, work):
    setting = Setting(**numbers_in_boxes(lab), context_length=320)
    depth = lab.ask("app.strip.question.asked.depth")
    said, token = answers(work, setting, Question(depth=depth))
    shown = lab.page.evaluate(STRIP)
    assert (shown["digits"], shown["token"]) == (said, token)


def test_the_strip_shows_what_the_model_answers(lab, asked):
    assert_strip_as_computed(lab, asked)
    before = lab.page.evaluate(STRIP)
    lab.press("group_size", "Home")
    lab.settle()
    assert_strip_as_computed(lab, asked)
    assert lab.page.evaluate(STRIP)["digits"] != before["digits"]


def test_the_key_is_moved_by_keyboard_and_by_mouse(lab, asked):
    key = lab.page.get_by_role("slider", name="Where the key stands")
    start = lab.page.evaluate(STRIP)["token"]
    key.focus()
    for _ in range(3):
        lab.page.keyboard.press("PageDown")
    lab.until(lambda: lab.ask("app.strip.question.asked.depth") < 0.5)
    lab.settle()
    assert lab.page.evaluate(STRIP)["token"] < start
    assert_strip_as_computed(lab, asked)
    track = lab.page.locator(".sv-strip-drawing").bounding_box()
    lab.page.mouse.click(track["x"] + 0.8 * track["width"], track["y"] + 0.3 * track["height"])
    lab.until(lambda: lab.ask("app.strip.question.asked.depth") > 0.5)
    lab.settle()
    assert lab.page.evaluate(STRIP)["token"] > start
    assert_strip_as_computed(lab, asked)
    lab.ask("app.strip.question.set(depth=0.5)")


def test_the_story_walks_through_its_six_steps(lab):
    lab.tool("Story").click()
    for number, step in enumerate(STORY, 1):
        words = lab.page.locator(".sv-story .sv-step")
        lab.until(lambda words=words, number=number: words.text_content().startswith(f"{number} of {len(STORY)}"))
        assert step.title in words.text_content()
        assert numbers_in_boxes(lab) == {name: step.values[name] for name in NUMBERS}
        lab.until(lambda step=step: lab.ask(ANSWERED.format(method=SelfExtend(step.group_size, step.neighbor_window))))
        stock, extended = lab.page.evaluate(STRIP)["digits"]
        key = list(Question().key)
        assert ((stock == key), (extended == key)) == (step.stock_right, step.extended_right)
        if number == 1:
            assert lab.page.locator(".sv-back").is_disabled()
        lab.page.keyboard.press("ArrowRight")
    lab.page.locator(".sv-story").wait_for(state="hidden")
    assert lab.tool("Story").is_visible()


def test_presets_set_all_numbers_and_ask_no_model(lab):
    menu = lab.page.get_by_role("combobox", name="Presets")
    started = lab.ask("app.worker.started")
    for preset in PRESETS:
        menu.select_option(f"{preset.name}, formula only")
        wanted = {name: preset.values[name] for name in NUMBERS}
        lab.until(lambda wanted=wanted: numbers_in_boxes(lab) == wanted)
        assert int(lab.box("context_length").input_value()) == preset.context_length
        lab.until(lambda p=preset, w=wanted: lab.shows("Reach", plot_reach(context_length=p.context_length, **w)))
        method = SelfExtend(preset.group_size, preset.neighbor_window)
        lab.until(lambda method=method, length=preset.length: lab.tells(method, length))
    assert lab.ask("app.worker.started") == started
    lab.tool("Reset").click()
    lab.until(lambda: lab.ask("app.state.values() == app.state.opening"))
    assert lab.ask("app.state.formula_only") is False


def test_share_gives_the_call_that_opens_this_lab(lab):
    toggle = lab.tool("Share")
    toggle.click()
    call = ast.parse(lab.page.locator(".sv-call input").input_value(), mode="eval").body
    assert call.func.id == "lab"
    assert {part.arg: ast.literal_eval(part.value) for part in call.keywords} == numbers_in_boxes(lab)
    toggle.click()
    lab.page.locator(".sv-call").wait_for(state="hidden")


def test_tables_show_the_numbers_of_all_panels(lab):
    toggle = lab.tool("Tables")
    toggle.click()
    tables = lab.page.locator(".sv-lab .sv-card table")
    lab.until(lambda: tables.count() == 4)
    told = lab.page.locator(".sv-card table").first.locator("tbody tr").first.locator("td").all_text_contents()
    assert told
    toggle.click()
    lab.until(lambda: tables.count() == 0)
