"""The strip: what it says, what it asks the model, and what a reader may ask of it."""

import json

import pytest
import torch
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz.demo import load_demo
from selfextend_viz.experiments.passkey import answer_digits
from selfextend_viz.experiments.prompts import passkey_prompt
from selfextend_viz.experiments.tasks import Phrasing
from selfextend_viz.patch import is_extended
from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.controls import BadSetting, LabState
from selfextend_viz.widgets.interruption import Superseded
from selfextend_viz.widgets.question import STATED_ONCE, Question, QuestionState
from selfextend_viz.widgets.results import Setting, stored_results
from selfextend_viz.widgets.strip import Strip, sentence_html
from selfextend_viz.widgets.strip_state import (
    asked_words,
    happened_words,
    needle_mass,
    said,
    strip_words,
    visible,
    waiting_state,
    with_answer,
)
from selfextend_viz.widgets.work import LabWork, Subject

CONTEXT_LENGTH = 160
SETTING = Setting(200, 4, 40, CONTEXT_LENGTH)
HINT = {"wanted": "7", "probability_wanted": 0.1, "probability_said": 0.6}


@pytest.fixture(scope="module")
def work():
    model = tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)
    return LabWork(Subject(model, bytes_tokenizer()), trials=1)


@pytest.fixture
def strip():
    return Strip(LabState(CONTEXT_LENGTH))


def made_up(**changes):
    """A strip of 100 tokens whose key, 7, is token 40; both rows wait."""
    state = waiting_state(
        length=100,
        context_length=50,
        reach=170,
        needle=(40, 41),
        needle_range=(10, 90),
        answer="7",
        question="What is <it>?",
        head=(1, 3),
        heads=(),
        labels=("stock", "SelfExtend(G=4, w_n=10)"),
    )
    return {**state, **changes}


def answered(state, label, character, mass):
    arcs = [{"start": 0, "stop": 40, "mass": 1 - mass, "told": 9}, {"start": 40, "stop": 41, "mass": mass, "told": 8}]
    return with_answer(state, label, {"never": None, "digits": [{"said": character, **HINT}], "arcs": arcs})


def test_a_strip_waits_and_is_filled_row_by_row():
    waiting = made_up()
    assert [(row["name"], row["note"]) for row in waiting["rows"]] == [
        ("Stock", "the model as it is"),
        ("Self-Extend", "G=4, w_n=10"),
    ]
    assert happened_words(waiting) == ""
    half = answered(waiting, "SelfExtend(G=4, w_n=10)", "7", 0.93)
    assert waiting["rows"][1]["digits"] is None, "the state given is left alone"
    assert happened_words(half) == "Self-Extend looks at the key (93%) and reads 7."
    whole = answered(half, "stock", "\ufffd", 0.04)
    assert happened_words(whole) == (
        "Stock looks elsewhere (4% on the key) and answers \N{MIDDLE DOT}: wrong. "
        "Self-Extend looks at the key (93%) and reads 7."
    )
    assert "The key 7 stands 60 tokens before the end of 100. What is <it>?" in asked_words(whole)
    assert "layer 1, head 3" in strip_words(whole)
    assert needle_mass(whole, whole["rows"][1]) == 0.93
    assert json.loads(json.dumps(whole)) == whole


def test_the_steps_are_the_methods_then_stocks_and_then_the_first_cell(work):
    plan = work.plan(SETTING, Question())
    assert [step.kind for step in plan[:4]] == ["strip", "strip", "cell", "divergence"]
    assert [step.label for step in plan[:2]] == [str(SETTING.method), "stock"]
    assert {step.kind for step in plan[4:]} == {"cell"}


def test_the_strip_holds_what_the_model_answers(work):
    asked = Question(depth=0.3, key="40713")
    state = work.strip(SETTING, asked)
    for step in list(work.plan(SETTING, asked))[:2]:
        state = with_answer(state, step.label, work.run(step))
    prompt = passkey_prompt(bytes_tokenizer(), length=200, depth=0.3, key="40713", phrasing="once", filler="grass")
    assert state["needle"] == list(prompt.needle)
    assert bytes_tokenizer().decode(prompt.ids[slice(*state["needle"])]) == "40713" == state["answer"]
    best = state["heads"][0]
    assert state["head"] == best[:2]
    assert best[2] == max(score for _, _, score in state["heads"])
    assert state["reach"] == SETTING.method.capacity(CONTEXT_LENGTH)
    for row, condition in zip(state["rows"], (None, SETTING.method), strict=True):
        model, tokenizer = work.subject.load()
        expected = answer_digits(model, tokenizer, prompt, condition)
        assert said(row) == "".join(visible(each.said) for each in expected)
        assert sum(arc["mass"] for arc in row["arcs"]) == pytest.approx(1, abs=1e-3)
        assert [state["needle"]] == [
            [arc["start"], arc["stop"]] for arc in row["arcs"] if arc["start"] == state["needle"][0]
        ]
    assert state["rows"][0]["never"] == [0, prompt.answer_rows[0] - CONTEXT_LENGTH + 1]
    assert state["rows"][1]["never"] is None


