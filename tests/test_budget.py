"""Memory and time said beforehand, against what is taken."""

import json
import os
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from tiny_models import tiny_gpt2, tiny_llama, tiny_mistral
from typer.testing import CliRunner

from selfextend_viz import SelfExtend, load_demo
from selfextend_viz import plan as plan_from_the_top
from selfextend_viz.cli import app
from selfextend_viz.demo.corpus import held_out_texts
from selfextend_viz.experiments import budget
from selfextend_viz.experiments.budget import plan
from selfextend_viz.experiments.counted_memory import peak_bytes
from selfextend_viz.experiments.short_forwards import scaled
from selfextend_viz.patch import cache_memory, extended, is_extended

METHOD = SelfExtend(32, 80)

PEAK = """
import sys, torch
from selfextend_viz import SelfExtend, extended, load_demo
torch.set_num_threads(1)
model, _ = load_demo()
held = lambda: next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024
read = lambda length: model(torch.randint(250, (1, length)), use_cache=True, logits_to_keep=1)
with torch.inference_mode(), extended(model, SelfExtend(32, 80)):
    read(64)
    before = held()
    read(int(sys.argv[1]))
print(held() - before)
"""


@pytest.fixture(scope="module")
def demo():
    return load_demo()


class TestMemory:
    @pytest.mark.slow
    @pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc/self/status")
    def test_the_peak_of_a_process_that_reads_the_text(self, demo):
        # Freed memory goes back at once, where the allocator else keeps up to as much again of blocks below 32 MiB.
        kept = os.environ | {"MALLOC_MMAP_THRESHOLD_": "65536"}
        run = subprocess.run(
            [sys.executable, "-c", PEAK, "8192"], capture_output=True, text=True, timeout=120, env=kept
        )
        taken = int(run.stdout)
        said = plan(demo[0], 8192, method=METHOD).prefill_bytes
        assert 0.7 * taken <= said <= 1.3 * taken

    @pytest.mark.parametrize("implementation", ["flash", "eager"])
    def test_what_tensors_take_at_the_target(self, demo, implementation):
        """Eager memory grows with the pairs, flash memory with the tokens."""
        model, length = demo[0], 1500
        said = plan(model, length, method=METHOD, implementation=implementation, batch_size=2)
        with torch.inference_mode(), extended(model, METHOD, implementation=implementation):
            ids = torch.randint(250, (2, length))
            taken = peak_bytes(lambda: model(ids, use_cache=True, logits_to_keep=1))
        assert 0.8 * taken <= said.prefill_bytes <= 1.25 * taken
        assert said.prefill_bytes / said.cache_bytes > (10 if implementation == "eager" else 1)

    def test_the_cache_is_that_of_the_model_under_the_method(self, demo):
        said = plan(demo[0], 1000, method=METHOD, batch_size=3)
        with extended(demo[0], METHOD):
            memory = cache_memory(demo[0], 1000, batch_size=3)
        assert (said.cache_bytes, said.beside_bytes) == (memory.stock, memory.beside)
        assert said.weight_bytes >= sum(parameter.nbytes for parameter in demo[0].parameters())

    def test_peak_counts_what_lives_at_one_time(self):
        def run():
            first = torch.zeros(1000)
            second = first + 1
            del first
            return (second.view(10, 100) * 2).sum()

        assert 8000 <= peak_bytes(run) <= 8100

    def test_tensors_made_before_do_not_count(self):
        given = torch.zeros(10_000)
        assert peak_bytes(lambda: given.view(100, 100).add_(1)) == 0


class TestTime:
    def test_it_is_positive_and_grows(self, demo):
        short, long = (plan(demo[0], length, method=METHOD) for length in (2000, 8000))
        assert 0 < short.seconds < long.seconds
        assert len(long.measured) == 3 and all(seconds > 0 for _, seconds in long.measured)

    def test_a_batch_takes_its_share(self, demo):
        said = plan(demo[0], 600, batch_size=50)
        lengths, seconds = zip(*said.measured, strict=True)
        assert said.seconds == pytest.approx(50 * scaled(lengths, seconds, 600))

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([1.0, 2.0, 4.0], 40.0),
            ([1.0, 4.0, 16.0], 1600.0),
            ([3.0, 8.0, 24.0], 10 * 2 + 1600 * 1.0),
            ([2.0, 3.0, 4.0], None),
        ],
        ids=["tokens", "pairs", "both", "slower"],
    )
    def test_scaling(self, values, expected):
        lengths = (10, 20, 40)
        if expected == 1620.0:
            values = [0.5 * n / 10 + (n / 10) ** 2 for n in lengths]
        found = scaled(lengths, values, 400)
        if expected is None:
            assert 30 <= found <= 80
        else:
            assert found == pytest.approx(expected)

    def test_scaling_one_length(self):
        assert scaled((10,), (2.0,), 40) == pytest.approx(8.0)


