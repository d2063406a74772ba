"""The first picture without a kernel: what is shipped is what the model answers, and the page shows just that."""

import shutil
from importlib.resources import files
from pathlib import Path

import pytest
from jupyter_browser import Faults, browser_page

from selfextend_viz.widgets.answer_grid import GRID, AnswerGrid, answered_strip
from selfextend_viz.widgets.first_picture import CONTROLS, SHOW, build, first_page
from selfextend_viz.widgets.page import frame_key, frame_keys
from selfextend_viz.widgets.strip_state import needle_mass, right, said

HOME = Path(str(files("selfextend_viz.widgets")))
LIMIT = 320
VIEWS = ("strip", "map")
OPENING = {control.name: control.value for control in CONTROLS}
ALL = [(key, tuple(values.values())) for key, values in frame_keys(CONTROLS)]


@pytest.fixture(scope="module")
def grid():
    return AnswerGrid.from_json((HOME / GRID).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def frames(grid):
    return first_page(grid).frames


def key_of(**changes):
    """The frame of the opening setting with some values changed."""
    values = OPENING | changes
    return frame_key(*(control.values.index(values[control.name]) for control in CONTROLS))


def told(length, group_size, window):
    """What the answer's first query is told of every token, by the formula as the paper has it."""
    query = length - 1
    far = [query // group_size + window - window // group_size - key // group_size for key in range(length)]
    return [query - key if query - key < window else far[key] for key in range(length)]


def visible(words):
    """A sentence as the reader sees it, without its marks of emphasis."""
    return " ".join(words.replace("<b>", "").replace("</b>", "").split())


class TestShipped:
    def test_the_page_is_what_scripts_and_answers_give(self, tmp_path):
        (tmp_path / GRID).parent.mkdir()
        shutil.copyfile(HOME / GRID, tmp_path / GRID)
        build(tmp_path, ask=False)
        same = (tmp_path / SHOW).read_bytes() == (HOME / SHOW).read_bytes()
        assert same, "run: python -m selfextend_viz.widgets.first_picture --html-only"

    def test_the_page_is_small_and_alone(self):
        content = (HOME / SHOW).read_bytes()
        assert len(content) < 1_500_000
        assert b"plotly.js v" not in content
        assert content.count(b"<script") == 2
        for address in (b"http:", b"src=", b"href=", b"@import", b"url(http"):
            assert address not in content.replace(b"http://www.w3.org/2000/svg", b"")

    def test_the_answers_come_back_as_they_were_written(self, grid):
        text = (HOME / GRID).read_text(encoding="utf-8")
        assert grid.to_json() == text
        assert AnswerGrid.from_json(text) == grid
        assert set(grid.strips) == {key for key, _ in ALL}

    def test_the_answers_are_those_of_the_shipped_weights(self, grid):
        from selfextend_viz.widgets.work import Subject

        subject = Subject()
        assert (grid.fingerprint, grid.context_length) == (subject.fingerprint, subject.context_length)

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"group_size": 1, "depth": 90},
            {"length": 256, "neighbor_window": 2, "depth": 10},
            {"length": 640, "group_size": 2},
        ],
        ids=str,
    )
    def test_cells_are_what_the_model_answers_now(self, grid, changes):
        import torch

        from selfextend_viz.widgets.work import LabWork, Subject

        with torch.inference_mode():
            fresh = answered_strip(LabWork(Subject()), OPENING | changes)
        stored = grid.strips[key_of(**changes)]
        for name in ("length", "context_length", "reach", "needle", "needle_range", "answer", "question", "head"):
            assert stored[name] == fresh[name], name
        for old, new in zip(stored["rows"], fresh["rows"], strict=True):
            assert (old["label"], said(old), old["never"]) == (new["label"], said(new), new["never"])
            for part, number in (("digits", "probability_said"), ("digits", "probability_wanted"), ("arcs", "mass")):
                numbers = [[record[number] for record in row[part]] for row in (old, new)]
                assert numbers[0] == pytest.approx(numbers[1], abs=2e-3)
            for number in ("start", "stop", "told"):
                assert [arc[number] for arc in old["arcs"]] == [arc[number] for arc in new["arcs"]]


