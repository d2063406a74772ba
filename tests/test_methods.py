"""The methods beside Self-Extend: who is seen, and where they are said to stand."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from method_matrix import METHODS as MATRIX
from method_matrix import head_positions

import selfextend_viz
from selfextend_viz.attention import FlashUnavailableError, choose
from selfextend_viz.methods import (
    METHODS,
    DualChunkAttention,
    DynamicNTK,
    LeakyReRoPE,
    Llama3Scaling,
    LlamaCppSelfExtend,
    LMInfinite,
    LogisticSelfExtend,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    ShiftedSparseAttention,
    ShuffledSelfExtend,
    SinksAtTrueDistance,
    SlidingWindow,
    StreamingLLM,
    StringAttention,
    YaRN,
)
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
        (StreamingLLM, (0, 4), ValueError, "sinks is 0"),
        (StreamingLLM, (4, 2.0), TypeError, "window must be a whole number, not 2.0"),
        (LMInfinite, (4, 0), ValueError, "window is 0"),
        (LMInfinite, ("4", 4), TypeError, "'4'"),
        (ShiftedSparseAttention, (5,), ValueError, "group_length is 5, but must be even"),
        (ShiftedSparseAttention, (0,), ValueError, "group_length is 0, but must be at least 2"),
        (ReRoPE, (0,), ValueError, "window is 0"),
        (LeakyReRoPE, (4, 0.5), ValueError, "factor is 0.5, but must be finite and at least 1"),
        (LeakyReRoPE, (4, math.inf), ValueError, "factor is inf"),
        (LeakyReRoPE, (4, True), TypeError, "factor must be a number, not True"),
        (LeakyReRoPE, (4, "2"), TypeError, "factor must be a number, not '2'"),
        (StringAttention, (4, 5), ValueError, "window is 5, but must be at most shift = 4"),
        (StringAttention, (4, -1), ValueError, "window is -1"),
        (DualChunkAttention, (4, 4), ValueError, "local_window is 4, but must be at most 3"),
        (DualChunkAttention, (1, 1), ValueError, "chunk_size is 1"),
        (LlamaCppSelfExtend, (4, 10), ValueError, "window is 10, but must be a multiple of group_size = 4"),
        (LogisticSelfExtend, (4, 1), ValueError, "ceiling is 1"),
        (LogisticSelfExtend, (4, 33, 0), ValueError, "rate is 0, but must be finite and above 0"),
        (PositionInterpolation, (0.9,), ValueError, "factor is 0.9"),
        (NTKAware, (math.nan,), ValueError, "factor is nan"),
        (DynamicNTK, (2, 0), ValueError, "original_length is 0"),
        (YaRN, (2, 4.5), TypeError, "original_length must be a whole number, not 4.5"),
        (YaRN, (2, 64, 1, 1), ValueError, "beta_fast is 1, but must be above beta_slow = 1"),
        (Llama3Scaling, (2, 64, 4, 4), ValueError, "high_freq_factor is 4, but must be above low_freq_factor = 4"),
        (LongRoPE, ([1, 2], [1]), ValueError, "short has 2 numbers and long 1"),
        (LongRoPE, ([], []), ValueError, "short has 0 numbers"),
        (LongRoPE, ([1, 0], [1, 1]), ValueError, r"short\[1\] is 0"),
        (LongRoPE, (2, [1]), TypeError, "short must be a list of numbers, not 2"),
    ],
)
def test_bad_numbers(build: Any, numbers: tuple[Any, ...], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(*numbers)


# Each map against its formula, transcribed pair by pair without bands.


def by_pairs(told: Callable[[int, int], float | None], length: int) -> list[list[float]]:
    """The map of a formula for one pair; -1 for None and for the future."""
    rows = [[told(i, j) if j <= i else None for j in range(length)] for i in range(length)]
    return [[-1 if number is None else number for number in row] for row in rows]


@settings(deadline=None)
@given(sinks=st.integers(1, 6), window=st.integers(1, 9), length=st.integers(1, 40))
def test_streaming_llm_is_positions_in_the_cache(sinks: int, window: int, length: int) -> None:
    """A cache of sinks and recent tokens, which evicts as it runs; a position is a place in it."""
    expected = np.full((length, length), -1)
    cache: list[int] = []
    for i in range(length):
        cache.append(i)
        if len(cache) > sinks + window:
            cache = cache[:sinks] + cache[-window:]
        for place, token in enumerate(cache):
            expected[i, token] = cache.index(i) - place
    np.testing.assert_array_equal(relative_positions(StreamingLLM(sinks, window), length), expected)


@settings(deadline=None)
@given(sinks=st.integers(1, 6), window=st.integers(1, 9), length=st.integers(1, 40))
def test_lm_infinite(sinks: int, window: int, length: int) -> None:
    def told(i: int, j: int) -> int | None:
        return i - j if i - j < window else window if j < sinks else None

    assert relative_positions(LMInfinite(sinks, window), length).tolist() == by_pairs(told, length)


@settings(deadline=None)
@given(half=st.integers(1, 5), groups=st.integers(1, 4), heads=st.integers(2, 7))
def test_shifted_sparse_attention_is_the_authors_roll_but_for_its_leak(half: int, groups: int, heads: int) -> None:
    """The heads' halves, the second rolled by half a group, cut into groups, each causal, and rolled back."""
    group, length = 2 * half, 2 * half * groups
    method = ShiftedSparseAttention(group)
    for head, told in enumerate(head_positions(method, length, heads)):
        order = np.roll(np.arange(length), -half if head >= heads // 2 else 0)
        seen = np.zeros((length, length), bool)
        for start in range(0, length, group):
            members = order[start : start + group]
            for place, token in enumerate(members):
                seen[token, members[: place + 1]] = True
        leak = method.leak(length) if head >= heads // 2 else np.zeros((length, length), bool)
        assert (seen[leak]).all() and not np.tril(leak).any()
        assert leak.any() == (head >= heads // 2)
        distance = np.subtract.outer(np.arange(length), np.arange(length))
        np.testing.assert_array_equal(told, np.where(seen & ~leak, distance, -1))


@settings(deadline=None)
@given(window=st.integers(1, 12), length=st.integers(1, 40))
def test_rerope_is_the_smaller_of_distance_and_window(window: int, length: int) -> None:
    expected = by_pairs(lambda i, j: min(i - j, window), length)
    assert relative_positions(ReRoPE(window), length).tolist() == expected


@settings(deadline=None)
@given(window=st.integers(1, 12), factor=st.floats(1, 9), length=st.integers(1, 40))
def test_leaky_rerope_divides_what_lies_past_the_window(window: int, factor: float, length: int) -> None:
    def told(i: int, j: int) -> float:
        return i - j if i - j < window else window + (i - j - window) / factor

    positions = relative_positions(LeakyReRoPE(window, factor), length)
    assert positions.dtype == np.float64
    np.testing.assert_allclose(positions, by_pairs(told, length), rtol=1e-12, atol=1e-12)


@settings(deadline=None)
@given(window=st.integers(0, 12), more=st.integers(0, 9), length=st.integers(1, 40))
def test_string_shifts_far_distances(window: int, more: int, length: int) -> None:
    shift = max(1, window + more)
    expected = by_pairs(lambda i, j: i - j if i - j < shift else i - j - shift + window, length)
    assert relative_positions(StringAttention(shift, window), length).tolist() == expected


@settings(deadline=None)
@given(chunk_size=st.integers(2, 14), local_window=st.integers(1, 13), length=st.integers(1, 60))
def test_dual_chunk_attention(chunk_size: int, local_window: int, length: int) -> None:
    assume(local_window < chunk_size)
    chunk = chunk_size - local_window

    def told(i: int, j: int) -> int:
        apart = i // chunk - j // chunk
        query = {0: i % chunk, 1: min(i % chunk + chunk, chunk_size)}.get(apart, chunk_size)
        return query - j % chunk

    positions = relative_positions(DualChunkAttention(chunk_size, local_window), length)
    assert positions.tolist() == by_pairs(told, length)
    distance = np.subtract.outer(np.arange(length), np.arange(length))
    near = (distance >= 0) & (distance <= min(local_window, chunk))
    np.testing.assert_array_equal(positions[near], distance[near])
    assert positions.max() <= chunk_size


def llama_cpp_cache(tokens: int, group_size: int, window: int) -> list[int]:
    """Every cached token's position once the last one is in, by llama.cpp's loop, which runs before each token."""
    positions: list[int] = []

    def change(start: int, stop: int, new: Callable[[int], int]) -> None:
        positions[:] = [new(position) if start <= position < stop else position for position in positions]

    past = done = 0
    for _ in range(tokens):
        while past >= done + window:
            rounds, saved = group_size * done // window, window // group_size * (group_size - 1)
            back = window // group_size - rounds * saved - window
            full = done + rounds * saved
            change(done, past, lambda position, by=rounds * saved: position + by)
            change(full, full + window, lambda position: position // group_size)
            change(full + window, past + rounds * saved, lambda position, by=back: position + by)
            past, done = past - saved, done + window // group_size
        positions.append(past)
        past += 1
    return positions


@settings(deadline=None)
@given(group_size=st.integers(1, 5), groups=st.integers(1, 4), length=st.integers(1, 50))
def test_llama_cpp_rewrites_its_cache(group_size: int, groups: int, length: int) -> None:
    positions = relative_positions(LlamaCppSelfExtend(group_size, group_size * groups), length)
    for i in range(length):
        cache = llama_cpp_cache(i + 1, group_size, group_size * groups)
        assert positions[i, : i + 1].tolist() == [cache[-1] - place for place in cache]


def test_llama_cpps_window_is_a_sawtooth() -> None:
    positions = relative_positions(LlamaCppSelfExtend(4, 16), 48)
    exact = [int((positions[i, : i + 1] == i - np.arange(i + 1)).sum()) for i in range(48)]
    assert exact[:16] == list(range(1, 17)) and exact[16:32] == exact[32:] == list(range(2, 18))
    assert positions[16, 0] == 4 != relative_positions(SelfExtend(4, 16), 17)[16, 0]


def self_groups(tokens: int, rate: float, capacity: int) -> list[int]:
    """Every key's group as SELF's kernels write them for a prompt: one launch a size, each over what came before."""
    first, last = [0] * (capacity + 1), [0] * (capacity + 1)
    for size in range(1, capacity - 1):
        low, high = ((math.log(y * capacity - y) - math.log(capacity - y)) / rate for y in (size, size + 1))
        first[size], last[size] = math.ceil(low), math.floor(high) - (high == math.floor(high))
    last[0] = -1
    groups, before = [0] * tokens, 0
    for size in range(1, capacity):
        count, following = last[size] - first[size] + 1, last[size + 1] - first[size + 1] + 1
        if count <= 0 or following <= 0:
            continue
        for token in range(before, tokens):
            number = last[size - 1] + (token - before + size - 1) // size
            if token > before + size * count and size != capacity - 1:
                continue
            if token and number <= tokens:
                groups[token] = number
        before += size * count
    return groups


@settings(deadline=None)
@given(window=st.integers(1, 30), ceiling=st.integers(2, 12), rate=st.floats(0.02, 0.3), length=st.integers(1, 300))
def test_self_is_the_authors_kernel(window: int, ceiling: int, rate: float, length: int) -> None:
    groups = self_groups(length, rate, ceiling)
    expected = by_pairs(lambda i, j: i - j if i - j < window else window + groups[i - window] - groups[j], length)
    assert relative_positions(LogisticSelfExtend(window, ceiling, rate), length).tolist() == expected


def test_selfs_groups_grow_to_the_ceiling_and_no_further() -> None:
    _, far = LogisticSelfExtend(8, ceiling=6, rate=0.3).bands
    sizes = np.unique(far.key_position(np.arange(2000)), return_counts=True)[1][:-1]
    assert (np.diff(sizes[1:]) >= 0).all() and sizes[1] == 1 and set(sizes[-100:]) == {5}


@settings(deadline=None)
@given(group_size=st.integers(2, 9), window=st.integers(0, 20), length=st.integers(1, 40))
def test_compat_shows_the_true_division(group_size: int, window: int, length: int) -> None:
    def told(i: int, j: int) -> float:
        return i - j if i - j < window else i // group_size + window - window / group_size - j // group_size

    method = SelfExtend(group_size, window, compat="longlm")
    np.testing.assert_allclose(relative_positions(method, length), by_pairs(told, length), rtol=1e-12)
    stock = relative_positions(PlainRoPE(), length)
    assert (relative_positions(method, length) == stock).all() == (length < method.differs_from)
    assert (method == SelfExtend(group_size, window)) is False
    assert (window % group_size == 0) == (relative_positions(method, 60).dtype == np.int64)


# Laws between methods


@settings(deadline=None)
@given(window=st.integers(1, 30), length=st.integers(1, 60))
def test_rerope_is_the_limit_of_self_extend(window: int, length: int) -> None:
    limit = relative_positions(SelfExtend(max(length, window + 1), window), length)
    np.testing.assert_array_equal(relative_positions(ReRoPE(window), length), limit)


@settings(deadline=None)
@given(group_size=st.integers(2, 9), window=st.integers(1, 20), length=st.integers(1, 60))
def test_leaky_rerope_is_self_extend_without_the_floor(group_size: int, window: int, length: int) -> None:
    """Every floor takes a fraction off; put back, the ramp is left."""
    places, distance = np.arange(length), np.subtract.outer(np.arange(length), np.arange(length))
    taken = (places[:, None] % group_size - places[None] % group_size - window % group_size) / group_size
    ramp = relative_positions(SelfExtend(group_size, window), length) + np.where(distance >= window, taken, 0)
    np.testing.assert_allclose(relative_positions(LeakyReRoPE(window, group_size), length), ramp, atol=1e-12)


def test_string_at_its_own_distance_and_interpolation_by_one_are_plain() -> None:
    for method in (StringAttention(9, 9), LeakyReRoPE(4, 1), LlamaCppSelfExtend(1, 6), LogisticSelfExtend(40)):
        np.testing.assert_array_equal(relative_positions(method, 40), relative_positions(PlainRoPE(), 40))


@pytest.mark.parametrize("context_length", [1, 5, 12])
@pytest.mark.parametrize(
    "method",
    [
        *(StringAttention(s, w) for s, w in ((1, 0), (6, 2), (6, 6), (30, 4))),
        *(LeakyReRoPE(w, k) for w, k in ((1, 4), (4, 2.5), (30, 2))),
    ],
    ids=str,
)
def test_capacity_is_the_longest_length_in_range(method: Any, context_length: int) -> None:
    reach = method.capacity(context_length)
    assert relative_positions(method, reach).max() <= context_length - 1 < relative_positions(method, reach + 1).max()
    stock = [(relative_positions(method, n) == relative_positions(PlainRoPE(), n)).all() for n in range(1, 40)]
    assert method.differs_from == (stock.index(False) + 1 if False in stock else None)


# Registration


def test_every_method_is_registered_once_and_in_the_matrix() -> None:
    assert {type(method) for method in MATRIX} >= set(METHODS.values())
    for name, method in METHODS.items():
        assert method.__name__ == name and getattr(selfextend_viz, name) is method
        assert dataclasses.is_dataclass(method) and method.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert len({str(method) for method in MATRIX}) == len({*MATRIX}) == len(MATRIX)


@pytest.mark.parametrize("method", MATRIX, ids=str)
def test_flash_runs_intervals_and_refuses_the_rest(method: Method) -> None:
    query = torch.zeros(1, 2, 30, 16)
    intervals = all(band.visible is None and band.heads == slice(None) for band in method.bands)
    if intervals:
        assert choose("flash", query, query, query, method.bands).name == "flash"
    else:
        with pytest.raises(FlashUnavailableError, match="use implementation='eager'"):
            choose("flash", query, query, query, method.bands)


def test_which_methods_flash_runs() -> None:
    eager = {
        SinksAtTrueDistance,
        StreamingLLM,
        LMInfinite,
        ShiftedSparseAttention,
        DualChunkAttention,
        LlamaCppSelfExtend,
    }
    found = {type(method) for method in MATRIX if any(band.visible is not None for band in method.bands)}
    assert found == eager


# Positions for frequencies: the same whatever is scaled


def test_frequency_methods_leave_positions_alone() -> None:
    scaling = [method for method in MATRIX if hasattr(method, "rope_parameters")]
    assert len({type(method) for method in scaling}) == 6
    for method in scaling:
        np.testing.assert_array_equal(relative_positions(method, 20), relative_positions(PlainRoPE(), 20))


def test_the_leak_wants_whole_groups_and_compat_a_known_name() -> None:
    with pytest.raises(ValueError, match="length 9 is no multiple of group_length 4"):
        ShiftedSparseAttention(4).leak(9)
    with pytest.raises(ValueError, match="unknown compat 'llama'"):
        SelfExtend(2, 4, compat="llama")
