"""What verify() says: what it skipped, why it refuses, a table of the worst layers, and the command line."""

import dataclasses
import json
import sys

import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama
from typer.testing import CliRunner
from verify_cases import METHOD, plant, verified

from selfextend_viz import Verification, VerifyRow, verify
from selfextend_viz.cli import app
from selfextend_viz.experiments.verdict import COLUMNS
from selfextend_viz.patch.models import attention_layers
from selfextend_viz.patch.raw_rotation import RawRotation
from selfextend_viz.positions import Band, SelfExtend


@pytest.fixture(scope="module")
def llama():
    return tiny_llama()


class TestSkipped:
    def test_an_implementation_that_cannot_run_says_why(self, llama):
        found = verify(llama, METHOD)
        if torch.cuda.is_available():
            pytest.skip("fused may run here")
        (row,) = [row for row in found if row.implementation == "fused"]
        assert (row.check, row.error, row.tolerance, row.passed) == ("all", None, None, None)
        assert "Triton" in row.note and row.note in str(found)
        assert found.passed
        alone = verify(llama, METHOD, implementations=["fused"])
        assert not alone.passed and not alone.failures and "nothing" in alone.summary

    def test_a_method_only_eager_can_run(self, llama):
        from selfextend_viz.methods import SinksAtTrueDistance

        found = verified(llama, SinksAtTrueDistance(9))
        assert found.passed
        assert {row.implementation for row in found if row.passed is None} == {"flash"}

    def test_eager_at_a_length_whose_logits_would_not_fit(self, llama, monkeypatch):
        monkeypatch.setattr("selfextend_viz.experiments.verify.EAGER_LOGITS", 4 * 64 * 64)
        found = verified(llama)
        assert found.passed and "logits at 64 tokens" in found.skipped[0]


class TestBadInput:
    def test_a_model_that_cannot_be_extended(self):
        with pytest.raises(ValueError, match="one embedding per absolute position"):
            verify(tiny_gpt2(), METHOD)
        with pytest.raises(TypeError, match="expected a transformers model"):
            verify("llama", METHOD)

    @pytest.mark.parametrize(
        ("options", "error", "said"),
        [
            ({"lengths": [24]}, ValueError, r"at 24 tokens nothing differs.* at least 25"),
            ({"lengths": [64, 9]}, ValueError, "lengths is 9, but must be at least 16"),
            ({"lengths": [64.5]}, TypeError, "whole number"),
            ({"lengths": 64}, TypeError, "must be a list"),
            ({"lengths": []}, ValueError, "0 entries"),
            ({"implementations": ["auto"]}, ValueError, "'auto'; choose from eager, flash, fused"),
            ({"implementations": "eager"}, TypeError, "must be a list"),
            ({"tokens": [5] * 20}, ValueError, "tokens has 20, fewer than the length 64"),
            ({"tokens": [0.5] * 70}, TypeError, "whole numbers"),
            ({"seed": -1}, ValueError, "seed is -1"),
        ],
    )
    def test_bad_options(self, llama, options, error, said):
        with pytest.raises(error, match=said):
            verify(llama, SelfExtend(3, 23), **({"lengths": [64]} | options))

    def test_a_layout_that_cannot_be_asked(self, llama, monkeypatch):
        file = sys.modules[type(llama.model.layers[0].self_attn).__module__]
        with monkeypatch.context() as changed:
            changed.setattr(file, "apply_rotary_pos_emb", lambda q, k, cos, sin: (q, k))
            with pytest.raises(ValueError, match="does not turn its 16 dimensions in pairs"):
                RawRotation.of(attention_layers(llama)[0])
            changed.delattr(file, "apply_rotary_pos_emb")
            with pytest.raises(ValueError, match="has no apply_rotary_pos_emb"):
                RawRotation.of(attention_layers(llama)[0])

    def test_bad_methods(self, llama):
        with pytest.raises(ValueError, match="is plain RoPE at every length"):
            verify(llama, SelfExtend(1, 7))
        with pytest.raises(ValueError, match="neighbor_window 32 leaves no room"):
            verify(llama, SelfExtend(2, 32))
        with pytest.raises(TypeError, match="must have .bands"):
            verify(llama, (8, 64))

    def test_a_model_in_training(self):
        with pytest.raises(ValueError, match=r"call model.eval\(\)"):
            verify(tiny_llama().train(), METHOD)

    def test_a_method_for_some_heads(self, llama):
        class Half:
            bands = (Band(heads=slice(0, 2)), Band(heads=slice(2, 4)))

        with pytest.raises(ValueError, match="some heads"):
            verify(llama, Half())


