"""The explorer of methods shows any two as the library computes them, and refuses numbers in their own words."""

import json
import re
from dataclasses import fields

import numpy as np
import plotly.graph_objects as go
import pytest
from method_matrix import METHODS as MATRIX
from test_explorers import data_of
from tiny_models import tiny_llama

from selfextend_viz import METHODS, method_explorer
from selfextend_viz.methods import ReRoPE, ShuffledSelfExtend, SlidingWindow, StreamingLLM
from selfextend_viz.plots import collisions_sentence, methods_state, methods_table, plot_query_positions
from selfextend_viz.plots.told_distances import told_distances
from selfextend_viz.positions import PlainRoPE, SelfExtend, relative_positions
from selfextend_viz.widgets import Explorer
from selfextend_viz.widgets.controls import BadSetting
from selfextend_viz.widgets.method_choice import KINDS, MethodChoice, chosen, from_text
from selfextend_viz.widgets.method_picker import stops_for
from selfextend_viz.widgets.page_frames import plain_json

N = 40


@pytest.fixture
def explorer():
    return method_explorer(first=SelfExtend(4, 6), second=StreamingLLM(2, 14), length=N, context_length=16)


def told_by(panel, tokens):
    """What the page computes, in Python: one subtraction in the first band whose interval and spans hold the pair."""
    told = np.full((len(tokens), len(tokens)), np.nan)
    for row, i in enumerate(tokens):
        for column, j in enumerate(tokens[: row + 1]):
            for band in panel["bands"]:
                runs = band.get("spans", [[0, len(tokens)]] * len(tokens))[row]
                held = any(start <= column < stop for start, stop in zip(runs[::2], runs[1::2], strict=True))
                if held and band["nearest"] <= i - j and (band["beyond"] is None or i - j < band["beyond"]):
                    told[row, column] = band["query"][row] - band["key"][column]
                    break
    return told


class TestState:
    @pytest.mark.parametrize("method", MATRIX, ids=str)
    def test_the_page_can_tell_every_method(self, method):
        state = json.loads(json.dumps(methods_state(method, SelfExtend(2, 4), N, context_length=16)))
        places = np.arange(N)
        wanted = told_distances(method, places[:, None], places[None, :], length=N, context_length=16)
        np.testing.assert_allclose(told_by(state["panels"][0], state["tokens"]), wanted, atol=2e-4)
        assert state["difference"] is True

    def test_long_texts_are_sampled(self):
        state = methods_state(StreamingLLM(2, 14), ReRoPE(8), 5000, max_cells=50)
        tokens = np.array(state["tokens"])
        wanted = told_distances(StreamingLLM(2, 14), tokens[:, None], tokens[None, :], length=5000)
        np.testing.assert_array_equal(told_by(state["panels"][0], state["tokens"]), wanted)

    def test_a_row_as_a_table(self):
        header, lines = methods_table(SelfExtend(2, 4), SlidingWindow(5), 10, 9)
        assert header[2:] == ("told by SelfExtend(G=2, w_n=4)", "told by SlidingWindow(5)", "difference")
        assert [line[2] for line in lines] == [6, 6, 5, 5, 4, 4, 3, 2, 1, 0]
        assert [line[3] for line in lines] == [None] * 5 + [4, 3, 2, 1, 0]
        assert [line[4] for line in lines] == [None] * 5 + [0] * 5

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [
            (lambda: methods_state(ReRoPE(4), ReRoPE(5), 0), "length is 0"),
            (lambda: methods_state(ReRoPE(4), ReRoPE(5), 9, row=9), "row 9 lies outside"),
            (lambda: methods_state(ReRoPE(4), METHODS["DynamicNTK"](2), 9), "pass context_length"),
        ],
    )
    def test_what_cannot_be_drawn_is_refused_in_words(self, wrong, words):
        with pytest.raises(ValueError, match=words):
            wrong()


