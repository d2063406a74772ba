"""The lab's tools: presets, share, reset and tables, and the row they stand in."""

import re

import pytest
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz.positions import inside_trained_region, relative_positions
from selfextend_viz.widgets import Lab, lab
from selfextend_viz.widgets.controls import BadSetting, LabState
from selfextend_viz.widgets.presets import PRESETS, PresetMenu
from selfextend_viz.widgets.question import Question, QuestionState
from selfextend_viz.widgets.sharing import ShareBox, call_for
from selfextend_viz.widgets.tables import MOST_ROWS, cell_text, table_block
from selfextend_viz.widgets.work import Subject


@pytest.fixture
def state():
    return LabState(320)


@pytest.fixture
def app():
    made = lab()
    made.worker.stop()
    yield made
    made.close()


def test_the_figure_3_preset_is_the_papers_example(state):
    state.set(**PRESETS[0].values)
    assert state.context_length == 7
    assert relative_positions(state.method, state.length)[-1].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("preset", PRESETS[1:], ids=lambda preset: preset.name.partition(" ")[0])
def test_the_models_presets_reach_inside_the_authors_rule(state, preset):
    state.set(**preset.values)
    assert state.reach >= state.length == 4 * state.context_length
    assert inside_trained_region(state.method, state.context_length, state.length)


def test_the_preset_menu_sets_and_lets_go(state):
    home = []
    menu = PresetMenu(state, home="The demo model", on_home=lambda: home.append(state.reset()))
    prompt = menu.value
    labels = [label for label, _ in menu.options]
    for label, choice in list(menu.options)[2:]:
        menu.value = choice
        assert menu.value is choice, "its own change does not undo the choice"
        assert state.formula_only
        assert "formula only" in label
    menu.label = labels[1]
    assert home == [None]
    assert state.values() == state.opening
    menu.label = labels[2]
    state.group_size = 3
    assert menu.value is prompt


@pytest.mark.parametrize(
    ("numbers", "asked"),
    [
        ({}, {}),
        ({"length": 512, "group_size": 3, "neighbor_window": 0}, {"depth": 0.25, "key": "31415"}),
        ({"formula_only": True, "context_length": 4096, "length": 16384, "group_size": 10}, {}),
        ({"formula_only": True, "context_length": 7, "length": 10, "neighbor_window": 4}, {"filler": "natural"}),
        ({}, {"filler": "own", "own_text": 'It\'s "quoted" \\ text.', "head": (3, 1)}),
    ],
)
def test_the_shared_call_opens_the_same_lab(state, numbers, asked):
    state.set(**numbers)
    question = QuestionState(Question(**asked))
    call = call_for(state, question.asked, with_model=False)
    assert "\n" not in call
    opened = eval(call, {"lab": lab})
    opened.worker.stop()
    try:
        assert opened.state.values() == state.values()
        assert opened.strip.question.asked == question.asked
    finally:
        opened.close()


def test_the_share_box_follows_numbers_and_question(state):
    question = QuestionState()
    box = ShareBox(state, question, with_model=True)
    state.group_size = 16
    assert box.call.value == "lab(model, tokenizer, length=1280, group_size=16, neighbor_window=80)"
    question.set(depth=0.1)
    assert box.call.value.endswith("ask={'depth': 0.1})")


def test_lab_refuses_bad_numbers_with_a_sentence():
    for numbers, sentence in (
        ({"neighbor_window": 320}, "smaller than L = 320"),
        ({"group_size": 0}, "G must be between"),
        ({"context_length": 1}, "L must be between"),
        ({"length": 2.5}, "whole number"),
    ):
        with pytest.raises(ValueError, match=sentence):
            lab(**numbers)
    with pytest.raises(BadSetting, match="key must be"):
        lab(ask={"key": ""})


def test_another_context_length_opens_on_the_formula_alone():
    opened = lab(context_length=4096, length=16384)
    try:
        assert opened.state.formula_only
        assert opened.state.neighbor_window == 1024
        assert opened.worker.started == 0
        assert all(part.stamp == "formula only" for part in opened.model_side.parts)
        opened.state.group_size = 2
        opened.reset()
        assert opened.state.group_size == 8
        assert opened.state.context_length == 4096
    finally:
        opened.close()


def test_reset_brings_numbers_and_question_back(app):
    app.state.set(length=300, group_size=2)
    app.strip.question.set(key="12")
    app.tools.reset.click()
    assert app.state.values() == app.state.opening
    assert app.strip.question.asked == Question()


def test_the_story_takes_the_row_and_gives_it_back(app):
    assert app.tools.story.layout.display == "none"
    app.tools.start.click()
    assert app.tools.row.layout.display == "none"
    assert app.tools.story.layout.display == ""
    app.tools.story.end.click()
    assert app.tools.row.layout.display == ""


def test_the_story_is_told_on_the_demo_model_alone():
    model = tiny_llama(vocab_size=257, max_position_embeddings=128)
    other = Lab(Subject(model, bytes_tokenizer()), trials=1)
    other.worker.stop()
    try:
        assert other.tools.start.disabled
        assert "demo model" in other.tools.start.tooltip
        assert other.tools.share_box.call.value.startswith("lab(model, tokenizer, ")
    finally:
        other.close()


def test_tables_show_what_the_panels_show_and_follow(app):
    assert [table.value for table in app.tables] == [""] * 4
    app.tools.tables.value = True
    position, reach, divergence, passkey = (table.value for table in app.tables)
    assert f"{app.state.reach:,}" in reach
    assert "229" in position
    cell = next(iter(app.passkey.rows.values()))
    assert f"<td>{cell.length:,}</td>" in passkey
    mean = next(row.mean for row in app.divergence.rows if getattr(row, "condition", "") == "stock")
    assert len(re.findall("<tr>", divergence)) > 10
    app.divergence.choose(0, 0)
    assert cell_text(mean) in app.tables[2].value
    app.state.length = 640
    assert "distance from token 639" in app.tables[0].value
    app.tools.tables.value = False
    assert [table.value for table in app.tables] == [""] * 4
    assert "sv-tabled" not in app.position._dom_classes


def test_a_table_escapes_caps_and_can_be_scrolled_by_keys():
    html = table_block("<N>", ("a", "<b>"), [("<i>", 1234567)] * (MOST_ROWS + 5))
    assert "<i>" not in html
    assert "&lt;b&gt;" in html
    assert "1,234,567" in html
    assert html.count("<tr>") == MOST_ROWS + 1
    assert f"first {MOST_ROWS} of {MOST_ROWS + 5}" in html
    assert 'tabindex="0"' in html
    assert 'scope="col"' in html


def test_cells_are_short():
    texts = [cell_text(value) for value in (None, float("nan"), 0.123456, -12.0, True, "x", 3)]
    assert texts == ["\N{EN DASH}", "\N{EN DASH}", "0.123", "-12", "True", "x", "3"]
