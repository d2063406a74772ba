"""The strip as the browser draws it: arcs, digits, the key as a slider, both themes, no motion where none is wanted."""

import json
from contextlib import contextmanager

import pytest
from jupyter_browser import Faults, browser_page

from selfextend_viz.widgets.look import script, style
from selfextend_viz.widgets.strip_state import waiting_state, with_answer
from selfextend_viz.widgets.strip_view import HEIGHT, STRIP_SCRIPTS

pytestmark = pytest.mark.browser

EXTENDED = "SelfExtend(G=4, w_n=10)"
LIGHT = "--jp-ui-font-color1: rgba(0, 0, 0, .87); --jp-layout-color0: #fff"
DARK = "--jp-ui-font-color1: #fff; --jp-layout-color0: #111"


def waiting(**changes):
    state = waiting_state(
        length=1000,
        context_length=250,
        reach=640,
        needle=(400, 402),
        needle_range=(20, 920),
        answer="42",
        question="What is it?",
        head=(1, 3),
        heads=(),
        labels=("stock", EXTENDED),
    )
    return {**state, **changes}


def answer(said, masses, never=None):
    """A row that says `said`, with mass on these spans."""
    digits = [
        {"said": character, "wanted": wanted, "probability_said": 0.8, "probability_wanted": 0.6}
        for character, wanted in zip(said, "42", strict=True)
    ]
    arcs = [{"start": start, "stop": stop, "mass": mass, "told": 5} for (start, stop), mass in masses.items()]
    return {"never": never, "digits": digits, "arcs": arcs}


STOCK = answer(["4", " "], {(0, 100): 0.004, (100, 400): 0.3, (400, 402): 0.05, (402, 1002): 0.646}, [0, 751])
METHOD = answer(["4", "2"], {(0, 100): 0.0, (100, 400): 0.03, (400, 402): 0.94, (402, 1002): 0.03}, [0, 361])


def both(**changes):
    return with_answer(with_answer(waiting(**changes), "stock", STOCK), EXTENDED, METHOD)


@contextmanager
def page_with(state, *, theme=LIGHT, movable=True, width=1000, **options):
    """A page with one strip; ``window.moved`` collects where its key was moved."""
    faults = Faults()
    with browser_page(faults=faults, **options) as page:
        page.set_content(
            f"<!doctype html><style>html {{ {theme}; background: var(--jp-layout-color0) }} {style()}</style>"
            f"<div class='sv-lab' style='width: {width}px'><div id='place'></div></div><script type='module'>"
            f"{script(*STRIP_SCRIPTS)}\nwindow.moved = [];"
            f"const choices = {'{ onNeedle: (token) => moved.push(token) }' if movable else '{}'};"
            f"window.view = stripView(document.getElementById('place'), choices);"
            f"view.draw({json.dumps(state)});</script>"
        )
        page.wait_for_function("window.view !== undefined")
        yield page
    assert faults.found == []


def arcs(page, row):
    """Opacity and width of each arc of a row that can be seen, by what it says."""
    found = page.evaluate(
        """row => [...document.querySelectorAll(`.sv-strip-arcs.sv-strip-row-${row} path`)].map(path =>
        [path.textContent, Number(path.style.opacity), parseFloat(path.style.strokeWidth), path.classList.length])""",
        row,
    )
    return {words: (opacity, width, marks) for words, opacity, width, marks in found if opacity > 0}


def texts(page, selector):
    return [text for text in page.locator(selector).all_text_contents() if text]


def test_an_arc_for_each_bin_that_is_looked_at():
    with page_with(both()) as page:
        stock, extended = arcs(page, 0), arcs(page, 1)
        assert len(stock) == 3 and len(extended) == 3, "bins under 1 % have none"
        (found,) = [
            shown for words, shown in extended.items() if "94.0% of the attention on tokens 400 to 401" in words
        ]
        widths = {words: width for words, (_, width, _) in extended.items()}
        assert found[1] == max(widths.values()) == pytest.approx(9.4)
        assert found[2] == 2, "the arc to the key is marked"
        assert sum(marks == 2 for _, _, marks in stock.values()) == 1
        ends = page.evaluate(
            """() => [...document.querySelectorAll('.sv-strip-row-1 .sv-strip-found')].map(path => {
            const end = path.getPointAtLength(path.getTotalLength());
            const key = document.querySelectorAll('.sv-strip-key')[1].getBBox();
            const first = path.getPointAtLength(0);
            const answer = document.querySelectorAll('.sv-strip-end')[1];
            return [end.x - (key.x + key.width / 2), first.x - answer.getAttribute('cx')]; })"""
        )
        assert [abs(gap) < 0.5 for gap in ends[0]] == [True, True], "from the answer to the key"


