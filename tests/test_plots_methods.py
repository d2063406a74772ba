"""Figures that set methods side by side hold the numbers given, and their titles say no more than those do."""

import math
from collections import Counter
from dataclasses import replace

import numpy as np
import plotly.graph_objects as go
import pytest
from method_matrix import METHOD_CASES
from test_plots import named, numbers_in

from selfextend_viz.experiments.comparison_rows import MassRow
from selfextend_viz.experiments.rows import PasskeyRow, PerplexityRow, wilson_interval
from selfextend_viz.frequencies import scaled_frequencies
from selfextend_viz.methods import (
    DualChunkAttention,
    DynamicNTK,
    LeakyReRoPE,
    Llama3Scaling,
    LMInfinite,
    LongRoPE,
    NTKAware,
    PositionInterpolation,
    ReRoPE,
    SlidingWindow,
    StreamingLLM,
    YaRN,
)
from selfextend_viz.plots import (
    collisions,
    found_curves,
    plot_collisions,
    plot_comparison,
    plot_mass_outside,
    plot_position_maps,
    plot_query_positions,
    position_maps,
    query_positions,
)
from selfextend_viz.plots.comparison import spread
from selfextend_viz.plots.told_distances import slowing, told_distances
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.rope import default_inv_freq

L, N = 16, 40
SE, WINDOW, LEAKY = SelfExtend(4, 6), SlidingWindow(L), LeakyReRoPE(6, factor=3)
SCALED = [
    PositionInterpolation(8),
    NTKAware(8),
    DynamicNTK(4, original_length=320),
    YaRN(8, original_length=320),
    Llama3Scaling(8, original_length=320),
    Llama3Scaling(8, original_length=16),
    LongRoPE([1.0] * 31 + [1.5], [1.0, *np.linspace(2, 9, 31)], factor=8, original_length=320),
]


def key_row(condition: str, length: int, depth: float, exact: int, trials: int = 20, task: str = "paper") -> PasskeyRow:
    return PasskeyRow(task, condition, length, depth, trials, exact, *wilson_interval(exact, trials), -0.25, 0)


def loss_row(condition: str, length: int, nll: float, error: float = 0.1) -> PerplexityRow:
    return PerplexityRow(condition, length, 8, 2000, nll, error, 0.5, 0.05)


