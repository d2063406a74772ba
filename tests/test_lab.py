"""The lab without a browser: set the state's traits, read the figures' data."""

import sys
import threading

import numpy as np
import plotly.graph_objects as go
import pytest
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz.demo import load_demo
from selfextend_viz.experiments.settings import methods_for
from selfextend_viz.methods import METHODS
from selfextend_viz.plots import reach_map, staircase
from selfextend_viz.positions import SelfExtend, relative_positions
from selfextend_viz.sweeps.fingerprint import weights_fingerprint
from selfextend_viz.widgets import Lab, lab
from selfextend_viz.widgets.control_bar import ControlBar
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.instant_panels import MAX_CELLS, PositionPanel, ReachPanel
from selfextend_viz.widgets.lab import state_for
from selfextend_viz.widgets.live import Progress, Report
from selfextend_viz.widgets.question import Question
from selfextend_viz.widgets.results import Results, Setting, stored_results
from selfextend_viz.widgets.strip_state import said
from selfextend_viz.widgets.work import LabWork, Subject, grid_lengths

CONTEXT_LENGTH = 128
WAIT = 60


def small_model():
    return tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)


def small_lab(**changes):
    return Lab(Subject(small_model(), bytes_tokenizer()), trials=1, **changes)


@pytest.fixture(scope="module")
def settled():
    """A lab whose first results are all there; tests of it put N, G and w_n back."""
    app = small_lab()
    app.state.set(length=192, group_size=4, neighbor_window=32)
    assert app.worker.wait(WAIT)
    assert app.worker.error is None
    yield app
    app.close()


@pytest.fixture
def app():
    made = small_lab()
    yield made
    made.close()


def trace(panel, name):
    (found,) = [one for one in panel.figure.widget.data if one.name == name]
    return found


def numbers(values):
    return [None if value is None else float(value) for value in np.asarray(values, dtype=object).ravel()]


@pytest.fixture
def state():
    return LabState(128, length=96, group_size=4, neighbor_window=16)


def told_by(panel, cells):
    """The told positions of a map, [query, key], from the bands it sends to the page."""
    shown = panel.map.state
    distances = np.subtract.outer(shown["tokens"], shown["tokens"])
    told = np.full((cells, cells), -1)
    for band in shown["panels"][1]["bands"]:
        inside = (distances >= band["nearest"]) & (distances >= 0)
        if band["beyond"] is not None:
            inside &= distances < band["beyond"]
        told[inside] = np.subtract.outer(band["query"], band["key"])[inside]
    return told


def test_position_panel_shows_what_the_library_computes(state):
    panel = PositionPanel(state)
    for group_size, length in ((4, 96), (8, 96), (8, 70), (1, 70)):
        state.set(group_size=group_size, length=length)
        np.testing.assert_array_equal(told_by(panel, length), relative_positions(state.method, length))


def test_position_panel_samples_long_maps_and_says_so(state):
    state.length = 700
    panel = PositionPanel(state)
    assert len(panel.map.state["tokens"]) == MAX_CELLS
    assert f"{MAX_CELLS} of 700 tokens drawn a side" in panel.text
    state.length = MAX_CELLS
    assert "drawn a side" not in panel.text


def test_pointing_at_a_pair_explains_it_and_moves_the_row(state):
    panel = PositionPanel(state)
    panel.point(95, 3)
    # (95 // 4 + 16 - 16 // 4) - 3 // 4
    assert "token 95 sees token 3 as if 35 away: trained" in panel.text
    assert "92 away" in panel.text
    assert panel.map.state["row"] == 95
    panel.point(3, 95)
    assert panel.pair == (95, 3), "a pair above the diagonal is nothing to explain"
    state.length = 40
    assert panel.pair is None


def test_the_reach_panel_follows_and_says_whether_n_fits(state):
    panel = ReachPanel(state)
    state.length = 1024
    assert "does not fit" in panel.text
    state.group_size = 16
    assert f"reach {16 * (128 - 16 + 1):,} tokens" in panel.text
    assert "fits" in panel.text
    heatmap = next(one for one in panel.figure.widget.data if one.type == "heatmap")
    expected = reach_map(context_length=128, length=1024)
    assert np.asarray(heatmap.z).shape == expected.reach.shape