class TestTable:
    ROW = VerifyRow("prefill", "flash", 3, 64, 2e-6, 1e-6, False, "head 1, query 9")

    def test_the_worst_layer_of_each_check_and_how_many_failed(self):
        fine = dataclasses.replace(self.ROW, layer=1, error=1e-7, passed=True)
        worse = dataclasses.replace(self.ROW, layer=2, error=4e-6)
        found = Verification("Model", "method", "float32", "cpu", (fine, self.ROW, worse))
        (line,) = found.lines()
        assert line == (
            "prefill",
            "flash",
            "64",
            "4.0e-06",
            "1.0e-06",
            "FAILED",
            "2: head 1, query 9, and 1 more layers",
        )
        assert found.summary == "2 of 3 comparisons failed" and found.failures == (self.ROW, worse)
        assert len(found) == 3 and list(found) == list(found.rows)
        assert str(found).splitlines()[1].split() == " ".join(COLUMNS).split()

    def test_what_is_not_a_number_is_the_worst(self):
        lost = dataclasses.replace(self.ROW, layer=5, error=float("nan"))
        assert Verification("Model", "m", "float32", "cpu", (self.ROW, lost)).lines()[0][-1].startswith("5:")

    def test_active_is_near_failing_where_little_changes(self):
        rows = [dataclasses.replace(self.ROW, check="active", error=error) for error in (1e-5, 1.0)]
        assert rows[0].strain > rows[1].strain
        assert Verification("Model", "m", "float32", "cpu", (rows[0],)).lines()[0][4] == "> 1.0e-06"


@pytest.fixture
def run(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    return lambda *arguments: CliRunner().invoke(app, ["verify", *map(str, arguments)])


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory, llama):
    from selfextend_viz.demo.tokenizer import byte_tokenizer

    folder = tmp_path_factory.mktemp("checkpoint")
    llama.save_pretrained(folder)
    byte_tokenizer(32).save_pretrained(folder)
    return folder


class TestCommand:
    SETTING = ("-G", 3, "-w", 7)

    def test_all_passed(self, run, checkpoint, tmp_path):
        path = tmp_path / "rows.json"
        result = run(checkpoint, *self.SETTING, "--implementation", "eager", "--length", 40, "-n", 33, "--json", path)
        assert result.exit_code == 0, result.stderr
        assert "is active, and right" in result.stdout and "FAILED" not in result.stdout
        written = json.loads(path.read_text())
        assert written["settings"]["passed"] is True and written["settings"]["lengths"] == [40, 33]
        assert {row["implementation"] for row in written["rows"]} == {"eager"}
        assert {row["length"] for row in written["rows"]} == {33, 40}
        assert all(row["passed"] and row["row"] == "VerifyRow" for row in written["rows"])

    def test_one_failed(self, run, checkpoint, monkeypatch):
        plant(monkeypatch, lambda self: (Band(),))
        result = run(checkpoint, *self.SETTING)
        assert result.exit_code == 1
        assert "FAILED" in result.stdout and "comparisons failed" in result.stdout

    @pytest.mark.skipif(torch.cuda.is_available(), reason="fused may run here")
    def test_nothing_ran(self, run, checkpoint):
        result = run(checkpoint, *self.SETTING, "--implementation", "fused")
        assert result.exit_code == 2
        assert "Triton" in result.stdout and "nothing could run" in result.stdout

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("-G", 3), "--neighbor-window is missing"),
            (("-G", 3, "-w", 23, "-n", 20), "at 20 tokens nothing differs"),
            (("-G", 3, "-w", 7, "--implementation", "fast"), "'fast'; choose from"),
        ],
    )
    def test_bad_input(self, run, checkpoint, arguments, said):
        result = run(checkpoint, *arguments)
        assert result.exit_code == 2
        assert said in result.stderr and "Traceback" not in result.stderr

    def test_a_folder_that_is_not_there(self, run):
        assert run("./nowhere", *self.SETTING).exit_code == 2