def test_a_slider_asks_the_stock_model_nothing_new(work):
    for step in work.plan(SETTING, Question())[:2]:
        work.run(step)
    coarser = Setting(200, 8, 40, CONTEXT_LENGTH)
    method, stock = work.plan(coarser, Question())[:2]
    assert work.remembers(stock) and not work.remembers(method)
    other, moved = Question(head=(0, 0)), Question(depth=0.1)
    assert not work.remembers(work.plan(SETTING, other)[1])
    assert not work.remembers(work.plan(SETTING, moved)[1])
    assert work.asking.prompt(200, other) is work.asking.prompt(200, Question())


def test_another_head_can_be_watched(work):
    assert work.strip(SETTING, Question(head=(0, 2)))["head"] == [0, 2]


def test_work_that_nobody_wants_any_more_is_left_within_a_layer():
    model = tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)
    left = LabWork(Subject(model, bytes_tokenizer()), trials=1)
    left.strip(SETTING, Question())
    layers, asked = [], []
    for number, layer in enumerate(model.model.layers):
        layer.register_forward_pre_hook(lambda module, inputs, number=number: layers.append(number))

    def wanted():
        asked.append(len(layers))
        return len(asked) < 2

    left.wanted = wanted
    step = left.plan(SETTING, Question())[0]
    with torch.inference_mode(), pytest.raises(Superseded):
        left.run(step)
    assert layers == [0, 1] and asked == [1, 2], "it is asked before each layer, and ends at the second"
    assert not left.remembers(step)
    assert not is_extended(model)
    left.wanted = lambda: True
    with torch.inference_mode():
        assert left.run(step)["digits"]


