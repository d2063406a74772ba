"""Laws of positions, against the formulas written out in loops."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from method_matrix import METHOD_CASES

from selfextend_viz.methods import SlidingWindow
from selfextend_viz.positions import (
    Band,
    Method,
    PlainRoPE,
    SelfExtend,
    SuggestedSelfExtend,
    band_index,
    inside_trained_region,
    relative_positions,
    suggest,
    visible_pairs,
)

SMALL = st.integers(1, 12)


def told(i: int, j: int, group_size: int, window: int) -> int:
    """The paper's formula for one visible pair."""
    if i - j < window:
        return i - j
    return (i // group_size + window - window // group_size) - j // group_size


def by_loops(length: int, group_size: int, window: int) -> list[list[int]]:
    return [[told(i, j, group_size, window) if j <= i else -1 for j in range(length)] for i in range(length)]


def test_worked_example() -> None:
    method = SelfExtend(group_size=2, neighbor_window=4)
    assert relative_positions(method, 10)[-1].tolist() == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
    assert method.capacity(7) == method.max_length(7) == 10


@settings(deadline=None)
@given(length=st.integers(1, 40), group_size=SMALL, window=st.integers(0, 45))
def test_relative_positions_equal_the_formula(length: int, group_size: int, window: int) -> None:
    positions = relative_positions(SelfExtend(group_size, window), length)
    assert positions.dtype == np.int64
    assert positions.tolist() == by_loops(length, group_size, window)


@settings(deadline=None)
@given(length=st.integers(1, 30), group_size=SMALL, window=st.integers(0, 35))
def test_two_bands_cover_the_causal_triangle_once(length: int, group_size: int, window: int) -> None:
    index = band_index(SelfExtend(group_size, window), length)
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    near = distance < window if group_size > 1 else distance >= 0
    wanted = np.where(distance < 0, -1, np.where(near | (window == 0), 0, 1))
    np.testing.assert_array_equal(index, wanted)


@pytest.mark.parametrize(("name", "method"), METHOD_CASES)
def test_all_methods_are_causal_and_see_themselves(name: str, method: Method) -> None:
    seen = visible_pairs(method, 37)
    assert not np.triu(seen, 1).any(), name
    assert seen.diagonal().all(), name
    np.testing.assert_array_equal(seen, band_index(method, 37) >= 0)
    np.testing.assert_array_equal(seen, relative_positions(method, 37) >= 0)


@pytest.mark.parametrize("group_size", range(1, 7))
@pytest.mark.parametrize("window", range(8))
def test_the_first_changed_length(group_size: int, window: int) -> None:
    method = SelfExtend(group_size, window)
    changed = [n for n in range(1, 25) if by_loops(n, group_size, window) != by_loops(n, 1, 0)]
    assert method.differs_from == (min(changed) if changed else None)
    for length in range(1, 25):
        same = (relative_positions(method, length) == relative_positions(PlainRoPE(), length)).all()
        assert same == (length not in changed)


@pytest.mark.parametrize("context_length", range(1, 9))
@pytest.mark.parametrize("group_size", range(1, 8))
def test_capacity_is_the_longest_length_that_stays_in_range(context_length: int, group_size: int) -> None:
    for window in range(context_length):
        reach = 0
        while max(told(reach, j, group_size, window) for j in range(reach + 1)) < context_length:
            reach += 1
        method = SelfExtend(group_size, window)
        assert method.capacity(context_length) == reach
        assert method.max_length(context_length) - reach == window % group_size


def test_labels_and_equality() -> None:
    assert str(SelfExtend(group_size=8, neighbor_window=64)) == "SelfExtend(G=8, w_n=64)"
    assert str(PlainRoPE()) == "stock"
    assert SelfExtend(np.int64(8), np.int32(64)) == SelfExtend(8, 64) != SelfExtend(8, 63)  # type: ignore[arg-type]
    suggested = SuggestedSelfExtend(8, 64, reason="it reaches")
    assert suggested == SelfExtend(8, 64) and SelfExtend(8, 64) == suggested
    assert len({suggested, SelfExtend(8, 64)}) == 1
    assert SelfExtend(8, 64) != PlainRoPE()


def test_positions_work_on_plain_ints() -> None:
    near, far = SelfExtend(group_size=2, neighbor_window=4).bands
    assert near.sees(9, 6) and not near.sees(9, 5)
    assert far.sees(9, 5) and not far.sees(9, 6)
    assert far.query_position(9) - far.key_position(0) == 6


def test_fractional_positions_stay_fractional() -> None:
    class Halved:
        bands = (Band(lambda i: i / 2, lambda j: j / 2),)

    assert relative_positions(Halved(), 4)[3].tolist() == [1.5, 1.0, 0.5, 0.0]


def test_overlapping_bands_are_refused() -> None:
    class Overlapping:
        bands = (Band(beyond=3), Band(nearest=2))

    with pytest.raises(ValueError, match="query 2, key 0"):
        relative_positions(Overlapping(), 5)
    assert visible_pairs(Overlapping(), 5).sum() == 15


def test_suggestions_for_four_times_the_context() -> None:
    found = suggest(4096, 16384)
    assert [(s.group_size, s.neighbor_window) for s in found] == [(10, 1024), (8, 512), (22, 2048)]
    assert all(s.inside_rule and s.reason for s in found)


@settings(deadline=None)
@given(context_length=st.integers(1, 60), factor=st.floats(1.01, 8))
def test_suggestions_reach_and_are_the_smallest(context_length: int, factor: float) -> None:
    target = max(context_length + 1, int(context_length * factor))
    found = suggest(context_length, target)
    assert found == sorted(found, key=lambda s: (not s.inside_rule, abs(s.neighbor_window - context_length / 4)))
    assert {s.neighbor_window for s in found} == {context_length // 8, context_length // 4, context_length // 2}
    for s in found:
        rule = s.neighbor_window + (target - s.neighbor_window) / s.group_size < 2 * context_length / 3 - 1e-9
        assert s.inside_rule == rule
        assert max(map(max, by_loops(target, s.group_size, s.neighbor_window))) < context_length
        for smaller in range(2, s.group_size):
            method = SelfExtend(smaller, s.neighbor_window)
            fits = method.capacity(context_length) >= target
            assert not (fits and (not s.inside_rule or inside_trained_region(method, context_length, target)))


def test_suggestion_flags_what_leans_on_the_rarest_positions() -> None:
    inside, outside = suggest(2, 10)
    assert (inside.inside_rule, outside.inside_rule) == (True, False)
    assert "trained least" in outside.reason and "trained least" not in inside.reason


def test_suggestion_when_none_is_needed() -> None:
    (only,) = suggest(256, 256)
    assert only.group_size == 1 and "not needed" in only.reason


@pytest.mark.parametrize(
    ("group_size", "window", "error", "message"),
    [
        (0, 4, ValueError, "group_size is 0, but must be at least 1"),
        (-3, 4, ValueError, "-3"),
        (2.0, 4, TypeError, "group_size must be a whole number, not 2.0"),
        (True, 4, TypeError, "not True"),
        (np.bool_(True), 4, TypeError, "group_size"),
        (np.array([2, 3]), 4, TypeError, "group_size must be a whole number, not array"),
        (np.array(True), 4, TypeError, "group_size must be a whole number"),
        ("8", 4, TypeError, "'8'"),
        (None, 4, TypeError, "None"),
        (2, -1, ValueError, "neighbor_window is -1, but must be at least 0"),
        (2, False, TypeError, "neighbor_window"),
        (2, 1.5, TypeError, "1.5"),
    ],
)
def test_bad_settings(group_size: object, window: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        SelfExtend(group_size, window)  # type: ignore[arg-type]


@pytest.mark.parametrize("window", [7, 8])
def test_a_window_as_long_as_the_context_is_refused(window: int) -> None:
    method = SelfExtend(2, window)
    for reach in (method.capacity, method.max_length):
        with pytest.raises(ValueError, match=f"neighbor_window {window} .* context length 7; use one of at most 6"):
            reach(7)


@pytest.mark.parametrize("length", [0, -1])
def test_bad_lengths(length: int) -> None:
    for function in (relative_positions, visible_pairs, band_index):
        with pytest.raises(ValueError, match=f"length is {length}"):
            function(PlainRoPE(), length)
    for pair in ((length, 5), (5, length)):
        with pytest.raises(ValueError, match=f"{length}"):
            suggest(*pair)
    with pytest.raises(ValueError, match="context_length"):
        SelfExtend(2, 0).capacity(length)
    with pytest.raises(TypeError, match="length"):
        relative_positions(PlainRoPE(), 4.0)  # type: ignore[arg-type]


@pytest.mark.parametrize("method", ["SelfExtend", (8, 64), SelfExtend, None], ids=str)
def test_what_is_no_method_is_refused(method: object) -> None:
    for function in (relative_positions, visible_pairs, band_index):
        with pytest.raises(TypeError, match="method must have .bands, a tuple of Band, as SelfExtend"):
            function(method, 8)  # type: ignore[arg-type]


def test_an_empty_band_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[4, 4\) is empty"):
        Band(nearest=4, beyond=4)
    with pytest.raises(ValueError, match="nearest is -1"):
        Band(nearest=-1)


def test_no_torch_is_loaded() -> None:
    code = "import sys, selfextend_viz.positions, selfextend_viz.methods; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_sliding_window_hides_the_far() -> None:
    assert visible_pairs(SlidingWindow(3), 6)[5].tolist() == [False, False, False, True, True, True]
