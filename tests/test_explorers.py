"""The explorers without a browser: set the state, read the figure, take a snapshot, write a page."""

import json
import math
import re
import threading

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz import (
    divergence_explorer,
    passkey_explorer,
    plot_wavelengths,
    position_explorer,
    reach_explorer,
    rope_explorer,
)
from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.rows import BLINDFOLD, STOCK
from selfextend_viz.plots import map_state, pair_sentence, plot_reach, reach_sentence
from selfextend_viz.positions import SelfExtend
from selfextend_viz.rope import default_inv_freq
from selfextend_viz.widgets import Explorer
from selfextend_viz.widgets.controls import BadSetting
from selfextend_viz.widgets.page_frames import figure_state
from selfextend_viz.widgets.work import DEPTHS, QUERIES, grid_lengths

CONTEXT_LENGTH = 128
WAIT = 60


@pytest.fixture(scope="module")
def model():
    return tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)


@pytest.fixture
def closing():
    """Explorers put in here are closed when the test ends."""
    made = []
    yield lambda explorer: (made.append(explorer), explorer)[1]
    for explorer in made:
        explorer.close()


def settled(explorer):
    assert explorer.worker.wait(WAIT)
    assert explorer.worker.error is None
    return explorer


def data_of(path):
    data = json.loads(re.search(r'id="sv-data">(.*?)</script>', path.read_text(encoding="utf-8"), re.DOTALL).group(1))

    def whole(value):
        if isinstance(value, list):
            return [whole(item) for item in value]
        if isinstance(value, dict):
            return whole(data["pool"][value["$"]]) if "$" in value else {k: whole(item) for k, item in value.items()}
        return value

    return {"controls": data["controls"], "views": whole(data["views"])}


def stops(page):
    return {control["name"]: control["values"] for control in page["controls"]}


def test_the_position_explorer_shows_and_keeps_what_the_library_computes(tmp_path):
    explorer = position_explorer(length=10, group_size=2, neighbor_window=4, context_length=7)
    assert isinstance(explorer, Explorer)
    assert explorer.panel.map.state == map_state(SelfExtend(2, 4), 10, context_length=7, row=9, column=0)
    explorer.state.set(group_size=3, context_length=8)
    assert explorer.panel.map.state["panels"][1]["name"] == "SelfExtend(G=3, w_n=4)"
    explorer.bar.numbers["length"].box.value = 20
    assert explorer.panel.map.state["length"] == 20
    page = data_of(explorer.to_html(tmp_path / "map.html", lengths=[20, 12], group_sizes=[3], neighbor_windows=[4, 0]))
    assert stops(page) == {"length": [12, 20], "group_size": [3], "neighbor_window": [0, 4]}
    (view,) = page["views"]
    state, said = view["frames"]["0|0|1"]
    assert state == map_state(SelfExtend(3, 4), 12, context_length=8, row=11)
    assert "token 11 sees token 0 as if" in said


def test_pages_open_on_the_current_numbers_and_stay_small(tmp_path):
    page = position_explorer().to_html(tmp_path / "map.html")
    assert page.stat().st_size < 1_000_000
    controls = {control["name"]: control["values"][control["stop"]] for control in data_of(page)["controls"]}
    assert controls == {"length": 256, "group_size": 8, "neighbor_window": 16}


def test_the_reach_explorer_shows_and_keeps_what_the_library_computes(tmp_path):
    explorer = reach_explorer(context_length=256, length=1024)
    explorer.state.set(group_size=3, neighbor_window=64)
    assert [(shape.xanchor, shape.yanchor) for shape in explorer.panel.figure.widget.layout.shapes[2:]] == [(3, 64)] * 2
    numbers = {"context_length": 256, "length": 1024, "group_size": 3, "neighbor_window": 64}
    assert explorer.panel.text == reach_sentence(**numbers)
    path = explorer.to_html(tmp_path / "reach.html", lengths=[1024, 512], group_sizes=[3, 5], neighbor_windows=[64])
    assert path.stat().st_size < 6_000_000
    (view,) = data_of(path)["views"]
    state, said = view["frames"]["1|0|0"]
    plain = figure_state(plot_reach(**numbers))
    assert state["data"] == plain["data"]
    assert [shape["xanchor"] for shape in state["layout"]["shapes"][2:]] == [3, 3]
    assert state["layout"]["shapes"][2] == plain["layout"]["shapes"][2]
    assert "does not fit" in said