def test_a_click_on_the_reach_map_sets_both_sliders(state):
    bar = ControlBar(state, fact="", on_stop=lambda: None)
    panel = ReachPanel(state)
    panel.choose(8, 24)
    assert (state.group_size, state.neighbor_window) == (8, 24)
    assert (bar.numbers["group_size"].box.value, bar.numbers["neighbor_window"].slider.value) == (8, 24)
    panel.choose(8, 500)
    assert (state.group_size, state.neighbor_window) == (8, 24)
    assert "smaller than L" in panel.text


def test_instant_panels_are_updated_in_place(state):
    reach, position = ReachPanel(state), PositionPanel(state)
    traces, shown = reach.figure.widget.data, position.map
    for group_size in (2, 8, 16):
        state.group_size = group_size
        assert all(before is after for before, after in zip(traces, reach.figure.widget.data, strict=True))
        assert [shape.xanchor for shape in reach.figure.widget.layout.shapes[2:]] == [group_size] * 2
        assert position.map is shown


def test_sliders_and_boxes_are_linked_and_refuse_bad_numbers(state):
    bar = ControlBar(state, fact="", on_stop=lambda: None)
    group = bar.numbers["group_size"]
    group.slider.value = 16
    assert (state.group_size, group.box.value) == (16, 16)
    group.box.value = 11
    assert (state.group_size, group.slider.value) == (11, 8)
    group.box.value = 0
    assert (state.group_size, group.box.value) == (11, 11)
    assert "G must be between 1" in bar.words.value
    bar.report(Report("running", Progress(1, 2, "busy")))
    assert "G must be between 1" in bar.words.value, "progress does not wipe a refusal away"
    bar.numbers["length"].box.value = 300
    assert "busy" in bar.words.value
    bar.numbers["neighbor_window"].box.value = 128
    assert state.neighbor_window == 16
    assert "smaller than L = 128" in bar.words.value


def test_the_context_length_is_locked_until_formula_only(state):
    bar = ControlBar(state, fact="why", on_stop=lambda: None)
    assert "why" in bar.fact.value
    assert bar.context_length.layout.display == "none"
    bar.formula_only.value = True
    bar.context_length.box.value = 4096
    assert state.context_length == 4096
    assert max(bar.numbers["neighbor_window"].slider.options) > 2000
    bar.formula_only.value = False
    assert state.context_length == 128


def test_all_model_panels_show_what_the_library_computes(settled):
    state = settled.state
    method = state.method
    cells = LabWork(settled.subject, trials=1).cell_steps(settled.setting)
    first = next(cells)
    row = first.compute()
    shown = settled.passkey.rows[row.condition, row.length, row.depth]
    assert shown == row
    grid = np.asarray(trace(settled.passkey, str(method)).z)
    assert grid.shape == (5, len(grid_lengths(state.length, CONTEXT_LENGTH)))
    assert all(value is not None for value in grid.ravel())
    head = settled.divergence.head
    expected = [
        row.mean
        for row in settled.divergence.rows
        if getattr(row, "condition", "") == "stock" and hasattr(row, "mean") and (row.layer, row.head) == head
    ]
    drawn = [value for value in trace(settled.divergence, "stock").y if value is not None]
    np.testing.assert_allclose(np.asarray(drawn, dtype=float), expected, rtol=1e-6)
    _, told = staircase(method, int(max(row.distance_high for row in settled.divergence.rows if hasattr(row, "mean"))))
    assert numbers(trace(settled.divergence, "told method").y)[: len(told)] == numbers(told)
    strip = settled.strip.state
    assert [row["label"] for row in strip["rows"]] == ["stock", str(method)]
    for step, row in zip(settled.work.plan(settled.setting, Question()), reversed(strip["rows"]), strict=False):
        assert step.compute()["digits"] == row["digits"]
    assert all(part.stamp == "live" for part in settled.model_side.parts)


def test_a_page_that_asks_gets_the_state_of_now_and_then_updates(state):
    panel = ReachPanel(state)
    widget, sent = panel.figure.widget, []
    widget.send = lambda content, buffers=None: sent.append(content)
    state.group_size = 8
    assert [shape["xanchor"] for shape in widget._widget_layout["shapes"][2:]] == [8, 8], "a page may open at any time"
    widget._handle_custom_msg({"kind": "state"}, [])
    assert sent == [{"kind": "state"}]
    state.group_size = 2
    widget._handle_custom_msg({"kind": "state"}, [])
    assert [shape["xanchor"] for shape in widget._widget_layout["shapes"][2:]] == [2, 2]