def test_marks_of_the_length_the_reach_and_the_stretch_never_trained():
    with page_with(both()) as page:
        labels = texts(page, ".sv-strip-axis text")
        assert {"L = 250", "reach 640", "answer"} <= set(labels)
        box = page.evaluate(
            """() => { const edge = (part) => part.x.baseVal.value + part.width.baseVal.value;
            const [stock, method] = document.querySelectorAll('.sv-strip-never');
            const [limit, reach] = [...document.querySelectorAll('.sv-strip-limit')].map(line => line.x1.baseVal.value);
            return [edge(stock) - limit, edge(method) - reach]; }"""
        )
        assert box == pytest.approx([0, 0], abs=1.5), (
            "what was never trained begins at L, and under the method at its reach"
        )
        assert page.locator(".sv-strip-inside").first.text_content() == "told L or more away: never trained"
        assert page.locator(".sv-strip-view").bounding_box()["height"] == HEIGHT
        page.evaluate("state => view.draw(state)", both(reach=4000))
        assert "◂ reach 4,000" in texts(page, ".sv-strip-axis text")


@pytest.mark.parametrize("token", [20, 25, 200, 380, 400, 600, 700, 745, 760, 915, 920])
def test_no_label_covers_another(token):
    with page_with(both(needle=[token, token + 2]), width=820) as page:
        boxes = [part.bounding_box() for part in page.locator(".sv-strip-axis text, .sv-strip-handle").all()]
        spans = sorted((box["x"], box["x"] + box["width"]) for box in boxes)
        overlaps = [
            (first, second) for first, second in zip(spans, spans[1:], strict=False) if first[1] > second[0] + 1
        ]
        assert overlaps == []
        assert len(boxes) > 5


def test_digits_in_words_number_and_bar():
    with page_with(both()) as page:
        rows = [page.locator(f".sv-strip-digits.sv-strip-row-{row}") for row in (0, 1)]
        assert rows[0].get_attribute("aria-label") == "Stock answers 4·, not the key"
        assert rows[1].get_attribute("aria-label") == "Self-Extend answers 42, the right key"
        assert texts(page, ".sv-strip-row-0 .sv-strip-said, .sv-strip-row-0 .sv-strip-percent") == [
            "4",
            "80%",
            "·",
            "80%",
        ]
        assert page.locator(".sv-strip-wrong").count() == 1
        assert texts(page, ".sv-strip-verdict") == ["✗", "✓"]
        assert texts(page, ".sv-strip-share") == ["5% on the key", "94% on the key"]
        summary = page.locator("svg[role=img]").get_attribute("aria-label")
        assert "stands 600 tokens before the answer" in summary and "94% on the key" in summary


def test_a_row_that_waits_keeps_its_last_answer_greyed_while_the_prompt_is_the_same():
    with page_with(both()) as page:
        coarser = with_answer(waiting(), "stock", STOCK)
        page.evaluate("state => view.draw(state)", coarser)
        assert page.locator(".sv-strip-digits.sv-strip-row-1.sv-strip-old").count() == 1
        assert len(arcs(page, 1)) == 3
        assert texts(page, ".sv-strip-share") == ["5% on the key", "asking …"]
        page.evaluate("state => view.draw(state)", waiting(needle=[500, 502]))
        assert page.locator(".sv-strip-old").count() == 0
        assert arcs(page, 0) == arcs(page, 1) == {}
        assert page.locator(".sv-strip-waiting").count() == 4


