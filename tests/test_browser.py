"""The lab in a real browser: what the sliders do, by keyboard and by mouse, is what the library computes."""

import pytest
from lab_page import START

from selfextend_viz.demo import load_demo
from selfextend_viz.plots import plot_reach, staircase
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.work import LabWork, Subject

pytestmark = pytest.mark.browser

STEPS = {"length": "ArrowRight", "group_size": "ArrowRight", "neighbor_window": "ArrowLeft"}
STORM = 50

REACH = ".sv-lab .sv-card:nth-child(2) .js-plotly-plot"
PLACE = """(plot, [size, window]) => {
    const { xaxis, yaxis } = plot._fullLayout;
    return [xaxis._offset + xaxis.d2p(size), yaxis._offset + yaxis.d2p(window)];
}"""
"""Where a setting lies in the reach map's figure, in pixels."""


@pytest.fixture(scope="module")
def asked():
    """What the lab asks of the demo model, asked here."""
    return LabWork(Subject(*load_demo()))


def setting_of(lab):
    return Setting(
        *lab.ask("[getattr(app.state, n) for n in ('length','group_size','neighbor_window','context_length')]")
    )


def assert_as_computed(lab, asked):
    """All four panels show what the library computes for the numbers in the boxes."""
    setting = setting_of(lab)
    shown = {name: int(lab.box(name).input_value()) for name in START}
    assert shown == {name: getattr(setting, name) for name in START}
    assert lab.tells(setting.method, setting.length)
    assert lab.shows("Reach", plot_reach(**shown, context_length=setting.context_length))
    distances, stairs = staircase(setting.method, setting.length)
    drawn = lab.trace("Attention logits", "told method")
    assert (drawn["x"], drawn["y"]) == (distances.tolist(), list(stairs))
    first = next(asked.cell_steps(setting))
    cells = lab.trace("Live pass key", str(setting.method))["z"]
    assert cells[0][0] == asked.run(first).accuracy


def reach_of(lab):
    """Everything drawn on the reach map."""
    return lab.traces("Reach"), lab.shapes("Reach")


@pytest.mark.parametrize("name", STEPS)
def test_a_key_press_changes_all_four_panels(lab, asked, name):
    before = reach_of(lab), lab.told(511, list(range(512))), lab.sentences()
    lab.press(name, STEPS[name])
    lab.settle()
    assert_as_computed(lab, asked)
    after = reach_of(lab), lab.told(511, list(range(512))), lab.sentences()
    assert all(old != new for old, new in zip(before, after, strict=True))
    assert lab.handle(name).get_attribute("aria-valuetext") == lab.box(name).input_value()
    assert list(lab.stamps().values()) == ["live"] * 4


@pytest.mark.parametrize("name", ["group_size", "neighbor_window"])
def test_a_drag_of_the_mouse_changes_all_four_panels(lab, asked, name):
    assert lab.drag(name) != START[name]
    lab.settle()
    assert_as_computed(lab, asked)


def test_a_moved_setting_is_drawn_without_the_map_under_it(lab):
    plot = lab.page.locator(REACH)
    plot.evaluate("(plot) => { window.svPlots = 0; plot.on('plotly_beforeplot', () => (window.svPlots += 1)); }")
    for name in ("group_size", "neighbor_window"):
        lab.press(name, STEPS[name])
        lab.settle()
    (*_, dot, _), state = lab.shapes("Reach"), lab.ask("(app.state.group_size, app.state.neighbor_window)")
    assert (round(dot["xanchor"]), round(dot["yanchor"])) == state != (START["group_size"], START["neighbor_window"])
    assert lab.page.evaluate("window.svPlots") == 0
    lab.press("length", STEPS["length"])
    lab.settle()
    assert lab.page.evaluate("window.svPlots") > 0


def test_a_click_on_the_reach_map_sets_both_numbers(lab, asked):
    box = lab.page.locator(REACH).bounding_box()
    for place, near in (((16, 160), (16, 160)), ((16, 160), (16, 160)), ((8, 80), (8, 80))):  # one on the dot itself
        across, down = lab.page.locator(REACH).evaluate(PLACE, place)
        lab.page.mouse.move(box["x"] + across, box["y"] + down)
        lab.page.locator(f"{REACH} .hoverlayer text").first.wait_for()
        assert f"G = {near[0]}, w_n = " in lab.page.locator(f"{REACH} .hoverlayer").text_content()
        lab.page.mouse.click(box["x"] + across, box["y"] + down)
        lab.until(lambda near=near: lab.ask("app.state.group_size") == near[0])
        assert abs(lab.ask("app.state.neighbor_window") - near[1]) <= 2, "a row of the map is three or four windows"
        lab.settle()
        assert_as_computed(lab, asked)


def test_a_number_box_takes_what_the_slider_has_no_stop_for(lab, asked):
    lab.box("group_size").fill("5")
    lab.box("group_size").press("Enter")
    lab.until(lambda: lab.ask("app.state.group_size") == 5)
    lab.settle()
    assert_as_computed(lab, asked)


def test_a_number_out_of_range_is_refused_in_words(lab):
    lab.box("neighbor_window").fill("320")
    lab.box("neighbor_window").press("Enter")
    alert = lab.page.locator(".sv-lab [role=alert]")
    alert.wait_for()
    assert "must be smaller than L = 320" in alert.text_content()
    lab.until(lambda: lab.box("neighbor_window").input_value() == "80")
    lab.press("neighbor_window", "ArrowLeft")
    alert.wait_for(state="detached")


def test_two_hundred_fast_steps_leave_the_last_setting_and_one_worker(lab, asked):
    started = lab.ask("app.worker.started")
    for name in ("group_size", "neighbor_window"):
        lab.handle(name).focus()
        for _ in range(STORM):
            lab.page.keyboard.press("ArrowRight")
            lab.page.keyboard.press("ArrowLeft")
    lab.page.keyboard.press("ArrowLeft")
    lab.page.wait_for_timeout(500)
    lab.settle()
    assert_as_computed(lab, asked)
    threads = lab.ask("[t.name for t in __import__('threading').enumerate() if t.name.startswith('selfextend-lab')]")
    assert len(threads) == 1
    assert lab.ask("app.worker.started") - started < 200


def test_stop_leaves_the_work_and_keeps_what_is_there(lab):
    lab.ask("app.state.set(length=2048, group_size=16)")
    stop = lab.tool("Stop")
    lab.until(stop.is_enabled)
    lab.until(lambda: lab.ask("app.worker.report.state") == "running")
    stop.click()
    lab.until(lambda: lab.ask("app.worker.report.state") == "stopped")
    lab.until(stop.is_disabled)
    assert "Stopped" in lab.page.locator(".sv-lab .sv-status").text_content()
    assert len(lab.traces("Live pass key")) > 0
    lab.page.wait_for_timeout(1000)
    assert lab.ask("app.worker.report.state") == "stopped"