def test_a_moved_setting_is_sent_as_shapes_alone(state):
    panel, sent = ReachPanel(state), []
    widget, figure = panel.figure.widget, panel.figure.shown
    for kind in ("relayout", "restyle", "update", "addTraces"):
        widget.observe(lambda change, kind=kind: change.new and sent.append((kind, change.new)), f"_py2js_{kind}")
    state.group_size = 3
    ((kind, message),) = sent
    assert (kind, list(message["relayout_data"])) == ("relayout", ["shapes"])
    assert [shape["xanchor"] for shape in message["relayout_data"]["shapes"][2:]] == [3, 3]
    assert panel.figure.shown is figure
    sent.clear()
    state.length = 1024
    assert panel.figure.shown is not figure
    (kind, message), (then, labels) = sent
    assert kind == "update" and "shapes" not in message["layout_data"]
    assert (then, list(labels["relayout_data"])) == ("relayout", ["shapes"]), "N stands on a label, too"
    state.group_size = 200
    assert max(panel.figure.widget.data[0].x) >= 200


def test_choosing_a_head_redraws_it_and_keeps_it(settled):
    other = next(head for head in settled.divergence.heads() if head != settled.divergence.head)
    settled.divergence.choose(*other)
    assert f"Layer {other[0]}, head {other[1]}" in settled.divergence.text
    settled.divergence.choose(99, 0)
    assert settled.divergence.head == other


def test_finished_cells_are_remembered(settled):
    asked = []
    compute, settled.work._cell = settled.work._cell, lambda *cell: asked.append(cell) or compute(*cell)
    try:
        settled.state.group_size = 8
        assert settled.worker.wait(WAIT)
        assert {str(condition) for condition, _, _ in asked} == {"SelfExtend(G=8, w_n=32)"}
        asked.clear()
        settled.state.group_size = 4
        assert settled.worker.wait(WAIT)
        assert asked == []
        assert None not in numbers(trace(settled.passkey, "SelfExtend(G=4, w_n=32)").z)
    finally:
        del settled.work._cell


def test_a_moved_key_asks_the_strip_alone(settled):
    assert settled.worker.wait(WAIT)
    before, answered = settled.strip.state, set(settled.work.memory)
    stamps = []
    settled.strip.question.set(depth=0.9)
    stamps += [part.stamp for part in settled.model_side.parts]
    assert settled.worker.wait(WAIT)
    try:
        assert stamps == ["stale", "live", "live"]
        assert settled.strip.state["needle"][0] > before["needle"][0]
        assert all(row["digits"] for row in settled.strip.state["rows"])
        assert "cell" not in {key[0] for key in set(settled.work.memory) - answered}
        assert {part.stamp for part in settled.model_side.parts} == {"live"}
    finally:
        settled.strip.question.set(depth=0.5)
        assert settled.worker.wait(WAIT)


def test_twelve_fast_changes_end_on_the_last_one_alone(app):
    app.worker.stop()
    assert app.worker.wait(WAIT)
    finished = app.worker.finished
    for group_size in (2, 4, 8, 16, 2, 4, 8, 16, 2, 4, 8, 7):
        app.state.group_size = group_size
    assert {part.stamp for part in app.model_side.parts} == {"stale"}
    app.state.length = 128
    assert app.worker.wait(WAIT)
    assert app.worker.finished - finished == 1
    assert app.passkey.setting.group_size == 7
    assert "SelfExtend(G=7, w_n=32)" in [one.name for one in app.passkey.figure.widget.data]
    assert app.passkey.stamp == "live"


def test_stop_keeps_the_cells_so_far(app):
    begun, go_on = threading.Event(), threading.Event()
    compute = app.work._cell

    def slow(*cell):
        if app.passkey.rows:
            begun.set()
            go_on.wait(WAIT)
        return compute(*cell)

    app.work._cell = slow
    app.state.length = 192
    assert begun.wait(WAIT)
    app.bar.stop.click()
    go_on.set()
    assert app.worker.wait(WAIT)
    assert 0 < len(app.passkey.rows) < 3 * 5 * len(grid_lengths(192, CONTEXT_LENGTH))
    assert "Stopped" in app.bar.words.value
    assert app.bar.stop.disabled


