"""The live position map: few integers in, every cell told right, seen in a real browser page."""

import json
from contextlib import contextmanager

import numpy as np
import plotly.graph_objects as go
import pytest
from jupyter_browser import Faults, browser_page
from method_matrix import METHODS
from plotly.colors import get_colorscale

from selfextend_viz.methods import ShuffledSelfExtend, SinksAtTrueDistance
from selfextend_viz.plots.map_bands import drawn_tokens, map_state, row_table
from selfextend_viz.plots.reach_numbers import reach_table
from selfextend_viz.plots.theme import NEVER_TRAINED
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.widgets.card import Card
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.instant_panels import MAX_CELLS, PositionPanel, ReachPanel
from selfextend_viz.widgets.look import script, style
from selfextend_viz.widgets.map_view import MAP_SCRIPTS

INTERVALS_ALONE = [method for method in METHODS if all(band.visible is None for band in method.bands)]
CASES = [
    (SelfExtend(2, 4), 10, 7),
    (SelfExtend(8, 80), 256, 320),
    (SelfExtend(3, 17), 100, 32),
    (SelfExtend(1, 5), 40, 16),
    (SelfExtend(4, 0), 64, 16),
    (SelfExtend(64, 8), 90, None),
    (ShuffledSelfExtend(3, 8, seed=1), 60, 24),
]
ORANGE, YELLOW = (224, 112, 26), (254, 232, 56)
BLACK, WHITE = "rgb(0, 0, 0)", "rgb(255, 255, 255)"


def told_by(panel, tokens):
    """What the page computes, in Python: one subtraction in the band that holds the distance."""
    told = np.full((len(tokens), len(tokens)), -1, dtype=object)
    for row, i in enumerate(tokens):
        for column, j in enumerate(tokens[: row + 1]):
            for band in panel["bands"]:
                if band["nearest"] <= i - j and (band["beyond"] is None or i - j < band["beyond"]):
                    told[row, column] = band["query"][row] - band["key"][column]
    return told


@pytest.mark.parametrize("method", INTERVALS_ALONE, ids=str)
def test_the_bands_tell_what_the_library_computes(method):
    length = 90
    state = json.loads(json.dumps(map_state(method, length, context_length=32)))
    for panel, shown in zip(state["panels"], (PlainRoPE(), method), strict=True):
        assert (told_by(panel, state["tokens"]) == relative_positions(shown, length)).all()
    assert state["panels"][1]["name"] == str(method)


def test_long_texts_are_sampled_with_both_ends():
    state = map_state(SelfExtend(8, 80), 5000, context_length=320, max_cells=60)
    tokens = state["tokens"]
    assert len(tokens) == 60
    assert (tokens[0], tokens[-1]) == (0, 4999)
    every = relative_positions(SelfExtend(8, 80), 5000)
    assert (told_by(state["panels"][1], tokens) == every[np.ix_(tokens, tokens)]).all()


@pytest.mark.parametrize("method", INTERVALS_ALONE, ids=str)
def test_the_tokens_that_share_a_position_are_the_run_around_the_key(method):
    for band, said in zip(method.bands, map_state(method, 50)["panels"][1]["bands"], strict=True):
        keys = [band.key_position(token) for token in range(50)]
        for token in range(50):
            first, last = said["first"][token], said["last"][token]
            assert first <= token <= last
            assert len(set(keys[first : last + 1])) == 1
            assert first == 0 or keys[first - 1] != keys[token]
            assert last == 49 or keys[last + 1] != keys[token]


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        (lambda: map_state(SinksAtTrueDistance(7), 40), ValueError, "more than their distance"),
        (lambda: map_state(SelfExtend(2, 4), 10, row=10), ValueError, "row 10 lies outside"),
        (lambda: map_state(SelfExtend(2, 4), 10, row=3, column=4), ValueError, "column 4"),
        (lambda: map_state(SelfExtend(2, 4), 10, column=0), ValueError, "column 0"),
        (lambda: map_state(SelfExtend(2, 4), 0), ValueError, "length is 0"),
        (lambda: map_state(SelfExtend(2, 4), 10, max_cells=1), ValueError, "max_cells is 1"),
        (lambda: map_state((2, 4), 10), TypeError, "bands"),
        (lambda: row_table(SelfExtend(2, 4), 10, 10), ValueError, "row 10 lies outside"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_words(wrong, error, words):
    with pytest.raises(error, match=words):
        wrong()


def test_a_row_as_a_table():
    header, lines = row_table(SelfExtend(2, 4), 10, 9, context_length=7)
    assert len(header) == len(lines[0])
    assert [line[2] for line in lines] == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0], "figure 3 of the paper"
    assert [line[3] for line in lines] == ["group band"] * 6 + ["neighbour band"] * 4
    assert [line[5] for line in lines] == ["never trained"] * 3 + ["trained"] * 7
    assert {line[4] for line in lines} == {"trained"}
    assert len(row_table(SelfExtend(2, 4), 10, 4)[1]) == 5