def test_the_key_is_a_slider_for_keyboard_and_pointer():
    with page_with(both()) as page:
        handle = page.get_by_role("slider", name="Where the key stands")
        assert [handle.get_attribute(f"aria-value{name}") for name in ("min", "now", "max")] == ["20", "400", "920"]
        assert handle.get_attribute("aria-valuetext") == "token 400, 600 tokens before the answer"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "sv-strip-handle"
        for key in ("ArrowRight", "ArrowRight", "ArrowLeft", "PageUp", "Home", "End", "ArrowRight"):
            page.keyboard.press(key)
        assert page.evaluate("moved") == [418, 436, 418, 598, 20, 920, 920]
        box = page.locator(".sv-strip-track").first.bounding_box()
        page.mouse.click(box["x"] + box["width"] / 4, box["y"] + 4)
        assert page.evaluate("moved.at(-1)") == pytest.approx(250, abs=2)
        assert handle.get_attribute("aria-valuenow") == str(page.evaluate("moved.at(-1)"))
        before = len(page.evaluate("moved"))
        grip = handle.bounding_box()
        page.mouse.move(grip["x"] + grip["width"] / 2, grip["y"] + 8)
        page.mouse.down()
        page.mouse.move(box["x"] + box["width"] * 0.6, grip["y"] + 8, steps=5)
        page.mouse.up()
        assert len(page.evaluate("moved")) == before + 1, "a drag asks once, at its end"
        assert page.evaluate("moved.at(-1)") == pytest.approx(600, abs=3)


def test_a_strip_that_cannot_be_moved_has_no_slider():
    with page_with(both(), movable=False) as page:
        assert page.get_by_role("slider").count() == 0
        page.locator(".sv-strip-drawing").click()
        assert page.evaluate("moved") == []


def test_it_follows_its_width_and_waits_for_its_first_state():
    with page_with({}) as page:
        assert page.locator(".sv-strip-view").is_hidden()
        page.evaluate("state => view.draw(state)", both())
        assert page.locator(".sv-strip-view").is_visible()
        wide = page.locator(".sv-strip-track").first.bounding_box()["width"]
        page.evaluate("document.querySelector('.sv-lab').style.width = '700px'")
        page.wait_for_function(
            "wide => document.querySelector('.sv-strip-track').width.baseVal.value < wide - 250", arg=wide
        )
        page.evaluate("view.dispose()")
        assert page.locator(".sv-strip-view").count() == 0


def test_motion_only_where_it_is_wanted():
    moves = "getComputedStyle(document.querySelector('.sv-strip-arc')).transitionDuration"
    with page_with(both()) as page:
        assert "0.2s" in page.evaluate(moves)
    with page_with(both(), reduced_motion="reduce") as page:
        assert page.evaluate(moves) == "0s"


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_can_be_read_in_both_themes(theme):
    selectors = [".sv-strip-name", ".sv-strip-note", ".sv-strip-share", ".sv-strip-unit", ".sv-strip-percent"]
    with page_with(both(), theme=theme) as page:
        ground = luminance(page.evaluate("getComputedStyle(document.documentElement).backgroundColor"), page)
        for selector in [*selectors, ".sv-strip-said"]:
            ink = luminance(page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).color"), page)
            assert contrast(ink, ground) >= 4.5, selector
        for selector in (".sv-strip-tick", ".sv-strip-strong", ".sv-strip-inside"):
            ink = luminance(page.evaluate(f"getComputedStyle(document.querySelector('{selector}')).fill"), page)
            assert contrast(ink, ground) >= 4.5, selector


def luminance(colour, page):
    """Relative luminance of a CSS colour laid over the page's ground, as WCAG defines it."""
    pixel = page.evaluate(
        """colour => { const canvas = new OffscreenCanvas(1, 1).getContext('2d');
        for (const fill of [getComputedStyle(document.documentElement).backgroundColor, colour]) {
            canvas.fillStyle = fill; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)]; }""",
        colour,
    )
    linear = [part / 255 / 12.92 if part <= 10 else ((part / 255 + 0.055) / 1.055) ** 2.4 for part in pixel]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((one, other))
    return (light + 0.05) / (dark + 0.05)