def test_a_failure_is_shown_in_a_sentence_and_the_next_setting_works(app):
    def broken(setting):
        raise ZeroDivisionError("a head without keys")

    app.work._divergence = broken
    app.state.length = 192
    assert app.worker.wait(WAIT)
    assert "a head without keys" in app.bar.words.value
    assert 'role="alert"' in app.bar.words.value
    del app.work._divergence
    app.state.length = 160
    assert app.worker.wait(WAIT)
    assert app.divergence.stamp == "live"
    assert app.bar.words.value.count("alert") == 0


def test_too_long_and_too_short_texts_are_refused_in_words(app):
    for length, sentence in ((16 * CONTEXT_LENGTH + 1, "16 L"), (20, "20")):
        app.state.length = length
        assert app.worker.wait(WAIT)
        assert sentence in app.bar.words.value
        assert app.bar.words.value.count("Not asked") == 1
        assert {part.stamp for part in app.model_side.parts} == {"not asked"}


def test_beyond_the_reach_is_shown_without_a_warning(app):
    app.state.set(group_size=1, length=192)
    assert app.worker.wait(WAIT)
    assert app.worker.error is None
    assert app.passkey.stamp == "live"


def test_formula_only_asks_no_model(app):
    app.worker.stop()
    assert app.worker.wait(WAIT)
    started = app.worker.started
    app.state.formula_only = True
    app.state.context_length = 4096
    assert app.worker.wait(WAIT)
    assert app.worker.started == started
    assert "formula only" in app.passkey.stamp
    assert "sv-off" in app.passkey.children[2]._dom_classes
    assert app.bar.work.layout.display == "none"
    app.state.formula_only = False
    assert app.bar.work.layout.display == ""
    assert "sv-off" not in app.passkey.children[2]._dom_classes


def test_the_snapshot_is_a_plain_figure_of_what_is_on_screen(settled):
    figure = settled.snapshot()
    assert type(figure) is go.Figure
    assert len(figure.data) == sum(len(panel.plain().data) for panel in settled.panels)
    names = {one.name for one in figure.data}
    assert {"method map", "stock", "told method", str(settled.state.method)} <= names
    mine = next(one for one in figure.data if one.name == "method map")
    (told,) = [one.z for one in settled.position.plain().data if one.name == "method map"]
    assert numbers(mine.z) == numbers(told)
    assert numbers(told)[-192:] == numbers(relative_positions(settled.state.method, 192)[-1])
    domains = [(axis.domain) for axis in figure.select_xaxes()]
    assert all(0 <= low < high <= 1 for low, high in domains)
    assert said(settled.strip.state["rows"][1]) in figure.layout.title.subtitle.text


def test_results_survive_storage_and_open_the_lab(settled):
    stored = settled.work.results(settled.setting)
    again = Results.from_json(stored.to_json())
    assert again.setting == stored.setting
    assert [row.exact for row in again.cells] == [row.exact for row in stored.cells]
    assert again.strip == stored.strip == settled.strip.state
    opened = Lab(Subject(*settled.subject.load()), stored=again, trials=1)
    opened.worker.stop()
    try:
        assert {part.stamp for part in opened.model_side.parts} == {"stored"}
        assert opened.state.group_size == stored.setting.group_size
        assert len(opened.passkey.rows) == len(stored.cells)
    finally:
        opened.close()


def test_stored_cells_stay_until_live_ones_replace_them(settled):
    stored = settled.work.results(settled.setting)
    opened = Lab(Subject(*settled.subject.load()), stored=stored, trials=1)
    begun, go_on = threading.Event(), threading.Event()
    compute = opened.work._cell

    def slow(*cell):
        if opened.work.memory and opened.passkey.stamp != "stored":
            begun.set()
            go_on.wait(WAIT)
        return compute(*cell)

    opened.work._cell = slow
    try:
        assert begun.wait(WAIT)
        assert opened.passkey.stamp.startswith("stored, ")
        assert len(opened.passkey.rows) == len(stored.cells)
        go_on.set()
        assert opened.worker.wait(WAIT)
        assert {part.stamp for part in opened.model_side.parts} == {"live"}
        assert list(opened.passkey.rows.values()) == list(stored.cells)
    finally:
        go_on.set()
        opened.close()