def test_the_reach_as_a_table():
    header, lines = reach_table(context_length=320, length=1280, group_size=6, neighbor_window=80)
    assert len(header) == len(lines[0])
    assert [line[0] for line in lines] == [1, 2, 4, 6, 8, 16, 32, 64]
    for size, exact, paper, fits, widest in lines:
        method = SelfExtend(size, 80)
        assert (exact, paper) == (method.capacity(320), method.max_length(320))
        assert fits == ("yes" if exact >= 1280 else "no")
        carrying = [window for window in range(320) if SelfExtend(size, window).capacity(320) >= 1280]
        assert widest == (carrying[-1] if carrying else "none")


@pytest.fixture
def state():
    return LabState(128, length=96, group_size=4, neighbor_window=16)


def test_the_panel_follows_the_sliders(state):
    panel = PositionPanel(state)
    for group_size, length in ((8, 96), (8, 70), (1, 70), (4, 700)):
        state.set(group_size=group_size, length=length)
        wanted = map_state(state.method, length, context_length=128, row=length - 1, column=0, max_cells=MAX_CELLS)
        assert panel.map.state == wanted
        assert ("drawn a side" in panel.text) == (length > MAX_CELLS)


def test_a_pair_pointed_at_on_the_page_is_explained_but_not_sent_back(state):
    panel = PositionPanel(state)
    sent = panel.map.state
    panel.map._handle_custom_msg({"kind": "point", "query": 95, "key": 3}, [])
    # (95 // 4 + 16 - 16 // 4) - 3 // 4
    assert "token 95 sees token 3 as if 35 away: trained" in panel.text
    assert panel.map.state is sent
    panel.map._handle_custom_msg({"kind": "point", "query": 3, "key": 95}, [])
    assert panel.pair == (95, 3)
    state.group_size = 8
    assert (panel.map.state["row"], panel.map.state["column"]) == (95, 3)
    state.length = 40
    assert panel.pair is None
    assert (panel.map.state["row"], panel.map.state["column"]) == (39, 0)


def test_a_pair_pointed_at_from_code_is_marked_on_the_page(state):
    panel = PositionPanel(state)
    panel.point(50, 7)
    assert (panel.map.state["row"], panel.map.state["column"]) == (50, 7)
    assert panel.table()[1][7][:2] == (7, 43)
    panel.point(96, 7)
    assert panel.pair == (50, 7)


def test_plain_figures_and_tables_of_both_panels(state):
    position, reach = PositionPanel(state), ReachPanel(state)
    for panel in (position, reach):
        assert type(panel.plain()) is go.Figure
        assert panel.plain().layout.title.text is None
        header, lines = panel.table()
        assert {len(line) for line in lines} == {len(header)}
    told = next(trace for trace in position.plain().data if trace.name == "method map").z
    assert told[-1].tolist() == relative_positions(state.method, 96)[-1].tolist()
    assert len(super(ReachPanel, reach).table()[1]) >= reach.figure.widget.data[0].z.size


def test_a_card_without_numbers_is_refused():
    with pytest.raises(TypeError, match="abstract"):
        Card("nothing", None)


def test_the_colours_are_plotlys():
    scale = [color for _, color in get_colorscale("Cividis_r")]
    source = script("map_paint.js")
    places = [source.index(f'"{color}"') for color in scale]
    assert places == sorted(places)
    assert f'MAP_NEVER = "{NEVER_TRAINED}"' in source


@contextmanager
def page_with(*states, width=640, height=244, **options):
    """A page that shows each state in turn, as `draw(number)`; every point reported is in `points`."""
    faults = Faults()
    with browser_page(faults=faults, **options) as page:
        page.set_content(
            f"<style>{style()} #map {{ width: {width}px; height: {height}px }}</style>"
            '<body style="margin: 0"><div class="sv-lab" style="padding: 0"><div id="map"></div></div>'
        )
        source = f"""{script(*MAP_SCRIPTS)}
        window.states = {json.dumps(states)};
        window.points = [];
        window.view = mapView(document.getElementById("map"), {{ onPoint: (i, j) => window.points.push([i, j]) }});
        window.draw = (number) => view.draw(states[number]);
        draw(0);"""
        page.add_script_tag(type="module", content=source)
        page.wait_for_function("window.view !== undefined")
        yield page
    assert faults.found == []


