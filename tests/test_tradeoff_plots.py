"""The pictures of a sweep hold its numbers, the right way round."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz import layer_sensitivity, passkey
from selfextend_viz.experiments.rows import LayerRow, wilson_interval
from selfextend_viz.methods.per_layer import PerLayer
from selfextend_viz.plots import (
    headroom,
    plot_depth_maps,
    plot_frontier,
    plot_headroom,
    plot_layer_sensitivity,
    plot_paired_losses,
    plot_pareto,
    plot_position_losses,
    plot_worst_depth,
    worst_depth_map,
)
from selfextend_viz.plots.paired_losses import paired_losses
from selfextend_viz.plots.position_losses import position_losses
from selfextend_viz.plots.theme import REFERENCE_COLOR, RIGHT
from selfextend_viz.positions import SelfExtend, inside_trained_region, relative_positions
from selfextend_viz.sweeps.front import pareto_front
from selfextend_viz.sweeps.rows import CellRow

L = 64
A, B, C = SelfExtend(2, 8), SelfExtend(4, 16), SelfExtend(8, 8)


def named(figure, name):
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def row(method, task, length, **found):
    setting = method if isinstance(method, SelfExtend) else None
    numbers = (setting.group_size, setting.neighbor_window) if setting else (None, None)
    depth, seed = found.pop("depth", None), found.pop("seed", 0)
    return CellRow(task, str(method), *numbers, length, depth, seed, found.pop("trials", 8), **found)


def keys(method, length, *exact, **changes):
    return [row(method, "passkey", length, depth=d, exact=k, outcomes=(), **changes) for d, k in enumerate(exact)]


ROWS = [
    *keys(A, 128, 8, 1),
    *keys(B, 128, 8, 5),
    *keys(C, 128, 8, 8),
    *keys(A, 64, 8, 8),
    *keys("stock", 64, 8, 7),
    *keys("stock", 128, 0, 0),
    row(A, "divergence", 128, kl=0.5, kl_error=0.1, kl_in_range=0.01),
    row(B, "divergence", 128, kl=0.05, kl_error=0.01, kl_in_range=0.04),
    row(C, "divergence", 128, kl=0.2, kl_in_range=0.08),
    row("stock", "divergence", 128, kl=2.0, kl_error=0.1, kl_in_range=0.0),
    row(B, "perplexity", 128, difference=0.2, difference_error=0.1),
    row(B, "perplexity", 128, difference=0.5, difference_error=0.2, seed=1),
    row(B, "perplexity", 64, difference=0.1),
    row("stock", "perplexity", 128, difference=1.0, difference_error=0.1),
]


def test_the_worst_depth_map_has_windows_as_rows_and_hatches_what_is_undecided():
    data = worst_depth_map(ROWS, 128, settings=[SelfExtend(2, 16)])
    assert (data.group_sizes, data.windows) == ((2, 4, 8), (8, 16))
    assert data.counts.tolist() == [["1/8", "", "8/8"], ["", "5/8", ""]]
    assert data.share.tolist() == [[0.125, None, 1.0], [None, 0.625, None]]
    assert data.undecided.tolist() == [[False, False, False], [False, True, False]]
    assert wilson_interval(1, 8)[1] < 0.5 < wilson_interval(5, 8)[1]
    figure = plot_worst_depth(ROWS, 128, context_length=L, choice=C)
    assert named(figure, "worst depth").z.tolist() == data.share.tolist()
    strokes = [(round(x), round(y)) for x, y in zip(*_ends(named(figure, "undecided")), strict=True)]
    assert set(strokes) == {(1, 1)}
    pending = named(figure, "pending")
    assert set(zip(pending.x, pending.y, strict=True)) == {(1, 0), (0, 1), (2, 1)}
    frame = named(figure, "choice")
    assert (round(np.mean(frame.x)), round(np.mean(frame.y[:4]))) == (2, 0)


def _ends(trace):
    return [x for x in trace.x if x is not None], [y for y in trace.y if y is not None]


def test_the_line_of_the_reach_parts_settings_as_the_formula_does():
    sizes, windows, length = (2, 3, 4, 6, 8), (8, 16, 32, 48), 150
    settings = [SelfExtend(size, window) for size, window in itertools.product(sizes, windows)]
    figure = plot_worst_depth([], length, context_length=L, settings=settings)
    reach, rule = named(figure, "reach"), named(figure, "rule")
    half = len(rule.x) // 2
    order = np.argsort(rule.x[half:])
    for setting in settings:
        place = sizes.index(setting.group_size), windows.index(setting.neighbor_window)
        if setting.neighbor_window % setting.group_size == 0 and reach.x[0] <= place[0] <= reach.x[-1]:
            below = place[1] <= np.interp(place[0], reach.x, reach.y) + 1e-2
            assert below == (setting.capacity(L) >= length), setting
        xs, ys = np.array(rule.x[half:])[order], np.array(rule.y[half:])[order]
        if xs[0] <= place[0] <= xs[-1] and place[1] < np.interp(place[0], xs, ys) - 0.2:
            assert inside_trained_region(setting, L, length)


@pytest.mark.parametrize("windows", [(8, 16), (4, 8, 16, 32), (4, 8, 12, 16, 20, 24, 32, 40)])
@pytest.mark.parametrize("length", [96, 128, 150, 200, 300, 450])
def test_labels_on_the_worst_depth_map_cover_no_count(windows, length):
    settings = [SelfExtend(size, window) for size, window in itertools.product((2, 3, 4, 6, 8), windows)]
    figure = plot_worst_depth([], length, context_length=L, settings=settings)
    height = figure.layout.height - figure.layout.margin.t - 56
    pixels = height / len(windows)
    for note in figure.layout.annotations:
        if note.text in (f"N = {length:,} fits →", "authors' rule"):
            at = note.y * pixels + (note.yshift or 0)
            low, high = {"top": (at - 22, at), "middle": (at - 11, at + 11)}[note.yanchor]
            for row in range(len(windows)):
                assert high < row * pixels - 8 or low > row * pixels + 8, (note.text, note.y)


def test_other_lengths_of_the_sweep_have_lines_of_their_own():
    rows = [*keys(A, 128, 8), *keys(B, 128, 8), *keys(C, 200, 8)]
    thin = named(plot_worst_depth(rows, 128, context_length=L), "isolines")
    alone = named(plot_worst_depth(rows, 200, context_length=L), "reach")
    assert list(thin.x[:-1]) == list(alone.x)
    assert list(thin.y[:-1]) == list(alone.y)


def test_nothing_known_is_no_error():
    figure = plot_worst_depth([], 128, context_length=L)
    assert "no result yet" in figure.layout.title.text
    assert "no result yet" in plot_frontier([], 128, context_length=L).layout.title.text
    assert "no result yet" in plot_pareto([], 128).layout.title.text


def test_the_front_is_what_no_other_beats():
    points = [(1.0, 3.0), (2.0, 2.0), (3.0, 1.0), (2.0, 3.0), (3.0, 3.0), (1.0, 3.0)]
    assert pareto_front(points) == [0, 1, 2, 5]
    rng = np.random.default_rng(0)
    cloud = [tuple(point) for point in rng.integers(0, 6, (60, 3)).tolist()]
    beaten = {
        b
        for (a, one), (b, other) in itertools.permutations(enumerate(cloud), 2)
        if one != other and all(x <= y for x, y in zip(one, other, strict=True))
    }
    assert pareto_front(cloud) == [number for number in range(60) if number not in beaten]


def color_of(text):
    return f"rgb({', '.join(str(int(text[place : place + 2], 16)) for place in (1, 3, 5))})"


def test_the_frontier_puts_the_price_across_and_the_length_up():
    figure = plot_frontier(ROWS, 128, context_length=L, choice=B)
    settings = named(figure, "settings")
    assert list(zip(settings.x, settings.y, strict=True)) == [(0.01, 0.5), (0.04, 0.05), (0.08, 0.2)]
    assert settings.marker.color[2] == color_of(RIGHT)
    asked = [each for each in ROWS if each.task == "divergence"]
    assert set(named(plot_frontier(asked, 128, context_length=L), "settings").marker.color) == {REFERENCE_COLOR}
    assert settings.error_y.array == pytest.approx((0.196, 0.0196, 0.0), abs=1e-3)
    assert list(named(figure, "front").x) == [0.01, 0.04]
    assert set(named(figure, "stock").y) == {2.0}
    assert (named(figure, "choice").x, named(figure, "choice").y) == ((0.04,), (0.05,))


def test_the_pareto_picture_weighs_answers_price_and_group_size():
    figure = plot_pareto(ROWS, 128, choice=C)
    settings = named(figure, "settings")
    assert list(zip(settings.x, settings.y, strict=True)) == [(0.01, 0.125), (0.04, 0.625), (0.08, 1.0)]
    assert list(named(figure, "front").x) == [0.01, 0.04, 0.08]
    coarse = SelfExtend(8, 16)  # answers no more than C, costs more and groups as coarsely
    more = [*ROWS, *keys(coarse, 128, 8, 8), row(coarse, "divergence", 128, kl=0.2, kl_in_range=0.09)]
    assert list(named(plot_pareto(more, 128), "front").x) == [0.01, 0.04, 0.08]


@pytest.mark.parametrize("length", [3, 20, 64, 100, 200])
@pytest.mark.parametrize("setting", [A, B, C, SelfExtend(1, 0), SelfExtend(5, 13)])
def test_headroom_is_the_largest_position_of_the_map(setting, length):
    assert headroom(setting, length, L) == (relative_positions(setting, length).max() + 1) / L
    assert (headroom(setting, length, L) <= 1) == (length <= setting.capacity(L))


def test_the_headroom_bars_are_sorted_and_hatched_beyond_l():
    bars = plot_headroom([A, B, C], 150, context_length=L).data[0]
    assert list(bars.x) == sorted((headroom(each, 150, L) for each in (A, B, C)), reverse=True)
    assert [shape == "/" for shape in bars.marker.pattern.shape] == [share > 1 for share in bars.x]


def test_small_multiples_have_depth_down_and_length_across_over_all_seeds():
    again = [replace(each, seed=1) for each in keys(A, 128, 4, 3)]
    figure = plot_depth_maps([*ROWS, *again], context_length=L)
    assert [trace.name for trace in figure.data[::2]] == [str(A), str(C), str(B), "stock"]
    first = named(figure, str(A))
    assert first.customdata.tolist() == [["8/8", "12/16"], ["8/8", "4/16"]]
    assert named(figure, f"{A} reach").x == (0.5, 0.5)  # 120 tokens
    assert named(figure, f"{C} reach").x == ()  # both lengths lie within it
    assert named(figure, "stock reach").x == (0.5, 0.5)
    panels = {(trace.xaxis, trace.yaxis) for trace in figure.data}
    assert len(panels) == 4


def test_paired_losses_join_seeds_by_their_precision():
    curves = paired_losses(ROWS)
    ((short, value, half), (length, joined, error)) = curves[str(B)]
    assert (short, value) == (64, 0.1)
    assert math.isnan(half)
    assert length == 128
    assert joined == pytest.approx((0.2 / 0.01 + 0.5 / 0.04) / (1 / 0.01 + 1 / 0.04))
    assert error == pytest.approx(1.959964 / math.sqrt(125))
    figure = plot_paired_losses(ROWS, context_length=L, conditions=["stock"])
    assert [trace.name for trace in figure.data] == ["L", "stock"]
    assert named(figure, "stock").y == (1.0,)


def test_losses_by_position_are_means_of_their_bins():
    losses = np.arange(32.0).reshape(2, 16)
    places, means = position_losses(losses, bins=2)
    assert means.tolist() == pytest.approx([8 + 9.5, 8 + 13.5])  # of columns 8 to 11 and 12 to 15 in both texts
    assert places.tolist() == [10.5, 14.5]  # entry n is of token n + 1
    figure = plot_position_losses({"stock": losses, str(A): losses[0]}, context_length=12, reach={str(A): 13})
    assert named(figure, "stock").y.tolist() == position_losses(losses)[1].tolist()
    assert named(figure, f"{A} reach").x == (13,)
    assert named(figure, "stock reach").x == ()


def test_layers_are_lent_the_method_one_by_one():
    model = tiny_llama(vocab_size=257, max_position_embeddings=64, num_hidden_layers=3)
    options = {"trials": 2, "depths": (0.0, 1.0), "seed": 5, "task": "natural", "digits": 2}
    rows = list(layer_sensitivity(model, bytes_tokenizer(), B, length=200, **options))
    expected = [("none", None), ("all", None), *((w, n) for n in range(3) for w in ("alone", "all but"))]
    assert [(each.where, each.layer) for each in rows] == expected
    lent = [None, B, {0: B}, {1: B, 2: B}, {1: B}, {0: B, 2: B}, {2: B}, {0: B, 1: B}]
    asked = passkey(model, bytes_tokenizer(), lengths=[200], conditions=lent, **options)
    found = {}
    for each in asked:
        found.setdefault(each.condition, []).append(each.log_probability)
    for each, method in zip(rows, lent, strict=True):
        label = "stock" if method is None else str(PerLayer.of(method) if isinstance(method, dict) else method)
        assert each.condition == label
        assert each.trials == 4
        assert each.log_probability == pytest.approx(np.mean(found[label]))


def test_of_two_layers_the_rest_of_one_is_the_other_alone():
    model = tiny_llama(vocab_size=257, max_position_embeddings=64, num_hidden_layers=2)
    rows = list(layer_sensitivity(model, bytes_tokenizer(), B, length=200, trials=1, depths=(0.5,), digits=2))
    by_place = {(each.where, each.layer): each.log_probability for each in rows}
    assert by_place["alone", 0] == by_place["all but", 1] != by_place["alone", 1]
    with pytest.raises(ValueError, match="there is no layer 2"):
        layer_sensitivity(model, bytes_tokenizer(), B, length=200, layers=[2])


def layer_row(where, layer, exact):
    return LayerRow(where, layer, str(B), 128, 8, exact, *wilson_interval(exact, 8), -1.0)


def test_the_layer_picture_holds_both_ways_of_lending():
    rows = [layer_row("none", None, 1), layer_row("all", None, 8), layer_row("alone", 0, 2), layer_row("all but", 0, 4)]
    figure = plot_layer_sensitivity([*rows, layer_row("all but", 1, 7), layer_row("alone", 1, 1)])
    assert named(figure, "alone").y == (0.25, 0.125)
    assert named(figure, "all but").y == (0.5, 0.875)
    assert set(named(figure, "none").y) == {0.125}
    assert figure.layout.title.text == "Without layer 0 50% are right; layer 0 alone gives 25%"


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (lambda: plot_worst_depth(ROWS, 0, context_length=L), "length is 0"),
        (lambda: plot_headroom([], 128, context_length=L), "0 settings"),
        (lambda: plot_depth_maps([], context_length=L), "0 rows are of a pass-key task"),
        (lambda: plot_paired_losses([], context_length=L), "0 rows of the task perplexity"),
        (lambda: plot_position_losses({}, context_length=L), "0 candidates"),
        (lambda: plot_position_losses({"stock": [1.0]}, context_length=L), "losses of 2 tokens"),
        (lambda: plot_layer_sensitivity([layer_row("all", None, 8)]), "0 rows are of a layer"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()
