"""The lab's state: good numbers are taken, bad ones refused with a sentence, and a change is one change."""

import numpy as np
import pytest

from selfextend_viz.positions import SelfExtend
from selfextend_viz.widgets.controls import BadSetting, LabState, geometric_stops, powers_of_two


@pytest.fixture
def state():
    return LabState(256)


def test_it_opens_where_stock_fails_and_self_extend_reaches(state):
    assert (state.context_length, state.length, state.group_size, state.neighbor_window) == (256, 1024, 8, 64)
    assert state.length > state.context_length
    assert state.reach >= state.length
    assert state.method == SelfExtend(group_size=8, neighbor_window=64)


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("group_size", 0, "G must be between 1 and"),
        ("group_size", -3, "-3 is not"),
        ("group_size", 2.5, "2.5 is not"),
        ("group_size", True, "whole number"),
        ("group_size", "8", "whole number"),
        ("group_size", None, "whole number"),
        ("neighbor_window", -1, "w_n must be between 0 and"),
        ("neighbor_window", 256, "smaller than L = 256"),
        ("length", 0, "N must be between 1 and"),
        ("length", 2**40, "1,048,576"),
        ("context_length", 512, "fact of this model"),
    ],
)
def test_a_bad_number_is_refused_with_a_sentence_and_the_old_one_kept(state, name, value, sentence):
    before = getattr(state, name)
    with pytest.raises(BadSetting, match=sentence) as refusal:
        setattr(state, name, value)
    assert str(refusal.value).endswith(".")
    assert getattr(state, name) == before
    assert state.revision == 0


def test_numpy_integers_become_ints(state):
    state.length = np.int64(300)
    assert state.length == 300
    assert type(state.length) is int


def test_each_accepted_change_counts_once(state):
    revisions = []
    state.observe(lambda change: revisions.append(change["new"]), "revision")
    state.group_size = 4
    state.group_size = 4
    state.set(group_size=16, neighbor_window=32)
    state.set(group_size=16)
    assert revisions == [1, 2]


def test_setting_several_is_all_or_none(state):
    with pytest.raises(BadSetting):
        state.set(group_size=2, neighbor_window=999)
    assert (state.group_size, state.neighbor_window, state.revision) == (8, 64, 0)


def test_formula_only_unlocks_the_context_length_and_leaving_it_returns_to_the_models(state):
    state.formula_only = True
    state.set(context_length=4096, neighbor_window=1024)
    assert state.reach == 8 * (4096 - 1024 + 128)
    with pytest.raises(BadSetting, match="larger than the neighbor window"):
        state.context_length = 1024
    revision = state.revision
    state.formula_only = False
    assert (state.context_length, state.neighbor_window) == (256, 255)
    assert state.revision == revision + 1


@pytest.mark.parametrize(("context_length", "neighbor_window"), [(7, 4), (4096, 1024), (65, 64), (64, 10)])
def test_l_and_the_window_can_change_together_whichever_way(state, context_length, neighbor_window):
    state.set(neighbor_window=neighbor_window, context_length=context_length, formula_only=True)
    assert (state.context_length, state.neighbor_window) == (context_length, neighbor_window)
    state.set(context_length=2000, neighbor_window=1500)
    state.set(context_length=context_length, neighbor_window=neighbor_window)
    assert (state.context_length, state.neighbor_window, state.revision) == (context_length, neighbor_window, 3)


def test_a_refused_change_of_l_leaves_all_as_it_was(state):
    before = state.values()
    with pytest.raises(BadSetting):
        state.set(formula_only=True, context_length=4096, neighbor_window=4096)
    with pytest.raises(BadSetting):
        state.set(formula_only=True, neighbor_window=4, context_length=7, length=0)
    assert state.values() == before
    assert state.revision == 0


def test_reset_returns_to_the_opening_numbers_from_anywhere(state):
    opening = state.values()
    state.set(formula_only=True, context_length=7, neighbor_window=4, group_size=2, length=10)
    state.reset()
    assert state.values() == opening
    state.length = 300
    state.keep_as_opening()
    state.length = 20
    state.reset()
    assert state.length == 300


def test_stops():
    assert powers_of_two(64) == (1, 2, 4, 8, 16, 32, 64)
    assert powers_of_two(100)[-1] == 64
    assert geometric_stops(0, 20) == (1, 2, 3, 4, 6, 8, 12, 16)
    assert geometric_stops(32, 100) == (32, 48, 64, 96)