def place_of(page, i, j, *, panel=1, across=0.5, down=0.5):
    """A place inside a pair's cell, in CSS pixels; shares of the cell pick it."""
    middle = page.evaluate("([panel, i, j]) => view.where(panel, i, j)", [panel, i, j])
    width = middle["width"]
    return middle["x"] + (across - 0.5) * width, middle["y"] + (down - 0.5) * width


def color_at(page, x, y):
    """The pixel of the lower canvas at a place in CSS pixels."""
    return tuple(
        page.evaluate(
            """([x, y]) => { const canvas = document.querySelector(".sv-map canvas"), ratio = devicePixelRatio;
            return [...canvas.getContext("2d").getImageData(x * ratio, y * ratio, 1, 1).data]; }""",
            [x, y],
        )
    )


def lines_of_tip(page):
    """The lines of the tooltip; none when it is hidden."""
    return page.locator(".sv-map-tip:visible div").all_text_contents()


@pytest.mark.browser
def test_every_cell_of_the_page_is_what_the_library_computes():
    states = [map_state(method, length, context_length=limit) for method, length, limit in CASES]
    with page_with(*states) as page:
        for number, (method, length, _) in enumerate(CASES):
            told = page.evaluate(
                """(number) => { draw(number); const { tokens } = states[number];
                return [0, 1].map((panel) => tokens.map((i) => tokens.map((j) => view.told(panel, i, j)))); }""",
                number,
            )
            for panel, shown in zip(told, (PlainRoPE(), method), strict=True):
                wanted = relative_positions(shown, length).astype(object)
                wanted[wanted < 0] = None
                assert panel == wanted.tolist()


@pytest.mark.browser
def test_tokens_that_are_not_drawn_have_no_number():
    state = map_state(SelfExtend(8, 80), 2000, context_length=320, max_cells=100)
    drawn = set(drawn_tokens(2000, 100).tolist())
    missing = next(token for token in range(2000) if token not in drawn)
    with page_with(state) as page:
        assert page.evaluate("([i, j]) => view.told(1, i, j)", [1999, 0]) == 1999 // 8 + 80 - 80 // 8
        assert page.evaluate("([i, j]) => view.told(1, i, j)", [1999, missing]) is None


@pytest.mark.browser
@pytest.mark.parametrize("ratio", [1, 2, 1.5])
def test_near_is_bright_far_is_dark_and_what_was_never_trained_is_orange(ratio):
    state = map_state(SelfExtend(2, 4), 10, context_length=7)
    dark = tuple(int("#00224e"[place : place + 2], 16) for place in (1, 3, 5))
    with page_with(state, device_scale_factor=ratio) as page:

        def corner(panel, i, j):
            return color_at(page, *place_of(page, i, j, panel=panel, across=0.12, down=0.15))

        assert corner(1, 3, 3) == (*YELLOW, 255)
        assert corner(1, 8, 9) == (0, 0, 0, 0), "a key that is not written yet"
        near, far = (sum(corner(1, *pair)[:3]) for pair in ((4, 3), (8, 0)))
        assert sum(YELLOW) > near > far > sum(dark)
        colors = set()
        for across in np.linspace(0.1, 0.9, 17):
            colors.add(color_at(page, *place_of(page, 9, 1, panel=0, across=across, down=0.12))[:3])
        assert ORANGE in colors
        assert any(red < 150 for red, _, _ in colors), "hatched"
        assert corner(1, 9, 1)[2] > corner(1, 9, 1)[0], "told 6, one below L"


@pytest.mark.browser
def test_the_page_follows_a_new_state_and_a_new_width():
    before, after = (map_state(SelfExtend(size, 8), 40, context_length=16) for size in (2, 32))
    with page_with(before, after) as page:
        at = place_of(page, 30, 2)
        first = color_at(page, *at)
        page.evaluate("draw(1)")
        assert color_at(page, *at) != first
        page.evaluate("document.getElementById('map').style.width = '420px'")
        page.wait_for_function("document.querySelector('.sv-map canvas').width === 420")
        narrow = place_of(page, 30, 2)
        assert narrow[0] < at[0]
        assert color_at(page, *narrow)[3] == 255


