"""Figures hold the numbers given, the right way round, and need no torch."""

import dataclasses
import math
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
from lab_page import sides_of
from method_matrix import METHOD_CASES

from selfextend_viz.bench.rows import BenchRow
from selfextend_viz.experiments.rows import HeadRow, LogitRow, PasskeyRow, PerplexityRow, wilson_interval
from selfextend_viz.methods import YaRN
from selfextend_viz.plots import (
    explain_pair,
    logit_curves,
    loss_curves,
    outlier_grid,
    passkey_maps,
    plot_divergence,
    plot_outlier_grid,
    plot_passkey,
    plot_perplexity,
    plot_position_map,
    plot_ratios,
    plot_reach,
    plot_rotation,
    plot_tiles,
    position_map,
    reach_map,
    reach_sentence,
    staircase,
    worst_head,
)
from selfextend_viz.plots.hatching import boundary, edges, hatch
from selfextend_viz.plots.reach import move_setting
from selfextend_viz.positions import Band, Method, PlainRoPE, SelfExtend, relative_positions, tiles, true_position

METHOD = SelfExtend(group_size=4, neighbor_window=6)
LABEL = str(METHOD)
L = 16


def named(figure: go.Figure, name: str) -> Any:
    (trace,) = [trace for trace in figure.data if trace.name == name]
    return trace


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, dict):
        for item in value.values():
            yield from numbers_in(item)
    elif isinstance(value, np.ndarray):
        yield from numbers_in(value.tolist())
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from numbers_in(item)
    elif isinstance(value, float):
        yield value


def logit_rows(nan: bool = False) -> list[LogitRow]:
    rows = []
    for layer, head in ((0, 2), (1, 0)):
        for condition, ends in (("stock", (0, 8, 16, 24)), (LABEL, (0, 8, 16, 24)), ("reference", (0, 8, 16))):
            for low, high in zip(ends, ends[1:], strict=False):
                mean = -20.0 + layer + (low if condition == "stock" else 0)
                bound = math.nan if nan and low == 8 else mean + 3
                rows.append(LogitRow(layer, head, condition, low, high, mean, mean - 3, bound, 64))
    return rows[::-1]


def head_row(layer: int, head: int, stock: float, method: float) -> HeadRow:
    return HeadRow(layer, head, 24, stock, method, 0.5, 0.0, 0.3, 0.5, 0.4, 2.0, 0.1)


HEADS = [
    head_row(layer, head, (0.01 * layer + 0.02 * head) * (1 if (layer, head) != (1, 0) else 30), 0.0)
    for layer in range(2)
    for head in range(3)
]


def passkey_row(condition: str, length: int, depth: float, exact: int, trials: int = 4) -> PasskeyRow:
    low, high = wilson_interval(exact, trials)
    return PasskeyRow("paper", condition, length, depth, trials, exact, low, high, -0.25, 0)


PASSKEYS = [
    passkey_row("stock", 16, 0.0, 4),
    passkey_row("stock", 32, 1.0, 1),
    passkey_row(LABEL, 64, 0.0, 3),
]


def perplexity_row(condition: str, length: int, nll: float, difference: float = 0.5) -> PerplexityRow:
    return PerplexityRow(condition, length, 8, 2000, nll, 0.1, difference, 0.05)


LOSSES = [
    perplexity_row("stock", 32, 2.5, 1.5),
    perplexity_row("stock", 16, 1.0, 0.0),
    perplexity_row(LABEL, 32, 1.1, 0.1),
    perplexity_row(LABEL, 16, 1.0, math.nan),
]

SPEEDS = [
    BenchRow("prefill", name, "4 x 64", length, window, 8, 0.1, "s", ratio, 3, 0)
    for length in (1024, 4096)
    for name, window, ratio in (("plain", None, 1.0), ("flash", 256, 1.2), ("limit", None, 0.6))
]