class TestWhatItShows:
    def outcome(self, grid, **changes):
        stock, extended = grid.strips[key_of(**changes)]["rows"]
        return right(stock), right(extended)

    def test_it_opens_on_a_setting_that_mends(self, grid):
        assert self.outcome(grid) == (False, True)
        stock, extended = grid.strips[key_of()]["rows"]
        assert needle_mass(grid.strips[key_of()], stock) < 0.5 < needle_mass(grid.strips[key_of()], extended)

    @pytest.mark.parametrize("depth", CONTROLS[3].values)
    def test_the_sliders_tell_the_story(self, grid, depth):
        assert self.outcome(grid, length=256, group_size=1, depth=depth) == (True, True)
        assert self.outcome(grid, group_size=1, depth=depth) == (False, False)
        assert self.outcome(grid, group_size=8, depth=depth) == (False, True)
        assert self.outcome(grid, length=2560, group_size=8, depth=depth) == (False, False)
        assert self.outcome(grid, length=2560, group_size=16, depth=depth) == (False, True)
        assert self.outcome(grid, neighbor_window=2, depth=depth) == (False, False)

    def test_stock_hears_nothing_of_the_setting_and_is_what_one_group_is(self, grid):
        for key, (length, group_size, _, depth) in ALL:
            stock, extended = grid.strips[key]["rows"]
            assert stock == grid.strips[key_of(length=length, depth=depth)]["rows"][0]
            if group_size == 1:
                assert said(extended) == said(stock)

    def test_the_attention_of_a_row_is_whole(self, grid, frames):
        for key, (length, *_) in ALL:
            strip = frames[key]["strip"]
            for row, exact in zip(strip["rows"], grid.strips[key]["rows"], strict=True):
                edges = [(arc["start"], arc["stop"]) for arc in row["arcs"]]
                assert edges[0][0] == 0 and edges[-1][1] >= length
                assert all(one[1] == other[0] for one, other in zip(edges, edges[1:], strict=False))
                assert sum(arc["mass"] for arc in exact["arcs"]) == pytest.approx(1, abs=1e-3)
                assert sum(arc["mass"] for arc in row["arcs"]) == pytest.approx(1, abs=0.02)
                assert needle_mass(strip, row) == needle_mass(strip, exact) > 0

    @pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
    def test_every_sentence_changes_with_every_slider(self, frames, control):
        for view in VIEWS:
            sentences = {frames[key_of(**{control.name: stop})]["words"][view] for stop in control.values}
            assert len(sentences) == len(control.values)

    def test_the_map_points_at_the_answer_and_the_key(self, frames):
        for key, (length, group_size, window, _) in ALL:
            frame = frames[key]
            column = frame["strip"]["needle"][0]
            assert (frame["map"]["row"], frame["map"]["column"]) == (length - 1, column)
            position = told(length, group_size, window)[column]
            trained = "trained" if position < LIMIT else "never trained"
            assert f"w_n={window})</b> says {position:,} away, {trained}." in frame["words"]["map"]
            plain = "trained" if length - 1 - column < LIMIT else "never trained"
            assert f"<b>plain RoPE</b> says {length - 1 - column:,} away, {plain};" in frame["words"]["map"]

    def test_the_reasons_hold(self, grid, frames):
        """Each sentence about why, with what it claims checked against the answers and the formula."""
        met = set()
        for key, (length, group_size, window, depth) in ALL:
            stock, found = (right(row) for row in grid.strips[key]["rows"])
            row = told(length, group_size, window)
            holds = {
                "shorter than L": length < LIMIT,
                "Self-Extend changes nothing": group_size == 1 and found == stock,
                "does no harm": stock and found,
                "G = 1 is the stock model": group_size == 1 and not found,
                "are told L or more away": row[0] >= LIMIT,
                "but the key stands nearer": found and row[grid.strips[key]["needle"][0]] < LIMIT,
                f"is told {row[0]} away, less than L": row[0] < LIMIT,
                "the same weights find the key": found and not stock,
                f"only the nearest {window} stay exact": not found and window == 2,
                f"is told {row[0]} away, just below L": not found and 2 / 3 * LIMIT < row[0] < LIMIT,
            }
            said_here = [claim for claim in holds if claim in frames[key]["words"]["strip"]]
            assert said_here, key
            assert all(holds[claim] for claim in said_here), (key, said_here)
            met |= {list(holds).index(claim) for claim in said_here}
            if said_here == [
                f"only the nearest {window} stay exact"
            ]:  # and nothing else is wrong: a few more are enough
                wider = key_of(length=length, group_size=group_size, neighbor_window=16, depth=depth)
                assert right(grid.strips[wider]["rows"][1])
        assert len(met) == len(holds)


