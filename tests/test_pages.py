"""Pages without a kernel: what is written comes back whole and offline, and sliders show what was computed."""

import json
import re
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jupyter_browser import Faults, browser_page
from lab_page import SHAPES

from selfextend_viz.plots import map_state, plot_reach
from selfextend_viz.positions import SelfExtend, relative_positions
from selfextend_viz.widgets import position_explorer
from selfextend_viz.widgets.page import Page, PageControl, PageView, frame_key, frame_keys, page_html, write_page
from selfextend_viz.widgets.page_frames import all_frames, figure_state, number_control, plain_json
from selfextend_viz.widgets.pool import Pool
from selfextend_viz.widgets.strip_state import waiting_state

SIZES, WINDOWS = (2, 4, 8), (4, 16)
CONTROLS = (
    PageControl("group_size", "G", SIZES, 4),
    PageControl("neighbor_window", "w", WINDOWS, 4),
    PageControl("name", "a name", ("plain & simple", "odd </script> one"), "plain & simple"),
)


def frame(values):
    method = SelfExtend(values["group_size"], values["neighbor_window"])
    figure = plot_reach(context_length=64, length=128, group_size=method.group_size, neighbor_window=4)
    return {
        "map": map_state(method, 96, context_length=64, row=95),
        "reach": figure_state(figure),
        "words": {"map": f"<b>{method}</b> & {values['name']}", "reach": f"G = {method.group_size}"},
    }


@pytest.fixture(scope="module")
def page():
    views = (
        PageView("map", "Map", "map", 300),
        PageView("reach", "Reach", "plotly", 300, depends=("group_size",)),
    )
    return Page("A <title>", "An intro & more.", CONTROLS, all_frames(CONTROLS, frame), views)


def data_of(html):
    return json.loads(re.search(r'id="sv-data">(.*?)</script>', html, re.DOTALL).group(1))


def whole(value, pool):
    """A value with its shared parts put back, as the page's script does it."""
    if isinstance(value, list):
        return [whole(item, pool) for item in value]
    if isinstance(value, dict):
        return whole(pool[value["$"]], pool) if "$" in value else {k: whole(item, pool) for k, item in value.items()}
    return value


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda parts: st.lists(parts, max_size=6) | st.dictionaries(st.text("ab", max_size=2), parts, max_size=4),
    max_leaves=30,
)


@given(st.lists(PLAIN, min_size=1, max_size=4))
def test_what_goes_into_the_pool_comes_out_whole(values):
    pool = Pool()
    texts = [pool.text(value) for value in values * 2]
    items = json.loads(pool.items())
    assert [whole(json.loads(text), items) for text in texts] == values * 2


def test_equal_parts_are_kept_once():
    pool = Pool()
    numbers = list(range(100))
    texts = {pool.text({"x": numbers, "y": list(range(100))}), pool.text({"x": numbers, "y": numbers})}
    assert len(texts) == 1
    assert pool.items().count("98,99") == 1


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"$": 1}, {"a": [{"$": 2}]}])
def test_the_pool_refuses_what_would_not_come_back(value):
    with pytest.raises(ValueError):
        Pool().text(value)


def test_plain_json_has_no_arrays_and_nothing_infinite():
    found = plain_json({"x": np.array([1, 2]), "y": (np.float64(1 / 3), float("nan")), "z": np.array([[None, 2]])})
    assert found == {"x": [1, 2], "y": [0.333333, None], "z": [[None, 2]]}


def test_every_frame_stands_in_the_page(page):
    data = data_of(page_html(page))
    assert [control["values"] for control in data["controls"]] == [list(control.values) for control in CONTROLS]
    assert [control["stop"] for control in data["controls"]] == [1, 0, 0]
    shown, reach = data["views"]
    for key, values in frame_keys(CONTROLS):
        state, said = whole(shown["frames"][key], data["pool"])
        assert state == frame(values)["map"]
        assert f"<b>{SelfExtend(values['group_size'], values['neighbor_window'])}</b> &amp; " in said
        assert "</script>" not in said
    assert reach["controls"] == [0]
    assert sorted(reach["frames"]) == ["0", "1", "2"]