FIGURES = [
    plot_position_map(METHOD, 40, context_length=L, row=30),
    plot_position_map(METHOD, 5, context_length=L),
    plot_position_map(METHOD, 900, max_cells=33),
    plot_reach(context_length=L, length=40, group_size=4, neighbor_window=6),
    plot_reach(context_length=L),
    plot_divergence([*logit_rows(nan=True), *HEADS], context_length=L, method=METHOD),
    plot_divergence(logit_rows()[4:], layer=0, head=2, context_length=L, method=METHOD),
    plot_outlier_grid(HEADS),
    plot_passkey(PASSKEYS, context_length=L, reach={LABEL: 46}),
    plot_perplexity(LOSSES, context_length=L),
    plot_ratios(SPEEDS, limit=True),
    plot_tiles(METHOD, 40),
    plot_tiles(METHOD, 40, queries=9),
]


@pytest.mark.parametrize("figure", FIGURES)
def test_no_nan_and_a_title_in_every_figure(figure: go.Figure) -> None:
    content = figure.to_plotly_json()
    assert not [number for number in numbers_in([content["data"], content["layout"]]) if math.isnan(number)]
    assert figure.layout.title.text
    assert figure.layout.template.layout.paper_bgcolor == figure.layout.template.layout.plot_bgcolor == "rgba(0,0,0,0)"


def test_position_map_holds_the_relative_positions() -> None:
    figure = plot_position_map(METHOD, 40, context_length=L)
    for name, method in (("plain", PlainRoPE()), ("method", METHOD)):
        heatmap = named(figure, f"{name} map")
        wanted = relative_positions(method, 40)
        for i in range(40):
            for j in range(40):
                assert heatmap.z[i][j] == (wanted[i, j] if j <= i else None)
        assert heatmap.x.tolist() == heatmap.y.tolist() == list(range(40))
        assert heatmap.coloraxis == "coloraxis"
    assert figure.layout.yaxis.range[0] > figure.layout.yaxis.range[1], "queries run downwards"


def test_position_map_marks_what_was_never_trained() -> None:
    figure = plot_position_map(SelfExtend(2, 6), 40, context_length=L)
    distance = np.subtract.outer(np.arange(40), np.arange(40))
    for name, mask in (("plain", distance >= L), ("method", relative_positions(SelfExtend(2, 6), 40) >= L)):
        hatching = named(figure, f"{name} hatch")
        strokes = [(x, y) for x, y in zip(hatching.x, hatching.y, strict=True) if x is not None]
        assert strokes
        for (x0, y0), (x1, y1) in zip(strokes[::2], strokes[1::2], strict=True):
            assert mask[int((y0 + y1) / 2 + 0.5), int((x0 + x1) / 2 + 0.5)]
    assert "never trained" in figure.layout.annotations[1].text
    assert len(named(plot_position_map(METHOD, 40, context_length=L), "method hatch").x) == 0
    assert len(named(plot_position_map(METHOD, 40), "plain hatch").x) == 0


def test_position_map_states_its_finding() -> None:
    told = [plot_position_map(m, 40, context_length=L).layout.title.text for m in (METHOD, SelfExtend(2, 6))]
    plain = (40 - L) * (40 - L + 1) / (40 * 41)
    assert told[0] == f"Plain RoPE tells {plain:.0%} of the pairs a distance never trained; SelfExtend none"
    share = (relative_positions(SelfExtend(2, 6), 40) >= L).sum() / (40 * 41 / 2)
    assert told[1].endswith(f"; SelfExtend still {share:.0%}")
    assert "lie within the 16" in plot_position_map(METHOD, L, context_length=L).layout.title.text


def test_position_map_parts_the_bands_where_grouping_begins() -> None:
    line = named(plot_position_map(METHOD, 40), "method bands")
    corners = [(x, y) for x, y in zip(line.x, line.y, strict=True) if x is not None]
    assert corners and all(abs(y - x - METHOD.neighbor_window) <= 0.5 + 0.5 for x, y in corners)
    assert len(named(plot_position_map(METHOD, 40), "plain bands").x) == 0


def test_position_map_has_the_same_traces_whatever_it_shows() -> None:
    kinds = [[(trace.name, trace.type) for trace in figure.data] for figure in FIGURES[:3]]
    assert kinds[0] == kinds[1] == kinds[2] and len(kinds[0]) == 14
    assert len({len(figure.layout.annotations) for figure in FIGURES[:3]}) == 1