@pytest.mark.browser
def test_the_pointer_explains_a_pair_and_tells_python():
    state = map_state(SelfExtend(4, 16), 96, context_length=64)
    with page_with(state) as page:
        page.mouse.move(*place_of(page, 90, 6))
        assert lines_of_tip(page) == [
            "query i = 90, key j = 6, d = i \N{MINUS SIGN} j = 84",
            "plain RoPE: told 84, never trained",
            "SelfExtend(G=4, w_n=16): told 33, trained, group band",  # (90 // 4 + 16 - 16 // 4) - 6 // 4
            "tokens 4 to 7 share this position",
        ]
        assert page.evaluate("points") == [[90, 6]]
        assert page.locator(".sv-map-live").text_content().startswith("query i = 90")
        page.wait_for_timeout(100)
        page.mouse.move(*place_of(page, 90, 73))
        assert lines_of_tip(page)[-1] == "tokens 72 to 74 share this position", "token 75 is a neighbour of 90"
        page.mouse.move(*place_of(page, 6, 90))
        assert lines_of_tip(page) == ["token 6 does not see token 90: it has not been written yet"]
        page.mouse.move(2, 2)
        assert lines_of_tip(page) == []
        assert page.evaluate("points") == [[90, 6], [90, 73]]


@pytest.mark.browser
def test_a_pointer_that_keeps_moving_reports_where_it_rests():
    state = map_state(SelfExtend(4, 16), 96, context_length=64)
    with page_with(state) as page:
        for key in range(60):
            page.mouse.move(*place_of(page, 80, key))
        page.wait_for_function("points.at(-1)?.[1] === 59")
        assert page.evaluate("points").count([80, 59]) == 1


@pytest.mark.browser
def test_the_arrow_keys_move_the_pair():
    state = map_state(SelfExtend(4, 16), 96, context_length=64, row=95)
    with page_with(state) as page:
        page.keyboard.press("Tab")
        canvas = page.locator(".sv-map canvas[role=img]")
        assert canvas.evaluate("canvas => canvas === document.activeElement")
        assert "96 tokens" in canvas.get_attribute("aria-label")
        assert "a distance never trained: plain RoPE 11%, SelfExtend(G=4, w_n=16) 0%" in canvas.get_attribute(
            "aria-label"
        )
        for key, i, j in (
            ("ArrowRight", 95, 1),
            ("ArrowUp", 94, 1),
            ("Shift+ArrowRight", 94, 11),
            ("End", 94, 94),
            ("ArrowRight", 94, 94),
            ("ArrowUp", 94, 94),
            ("ArrowDown", 95, 94),
            ("Home", 95, 0),
        ):
            page.keyboard.press(key)
            assert lines_of_tip(page)[0].startswith(f"query i = {i}, key j = {j},"), key
        page.keyboard.press("Escape")
        assert lines_of_tip(page) == []


@pytest.mark.browser
def test_a_new_state_keeps_the_pair_that_the_reader_holds():
    states = [map_state(SelfExtend(size, 16), 96, context_length=64, row=95) for size in (4, 8)]
    with page_with(*states, map_state(SelfExtend(8, 16), 30, context_length=64, row=29)) as page:
        page.mouse.move(*place_of(page, 90, 6))
        page.evaluate("draw(1)")
        assert lines_of_tip(page)[2].startswith("SelfExtend(G=8, w_n=16)")
        page.evaluate("draw(2)")
        assert lines_of_tip(page) == [], "the pair is not in this text"


@pytest.mark.browser
def test_the_text_follows_the_theme():
    state = map_state(SelfExtend(4, 16), 96, context_length=64)
    with page_with(state) as page:
        ink = """() => { const canvas = document.querySelector(".sv-map canvas");
            const { data } = canvas.getContext("2d").getImageData(0, 0, 44, canvas.height);
            let [red, weight] = [0, 0];
            for (let place = 0; place < data.length; place += 4) {
                red += data[place] * data[place + 3]; weight += data[place + 3];
            }
            return red / weight; }"""
        for color, light, bright in ((BLACK, "true", False), (WHITE, "false", True)):
            page.evaluate(
                """([color, light]) => { document.body.style.setProperty("--jp-ui-font-color1", color);
                document.body.dataset.jpThemeLight = light; }""",
                [color, light],
            )
            page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            assert (page.evaluate(ink) > 200) == bright


@pytest.mark.browser
def test_a_view_that_is_disposed_of_leaves_nothing():
    with page_with(map_state(SelfExtend(4, 16), 96, context_length=64)) as page:
        page.evaluate("view.dispose()")
        assert page.locator("#map").inner_html() == ""
        page.evaluate("document.body.dataset.jpThemeLight = 'false'")
        page.evaluate("() => new Promise((done) => requestAnimationFrame(done))")