def test_a_snapshot_is_a_plain_figure_of_what_is_shown():
    explorer = reach_explorer(context_length=256, length=1024)
    figure = explorer.snapshot()
    assert type(figure) is go.Figure
    assert "L=256, N=1024, G=8, w_n=64" in figure.layout.title.text
    assert explorer.panel.text.split(":")[0] in figure.layout.title.subtitle.text
    assert [(shape.name, shape.xanchor, shape.yanchor) for shape in figure.layout.shapes[2:]] == [
        ("setting", 8, 64),
        ("setting in words", 8, 64),
    ]
    assert type(position_explorer().snapshot()) is go.Figure


def test_tables_open_on_demand():
    explorer = reach_explorer(context_length=256)
    assert not explorer.tables[0].shown
    explorer.tables_button.value = True
    assert explorer.tables[0].shown
    assert "<table>" in explorer.tables[0].value


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: position_explorer(length=0), "N must be between 1"),
        (lambda: position_explorer(neighbor_window=64), "smaller than L"),
        (lambda: reach_explorer(group_size=1.5), "whole number"),
        (lambda: rope_explorer(head_dim=8, pair=4), "There are 4 pairs, 0 to 3; 4 is none"),
        (lambda: rope_explorer(head_dim=8, context_length=32, neighbor_window=32), "smaller than L = 32"),
        (lambda: rope_explorer(context_length=99), "goes with head_dim"),
        (lambda: rope_explorer(torch.nn.Linear(1, 1), head_dim=8), "give one of the two"),
        (lambda: rope_explorer(head_dim=7), "even"),
        (lambda: position_explorer().to_html("never.html", neighbor_windows=[64]), "must be smaller than 64"),
        (lambda: position_explorer().to_html("never.html", lengths=[0]), "at least 1"),
    ],
)
def test_bad_numbers_are_refused_in_a_sentence(make, words):
    with pytest.raises(ValueError, match=words):
        make()