@pytest.mark.browser
class TestInABrowser:
    @pytest.fixture
    def opened(self):
        """The shipped page, from its file, without a network."""
        faults = Faults()
        with browser_page(faults=faults) as page:
            page.context.set_offline(True)
            page.goto((HOME / SHOW).as_uri())
            page.locator(".sv-strip-digit").first.wait_for()
            yield page
            assert faults.found == []

    def shown(self, page, length):
        """The answers on screen, the sentences, and what both maps tell of the farthest pair."""
        digits = "rows => rows.map(row => [...row.querySelectorAll('.sv-strip-said')].map(one => one.textContent))"
        answers = page.locator(".sv-strip-digits").evaluate_all(digits)
        farthest = "(map, last) => [0, 1].map(panel => map.mapView.told(panel, last, 0))"
        sentences = [" ".join(text.split()) for text in page.locator(".sv-words").all_inner_texts()]
        return answers, sentences, page.locator(".sv-map").evaluate(farthest, length - 1)

    def expected(self, frame):
        """The same from the frame itself."""
        rows = [[digit["said"] for digit in row["digits"]] for row in frame["strip"]["rows"]]
        answers = [[one if one.strip() and one.isprintable() else "·" for one in row] for row in rows]
        sentences = [visible(frame["words"][view]) for view in VIEWS]
        far = [panel["bands"][-1]["query"][-1] - panel["bands"][-1]["key"][0] for panel in frame["map"]["panels"]]
        return answers, sentences, far

    @pytest.mark.parametrize(
        ("name", "key", "value"),
        [
            ("length", "ArrowRight", 2560),
            ("group_size", "Home", 1),
            ("neighbor_window", "ArrowLeft", 16),
            ("depth", "End", 90),
        ],
    )
    def test_each_slider_by_keyboard_shows_what_was_computed(self, opened, frames, name, key, value):
        assert self.shown(opened, OPENING["length"]) == self.expected(frames[key_of()])
        slider = opened.locator(f"input[name={name}]")
        slider.press(key)
        assert slider.get_attribute("aria-valuetext") == f"{value:,}"
        self.drawn(opened)
        changed = OPENING | {name: value}
        assert self.shown(opened, changed["length"]) == self.expected(frames[key_of(**changed)])

    def test_the_key_can_be_moved_by_a_click_on_the_strip(self, opened, frames):
        drawing = opened.locator(".sv-strip-drawing")
        box = drawing.bounding_box()
        drawing.click(position={"x": box["width"] * 0.88, "y": box["height"] / 2})
        self.drawn(opened)
        assert opened.locator("input[name=depth]").get_attribute("aria-valuetext") == "90"
        assert self.shown(opened, OPENING["length"]) == self.expected(frames[key_of(depth=90)])

    def drawn(self, page):
        """Wait until the page has painted what was asked."""
        page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