class TestChoice:
    @pytest.mark.parametrize("name", KINDS)
    def test_every_method_can_be_chosen_and_its_fields_are_those_of_its_class(self, explorer, name):
        explorer.bar.pickers["second"].menu.value = name
        choice = explorer.state.choices["second"]
        assert type(choice.method) is KINDS[name] and explorer.state.second == choice.method
        assert set(choice.names) <= {item.name for item in fields(KINDS[name])}
        controls = explorer.bar.pickers["second"].numbers
        assert tuple(controls) == choice.names
        assert name in explorer.maps.text
        assert explorer.maps.map.state["panels"][1]["name"].startswith(str(choice.method).replace("stock", name))
        for field in choice.names:
            if choice.is_number(field):
                assert getattr(choice, field) in stops_for(choice, field, 16)
                assert controls[field].box.value == getattr(choice, field)

    @pytest.mark.parametrize("length", [8, 4000])
    @pytest.mark.parametrize("name", KINDS)
    def test_opening_numbers_stay_within_the_trained_length(self, name, length):
        method = chosen(name, 32, length)
        told = told_distances(method, length - 1, np.arange(length), length=length, context_length=32)
        beyond = {"plain RoPE", "StringAttention", "LogisticSelfExtend", "LlamaCppSelfExtend", "ShiftedSparseAttention"}
        assert name in beyond or np.nanmax(told) < 32.5

    def test_a_wrong_number_is_refused_in_the_methods_words_and_the_old_one_stays(self, explorer):
        explorer.bar.pickers["second"].menu.value = "DualChunkAttention"
        number = explorer.bar.pickers["second"].numbers["local_window"]
        before = explorer.state.second
        number.box.value = 12
        assert explorer.state.second == before and number.box.value == before.local_window
        assert "local_window is 12, but must be at most 11" in explorer.bar.words.value
        number.box.value = 3
        assert (explorer.state.second.local_window, explorer.bar.words.value) == (3, "")

    def test_a_wrong_number_offered_by_code_raises_the_sentence(self, explorer):
        with pytest.raises(BadSetting, match="SelfExtend: group_size is 0, but must be at least 1"):
            explorer.state.choices["first"].group_size = 0
        with pytest.raises(BadSetting, match="window must be a whole number"):
            explorer.state.choices["second"].window = 2.5

    def test_lists_and_words_are_given_as_text(self, explorer):
        picker = explorer.bar.pickers["first"]
        picker.menu.value = "LongRoPE"
        picker.numbers["long"].box.value = "1, 2, x"
        assert "long must be a list of numbers" in explorer.bar.words.value
        picker.numbers["long"].box.value = "1, 2, 4"
        assert "short has 4 numbers and long 3" in explorer.bar.words.value
        picker.numbers["long"].box.value = "1, 2, 4, 5"
        assert (explorer.state.first.long, explorer.bar.words.value) == ((1.0, 2.0, 4.0, 5.0), "")
        picker.menu.value = "SelfExtend"
        picker.numbers["compat"].box.value = "longml"
        assert "unknown compat" in explorer.bar.words.value
        picker.numbers["compat"].box.value = "longlm"
        assert explorer.state.first.compat == "longlm"
        assert [from_text(text) for text in ("", "2, 3.5", "word")] == [None, [2.0, 3.5], "word"]

    @pytest.mark.parametrize(
        ("make", "error", "words"),
        [
            (lambda: method_explorer(first="SelfExtent"), ValueError, "unknown method 'SelfExtent'; choose one of"),
            (lambda: method_explorer(first=ShuffledSelfExtend(2, 4)), TypeError, "cannot be chosen here"),
            (lambda: method_explorer(second=(4, 2)), TypeError, "bands"),
            (lambda: method_explorer(length=0), ValueError, "N must be between 1"),
            (lambda: method_explorer(length=9, query=9), ValueError, "0 to 8; 9 is not"),
            (lambda: method_explorer(tiny_llama(), context_length=9), ValueError, "a model has an L of its own"),
            (lambda: method_explorer().to_html("never.html", lengths=[0]), ValueError, "at least 1"),
            (lambda: method_explorer().to_html("never.html", methods=["RoPE"]), ValueError, "unknown method"),
        ],
    )
    def test_what_cannot_be_opened_is_refused_in_a_sentence(self, make, error, words):
        with pytest.raises(error, match=words):
            make()

    def test_fields_the_picture_does_not_show_are_kept(self):
        choice = MethodChoice(SelfExtend(2, 8, log_scale=16))
        choice.group_size = 4
        assert choice.method == SelfExtend(4, 8, log_scale=16)