KEYS = [key_row(name, length, depth, exact) for name, length, depth, exact in [
    ("stock", 32, 0.0, 1), ("stock", 16, 0.0, 20), ("stock", 16, 0.5, 19),
    ("SlidingWindow(16)", 16, 0.5, 20), ("SlidingWindow(16)", 32, 0.5, 2),
    (str(SE), 16, 0.5, 20), (str(SE), 32, 0.5, 18), (str(SE), 32, 0.0, 17),
]]  # fmt: skip
LOSSES = [loss_row(name, length, nll) for name, length, nll in [
    ("stock", 16, 1.0), ("stock", 32, 4.0), ("SlidingWindow(16)", 32, 1.02), ("SlidingWindow(16)", 16, 1.0),
    (str(SE), 16, 1.0), (str(SE), 32, 1.1),
]]  # fmt: skip
MASSES = [
    MassRow("stock", 32, 0.2, 0.9, 0.25, 1.0, 4, 16, 12),
    MassRow("stock", 64, 0.4, 0.95, 0.5, 1.0, 4, 16, 12),
    MassRow(str(SE), 32, 0.0, 0.0, 0.0, 1.0, 4, 16, 12),
    MassRow("NTKAware(4)", 32, 0.0004, 0.01, 0.1, 3.2, 4, 16, 12),
]
FIGURES = [
    plot_position_maps([PlainRoPE(), SE, WINDOW, LEAKY, YaRN(4)], N, difference=(SE, WINDOW), context_length=L),
    plot_position_maps([SE], 5),
    plot_query_positions([PlainRoPE(), SE, StreamingLLM(2, 9), YaRN(4), WINDOW], 300, context_length=L),
    plot_query_positions([SE], 1),
    plot_collisions([PlainRoPE(), SE, LMInfinite(4, 9)], N),
    plot_comparison(KEYS, LOSSES, context_length=L),
    plot_comparison(KEYS[:1], [loss_row("stock", 32, math.nan, math.nan)], context_length=L),
    plot_mass_outside(MASSES),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_no_nan_and_a_title_in_every_figure(figure: go.Figure) -> None:
    content = figure.to_plotly_json()
    assert not [number for number in numbers_in([content["data"], content["layout"]]) if math.isnan(number)]
    assert figure.layout.title.text
    assert figure.layout.template.layout.paper_bgcolor == figure.layout.template.layout.plot_bgcolor == "rgba(0,0,0,0)"


class TestToldDistances:
    @pytest.mark.parametrize(("name", "method"), METHOD_CASES)
    def test_they_are_the_relative_positions_slowed(self, name, method):
        places = np.arange(N)
        told = told_distances(method, places[:, None], places[None, :], length=N, context_length=L)
        wanted = relative_positions(method, N)
        slowed = slowing(method, N, context_length=L)
        assert (np.isnan(told) == (wanted < 0)).all(), name
        np.testing.assert_allclose(told[wanted >= 0] * (slowed[1] if slowed else 1), wanted[wanted >= 0])

    @pytest.mark.parametrize("method", SCALED, ids=str)
    @pytest.mark.parametrize("length", [200, 1280])
    def test_first_and_last_pair_are_slowed_as_the_rule_slows_them(self, method, length):
        plain, _ = default_inv_freq(64)
        scaled, _ = scaled_frequencies(method.rope_parameters, plain, theta=10000.0, length=length)
        ratio = plain / scaled
        assert slowing(method, length) == pytest.approx((ratio[0].item(), ratio[-1].item()), rel=1e-5)

    def test_dynamic_scaling_leaves_short_texts_alone(self):
        assert slowing(DynamicNTK(4), 16, context_length=16) == (1.0, 1.0)
        assert slowing(DynamicNTK(4), 64, context_length=16) == (1.0, 4 * 4 - 3)
        assert slowing(SE, 64) is None

    def test_a_missing_trained_length_is_said(self):
        with pytest.raises(ValueError, match=r"DynamicNTK\(4\) slows its pairs by L.*pass context_length"):
            plot_position_maps([DynamicNTK(4)], N)


class TestPositionMaps:
    def test_each_panel_holds_its_methods_positions_on_one_scale(self):
        methods = [PlainRoPE(), SE, WINDOW, LEAKY, DualChunkAttention(11, local_window=4)]
        figure = plot_position_maps(methods, N, context_length=L)
        for name, method in zip(["plain RoPE", *map(str, methods[1:])], methods, strict=True):
            heatmap = named(figure, f"{name} map")
            wanted = relative_positions(method, N)
            for i in range(N):
                for j in range(N):
                    told = heatmap.z[i][j]
                    assert told is None if wanted[i, j] < 0 else told == pytest.approx(wanted[i, j], abs=6e-4)
            assert heatmap.coloraxis == "coloraxis"
        axes = [figure.layout[f"yaxis{number or ''}"] for number in ("", 2, 3, 4, 5)]
        assert all(axis.range == (N - 0.5, -0.5) for axis in axes), "queries run downwards"

    def test_what_was_never_trained_is_hatched_and_nothing_else(self):
        figure = plot_position_maps([PlainRoPE(), SE], N, context_length=L)
        strokes = named(figure, "plain RoPE hatch")
        ends = [(x, y) for x, y in zip(strokes.x, strokes.y, strict=True) if x is not None]
        assert ends
        for (x0, y0), (x1, y1) in zip(ends[::2], ends[1::2], strict=True):
            assert int((y0 + y1) / 2 + 0.5) - int((x0 + x1) / 2 + 0.5) >= L
        assert len(named(figure, f"{SE} hatch").x) == 0
        assert figure.layout.title.text == "At 40 tokens 1 of 2 tell no distance of L = 16 or more"

    def test_the_difference_is_first_minus_second_where_both_see(self):
        figure = plot_position_maps([SE, WINDOW, LEAKY], N, difference=(SE, WINDOW), context_length=L)
        first, second = relative_positions(SE, N), relative_positions(WINDOW, N)
        apart, unseen = named(figure, "difference map"), named(figure, "difference unseen")
        for i in range(N):
            for j in range(N):
                both = first[i, j] >= 0 and second[i, j] >= 0
                assert apart.z[i][j] == (first[i, j] - second[i, j] if both else None)
                assert unseen.z[i][j] == (1 if (first[i, j] >= 0) != (second[i, j] >= 0) else None)
        scale = figure.layout.coloraxis2
        assert scale.cmax == -scale.cmin == np.abs((first - second)[second >= 0]).max()
        assert len(named(figure, "difference hatch").x)
        assert "one of them does not see" in figure.layout.annotations[-1].text
        both = plot_position_maps([SE, LEAKY], N, difference=(LEAKY, SE))
        assert len(named(both, "difference hatch").x) == 0
        assert "does not see" not in both.layout.annotations[-1].text

    def test_scaled_frequencies_say_what_is_drawn(self):
        figure = plot_position_maps([PositionInterpolation(4), SE], N, context_length=L)
        assert named(figure, "PositionInterpolation(4) map").z[N - 1][0] == pytest.approx((N - 1) / 4)
        assert "its slowest pair turns as at d / 4" in figure.layout.annotations[0].text
        assert "slowest pair" in figure.layout.title.subtitle.text
        assert "1 of 1" in figure.layout.title.text, "frequencies are not judged by distances"
        alone = plot_position_maps([PositionInterpolation(4)], N, context_length=L)
        assert alone.layout.title.text == "How far away each of 40 tokens is said to be"

    def test_long_texts_are_sampled_with_both_ends(self):
        tokens, (told,) = position_maps([SE], 5000, max_cells=60)
        assert (len(tokens), tokens[0], tokens[-1]) == (60, 0, 4999)
        assert told[-1, 7] == 4999 // 4 + 6 - 6 // 4 - tokens[7] // 4
        assert "60 of 5,000 tokens" in plot_position_maps([SE], 5000, max_cells=60).layout.title.subtitle.text

    @pytest.mark.parametrize(
        ("wrong", "error", "words"),
        [
            (lambda: plot_position_maps([], N), ValueError, "0 methods"),
            (lambda: plot_position_maps([(4, 6)], N), TypeError, "bands"),
            (lambda: plot_position_maps([SE], 0), ValueError, "length is 0"),
            (lambda: plot_position_maps([SE], N, context_length=0), ValueError, "context_length is 0"),
            (lambda: plot_position_maps([SE], N, max_cells=1), ValueError, "max_cells is 1"),
            (lambda: plot_position_maps([SE], N, difference=(SE, LEAKY)), ValueError, "none of the 1 methods"),
            (lambda: plot_position_maps([SE], N, difference=SE), TypeError, "two of the methods"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_in_words(self, wrong, error, words):
        with pytest.raises(error, match=words):
            wrong()


class TestQueryPositions:
    @pytest.mark.parametrize(("name", "method"), METHOD_CASES)
    def test_curves_hold_what_the_query_is_told(self, name, method):
        curve = query_positions(method, N, query=33, context_length=L)
        assert curve.distances.tolist() == list(range(34))
        slowed = slowing(method, N, context_length=L)
        wanted = relative_positions(method, N)[33, 33::-1] / (slowed[1] if slowed else 1)
        np.testing.assert_allclose(curve.told, np.where(wanted < 0, np.nan, wanted), err_msg=name)

    def test_the_figure_holds_the_curves_with_gaps_where_nothing_is_seen(self):
        figure = plot_query_positions([PlainRoPE(), SE, WINDOW], N, context_length=L)
        assert list(named(figure, "plain RoPE").y) == list(range(N))
        assert list(named(figure, str(SE)).y) == relative_positions(SE, N)[-1, ::-1].tolist()
        assert list(named(figure, str(WINDOW)).y) == [*range(L), *[None] * (N - L)]
        assert list(named(figure, "L").y) == [L, L]
        assert max(named(figure, "never trained").y) >= figure.layout.yaxis.range[1]
        assert (
            figure.layout.title.text == "Plain RoPE tells token 39 distances past the trained L = 16; the others do not"
        )

    def test_names_say_how_a_curve_ends(self):
        figure = plot_query_positions([PlainRoPE(), SE, WINDOW], N, context_length=L)
        said = {note.text: note for note in figure.layout.annotations}
        assert "<b>plain RoPE</b>, in the end 39" in said
        assert "<b>SlidingWindow</b>(16) sees no farther key" in said
        assert said["<b>SelfExtend</b>(G=4, w_n=6)"].x == N - 1

    def test_few_far_keys_are_drawn_as_marks(self):
        figure = plot_query_positions([StreamingLLM(2, 9)], 400)
        marks = named(figure, "StreamingLLM(sinks=2, window=9) few").y
        assert [value for value in marks if value is not None] == [9, 10]
        assert [value for value in named(figure, "StreamingLLM(sinks=2, window=9)").y if value is not None] == [
            *range(9), 9, 10,
        ]  # fmt: skip

    def test_a_fan_reaches_from_the_slowest_pair_to_the_fastest(self):
        figure = plot_query_positions([YaRN(4), PositionInterpolation(4)], N, context_length=L)
        fan = named(figure, "YaRN(4) pairs")
        assert list(fan.y)[:N] == [d / 4 for d in range(N)] and list(fan.y)[N:] == list(range(N))[::-1]
        assert len(named(figure, "PositionInterpolation(4) pairs").x) == 0, "all its pairs are slowed alike"
        assert (
            "YaRN(4) keeps true distances, but its slowest pair turns as at d / 4" in figure.layout.title.subtitle.text
        )
        many = plot_query_positions([YaRN(2), YaRN(4), NTKAware(8)], N, context_length=L)
        assert all(len(trace.x) == 0 for trace in many.data if trace.name.endswith(" pairs"))

    def test_names_at_the_edge_do_not_cover_each_other(self):
        figure = plot_query_positions([SelfExtend(g, 6) for g in range(20, 30)], 500, context_length=99)
        places = sorted(note.y for note in figure.layout.annotations if note.x == 499)
        assert len(places) == 10
        assert np.diff(places).min() > 0.99 * 17 * figure.layout.yaxis.range[1] / 330
        assert places[-1] <= figure.layout.yaxis.range[1]

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (lambda: plot_query_positions([], N), "0 methods"),
            (lambda: plot_query_positions([SE], N, query=N), "query 40 lies outside the 40 tokens"),
            (lambda: plot_query_positions([SE], N, query=-1), "query is -1"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_in_words(self, wrong, words):
        with pytest.raises(ValueError, match=words):
            wrong()


class TestCollisions:
    @pytest.mark.parametrize(("name", "method"), METHOD_CASES)
    def test_they_are_counted_as_by_hand(self, name, method):
        data = collisions(method, N)
        told = [position for position in relative_positions(method, N)[-1].tolist() if position >= 0]
        counts = Counter(told)
        entropy = -sum(count / len(told) * math.log2(count / len(told)) for count in counts.values())
        assert (data.keys, data.positions, data.most) == (len(told), len(counts), max(counts.values())), name
        assert data.entropy == pytest.approx(entropy, abs=1e-9)
        assert data.entropy <= data.whole_entropy + 1e-9

    def test_a_case_by_head(self):
        data = collisions(ReRoPE(8), 24)
        assert (data.keys, data.positions, data.most) == (24, 9, 16)
        assert data.entropy == pytest.approx(8 / 24 * math.log2(24) + 16 / 24 * math.log2(24 / 16))
        assert collisions(SelfExtend(4, 8), 1).entropy == 0

    def test_the_figure_holds_the_numbers_and_names_the_worst(self):
        methods = [PlainRoPE(), SE, ReRoPE(8)]
        figure, data = plot_collisions(methods, N), [collisions(method, N) for method in methods]
        assert list(named(figure, "sharing").x) == [one.keys / one.positions for one in data]
        assert list(named(figure, "most").x) == [one.most for one in data]
        assert list(named(figure, "entropy").x) == [one.entropy for one in data]
        assert list(named(figure, "keys seen").x) == [math.log2(one.keys) for one in data]
        assert list(named(figure, "most").y) == ["plain RoPE", str(SE), "ReRoPE(8)"]
        assert figure.layout.title.text == "ReRoPE puts 32 of the 40 keys that it sees at one position"
        assert plot_collisions([PlainRoPE()], N).layout.title.text == "No two of 40 keys share a position"
        with pytest.raises(ValueError, match="0 methods"):
            plot_collisions([], N)


class TestComparison:
    def test_depths_are_added_up(self):
        stock, window, extended = found_curves(KEYS)
        assert (stock.lengths, stock.exact, stock.trials) == ((16, 32), (39, 1), (40, 20))
        assert extended.shares == (1.0, 35 / 40)
        assert window.bounds[1] == wilson_interval(2, 20)

    def test_both_panels_hold_their_rows(self):
        figure = plot_comparison(KEYS[::-1], LOSSES[::-1], context_length=L)
        loss, found = named(figure, f"{SE} loss"), named(figure, f"{SE} found")
        assert (list(loss.x), list(loss.y)) == ([16, 32], [1.0, 1.1])
        assert list(loss.error_y.array) == pytest.approx([0.196] * 2, abs=1e-3)
        assert list(found.x) == pytest.approx([16, 32], rel=0.04)
        assert list(found.y) == [1.0, 35 / 40]
        low, high = wilson_interval(35, 40)
        assert found.error_y.array[1] == pytest.approx(high - 35 / 40)
        assert found.error_y.arrayminus[1] == pytest.approx(35 / 40 - low)
        assert loss.line.color == found.line.color and (loss.yaxis, found.yaxis) == ("y", "y2")

    def test_the_title_says_that_perplexity_is_not_enough_only_where_it_is_not(self):
        said = plot_comparison(KEYS, LOSSES, context_length=L).layout.title
        assert (
            said.text == "Perplexity is not enough: at 32 tokens SlidingWindow finds 2 of 20 keys, SelfExtend 35 of 40"
        )
        assert "1.020 against 1.100 nats" in said.subtitle.text
        worse = [
            loss_row("SlidingWindow(16)", 32, 1.2),
            *[row for row in LOSSES if row.condition != "SlidingWindow(16)"],
        ]
        assert "not enough" not in plot_comparison(KEYS, worse, context_length=L).layout.title.text
        unsure = [row for row in KEYS if row.condition != "SlidingWindow(16)"]
        unsure.append(key_row("SlidingWindow(16)", 32, 0.5, 8))
        assert "not enough" not in plot_comparison(unsure, LOSSES[2:], context_length=L).layout.title.text
        short = [row for row in KEYS if row.length == 16]
        assert plot_comparison(short, LOSSES, context_length=L).layout.title.text == "Loss and pass key by length"

    def test_what_cannot_be_drawn_is_refused_in_words(self):
        with pytest.raises(ValueError, match="0 pass-key rows"):
            plot_comparison([], LOSSES, context_length=L)
        with pytest.raises(ValueError, match="0 perplexity rows"):
            plot_comparison(KEYS, [], context_length=L)
        with pytest.raises(ValueError, match="2 tasks, paper, words"):
            plot_comparison([*KEYS, key_row("stock", 16, 0, 1, task="words")], LOSSES, context_length=L)

    def test_names_are_spread_within_the_ends(self):
        placed = spread([("a", 1.0), ("b", 1.0), ("c", 0.98)], 0.1, 0.0, 1.0)
        assert [name for name, _ in placed] == ["c", "a", "b"]
        assert [place for _, place in placed] == pytest.approx([0.8, 0.9, 1.0])


class TestMassOutside:
    def test_bars_and_ticks_hold_the_rows(self):
        figure = plot_mass_outside(MASSES)
        short, long = named(figure, "N = 32"), named(figure, "N = 64")
        assert dict(zip(short.y, short.x, strict=True)) == {"stock": 0.2, str(SE): 0.0, "NTKAware(4)": 0.0004}
        assert dict(zip(long.y, long.x, strict=True)) == {"stock": 0.4}
        ticks = named(figure, "N = 32 uniform")
        assert dict(zip(ticks.y, ticks.x, strict=True)) == {"stock": 0.25, str(SE): 0.0, "NTKAware(4)": 0.1}
        assert list(short.text) == ["20% at 32", "0 at 32", "under 0.1% at 32"]
        assert "divided by 3.2" in short.customdata[2]

    @pytest.mark.parametrize("uniform", [0.0, 0.11, 0.19, 0.2, 0.21, 0.25, 0.3, 0.5, 0.9])
    def test_no_tick_crosses_a_number(self, uniform):
        figure = plot_mass_outside([replace(MASSES[0], uniform=uniform), *MASSES[1:]])
        bars, ticks = named(figure, "N = 32"), named(figure, "N = 32 uniform")
        letter = 6.4 / 500 * figure.layout.xaxis.range[1]
        for bar, tick, number, place, moved in zip(
            bars.x, ticks.x, bars.text, bars.textposition, ticks.text, strict=True
        ):
            assert (place, moved) in (("outside", ""), ("none", number))
            if place == "outside":
                assert not bar < tick < bar + len(number) * letter
        assert ticks.textposition == "middle right"

    def test_the_title_is_of_the_longest_length(self):
        words = plot_mass_outside(MASSES).layout.title.text
        assert words == "At 64 tokens stock puts 40% of its attention where training never was; 0 of 1 put none"
        assert "no attention falls outside" in plot_mass_outside(MASSES[2:3]).layout.title.text
        with pytest.raises(ValueError, match="0 rows of attention mass"):
            plot_mass_outside([])
