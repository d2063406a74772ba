"""The story's claims, asked of the demo model, and its widget."""

import re
from collections import Counter

import pytest
import torch

from selfextend_viz.demo import load_demo
from selfextend_viz.positions import SelfExtend, relative_positions, suggest
from selfextend_viz.widgets.controls import LabState
from selfextend_viz.widgets.question import Question, QuestionState
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.story import STORY, Story
from selfextend_viz.widgets.strip_state import needle_mass, right, said, with_answer
from selfextend_viz.widgets.work import LabWork, Subject

L = 320


@pytest.fixture(scope="module")
def work():
    return LabWork(Subject(*load_demo()))


def setting_of(step, **changes):
    values = {"group_size": step.group_size, "neighbor_window": step.neighbor_window, **changes}
    return Setting(step.length, context_length=L, **values)


def rows_at(work, setting):
    """Stock's row and Self-Extend's, as the strip shows them."""
    state = work.strip(setting, Question())
    with torch.inference_mode():
        for step in work.plan(setting, Question()):
            if step.kind == "strip":
                state = with_answer(state, step.label, work.run(step))
    return state, *state["rows"]


@pytest.mark.parametrize("step", STORY, ids=lambda step: step.title)
def test_the_demo_model_answers_as_the_step_says(work, step):
    _, stock, extended = rows_at(work, setting_of(step))
    assert (right(stock), right(extended)) == (step.stock_right, step.extended_right)


def numbers_said(pattern):
    """The numbers that the story says in such words, by step."""
    found = {step.title: re.findall(pattern, step.text) for step in STORY}
    return {title: int(words[0].replace(",", "")) for title, words in found.items() if words}


def test_what_it_says_of_lengths_and_positions_holds():
    steps = {step.title: step for step in STORY}
    methods = {title: SelfExtend(step.group_size, step.neighbor_window) for title, step in steps.items()}
    lengths = numbers_said(r"(?:has|Back at) ([0-9,]+)")
    farthest = numbers_said(r"farthest (?:token|is told) ([0-9,]+) away")
    reaches = numbers_said(r"reaches ([0-9,]+) tokens")
    assert lengths == {title: steps[title].length for title in lengths}
    assert reaches == {title: methods[title].capacity(L) for title in reaches}
    assert farthest == {title: relative_positions(methods[title], steps[title].length)[-1, 0] for title in farthest}
    assert (len(lengths), len(farthest), len(reaches)) == (4, 2, 1)


@pytest.mark.parametrize("step", STORY, ids=lambda step: step.title)
def test_orange_is_where_it_says(step):
    told = relative_positions(SelfExtend(step.group_size, step.neighbor_window), step.length)
    assert bool((told >= L).any()) == (step.title in ("Past L", "Too large N"))


def test_the_arc_lands_on_the_key_when_self_extend_is_added(work):
    state, stock, extended = rows_at(work, setting_of(STORY[2]))
    assert needle_mass(state, extended) > 0.5 > needle_mass(state, stock)


def test_too_coarse_groups_lose_the_order_and_a_window_brings_it_back(work):
    (step,) = [step for step in STORY if step.title == "Too coarse G"]
    state, _, extended = rows_at(work, setting_of(step))
    answered = said(extended)
    assert sum((Counter(answered) & Counter(state["answer"])).values()) >= 2
    assert answered != state["answer"]
    _, _, again = rows_at(work, setting_of(step, neighbor_window=80))
    assert right(again)


def test_the_last_step_is_the_rules_own_setting_and_finds_every_depth(work):
    step = STORY[-1]
    best = suggest(L, step.length)[0]
    assert (best.group_size, best.neighbor_window) == (step.group_size, step.neighbor_window)
    cells = [one for one in work.cell_steps(setting_of(step)) if one.label == str(best)]
    with torch.inference_mode():
        rows = [work.run(one) for one in cells]
    assert all(row.exact == row.trials for row in rows)


@pytest.fixture
def told():
    state, question = LabState(L), QuestionState()
    closed = []
    return Story(state, question, on_close=lambda: closed.append(True)), state, question, closed


def test_steps_set_the_sliders_and_the_question(told):
    story, state, question, closed = told
    question.set(key="777", depth=0.1)
    state.set(formula_only=True, context_length=4096)
    story.start()
    seen = []
    for _ in STORY:
        assert {name: getattr(state, name) for name in story.step.values} == story.step.values
        assert state.context_length == L
        assert story.step.title in story.words.value
        seen.append(story.step.title)
        story.next.click()
    assert question.asked == Question()
    assert seen == [step.title for step in STORY]
    assert closed == [True]
    assert not story.running


def test_back_next_and_close(told):
    story, state, _, closed = told
    story.start()
    assert story.back.disabled
    story.next.click()
    assert not story.back.disabled
    story.back.click()
    assert (story.place, state.length) == (0, STORY[0].length)
    story.go(-1)
    story.go(len(STORY))
    assert story.place == 0
    story.end.click()
    assert closed == [True]
    assert not story.running
    assert state.length == STORY[0].length, "the sliders stay"


def test_it_says_so_when_a_slider_left_the_step(told):
    story, state, _, _ = told
    story.start()
    assert "Look at" in story.words.value
    state.group_size = 32
    assert "left this step" in story.words.value
    story.go(story.place)
    assert "Look at" in story.words.value