def filled_cells(trace: Any) -> np.ndarray:
    """How many outlines of a trace hold the middle of each cell [query, key], by counting crossings to its left."""
    inside = np.zeros((40, 40), dtype=int)
    polygon: list[tuple[float, float]] = []
    for x, y in zip(trace.x, trace.y, strict=True):
        if x is not None:
            polygon.append((x, y))
            continue
        crossed = np.zeros((40, 40), dtype=int)
        for (left, top), (right, bottom) in zip(polygon, polygon[1:], strict=False):
            low, high = sorted((top, bottom))
            if left == right:
                crossed[int(low) : int(high), int(left) :] += 1
        inside += crossed % 2
        polygon = []
    return inside


@pytest.mark.parametrize("queries", [40, 9])
def test_tiles_cover_each_pair_once_and_are_told_on_hover(queries: int) -> None:
    figure = plot_tiles(METHOD, 40, queries=queries)
    drawn = sum(filled_cells(trace) for trace in figure.data if trace.fill == "toself")
    rows = np.arange(40)[:, None]
    np.testing.assert_array_equal(drawn, (np.arange(40) <= rows) & (rows >= 40 - queries))
    centres = [text for trace in figure.data if trace.mode == "markers" for text in trace.text]
    wanted = [tile for band in METHOD.bands for tile in tiles(queries, 40, band.nearest, band.beyond)]
    assert len(centres) == len(wanted)
    assert f"queries {wanted[0].row_start} to {wanted[0].row_stop - 1}" in centres[0]
    assert figure.layout.title.text == f"{len(wanted)} tiles: {int(drawn.sum()):,} products of query and key"
    assert "exactly as many as plain" in figure.layout.title.subtitle.text