def test_the_key_moves_to_the_token_pointed_at(work, strip):
    strip.show(work.strip(SETTING, strip.question.asked))
    first, last = strip.state["needle_range"]
    seen = []
    strip.question.observe(lambda change: seen.append(change["new"]), "revision")
    for token in (first, first + 11, (first + last) // 2, last - 3, last):
        strip.move(token)
        moved = work.strip(SETTING, strip.question.asked)
        assert abs(moved["needle"][0] - token) <= 1
        strip.show(moved)
    strip.move(-50)
    assert strip.question.asked.depth == 0
    strip.move(10_000)
    assert strip.question.asked.depth == 1
    assert seen == [1, 2, 3, 4, 5, 6, 7]
    strip.numbers.formula_only = True
    strip.move(first)
    assert strip.question.asked.depth == 1, "under formula only no model is asked"


def test_the_page_tells_where_the_key_was_moved(strip):
    strip.show(made_up())
    strip.view._handle_custom_msg({"kind": "needle", "token": 50}, [])
    assert strip.question.asked.depth == 0.5


def test_the_strip_says_whose_results_it_shows(strip):
    assert strip.words() == ""
    strip.say("The model is <about> to be asked")
    assert "&lt;about&gt;" in strip.sentence.value
    strip.show(made_up())
    assert strip.words() == "", "nothing was answered yet"
    strip.show(answered(made_up(), "stock", "<", 0.04))
    strip.mark("live")
    assert "answers <: wrong" in strip.words()
    assert "answers &lt;: wrong" in strip.sentence.value and ">live<" in strip.sentence.value
    strip.mark("stale", dim=True)
    assert strip.stamp == "stale" and "sv-dim" in strip.picture._dom_classes
    strip.mark("live")
    assert "sv-dim" not in strip.picture._dom_classes
    strip.enable(False)
    assert strip.form.toggle.disabled and "sv-off" in strip.picture._dom_classes
    strip.enable(True)
    assert not strip.form.toggle.disabled and "sv-off" not in strip.picture._dom_classes


def test_what_the_reader_types_is_escaped():
    state = made_up(answer="&lt;", question="<script>")
    assert "<script>" not in sentence_html(state)
    assert "<mark>&amp;lt;</mark>" in sentence_html(state)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": ""}, "The key must be 1 to 8 digits or letters; '' is not."),
        ({"key": "12 4"}, "'12 4' is not"),
        ({"key": "123456789"}, "1 to 8"),
        ({"filler": "sand"}, "one of grass, natural, own; 'sand'"),
        ({"filler": "own", "own_text": " 7! "}, "has 0 letters"),
        ({"own_text": "x" * 20_001}, "20,001 characters; use at most 20,000"),
        ({"phrasing": Phrasing(statement="{Subject} is here.")}, "write {key} into it"),
        ({"phrasing": Phrasing(question=" ")}, "must not be empty"),
        ({"phrasing": Phrasing(question="What is {it}?")}, "only {key}, {subject} and {Subject}"),
        ({"phrasing": Phrasing(question="What is {?")}, "only {key}, {subject} and {Subject}"),
        ({"depth": 1.5}, "from 0 (start) to 1 (end); 1.5"),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused_and_nothing_is_lost(changes, sentence):
    state = QuestionState()
    state.set(key="123", depth=0.25)
    with pytest.raises(BadSetting) as refusal:
        state.set(**changes)
    assert sentence in str(refusal.value)
    assert state.asked == Question(key="123", depth=0.25) and state.revision == 1


def test_the_form_asks_what_is_typed_and_keeps_what_is_refused(strip):
    form, question = strip.form, strip.question
    form.toggle.value = True
    assert form.layout.display == ""
    form.filler.value = "own"
    assert form.own_text.layout.display == ""
    form.own_text.value = "The sea was calm."
    form.key.value = " k77 "
    form.sentences["subject"].value = "the <code>"
    form.submit()
    assert question.revision == 1
    assert question.asked == Question(
        key="k77",
        filler="own",
        own_text="The sea was calm.",
        phrasing=Phrasing(**{**vars(STATED_ONCE), "subject": "the <code>"}),
    )
    form.key.value, form.own_text.value = "no way", "Another text"
    form.ask.click()
    assert "&#x27;no way&#x27; is not" in form.refusal.value
    assert (form.key.value, form.own_text.value) == ("no way", "Another text")
    assert question.asked.key == "k77"
    form.usual.click()
    assert question.asked == Question() and form.key.value == Question().key and form.refusal.value == ""


def test_the_form_offers_the_ranking_and_follows_the_question(work, strip):
    strip.show(work.strip(SETTING, Question()))
    offered = [place for _, place in strip.form.head.options]
    assert offered[0] is None and len(offered) == 9
    best = tuple(strip.state["head"])
    assert offered[1] == best and strip.form.head.value is None
    strip.form.head.value = (0, 1)
    assert strip.question.asked.head == (0, 1)
    strip.question.set(head=None, key="55")
    assert strip.form.head.value is None and strip.form.key.value == "55"


def test_the_own_filler_hides_the_key(work):
    asked = Question(filler="own", own_text="Nobody spoke. ")
    prompt = work.asking.prompt(200, asked)
    assert "Nobody spoke. Nobody spoke." in prompt.text and "grass" not in prompt.text
    assert "The pass key is 29026." in prompt.text


def test_the_stored_strip_is_what_the_shipped_model_answers():
    stored = stored_results()
    work = LabWork(Subject(*load_demo()))
    state = work.strip(stored.setting, Question())
    for step in work.plan(stored.setting, Question())[:2]:
        state = with_answer(state, step.label, work.run(step))
    assert [said(row) for row in state["rows"]] == [said(row) for row in stored.strip["rows"]]
    assert {**stored.strip, "rows": None, "heads": None} == {**state, "rows": None, "heads": None}
    for got, kept in zip(state["rows"], stored.strip["rows"], strict=True):
        assert needle_mass(state, got) == pytest.approx(needle_mass(stored.strip, kept), abs=1e-3)
        assert got["never"] == kept["never"]
    assert said(stored.strip["rows"][1]) == stored.strip["answer"]
    assert said(stored.strip["rows"][0]) != stored.strip["answer"]
    assert needle_mass(stored.strip, stored.strip["rows"][1]) > 0.9
    assert SelfExtend(8, 80) == stored.setting.method