class TestRope:
    def test_frequencies_are_the_models_own(self, model):
        explorer = rope_explorer(model)
        pairs = model.config.head_dim // 2
        assert len(explorer.state.inv_freq) == pairs
        expected, _ = default_inv_freq(model.config.head_dim, theta=model.config.rope_parameters["rope_theta"])
        assert explorer.state.inv_freq == pytest.approx(expected.tolist())
        assert explorer.state.context_length == CONTEXT_LENGTH

    def test_frequencies_are_those_of_base_and_head_dim(self):
        explorer = rope_explorer(head_dim=128, base=10000.0, context_length=4096)
        assert explorer.state.inv_freq == pytest.approx([10000 ** (-pair / 64) for pair in range(64)])
        assert explorer.wavelengths.text.startswith("18 of 64 pairs never completed a turn")

    def test_the_demo_model_opens_on_a_pair_that_fails(self):
        explorer = rope_explorer()
        assert explorer.state.context_length == 320
        assert "<b>never trained</b>" in explorer.rotation.text
        assert explorer.rotation.text.endswith("<b>trained</b>.")

    def test_both_pictures_follow_the_state(self):
        explorer = rope_explorer(head_dim=16, context_length=100, pair=5)
        explorer.state.pair = 6
        explorer.state.distance = 250
        state = explorer.state
        assert explorer.rotation.text == pair_sentence(
            state.inv_freq, 100, pair=6, distance=250, method=SelfExtend(8, 25)
        )
        hand = next(trace for trace in explorer.rotation.figure.widget.data if trace.name == "plain")
        angle = math.atan2(hand.y[1], hand.x[1])
        assert math.cos(angle - 250 * state.inv_freq[6]) == pytest.approx(1, abs=1e-4)
        ring = next(trace for trace in explorer.wavelengths.figure.widget.data if trace.name == "pair")
        assert list(ring.x) == [6]
        explorer.wavelengths.choose(2)
        assert (state.pair, explorer.bar.numbers["pair"].box.value) == (2, 2)

    def test_a_refused_number_leaves_the_old_one_and_says_why(self):
        explorer = rope_explorer(head_dim=16, context_length=100)
        before = explorer.state.pair
        explorer.bar.numbers["pair"].box.value = 8
        assert explorer.state.pair == before
        assert "There are 8 pairs" in explorer.bar.words.value
        with pytest.raises(BadSetting, match="w_n must be smaller"):
            explorer.state.neighbor_window = 100
        explorer.bar.numbers["pair"].box.value = 7
        assert explorer.bar.words.value == ""

    def test_the_page_keeps_each_pair_and_distance(self, tmp_path):
        explorer = rope_explorer(head_dim=16, context_length=100, group_size=4)
        path = explorer.to_html(
            tmp_path / "rope.html", pairs=[1, 6], distances=[50, 300], group_sizes=[4], neighbor_windows=[25]
        )
        assert path.stat().st_size < 6_000_000
        wave, circle = data_of(path)["views"]
        assert sorted(wave["frames"]) == ["0", "1"]
        expected = figure_state(plot_wavelengths(explorer.state.inv_freq, 100, pair=6))
        assert wave["frames"]["1"][0]["data"] == expected["data"]
        said = pair_sentence(explorer.state.inv_freq, 100, pair=6, distance=300, method=SelfExtend(4, 25))
        assert said[1:] in circle["frames"]["1|1|0|0"][1].replace("&amp;", "&")

    def test_the_default_page_fits_and_the_snapshot_holds_both(self, tmp_path):
        explorer = rope_explorer(head_dim=128, context_length=4096)
        path = explorer.to_html(tmp_path / "rope.html")
        assert path.stat().st_size < 6_000_000
        assert len(stops(data_of(path))["pair"]) in (16, 17, 18)
        names = [trace.name for trace in explorer.snapshot().data]
        assert {"complete", "incomplete", "plain", "method"} <= set(names)

    def test_tables_tell_both_hands(self):
        explorer = rope_explorer(head_dim=16, context_length=100, pair=6, distance=300)
        header, rows = explorer.rotation.table()
        assert header[0] == "told by"
        assert [row[:2] for row in rows] == [("plain RoPE", 300), ("SelfExtend(G=8, w_n=25)", 37 + 25 - 3)]
        assert len(explorer.wavelengths.table()[1]) == 8