def test_tiles_of_a_band_that_is_more_than_an_interval() -> None:
    class Chunks:
        bands = (Band(true_position, true_position, visible=lambda i, j: i // 4 == j // 4),)

    with pytest.raises(ValueError, match="more than distances"):
        plot_tiles(Chunks(), 12)


def test_long_sequences_are_sampled_and_say_so() -> None:
    data = position_map(METHOD, 10_000, context_length=L, max_cells=50)
    assert len(data.tokens) == 50 and (data.tokens[0], data.tokens[-1]) == (0, 9_999)
    wanted = (9_999 // 4 + 6 - 6 // 4) - data.tokens[7] // 4
    assert data.told[-1, 7] == wanted
    figure = plot_position_map(METHOD, 10_000, max_cells=50)
    assert "50 of 10,000 tokens" in figure.layout.title.subtitle.text


@pytest.mark.parametrize(("name", "method"), METHOD_CASES)
def test_every_method_has_a_map(name: str, method: Method) -> None:
    figure = plot_position_map(method, 30, context_length=12, row=29)
    assert named(figure, "method map").z[3][3] == 0, name


def test_explained_pairs() -> None:
    method = SelfExtend(group_size=8, neighbor_window=8)
    assert explain_pair(method, 700, 12, 256) == "token 700 sees token 12 as if 93 away: trained"
    assert explain_pair(PlainRoPE(), 700, 12, 256) == "token 700 sees token 12 as if 688 away: never trained"
    assert explain_pair(PlainRoPE(), 268, 12, 256).endswith("as if 256 away: never trained")
    assert explain_pair(PlainRoPE(), 267, 12, 256).endswith("as if 255 away: trained")
    assert explain_pair(method, 3, 1) == "token 3 sees token 1 as if 2 away"
    assert "not been written" in explain_pair(method, 3, 4)
    hidden = [m for name, m in METHOD_CASES if name == "SlidingWindow(7)"][0]
    assert explain_pair(hidden, 9, 2) == "token 9 does not see token 2: SlidingWindow(7) hides it"


def test_scaled_frequencies_are_not_judged_by_distance() -> None:
    assert explain_pair(YaRN(4), 700, 12, 256) == "token 700 sees token 12 as if 688 away, at other frequencies"
    title = plot_position_map(YaRN(4), 40, context_length=L).layout.title.text
    assert title.endswith("; YaRN the same, at other frequencies")
    with pytest.raises(ValueError, match=r"YaRN\(4\) changes how fast pairs turn"):
        plot_rotation([1.0, 0.1], L, pair=1, distance=30, method=YaRN(4))


def test_fractional_positions_are_told_with_two_digits() -> None:
    method = SelfExtend(6, 1024, compat="longlm")
    assert explain_pair(method, 4000, 0, 4096) == "token 4,000 sees token 0 as if 1,519.33 away: trained"


def test_the_row_is_framed_and_explained() -> None:
    figure = plot_position_map(METHOD, 40, context_length=L, row=30)
    frame = named(figure, "method row")
    assert min(frame.y) < 30 < max(frame.y) and (min(frame.x), max(frame.x)) == (-0.5, 30.5)
    assert explain_pair(METHOD, 30, 0, L) in figure.layout.title.subtitle.text
    assert len(named(plot_position_map(METHOD, 40), "method row").x) == 0


def test_reach_map_equals_capacity() -> None:
    data = reach_map(context_length=L, length=40, largest_group_size=9)
    assert data.reach.shape == (len(data.windows), len(data.group_sizes)) == (16, 9)
    for column, group_size in enumerate(data.group_sizes.tolist()):
        fitting = [w for w in range(L) if SelfExtend(group_size, w).capacity(L) >= 40]
        assert data.widest[column] == (max(fitting) if fitting else None)
        for row, window in enumerate(data.windows.tolist()):
            assert data.reach[row, column] == SelfExtend(group_size, window).capacity(L)
    for share, windows in zip((1 / 2, 2 / 3), data.rule, strict=True):
        for group_size, window in zip(data.group_sizes.tolist(), windows, strict=True):
            if window is not None and window < L - 1:
                assert window + (40 - window) / group_size == pytest.approx(share * L)


def test_reach_figure_shows_the_map_the_line_and_the_dot() -> None:
    figure = plot_reach(context_length=L, length=40, group_size=4, neighbor_window=6)
    data = reach_map(context_length=L, length=40)
    heatmap = named(figure, "reach")
    np.testing.assert_array_equal(heatmap.customdata, data.reach)
    np.testing.assert_allclose(heatmap.z, np.log2(data.reach / L))
    assert heatmap.x.tolist() == data.group_sizes.tolist() and heatmap.y.tolist() == data.windows.tolist()
    line, (_, _, dot, words) = named(figure, "N"), figure.layout.shapes
    assert [(shape.name, shape.xanchor, shape.yanchor) for shape in (dot, words)] == [
        ("setting", 4, 6),
        ("setting in words", 4, 6),
    ]
    assert words.label.text == "<b>G = 4, w_n = 6</b>"
    assert list(line.y)[:-1] == [wide for wide in data.widest if wide is not None]
    assert figure.layout.title.text.startswith("N fits")
    short = plot_reach(context_length=L, length=400, group_size=4, neighbor_window=6)
    assert short.layout.title.text.startswith("N does not fit")
    assert [trace.name for trace in short.data] == [trace.name for trace in plot_reach(context_length=L).data]


def test_a_setting_moves_on_its_map_as_if_drawn_anew() -> None:
    numbers = {"context_length": L, "length": 40}
    figure = plot_reach(**numbers, group_size=4, neighbor_window=6)
    for group_size, window in ((1, 0), (60, 15), (64, 3)):
        moved = move_setting(figure, **numbers, group_size=group_size, neighbor_window=window)
        assert moved is figure
        assert moved.to_json() == plot_reach(**numbers, group_size=group_size, neighbor_window=window).to_json()
    with pytest.raises(ValueError, match="at most 15"):
        move_setting(figure, **numbers, group_size=4, neighbor_window=16)


def test_the_settings_words_stay_on_the_map() -> None:
    for group_size, window, side, height in ((1, 0, 1, 1), (64, 0, -1, 1), (64, L - 1, -1, -1), (4, 6, 1, 0)):
        words = plot_reach(context_length=L, group_size=group_size, neighbor_window=window).layout.shapes[-1]
        across, up = sides_of(words)
        assert np.sign(across).tolist() == [side, side]
        assert np.sign(sum(up)) == height
    assert not any(shape.visible for shape in plot_reach(context_length=L).layout.shapes)


def test_the_settings_words_lie_over_the_maps() -> None:
    shapes = plot_reach(context_length=L, length=40, group_size=4, neighbor_window=6).layout.shapes
    assert [shape.name for shape in shapes] == ["too long", "authors' rule", "setting", "setting in words"]
    assert "N = 40" in shapes[0].label.text and "dashes (2/3 L)" in shapes[1].label.text
    assert all(shape.visible for shape in shapes)


def test_reach_reaches_far_enough_to_show_n_fitting() -> None:
    figure = plot_reach(context_length=16, length=16 * 100)
    assert named(figure, "N").y and max(named(figure, "reach").x) >= 256


def test_reach_in_words() -> None:
    def say(length: int, group_size: int, window: int) -> str:
        return reach_sentence(context_length=256, length=length, group_size=group_size, neighbor_window=window)

    assert say(1024, 10, 64) == (
        "G = 10, w_n = 64 reach 1,980 tokens (the paper's formula says 1,984, 4 too many, since G does not divide w_n)"
        ": N = 1,024 fits, within the positions training covers best"
    )
    assert "fits, but leans on the positions trained least" in say(1024, 8, 64)
    assert say(1024, 2, 64).endswith("N = 1,024 does not fit; G = 10, w_n = 64 would")
    assert say(256, 1, 0).endswith("N = 256 fits, within the positions training covers best")


def test_divergence_curves_hold_the_rows() -> None:
    figure = plot_divergence([*logit_rows(), *HEADS], layer=0, head=2, context_length=L, method=METHOD)
    assert list(named(figure, "stock").x) == [3.5, 11.5, 19.5]
    assert list(named(figure, "stock").y) == [-20.0, -12.0, -4.0]
    assert list(named(figure, "method").y) == [-20.0, -20.0, -20.0]
    assert list(named(figure, "reference").x) == [3.5, 11.5]
    assert list(named(figure, "stock spread").y) == [-17.0, -9.0, -1.0, -7.0, -15.0, -23.0]
    assert list(named(figure, "trained range").x)[:3] == [3.5, 11.5, L]
    assert list(named(figure, "L").x) == [L, L]
    assert "−20.0 in training; −4.0 under stock, −20.0 with the method" in figure.layout.title.text
    assert logit_curves(logit_rows(nan=True), layer=0, head=2)["stock"].high == (-17.0, None, -1.0)


def test_divergence_opens_on_the_worst_head() -> None:
    assert worst_head(HEADS) == (1, 0)
    figure = plot_divergence([*HEADS, *logit_rows()], context_length=L, method=METHOD)
    assert figure.layout.title.text.startswith("Layer 1, head 0")
    assert list(named(figure, "stock").y) == [-19.0, -11.0, -3.0]


def test_the_staircase_is_the_last_row_of_the_map() -> None:
    figure = plot_divergence(logit_rows(), layer=0, head=2, context_length=L, method=METHOD)
    told = named(figure, "told method")
    assert list(told.x) == list(range(24))
    assert list(told.y) == relative_positions(METHOD, 24)[-1][::-1].tolist()
    assert list(named(figure, "told stock").y) == list(range(24))
    distances, told_hidden = staircase([m for n, m in METHOD_CASES if n == "SlidingWindow(7)"][0], 10)
    assert told_hidden.tolist() == [*range(7), None, None, None] and distances.tolist() == list(range(10))
    assert len(staircase(METHOD, 100_000)[0]) <= 512


def test_outlier_grid_has_layers_as_rows() -> None:
    data = outlier_grid(HEADS[::-1])
    assert data.stock.shape == (2, 3)
    assert data.stock.tolist() == [[0.0, 0.02, 0.04], [pytest.approx(0.3), 0.03, 0.05]]
    figure = plot_outlier_grid(HEADS[1:])
    assert named(figure, "stock").z[0][0] is None
    assert named(figure, "stock").z[1][0] == pytest.approx(math.log10(0.3))
    assert named(figure, "method").z[1][2] == pytest.approx(math.log10(0.0005))
    assert (min(named(figure, "stock chosen").x), min(named(figure, "stock chosen").y)) == (-0.5, 0.5)
    chosen = named(plot_outlier_grid(HEADS, layer=0, head=2), "method chosen")
    assert (min(chosen.x), min(chosen.y)) == (1.5, -0.5)


def test_passkey_maps_have_depths_as_rows() -> None:
    stock, extended = passkey_maps(PASSKEYS)
    assert (stock.lengths, stock.depths) == ((16, 32, 64), (0.0, 1.0)) == (extended.lengths, extended.depths)
    assert stock.accuracy.tolist() == [[1.0, None, None], [None, 0.25, None]]
    assert stock.counts.tolist() == [["4/4", "", ""], ["", "1/4", ""]]
    low, high = wilson_interval(1, 4)
    assert f"1 of 4 exact: 0.25 (95% {low:.2f} to {high:.2f})" in stock.details[1, 1]
    assert stock.details[0, 1] == "pending"
    assert extended.pending == ((16, 0.0), (32, 0.0), (16, 1.0), (32, 1.0), (64, 1.0))


def test_passkey_figure() -> None:
    figure = plot_passkey(PASSKEYS, context_length=L, reach={LABEL: 46})
    heatmap = named(figure, LABEL)
    assert heatmap.z.tolist() == [[None, None, 0.75], [None, None, None]]
    assert heatmap.text.tolist() == [["", "", "3/4"], ["", "", ""]]
    assert "64 tokens, key at 0%" in heatmap.hovertext[0][2] and "3 of 4" in heatmap.hovertext[0][2]
    waiting = named(figure, "stock pending")
    assert set(zip(waiting.x, waiting.y, strict=True)) == {(1, 0), (2, 0), (0, 1), (2, 1)}
    assert list(named(figure, "stock L").x) == [0.5, 0.5]
    assert list(named(figure, f"{LABEL} reach").x) == [1.5, 1.5] and not named(figure, "stock reach").x
    assert figure.layout.title.text == f"Pass keys found beyond L = 16: stock 1 of 4, {LABEL} 3 of 4"


@pytest.mark.parametrize(
    "names",
    [
        [f"SelfExtend(G={size}, w_n=80)" for size in (3, 4, 5, 10)],
        ["stock", "blindfold", "truncate", "no_needle", "SelfExtend(G=8, w_n=80)"],
        ["stock", "PositionInterpolation(8)", "StreamingLLM(sinks=4, window=316)", "SelfExtend(G=19, w_n=80)"] * 2,
    ],
)
def test_names_over_maps_keep_clear_of_each_other(names: list[str]) -> None:
    names = list(dict.fromkeys(names))
    figure = plot_passkey([passkey_row(name, 32, 0.0, 2) for name in names], context_length=L)
    bold = [note for note in figure.layout.annotations if note.text.startswith("<b>")]
    assert [re.sub(r"</?b>|<br>| ", "", note.text) for note in bold] == [name.replace(" ", "") for name in names]
    starts = [figure.layout[f"xaxis{number or ''}"].domain[0] for number in (0, *range(2, len(names) + 1))]
    for note, here, following in zip(bold[:-1], starts[:-1], starts[1:], strict=True):
        longest = max(len(line) for line in re.sub("</?b>", "", note.text).split("<br>"))
        wide = longest * 8.3 * (note.font.size or 13) / 13  # a bold letter of 13 pixels
        assert here * 700 + wide < following * 700, note.text
        assert len(figure.layout.title.text) <= 110


def test_a_grid_to_come_is_all_pending() -> None:
    figure = plot_passkey([], lengths=(16, 32, 64), depths=(0.0, 1.0), conditions=("stock", LABEL), context_length=L)
    assert named(figure, "stock").z.tolist() == [[None] * 3, [None] * 3]
    assert len(named(figure, f"{LABEL} pending").x) == 6
    full = plot_passkey(
        PASSKEYS, lengths=(16, 32, 64), depths=(0.0, 1.0), conditions=("stock", LABEL), context_length=L
    )
    assert [trace.name for trace in figure.data] == [trace.name for trace in full.data]


def test_a_later_cell_replaces_an_earlier_one_and_tasks_stay_apart() -> None:
    again = [*PASSKEYS, passkey_row("stock", 16, 0.0, 0)]
    assert passkey_maps(again)[0].counts[0, 0] == "0/4"
    other = dataclasses.replace(PASSKEYS[0], task="natural", exact=2)
    names = {grid.name: grid.counts[0, 0] for grid in passkey_maps([*PASSKEYS, other])}
    assert names["stock · paper"] == "4/4" and names["stock · natural"] == "2/4"


def test_loss_curves_hold_the_rows() -> None:
    stock, extended = loss_curves(LOSSES)
    assert (stock.condition, stock.context_lengths, stock.mean) == ("stock", (16, 32), (1.0, 2.5))
    assert stock.low[1] == pytest.approx(2.5 - 0.196, abs=1e-4) and stock.high[1] == pytest.approx(2.696, abs=1e-4)
    assert "perplexity 12.18" in stock.details[1] and "+1.500 ± 0.098" in stock.details[1]
    assert "against stock" not in extended.details[0]
    figure = plot_perplexity(LOSSES, context_length=L)
    assert list(named(figure, LABEL).x) == [16, 32] and list(named(figure, LABEL).y) == [1.0, 1.1]
    assert figure.layout.title.text == "At 32 tokens stock loses +1.50 nats a token against stock on its last 16"
    assert f"{LABEL} +0.100 ± 0.098" in figure.layout.title.subtitle.text


def test_conditions_differ_by_more_than_colour() -> None:
    figure = plot_perplexity([*LOSSES, perplexity_row("blindfold", 16, 1.0)], context_length=L)
    curves = [trace for trace in figure.data if trace.mode == "lines+markers"]
    assert len({(trace.line.dash, trace.marker.symbol) for trace in curves}) == len(curves) == 3


def test_marks_lie_on_their_cells() -> None:
    assert edges(np.array([0, 2, 4])).tolist() == [-1.0, 1.0, 3.0, 5.0]
    assert edges(np.array([7])).tolist() == [6.5, 7.5]
    mask = np.zeros((3, 4), dtype=bool)
    mask[2, 0] = True
    sides = edges(np.arange(4)), edges(np.arange(3))
    x, y = hatch(mask, *sides, strokes=7)
    assert (x, y) == ([-0.5, 0.5, None], [2.5, 1.5, None])
    labels = np.where(mask, 1, 0)
    labels[0] = -1
    x, y = boundary(labels, *sides)
    assert (x, y) == ([0.5, 0.5, None, -0.5, 0.5, None], [1.5, 2.5, None, 1.5, 1.5, None])


def test_no_torch_is_loaded() -> None:
    code = "import sys, selfextend_viz.plots; sys.exit(any(m in sys.modules for m in ('torch', 'ipywidgets')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: plot_position_map(METHOD, 0), ValueError, "length is 0"),
        (lambda: plot_position_map(METHOD, 4.5), TypeError, "4.5"),  # type: ignore[arg-type]
        (lambda: plot_position_map(METHOD, 10, row=10), ValueError, "row 10 lies outside the 10 tokens"),
        (lambda: plot_position_map(METHOD, 10, row=-1), ValueError, "row is -1"),
        (lambda: plot_position_map(METHOD, 10, max_cells=1), ValueError, "max_cells is 1"),
        (lambda: plot_position_map(METHOD, 10, context_length=0), ValueError, "context_length is 0"),
        (lambda: explain_pair(METHOD, -1, 0), ValueError, "query is -1"),
        (lambda: plot_reach(context_length=0), ValueError, "context_length is 0"),
        (lambda: plot_reach(context_length=L, length=0), ValueError, "length is 0"),
        (lambda: plot_reach(context_length=L, group_size=4), ValueError, "give both or neither"),
        (lambda: plot_reach(context_length=L, group_size=4, neighbor_window=16), ValueError, "at most 15"),
        (lambda: plot_divergence([], context_length=L, method=METHOD), ValueError, "0 head rows"),
        (lambda: plot_divergence(HEADS, layer=1, context_length=L, method=METHOD), ValueError, "give both or neither"),
        (
            lambda: plot_divergence(logit_rows(), layer=5, head=5, context_length=L, method=METHOD),
            ValueError,
            "no logit rows for layer 5, head 5",
        ),
        (
            lambda: plot_divergence(logit_rows(), layer=0, head=2, context_length=L, method=SelfExtend(4, 5)),
            ValueError,
            r"no logit rows under SelfExtend\(G=4, w_n=5\), only under",
        ),
        (lambda: plot_outlier_grid([]), ValueError, "0 head rows"),
        (lambda: plot_passkey([]), ValueError, "0 pass-key rows"),
        (lambda: plot_passkey(PASSKEYS, context_length=0), ValueError, "context_length is 0"),
        (lambda: plot_perplexity([], context_length=L), ValueError, "0 perplexity rows"),
        (lambda: plot_perplexity(LOSSES, context_length=0), ValueError, "context_length is 0"),
    ],
)
def test_bad_input(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
