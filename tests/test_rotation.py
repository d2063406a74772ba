"""Wavelengths and the circle of one pair: the numbers drawn are those of rotary frequencies, counted the slow way."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selfextend_viz.methods.masking import SlidingWindow
from selfextend_viz.plots import (
    pair_angles,
    pair_sentence,
    plot_rotation,
    plot_wavelengths,
    wavelengths,
    wavelengths_sentence,
)
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.rope import default_inv_freq

HALVING = [2.0**-pair for pair in range(16)]
METHOD = SelfExtend(8, 80)


def traces(figure):
    return {trace.name: trace for trace in figure.data}


def llama2():
    return default_inv_freq(128, theta=10000.0)[0].tolist()


@given(st.floats(1e-4, 3.0), st.integers(1, 900))
def test_a_pair_is_complete_when_some_trained_distance_turned_it_once_round(frequency, context_length):
    angles = np.arange(context_length) * frequency
    assert wavelengths([frequency], context_length).complete == ((angles >= 2 * math.pi).any(),)


def test_the_pairs_of_llama_2_that_never_completed_a_turn():
    found = wavelengths(llama2(), 4096)
    assert found.incomplete == 18
    assert found.complete == tuple(pair <= 45 for pair in range(64))
    assert "18 of 64 pairs never completed a turn within L = 4,096 tokens" in wavelengths_sentence(llama2(), 4096)


def test_the_sentence_of_pairs_that_are_all_complete_promises_no_more_than_that():
    said = wavelengths_sentence([1.0, 0.5], 320)
    assert said.startswith("every one of the 2 pairs completed a turn")
    assert "No pair" in wavelengths_sentence([1e-4], 320)


def test_the_figure_parts_complete_pairs_from_the_others():
    drawn = traces(plot_wavelengths(HALVING, 320, pair=9))
    found = wavelengths(HALVING, 320)
    assert list(drawn) == ["complete", "incomplete", "beyond", "L", "pair"]
    assert list(drawn["complete"].x) == [0, 1, 2, 3, 4, 5]
    assert list(drawn["incomplete"].x) == list(range(6, 16))
    both = [*drawn["complete"].y, *drawn["incomplete"].y]
    assert both == pytest.approx([2 * math.pi * 2**pair for pair in range(16)])
    assert drawn["complete"].marker.symbol != drawn["incomplete"].marker.symbol
    assert set(drawn["L"].y) == {320}
    assert (list(drawn["pair"].x), list(drawn["pair"].y)) == ([9], [found.tokens[9]])
    assert list(traces(plot_wavelengths(HALVING, 320))["pair"].x) == []


@pytest.mark.parametrize("method", [METHOD, SelfExtend(3, 7), PlainRoPE()])
@pytest.mark.parametrize("distance", [0, 5, 79, 80, 319, 320, 700, 1279])
def test_hands_stand_where_the_told_distances_turn_them(method, distance):
    told = relative_positions(method, distance + 1)[distance, 0]
    for pair, frequency in enumerate(HALVING):
        found = pair_angles(HALVING, 320, pair=pair, distance=distance, method=method)
        assert (found.plain.told, found.mapped.told) == (distance, told)
        for hand, tokens in ((found.plain, distance), (found.mapped, told)):
            turned = math.degrees(tokens * frequency) % 360
            assert math.cos(math.radians(hand.angle - turned)) == pytest.approx(1)
            assert hand.turns == pytest.approx(tokens * frequency / (2 * math.pi))


@pytest.mark.parametrize("pair", range(16))
def test_an_angle_is_trained_when_it_lies_on_the_arc_of_the_trained_distances(pair):
    arc = 319 * HALVING[pair]
    for distance in range(0, 3000, 7):
        found = pair_angles(HALVING, 320, pair=pair, distance=distance, method=METHOD)
        for hand in (found.plain, found.mapped):
            angle = (hand.told * HALVING[pair]) % (2 * math.pi)
            assert hand.trained == (arc >= 2 * math.pi or hand.told < 320 or angle <= arc)


def test_within_reach_self_extend_turns_no_pair_to_a_new_angle():
    reach = METHOD.capacity(320)
    for distance in range(0, reach, 13):
        for pair in range(16):
            assert pair_angles(HALVING, 320, pair=pair, distance=distance, method=METHOD).mapped.trained


def test_the_ring_and_the_hands_are_drawn_at_their_angles():
    figure = plot_rotation(HALVING, 320, pair=7, distance=1279, method=METHOD)
    drawn = traces(figure)
    assert list(drawn) == [
        "trained",
        "never trained",
        "circle",
        "angles",
        "plain way",
        "method way",
        "plain",
        "method",
    ]
    for name, told in (("plain", 1279), ("method", 229)):
        angle = math.atan2(drawn[name].y[1], drawn[name].x[1])
        assert math.cos(angle - told * HALVING[7]) == pytest.approx(1, abs=1e-4)
    arc = 319 * HALVING[7]
    angles = np.unwrap(np.arctan2(drawn["trained"].y, drawn["trained"].x))
    assert (angles.min(), angles.max()) == pytest.approx((0, arc), abs=2e-3)
    way = np.unwrap(np.arctan2(drawn["plain way"].y, drawn["plain way"].x))
    assert way[-1] == pytest.approx(1279 * HALVING[7], abs=5e-3)
    assert "never trained" in figure.layout.title.subtitle.text


def test_a_pair_that_saw_every_angle_has_no_part_never_trained():
    drawn = traces(plot_rotation(HALVING, 320, pair=2, distance=1279, method=METHOD))
    assert len(drawn["never trained"].x) == 0
    assert "every angle" in pair_sentence(HALVING, 320, pair=2, distance=1279, method=METHOD)


def test_a_key_that_the_method_hides_has_no_hand():
    window = SlidingWindow(320)
    drawn = traces(plot_rotation(HALVING, 320, pair=7, distance=1279, method=window))
    assert len(drawn["method"].x) == 0
    assert "hides the key" in pair_sentence(HALVING, 320, pair=7, distance=1279, method=window)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        ({"inv_freq": []}, "0 frequencies"),
        ({"inv_freq": [1.0, 0.0]}, "holds 0.0"),
        ({"inv_freq": [math.nan]}, "holds nan"),
        ({"context_length": 0}, "at least 1"),
        ({"pair": 16}, "pair 16 is not one of the 16"),
        ({"pair": -1}, "at least 0"),
    ],
)
def test_bad_numbers_are_refused_in_a_sentence(problem, words):
    numbers = {"inv_freq": HALVING, "context_length": 320, "pair": 3, **problem}
    inv_freq, context_length, pair = numbers.values()
    with pytest.raises(ValueError, match=words):
        plot_wavelengths(inv_freq, context_length, pair=pair)
    with pytest.raises(ValueError, match=words):
        plot_rotation(inv_freq, context_length, pair=pair, distance=9, method=METHOD)
    with pytest.raises(TypeError, match="whole number"):
        plot_rotation(HALVING, 320, pair=3, distance=1.5, method=METHOD)
