"""The methods beside Self-Extend: who is seen, and where they are said to stand."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from selfextend_viz.methods import ShuffledSelfExtend, SinksAtTrueDistance, SlidingWindow
from selfextend_viz.positions import Method, PlainRoPE, SelfExtend, relative_positions, visible_pairs


@pytest.mark.parametrize("window", [1, 3, 20])
@pytest.mark.parametrize("length", [1, 2, 13])
def test_sliding_window(window: int, length: int) -> None:
    positions = relative_positions(SlidingWindow(window), length)
    for i in range(length):
        for j in range(length):
            assert positions[i, j] == (i - j if 0 <= i - j < window else -1)


@pytest.mark.parametrize("sinks", [1, 4])
@pytest.mark.parametrize("window", [1, 3, 20])
def test_sinks_stay_at_their_true_distance(window: int, sinks: int) -> None:
    positions = relative_positions(SinksAtTrueDistance(window, sinks), 13)
    for i in range(13):
        for j in range(13):
            seen = j <= i and (i - j < window or j < sinks)
            assert positions[i, j] == (i - j if seen else -1)


@settings(deadline=None)
@given(group_size=st.integers(2, 9), window=st.integers(0, 12), seed=st.integers(0, 50), length=st.integers(1, 60))
def test_shuffling_moves_far_groups_and_stays_in_range(group_size: int, window: int, seed: int, length: int) -> None:
    shuffled = relative_positions(ShuffledSelfExtend(group_size, window, seed), length)
    ordered = relative_positions(SelfExtend(group_size, window), length)
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    np.testing.assert_array_equal(shuffled >= 0, distance >= 0)
    near = (distance >= 0) & (distance < window)
    np.testing.assert_array_equal(shuffled[near], ordered[near])
    largest = ordered.max(axis=1, keepdims=True)
    assert (shuffled <= largest).all()


@pytest.mark.parametrize("seed", range(4))
def test_shuffling_permutes_groups_within_a_bucket(seed: int) -> None:
    group_size, window = 3, 8
    _, far = ShuffledSelfExtend(group_size, window, seed).bands
    places = far.key_position(np.arange(group_size * window * 4))
    assert len(set(places.reshape(-1, group_size).tolist()[0])) == 1
    per_group = places.reshape(-1, group_size)
    assert (per_group == per_group[:, :1]).all()
    buckets = per_group[:, 0].reshape(4, window)
    np.testing.assert_array_equal(np.sort(buckets), np.arange(4 * window).reshape(4, window))
    assert (buckets != np.arange(4 * window).reshape(4, window)).any()


def test_shuffling_depends_on_the_seed_alone() -> None:
    maps = [relative_positions(ShuffledSelfExtend(2, 31, seed), 200).tobytes() for seed in (0, 0, 1, 2, 3)]
    assert maps[0] == maps[1]
    assert len(set(maps)) == 4


def test_ungrouped_shuffling_is_plain() -> None:
    np.testing.assert_array_equal(relative_positions(ShuffledSelfExtend(1, 6), 20), relative_positions(PlainRoPE(), 20))


def test_all_pairs_are_seen_when_shuffled() -> None:
    np.testing.assert_array_equal(visible_pairs(ShuffledSelfExtend(3, 5), 30), visible_pairs(PlainRoPE(), 30))


def test_labels() -> None:
    labels = [str(m) for m in (SlidingWindow(256), SinksAtTrueDistance(256), ShuffledSelfExtend(8, 64))]
    assert labels == [
        "SlidingWindow(256)",
        "SinksAtTrueDistance(256, sinks=4)",
        "ShuffledSelfExtend(G=8, w_n=64, seed=0)",
    ]
    assert all(isinstance(m, Method) for m in (SlidingWindow(256), SinksAtTrueDistance(256), ShuffledSelfExtend(8, 64)))


@pytest.mark.parametrize(
    ("build", "numbers", "error", "message"),
    [
        (SlidingWindow, (0,), ValueError, "window is 0"),
        (SlidingWindow, (2.5,), TypeError, "2.5"),
        (SinksAtTrueDistance, (4, 0), ValueError, "sinks is 0"),
        (SinksAtTrueDistance, (True,), TypeError, "window"),
        (ShuffledSelfExtend, (0, 4), ValueError, "group_size is 0"),
        (ShuffledSelfExtend, (2, -1), ValueError, "neighbor_window is -1"),
        (ShuffledSelfExtend, (2, 4, -1), ValueError, "seed is -1"),
    ],
)
def test_bad_numbers(build: Any, numbers: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(*numbers)