def test_in_a_notebook_the_model_waits_until_the_page_has_drawn_what_is_stored(settled, monkeypatch):
    stored = settled.work.results(settled.setting)
    module = sys.modules[Lab.__module__]  # the package's `lab` is the function
    monkeypatch.setattr(module, "has_page", lambda: True)
    monkeypatch.setattr(module, "PAGE_PATIENCE", 60.0)
    app = small_lab(stored=stored)
    for figure in app.figures:
        assert not app.worker.wait(0.1)
        assert app.worker.started == 0
        figure.widget._handle_custom_msg({"kind": "drawn"}, [])
    assert app.worker.wait(WAIT)
    assert app.worker.started == 1
    app.close()


def test_stored_results_of_other_weights_are_set_aside_with_a_word(settled):
    stored = settled.work.results(settled.setting)
    other = tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH, num_hidden_layers=1)
    opened = Lab(Subject(other, bytes_tokenizer()), stored=stored, trials=1)
    opened.model_side.check_stored()
    opened.close()
    assert "other weights" in opened.divergence.stamp


def test_the_fingerprint_knows_one_changed_weight():
    model = small_model()
    before = weights_fingerprint(model)
    assert weights_fingerprint(small_model()) == before
    model.lm_head.weight.data[3, 4] += 1e-3
    assert weights_fingerprint(model) != before


def test_the_shipped_results_are_of_the_shipped_weights():
    stored = stored_results()
    assert stored is not None
    assert stored.fingerprint == weights_fingerprint(load_demo()[0])
    assert stored.setting.context_length == 320


def test_closing_ends_the_worker(app):
    app.close()
    with pytest.raises(RuntimeError, match="closed"):
        app.worker.submit(lambda: iter(()))


def test_a_model_without_its_tokenizer_is_refused():
    with pytest.raises(TypeError, match="tokenizer is missing"):
        lab(small_model())


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in ("YaRN", "StreamingLLM", "ReRoPE") else pytest.mark.slow)
        for name in METHODS
        if name != "SelfExtend"
    ],
)
def test_every_rival_is_asked_for_the_same_keys(name):
    model = small_model()
    rival = methods_for(model, 2 * CONTEXT_LENGTH, [name])[name]
    app = Lab(Subject(model, bytes_tokenizer()), trials=1, rival=rival, numbers={"length": 160})
    app.state.set(group_size=4, neighbor_window=32)
    assert app.worker.wait(WAIT)
    assert app.worker.error is None
    asked = {condition: set() for condition in ("stock", str(rival), "SelfExtend(G=4, w_n=32)")}
    for condition, length, depth in app.passkey.rows:
        asked[condition].add((length, depth))
    assert len(set(map(frozenset, asked.values()))) == 1
    assert f"rival={rival!r}" in app.tools.share_box.call.value
    assert str(rival).partition("(")[0] in app.passkey.text
    app.close()


@pytest.mark.parametrize(
    ("rival", "words"), [("stock", "rival must be a method such as YaRN\\(4\\), not 'stock'"), (7, "not 7 \\(int\\)")]
)
def test_a_rival_that_is_no_method_is_refused(rival, words):
    with pytest.raises(TypeError, match=words):
        lab(small_model(), bytes_tokenizer(), rival=rival)


def test_it_opens_on_a_text_that_is_quick_to_ask():
    for context_length, length in ((256, 1024), (2048, 2048), (131072, 4096)):
        assert state_for(Subject(object(), object(), context_length=context_length), None, {}).length == length


def test_grid_lengths_share_stops_between_neighbouring_settings():
    assert grid_lengths(1024, 256) == (256, 384, 512, 768, 1024)
    assert grid_lengths(1000, 256) == (256, 384, 512, 768, 1000)
    assert grid_lengths(400, 256) == (256, 384, 400)
    assert grid_lengths(256, 256) == (256,)
    assert grid_lengths(90, 256) == (90,)


def test_a_setting_makes_its_method():
    assert Setting(300, 8, 64, 256).method == SelfExtend(8, 64)