class TestExplorer:
    def test_both_cards_follow_every_number(self, explorer):
        assert isinstance(explorer, Explorer)
        explorer.bar.numbers["length"].box.value = 60
        explorer.bar.numbers["query"].box.value = 50
        explorer.bar.pickers["first"].numbers["group_size"].slider.value = 8
        first, second = SelfExtend(8, 6), StreamingLLM(2, 14)
        numbers = {"context_length": 16, "row": 50, "column": 0}
        assert explorer.maps.map.state == methods_state(first, second, 60, **numbers)
        wanted = plot_query_positions([PlainRoPE(), first, second], 60, query=50, context_length=16)
        drawn = {trace.name: trace for trace in explorer.curves.figure.widget.data}
        for trace in wanted.data:
            assert plain_json(drawn[trace.name].to_plotly_json()["y"]) == plain_json(trace.to_plotly_json()["y"])
        assert explorer.curves.text == f"{collisions_sentence(first, 51)}; {collisions_sentence(second, 51)}"
        assert "token 50 sees token 0 as if 12 away: trained" in explorer.maps.text

    def test_a_query_that_is_the_last_stays_the_last_and_no_query_is_past_the_end(self, explorer):
        state = explorer.state
        state.length = 64
        assert state.query == 63
        state.query = 30
        state.length = 50
        assert state.query == 30
        state.length = 20
        assert (state.query, explorer.maps.map.state["row"]) == (19, 19)
        with pytest.raises(BadSetting, match="0 to 19; 20 is not"):
            state.query = 20

    def test_a_change_draws_once(self, explorer):
        seen = []
        explorer.maps.map.observe(lambda change: seen.append(change["new"]["length"]), "state")
        explorer.state.length = 64
        explorer.state.choices["first"].group_size = 3
        assert seen == [64, 64]

    def test_pointing_at_a_pair_explains_it(self, explorer):
        explorer.maps._hear(30, 3)
        assert "token 30 sees token 3 as if" in explorer.maps.text
        assert "token 30 does not see token 3: StreamingLLM(sinks=2, window=14) hides it" in explorer.maps.text
        explorer.maps._hear(3, 30)
        assert "token 30 sees token 3" in explorer.maps.text
        assert len(explorer.maps.table()[1]) == 31

    def test_tables_open_on_demand(self, explorer):
        assert not explorer.tables[0].shown
        explorer.tables_button.value = True
        assert all("<table>" in table.value for table in explorer.tables)
        names = [row[0] for row in explorer.curves.table()[1]]
        assert names == ["plain RoPE", "SelfExtend(G=4, w_n=6)", "StreamingLLM(sinks=2, window=14)"]

    def test_a_snapshot_is_a_plain_figure_of_what_is_shown(self, explorer):
        figure = explorer.snapshot()
        assert type(figure) is go.Figure
        assert "SelfExtend(G=4, w_n=6), StreamingLLM(sinks=2, window=14), L=16, N=40" in figure.layout.title.text
        names = [trace.name for trace in figure.data]
        assert {"SelfExtend(G=4, w_n=6) map", "difference map", "SelfExtend(G=4, w_n=6)", "plain RoPE"} <= set(names)
        apart = next(trace for trace in figure.data if trace.name == "difference map")
        wanted = relative_positions(SelfExtend(4, 6), N) - relative_positions(StreamingLLM(2, 14), N)
        assert apart.z[N - 1][0] == wanted[N - 1, 0]
        same = method_explorer(first="ReRoPE", second="ReRoPE").snapshot()
        assert sum(trace.name.endswith(" map") for trace in same.data) == 2

    def test_a_model_gives_its_trained_length_and_locks_it(self):
        explorer = method_explorer(tiny_llama(max_position_embeddings=128))
        assert (explorer.state.context_length, explorer.state.length) == (128, 512)
        assert "context_length" not in explorer.bar.numbers

    def test_the_page_holds_every_pair_of_methods(self, explorer, tmp_path):
        path = explorer.to_html(tmp_path / "page.html", methods=["plain RoPE", ReRoPE(8)], lengths=[20, N])
        assert path.stat().st_size < 6_000_000
        page = data_of(path)
        first, second, length, query = page["controls"]
        assert first["values"] == second["values"] == [
            "plain RoPE", "ReRoPE(8)", "SelfExtend(G=4, w_n=6)", "StreamingLLM(sinks=2, window=14)",
        ]  # fmt: skip
        opened = [control["values"][control["stop"]] for control in page["controls"]]
        assert opened == ["SelfExtend(G=4, w_n=6)", "StreamingLLM(sinks=2, window=14)", N, "the last token"]
        maps, curves = page["views"]
        assert len(maps["frames"]) == len(curves["frames"]) == 4 * 4 * 2 * 2
        state, said = maps["frames"]["2|1|0|0"]
        numbers = {"context_length": 16, "row": 19, "column": 0}
        assert state == plain_json(methods_state(SelfExtend(4, 6), ReRoPE(8), 20, **numbers))
        assert "token 19 sees token 0 as if" in said
        state, _ = curves["frames"]["2|1|0|1"]
        wanted = plot_query_positions([PlainRoPE(), SelfExtend(4, 6), ReRoPE(8)], 20, query=9, context_length=16)
        drawn = next(trace for trace in state["data"] if trace["name"] == "ReRoPE(8)")
        assert drawn["y"] == plain_json(wanted.data[-2].y)

    @pytest.mark.slow
    def test_the_default_page_is_small(self, tmp_path):
        path = method_explorer(context_length=16).to_html(tmp_path / "page.html", lengths=[64])
        assert path.stat().st_size < 6_000_000
        assert re.search(r"Methods side by side", path.read_text(encoding="utf-8"))