class TestWords:
    def test_it_is_at_the_top_frozen_and_readable(self, demo):
        said = plan_from_the_top(demo[0], 1280)
        with pytest.raises(FrozenInstanceError):
            said.seconds = 0.0
        text = str(said)
        for part in (
            "1280 tokens under SelfExtend(G=",
            "L: 320 tokens",
            "enough",
            "cache: 7.5 MiB",
            "beside the weights",
        ):
            assert part in text
        assert "measured: token losses" not in text and said.knee is None

    def test_a_length_within_reach_of_the_stock_model_needs_no_method(self, demo):
        said = plan(demo[0], 320)
        assert (said.method, said.beside_bytes) == ("stock", 0)
        assert "reach: 320 tokens, enough" in str(said)

    def test_a_method_that_falls_short_is_said_without_a_warning(self, demo):
        said = plan(demo[0], 2000, method=SelfExtend(2, 80))
        assert "reach: 560 tokens, 1440 too few" in str(said)

    def test_a_method_for_some_layers(self, demo):
        said = plan(demo[0], 1500, method={1: SelfExtend(8, 80)})
        assert said.method == "SelfExtend(G=8, w_n=80) on layer 1"
        assert said.beside_bytes == said.cache_bytes // 12

    def test_the_knee_and_the_configuration(self, demo):
        model, tokenizer = demo
        said = plan(model, 640, tokenizer=tokenizer, text=held_out_texts())
        assert 288 <= said.knee <= 400
        assert f"measured: token losses leave their level at {said.knee} tokens, which agrees" in str(said)

    def test_scaled_frequencies_and_a_window_are_explained(self):
        scaling = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 8}
        assert "yarn" in str(plan(tiny_llama(rope_parameters=scaling), 60))
        assert "sliding_window" in str(plan(tiny_mistral(sliding_window=9), 60))

    def test_whether_it_fits(self, demo, monkeypatch):
        said = plan(demo[0], 500)
        assert said.fits is (said.free_bytes > said.peak_bytes)
        assert "it fits, 1.00 GiB are free" in str(replace(said, free_bytes=2.0**30))
        small = replace(said, free_bytes=said.peak_bytes - 1)
        assert small.fits is False and "it does not fit, only" in str(small)
        monkeypatch.setattr(budget, "free_on", lambda device: None)
        unknown = plan(demo[0], 100)
        assert unknown.fits is None and "cannot be told here" in str(unknown)

    @pytest.mark.parametrize(("seconds", "words"), [(3.21, "3.2 s"), (900, "15 min"), (9000, "2.5 h")])
    def test_durations(self, demo, seconds, words):
        assert f"time: about {words} to read it" in str(replace(plan(demo[0], 100), seconds=seconds))


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "error", "sentence"),
        [
            ({"target_length": 0}, ValueError, "target_length is 0"),
            ({"target_length": 10.5}, TypeError, "target_length must be a whole number"),
            ({"target_length": 99, "batch_size": 0}, ValueError, "batch_size is 0"),
            ({"target_length": 99, "text": "a text"}, ValueError, "tokenizer is missing"),
            ({"target_length": 99, "tokenizer": object()}, ValueError, "text is missing"),
            ({"target_length": 99, "method": "SelfExtend"}, TypeError, "method must have .bands"),
            ({"target_length": 99, "method": {7: METHOD}}, ValueError, "there is no layer 7"),
            ({"target_length": 99, "method": SelfExtend(2, 32)}, ValueError, "neighbor_window 32 leaves no room"),
        ],
    )
    def test_one_sentence(self, arguments, error, sentence):
        model = tiny_llama()
        with pytest.raises(error, match=sentence):
            plan(model, **arguments)
        assert not is_extended(model)

    def test_a_model_that_is_not_rotary(self):
        with pytest.raises(ValueError, match="GPT2LMHeadModel"):
            plan(tiny_gpt2(), 100)


class TestCommand:
    def test_the_demo_in_words_and_as_json(self, tmp_path):
        target = tmp_path / "plan.json"
        text = tmp_path / "text.txt"
        text.write_text(max(held_out_texts(), key=len), encoding="utf-8")
        asked = ["plan", "--target", "900", "-G", "8", "-w", "80", "--text", str(text), "--json", str(target)]
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 0 and "900 tokens under SelfExtend(G=8, w_n=80)" in result.stdout
        (row,) = json.loads(target.read_text())["rows"]
        assert (row["target_length"], row["context_length"]) == (900, 320) and row["prefill_bytes"] > row["cache_bytes"]

    @pytest.mark.parametrize(
        "asked", [["plan", "no-such-folder/at-all"], ["plan", "--target", "0"], ["plan", "-G", "8"]]
    )
    def test_bad_input_is_one_line_and_two(self, asked):
        result = CliRunner().invoke(app, asked)
        assert result.exit_code == 2 and len(result.stderr.strip().splitlines()[-1]) > 20