def test_a_page_is_one_file_that_asks_for_nothing(page):
    html = page_html(page)
    markup = re.sub(r"<(script|style)\b.*?</\1>", "", html, flags=re.DOTALL)
    assert "src=" not in markup
    assert "href=" not in markup
    assert "default-src 'none'" in markup
    assert "A &lt;title&gt;" in markup
    without = replace(page, views=page.views[:1])
    assert len(page_html(without)) < 300_000 < 4_000_000 < len(html)


def test_a_page_too_large_leaves_what_was_there(page, tmp_path):
    small = replace(page, views=page.views[:1])
    path = tmp_path / "page.html"
    path.write_text("before")
    with pytest.raises(ValueError, match=r"bytes, more than the 10,000 allowed; .* 3 of group_size, 2 of neighbor"):
        write_page(path, small, limit=10_000)
    assert path.read_text() == "before"
    assert write_page(path, small) == path
    assert path.read_text(encoding="utf-8") == page_html(small)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda page: PageView("a", "A", "video", 9), "unknown kind 'video'"),
        (lambda page: PageControl("a", "A", (), 1), "0 stops"),
        (lambda page: PageControl("a", "A", (1, 1), 1), "twice"),
        (lambda page: PageControl("a", "A", (1, 2), 3), "opens on 3"),
        (lambda page: replace(page, frames={}), "'0|0|0' has no state for map, reach"),
        (lambda page: replace(page, views=(PageView("map", "M", "map", 9, depends=("depth",)),)), "is no control"),
        (
            lambda page: page_html(replace(page, views=(PageView("map", "M", "map", 9, depends=("group_size",)),))),
            "changes with controls it does not depend on",
        ),
        (lambda page: number_control("length", [], 1), "0 values"),
        (lambda page: number_control("neighbor_window", [4, 64], 4, below=64), "must be smaller than 64"),
    ],
)
def test_pages_that_cannot_be_are_refused(page, make, words):
    with pytest.raises(ValueError, match=words.replace("|", r"\|")):
        make(page)


def test_a_slider_opens_on_the_stop_nearest_to_the_current_number():
    control = number_control("length", [512, 64, 128, 64], 100)
    assert (control.values, control.value) == ((64, 128, 512), 128)
    assert frame_key(2, 0) == "2|0"


TOLD = """(length) => {
    const view = document.querySelector('.sv-map').mapView;
    return [...Array(length).keys()].map((i) => view.told(1, length - 1, i));
}"""
CONTRAST = """() => {
    const whole = (color) => (color.startsWith('color(srgb') ? 1 : 255);
    const numbers = (color) => color.match(/[\\d.]+/g).slice(0, 3).map((value) => value / whole(color));
    const light = (color) => numbers(color)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const back = light(getComputedStyle(document.body).backgroundColor);
    return [...document.querySelectorAll('h1, h2, .sv-intro, .sv-control-name, .sv-value, .sv-say')].map((node) => {
        const ink = light(getComputedStyle(node).color);
        return (Math.max(ink, back) + 0.05) / (Math.min(ink, back) + 0.05);
    });
}"""


