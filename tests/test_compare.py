"""Methods beside their controls, on the demo model: what a window finds, what far text takes, what is never trained."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from experiment_doubles import TEXTS, bytes_tokenizer, tiny_llama

from selfextend_viz import Comparison, compare, load_demo, methods_for
from selfextend_viz.demo import held_out_texts
from selfextend_viz.experiments.compare import attention_outside
from selfextend_viz.experiments.comparison_rows import Found, MassRow
from selfextend_viz.experiments.mass import slowdown
from selfextend_viz.experiments.rows import PasskeyRow, PerplexityRow
from selfextend_viz.methods import METHODS, LMInfinite, PositionInterpolation, ReRoPE, StreamingLLM, YaRN
from selfextend_viz.patch import is_extended
from selfextend_viz.positions import SelfExtend, pair_positions, relative_positions

L = 320
RESULTS = Path(__file__).parents[1] / "benchmarks" / "results" / "methods.json"
CONTROLS = ["stock", "truncate", "blindfold"]


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def rows(demo):
    """Two methods at twice L."""
    wanted = {"lengths": [2 * L], "depths": [0.0, 0.25, 0.75, 1.0], "context_lengths": [2 * L], "targets": 480}
    return list(compare(*demo, methods_for(demo[0], 2 * L, ["StreamingLLM", "SelfExtend"]), trials=1, **wanted))


@pytest.fixture(scope="module")
def table(rows):
    return {row.condition.partition("(")[0]: row for row in Comparison.of(rows, context_length=L).table()}


@pytest.fixture(scope="module")
def committed():
    """The rows of the committed table, and what is known of its methods."""
    return Comparison.read(RESULTS), json.loads(RESULTS.read_text(encoding="utf-8"))["settings"]["methods"]


class TestWhatIsFound:
    def test_stock_finds_neither_needle_past_its_length(self, table):
        assert (table["stock"].near, table["stock"].far) == (Found(0, 2), Found(0, 2))

    def test_a_window_finds_the_near_needle_only(self, table):
        for name in ("StreamingLLM", "blindfold", "truncate"):
            assert (table[name].near, table[name].far) == (Found(2, 2), Found(0, 2)), name

    def test_self_extend_finds_both(self, table):
        assert table["SelfExtend"].near == table["SelfExtend"].far == Found(2, 2)

    def test_nobody_guesses_the_key(self, table):
        assert table["no_needle"].passkey == {2 * L: Found(0, 4)}

    def test_perplexity_does_not_tell_the_two_apart(self, table):
        """A window keeps the loss as Self-Extend does, and loses the key: perplexity is not enough."""
        loss = {name: row.perplexity[2 * L].difference for name, row in table.items() if row.perplexity}
        assert loss["stock"] > 0.5
        assert abs(loss["StreamingLLM"]) < 0.05 and abs(loss["SelfExtend"]) < 0.05
        assert table["truncate"].perplexity[2 * L].difference == 0

    def test_methods_keep_attention_inside_the_trained_range(self, table):
        mass = {name: row.mass[2 * L] for name, row in table.items() if row.mass}
        assert mass["stock"].outside > 0.1 and mass["stock"].worst > mass["stock"].outside
        assert all(mass[name].outside == mass[name].uniform == 0 for name in mass if name != "stock")


class TestControls:
    def test_they_are_always_there_and_read_the_same(self, rows, table):
        methods = [name for name in table if not table[name].control]
        assert list(table) == [*CONTROLS, "no_needle", *methods] and len(methods) == 2
        for kind, count in ((PasskeyRow, 4), (PerplexityRow, 1), (MassRow, 1)):
            mine = [row for row in rows if isinstance(row, kind)]
            for label in {row.condition for row in mine}:
                assert sum(row.condition == label for row in mine) == count
        assert len({(row.length, row.trials, row.seed) for row in rows if isinstance(row, PasskeyRow)}) == 1
        assert len({(row.texts, row.targets) for row in rows if isinstance(row, PerplexityRow)}) == 1

    @pytest.mark.parametrize("gone", CONTROLS)
    @pytest.mark.parametrize("kind", [PasskeyRow, PerplexityRow, MassRow])
    def test_a_table_without_one_is_refused(self, rows, gone, kind):
        left = [row for row in rows if not (isinstance(row, kind) and row.condition == gone)]
        with pytest.raises(ValueError, match=f"without those of '{gone}'"):
            Comparison.of(left, context_length=L).table()

    def test_a_table_whose_controls_read_other_prompts_is_refused(self, rows):
        other = [
            replace(row, seed=7) if isinstance(row, PasskeyRow) and row.condition == "truncate" else row for row in rows
        ]
        with pytest.raises(ValueError, match=r"seed 0\) stand without those of 'truncate'"):
            Comparison.of(other, context_length=L).table()

    @pytest.mark.parametrize("name", [*CONTROLS, "no_needle", None])
    def test_they_are_not_given_by_hand(self, name):
        with pytest.raises(ValueError, match="is a control, which compare adds by itself"):
            compare(tiny_llama(), bytes_tokenizer(), [SelfExtend(4, 16), name])


class TestBadInput:
    def test_no_method(self):
        with pytest.raises(ValueError, match="methods has 0 entries"):
            compare(tiny_llama(), bytes_tokenizer(), [])

    def test_a_method_alone(self):
        with pytest.raises(TypeError, match="put it in brackets"):
            compare(tiny_llama(), bytes_tokenizer(), SelfExtend(4, 16))

    def test_one_method_for_each_layer_alone(self):
        with pytest.raises(TypeError, match="put it in brackets"):
            compare(tiny_llama(), bytes_tokenizer(), {0: SelfExtend(4, 16)})

    def test_a_method_twice(self):
        with pytest.raises(ValueError, match="is given 2 times"):
            compare(tiny_llama(), bytes_tokenizer(), [SelfExtend(4, 16), SelfExtend(4, 16)], texts=TEXTS)

    def test_texts_that_are_too_short(self):
        with pytest.raises(ValueError, match="5 tokens"):
            compare(tiny_llama(), bytes_tokenizer(), [SelfExtend(4, 16)], texts=["short"])
        with pytest.raises(ValueError, match="5 tokens, but 128 are to be read"):
            attention_outside(tiny_llama(), bytes_tokenizer(), ["short"], lengths=[128])

    @pytest.mark.parametrize(
        ("target", "names", "said"),
        [
            (L, None, "target_length is 320, but must be above L = 320"),
            (640, ["Alibi"], "unknown method 'Alibi'"),
            (640, [], "names has 0 entries"),
            (640 * L, ["LlamaCppSelfExtend"], "no LlamaCppSelfExtend with a window of L / 4 reaches 204800"),
        ],
    )
    def test_settings(self, demo, target, names, said):
        with pytest.raises(ValueError, match=said):
            methods_for(demo[0], target, names)

    def test_a_file_of_something_else(self, tmp_path):
        file = tmp_path / "rows.json"
        file.write_text(json.dumps({"settings": {"context_length": 320}, "rows": [{"row": "BenchRow"}]}))
        with pytest.raises(ValueError, match="a row of kind 'BenchRow' is none of a comparison's"):
            Comparison.read(file)
        file.write_text("[]")
        with pytest.raises(ValueError, match="choose a file that compare wrote"):
            Comparison.read(file)


class TestSettings:
    @pytest.mark.parametrize("times", [2, 8])
    def test_every_method_has_some_and_says_what_it_does(self, demo, times):
        chosen = methods_for(demo[0], times * L)
        assert list(chosen) == list(METHODS)
        for name, method in chosen.items():
            assert type(method) is METHODS[name]
            assert isinstance(method.training_free, bool)
            assert method.mechanism.split(":")[0] in ("frequencies", "visibility", "positions")

    @pytest.mark.parametrize("times", [2, 8, 20])
    def test_remapped_positions_reach_the_target(self, demo, times):
        names = [name for name, method in METHODS.items() if method.mechanism.startswith("positions")]
        names += ["StreamingLLM", "LMInfinite", "SlidingWindow"]
        for name, method in methods_for(demo[0], times * L, names).items():
            farthest = pair_positions(method, times * L - 1, torch.arange(times * L)).max()
            if name == "StringAttention":  # it reaches hardly more than L, and says so
                assert farthest == times * L - 1 - method.shift + method.window
            else:
                assert farthest < L, method

    def test_longrope_starts_from_yarn(self, demo):
        chosen = methods_for(demo[0], 8 * L, ["YaRN", "LongRoPE"])
        assert chosen["LongRoPE"].long[0] == pytest.approx(1) and chosen["LongRoPE"].long[-1] == pytest.approx(8)
        assert slowdown(demo[0], chosen["LongRoPE"], 8 * L) == pytest.approx(slowdown(demo[0], YaRN(8), 8 * L))
        assert slowdown(demo[0], chosen["LongRoPE"], L) == 1


class TestMass:
    @pytest.mark.filterwarnings("ignore::selfextend_viz.patch.BeyondReachWarning")
    @pytest.mark.parametrize(("method", "limit"), [(SelfExtend(2, 16), 64), (PositionInterpolation(2), 128)])
    def test_uniform_attention_by_counting(self, method, limit):
        (row,) = attention_outside(
            tiny_llama(), bytes_tokenizer(), TEXTS, lengths=[200], conditions=[method], queries=200
        )
        told = relative_positions(method, 200)[100:]
        expected = (told >= limit).sum(-1) / (told >= 0).sum(-1)
        assert row.uniform == pytest.approx(expected.mean(), abs=1e-9)
        assert 0 < row.outside <= row.worst < 1 and row.heads == 8 and row.texts == 2
        assert not is_extended(tiny_llama())

    def test_truncation_leaves_nothing_outside(self):
        (row,) = attention_outside(tiny_llama(), bytes_tokenizer(), TEXTS, lengths=[200], conditions=["truncate"])
        assert (row.outside, row.uniform) == (0, 0)

    def test_each_layer_of_a_mapping_counts_for_itself(self):
        model, tokenizer = tiny_llama(), bytes_tokenizer()
        first, both = attention_outside(
            model, tokenizer, TEXTS, lengths=[200], conditions=[{0: ReRoPE(8)}, {0: ReRoPE(8), 1: ReRoPE(8)}]
        )
        assert first.outside > 0 == both.outside and first.uniform > 0 == both.uniform

    def test_frequencies_carry_the_range_with_them(self, demo):
        """A told distance is outside when a pair that never turns once within L meets a new angle."""
        assert slowdown(demo[0], SelfExtend(4, 80), 640) == slowdown(demo[0], LMInfinite(4, 80), 640) == 1
        assert slowdown(demo[0], PositionInterpolation(4), 640) == 4
        assert slowdown(demo[0], YaRN(4), 640) == pytest.approx(4)
        inv_freq = 65536.0 ** (-torch.arange(16, dtype=torch.float64) / 16)
        slow = int((inv_freq * L < 2 * math.pi).nonzero()[0])
        ntk = methods_for(demo[0], 4 * L, ["NTKAware"])["NTKAware"]
        assert slowdown(demo[0], ntk, 640) == pytest.approx(4 ** (slow / 15), rel=1e-5)


def test_rows_come_back_from_a_file(rows, tmp_path):
    written = [{"row": type(row).__name__, **asdict(row)} for row in rows]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps({"settings": {"context_length": L}, "rows": written}))
    assert Comparison.read(file) == Comparison.of(rows, context_length=L)


def test_the_same_prompts_whether_methods_run_together_or_apart(demo):
    asked = {"lengths": [360], "depths": [0.5], "context_lengths": [L], "trials": 1, "targets": 160}
    texts = [text[:400] for text in held_out_texts()[:2]]
    both = list(compare(*demo, [SelfExtend(4, 80), StreamingLLM(4, 300)], texts=texts, **asked))
    alone = list(compare(*demo, [StreamingLLM(4, 300)], texts=texts, **asked))
    assert alone == [row for row in both if "SelfExtend" not in row.condition]


class TestTheCommittedTable:
    def test_every_method_is_in_it_with_the_settings_of_today(self, committed, demo):
        comparison, methods = committed
        assert {name: method["label"] for name, method in methods.items()} == {
            name: str(method) for name, method in methods_for(demo[0], 8 * L).items()
        }
        labels = [method["label"] for method in methods.values()]
        assert [row.condition for row in comparison.table()] == [*CONTROLS, "no_needle", *labels]
        for row in comparison.table():
            assert list(row.passkey) == [2 * L, 4 * L, 8 * L]
            assert list(row.perplexity) == ([] if row.condition == "no_needle" else [L, 2 * L, 4 * L])

    def test_a_window_of_the_trained_length_is_the_blindfold(self, committed):
        rows = {row.condition: row for row in committed[0].table()}
        window, blindfold = rows[f"SlidingWindow({L})"], rows["blindfold"]
        assert (window.passkey, window.near, window.far) == (blindfold.passkey, blindfold.near, blindfold.far)
        for length, losses in window.perplexity.items():
            assert losses.nll == pytest.approx(blindfold.perplexity[length].nll, abs=1e-5)