class TestDivergence:
    def test_rows_are_those_of_the_experiment_on_the_tokens_given(self, model, closing):
        ids = torch.randint(0, 257, (160,), generator=torch.Generator().manual_seed(1))
        explorer = closing(divergence_explorer(model, ids=ids, group_size=4))
        assert explorer.state.length == 160
        settled(explorer)
        expected = divergence(model, ids, SelfExtend(4, 32), queries=QUERIES, seed=0)
        assert [repr(row) for row in explorer.panel.rows] == [repr(row) for row in expected]
        assert explorer.panel.stamp == "live: your text"
        explorer.state.length = 200
        assert explorer.worker.wait(WAIT)
        assert "the text given has 160 tokens" in str(explorer.worker.error)
        assert "the text given has 160 tokens" in explorer.bar.words.value

    def test_without_a_tokenizer_the_text_is_random_and_says_so(self, model, closing):
        explorer = settled(closing(divergence_explorer(model, length=160)))
        assert explorer.panel.stamp == "live: random tokens"
        ids = explorer.texts.ids(160)
        assert (len(ids), len(set(ids)) > 100, max(ids) < 257) == (160, True, True)

    def test_with_a_tokenizer_the_text_is_a_prompt(self, model, closing):
        explorer = settled(closing(divergence_explorer(model, bytes_tokenizer(), length=160)))
        assert explorer.panel.stamp == "live: a pass-key prompt"
        assert "pass key" in bytes_tokenizer().decode(explorer.texts.ids(160))

    def test_a_slider_step_asks_again_and_remembers(self, model, closing):
        explorer = settled(closing(divergence_explorer(model, length=160)))
        first = explorer.panel.rows
        explorer.state.group_size = 4
        assert explorer.panel.stamp == "stale"
        settled(explorer)
        assert explorer.panel.rows != first
        explorer.state.group_size = 8
        settled(explorer)
        assert explorer.panel.rows is first

    def test_the_page_holds_every_setting_and_head(self, model, closing, tmp_path):
        explorer = settled(closing(divergence_explorer(model, length=160)))
        path = explorer.to_html(
            tmp_path / "logits.html", lengths=[160, 192], group_sizes=[4, 8], neighbor_windows=[32], heads=2
        )
        assert path.stat().st_size < 6_000_000
        page = data_of(path)
        assert len(stops(page)["head"]) == 2
        curves, heads = page["views"]
        state, said = curves["frames"]["1|0|0|1"]
        layer, head = re.fullmatch(r"layer (\d+), head (\d+)", stops(page)["head"][1]).groups()
        assert f"Layer {layer}, head {head}" in said
        told = next(trace for trace in state["data"] if trace["name"] == "told method")
        assert told["x"][-1] == 191
        assert told["y"][-1] == 191 // 4 + 32 - 8
        assert len(heads["frames"]) == 8

    def test_a_tokenizer_without_a_model_is_refused(self):
        with pytest.raises(TypeError, match="the model is missing"):
            divergence_explorer(None, bytes_tokenizer())


class TestPasskey:
    @pytest.fixture
    def explorer(self, model, closing):
        return closing(passkey_explorer(model, bytes_tokenizer(), trials=1, length=192, group_size=4))

    def test_cells_are_those_of_the_experiment(self, explorer, model):
        settled(explorer)
        rows = explorer.panel.rows
        assert len(rows) == 3 * len(DEPTHS) * len(grid_lengths(192, CONTEXT_LENGTH))
        (expected,) = passkey(
            model, bytes_tokenizer(), lengths=[192], depths=[0.5], conditions=[SelfExtend(4, 32)], trials=1
        )
        assert rows[str(SelfExtend(4, 32)), 192, 0.5] == expected
        assert {label for label, _, _ in rows} == {STOCK, BLINDFOLD, "SelfExtend(G=4, w_n=32)"}

    def test_stop_leaves_what_was_found(self, explorer):
        asked = threading.Event()
        explorer.work.run = after(explorer.work.run, asked, explorer.worker.stop)
        assert asked.wait(WAIT)
        assert explorer.worker.wait(WAIT)
        assert explorer.worker.report.state == "stopped"
        assert "Stopped" in explorer.bar.words.value
        assert 0 < len(explorer.work.memory) < 20

    def test_the_page_asks_for_every_setting(self, explorer, tmp_path):
        settled(explorer)
        path = explorer.to_html(tmp_path / "cells.html", group_sizes=[2, 4])
        (view,) = data_of(path)["views"]
        state, said = view["frames"]["0|0|0"]
        cells = next(trace for trace in state["data"] if trace["name"].startswith(("SelfExtend(G=2", "Self-Extend")))
        assert np.asarray(cells["z"], dtype=float).shape == (len(DEPTHS), len(grid_lengths(192, CONTEXT_LENGTH)))
        assert "Self-Extend finds" in said

    def test_a_length_that_would_take_minutes_is_refused(self, explorer):
        explorer.state.length = 16 * CONTEXT_LENGTH + 1
        assert explorer.worker.wait(WAIT)
        assert "too long to ask" in explorer.bar.words.value

    def test_only_a_model_is_refused(self, model):
        with pytest.raises(TypeError, match="the tokenizer is missing"):
            passkey_explorer(model)


def after(run, asked, stop):
    """`run`, with a press on Stop after the first answer."""

    def first(step):
        answer = run(step)
        stop()
        asked.set()
        return answer

    return first