@pytest.fixture(scope="module")
def written(page, tmp_path_factory):
    return write_page(tmp_path_factory.mktemp("page") / "page.html", page)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_sliders_and_menus_choose_what_was_computed(written, page, scheme):
    faults, asked = Faults(), []
    with browser_page(faults=faults, color_scheme=scheme) as tab:
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(written.as_uri())
        tab.locator(".sv-map canvas").first.wait_for()
        slider = tab.get_by_role("slider", name="G")
        assert slider.get_attribute("aria-valuetext") == "4"
        expect_told(tab, SelfExtend(4, 4))
        slider.focus()
        tab.keyboard.press("ArrowRight")
        expect_told(tab, SelfExtend(8, 4))
        *_, dot, words = tab.locator(".js-plotly-plot").evaluate(SHAPES)
        assert (dot["name"], round(dot["xanchor"])) == ("setting", 8)
        assert (round(dot["right"]), round(dot["up"]), words["text"]) == (0, 0, "G = 8, w_n = 4")
        assert "SelfExtend(G=8, w_n=4)" in tab.locator(".sv-view-map .sv-words").inner_text()
        assert "SelfExtend(G=8, w_n=4)" not in (tab.locator(".js-plotly-plot").get_attribute("aria-label"))
        box = tab.get_by_role("slider", name="w").bounding_box()
        tab.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
        expect_told(tab, SelfExtend(8, 16))
        tab.get_by_role("combobox", name="a name").select_option("odd </script> one")
        tab.wait_for_function(
            "document.querySelector('.sv-view-map .sv-words').textContent.includes('odd </script> one')"
        )
        assert tab.locator("body").get_attribute("data-jp-theme-light") == str(scheme == "light").lower()
        assert min(tab.evaluate(CONTRAST)) >= 4.5
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert [url for url in asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert faults.found == []


def expect_told(tab, method):
    """Wait until the map tells the last of 96 queries what the library computes."""
    expected = relative_positions(method, 96)[-1].tolist()
    tab.wait_for_function(f"(expected) => JSON.stringify(({TOLD})(96)) === JSON.stringify(expected)", arg=expected)


@pytest.mark.browser
def test_the_position_page_is_small_and_shows_every_setting(tmp_path):
    explorer = position_explorer(length=96, context_length=64)
    path = explorer.to_html(tmp_path / "map.html", lengths=[96], group_sizes=[1, 2, 8], neighbor_windows=[0, 16])
    assert path.stat().st_size < 1_000_000
    with browser_page() as tab:
        tab.goto(path.as_uri())
        expect_told(tab, SelfExtend(8, 16))
        tab.get_by_role("slider", name="wₙ").press("ArrowLeft")
        expect_told(tab, SelfExtend(8, 0))
        tab.get_by_role("slider", name="G, group size").press("Home")
        expect_told(tab, SelfExtend(1, 0))


def strip_frame(values):
    needle = {10: 40, 50: 200, 90: 360}[values["depth"]]
    state = waiting_state(
        length=400,
        context_length=128,
        reach=900,
        needle=(needle, needle + 5),
        needle_range=(20, 380),
        answer="12345",
        question="What is the pass key?",
        head=(0, 0),
        heads=[],
        labels=["stock", "SelfExtend(G=8, w_n=32)"],
    )
    return {"strip": state, "words": {"strip": f"key at {needle}"}}


@pytest.mark.browser
def test_moving_the_key_on_a_strip_moves_the_depth(tmp_path):
    controls = (PageControl("depth", "depth", (10, 50, 90), 50),)
    views = (PageView("strip", "Strip", "strip", 124),)
    path = write_page(tmp_path / "s.html", Page("Strip", "", controls, all_frames(controls, strip_frame), views))
    faults = Faults()
    with browser_page(faults=faults) as tab:
        tab.goto(path.as_uri())
        depth, key = (tab.get_by_role("slider", name=name) for name in ("depth", "Where the key stands"))
        key.focus()
        for press, value, start in (("ArrowLeft", "10", 40), ("ArrowRight", "50", 200), ("ArrowRight", "90", 360)):
            tab.keyboard.press(press)
            tab.get_by_text(f"key at {start}").wait_for()
            assert depth.get_attribute("aria-valuetext") == value
        assert key.get_attribute("aria-valuenow") == "360"
    assert faults.found == []


def test_a_figure_keeps_its_numbers_as_a_state():
    figure = go.Figure(go.Heatmap(z=np.arange(6).reshape(2, 3), x=[1, 2, 3]), layout={"height": 70})
    state = figure_state(figure, lambda layout: {**layout, "height": 90})
    assert state["data"][0]["z"] == [[0, 1, 2], [3, 4, 5]]
    assert state["layout"]["height"] == 90
