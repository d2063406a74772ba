"""lm-evaluation-harness asks an extended model what it asks any other, and nothing is cut in silence."""

from __future__ import annotations

import json
import math
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
import typer
from typer.testing import CliRunner

from selfextend_viz import SelfExtend, evaluate, extended, harness_model, is_extended, load_demo
from selfextend_viz.cli import app
from selfextend_viz.evaluation.rows import interval
from selfextend_viz.experiments.prompts import passkey_prompt
from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.methods import YaRN

pytest.importorskip("lm_eval", reason="lm-evaluation-harness is in the extra lm-eval")

METHOD = SelfExtend(group_size=4, neighbor_window=80)
LENGTH, TRIALS = 600, 3
SAID = """
output_type: generate_until
doc_to_target: "{{answer}}"
generation_kwargs: {until: ["."], max_gen_toks: 6, do_sample: false}
filter_list:
  - name: digits
    filter:
      - function: regex
        regex_pattern: "([0-9]+)"
      - function: take_first
metric_list:
  - {metric: exact_match, aggregation: mean, higher_is_better: true}
"""
FORETOLD = """
output_type: loglikelihood
doc_to_target: " {{answer}}"
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
"""
READ = """
output_type: loglikelihood_rolling
doc_to_target: "{{text}}"
metric_list:
  - {metric: byte_perplexity, aggregation: weighted_perplexity, higher_is_better: false}
"""


DOCUMENT = (Path(__file__).parents[1] / "docs" / "evaluation.md").read_text(encoding="utf-8")


def documented_commands():
    """The words of each of our command lines in the document."""
    lines = [line for line in DOCUMENT.splitlines() if line.startswith("selfextend-viz ")]
    assert len(lines) > 8
    return [shlex.split(line)[1:] for line in lines]


def after(option, words):
    return words[words.index(option) + 1] if option in words else ""


@pytest.fixture(autouse=True)
def _offline(monkeypatch, tmp_path):
    """No hub, no cache of data sets but the test's own, and no processes for the harness's errors."""
    import datasets.config
    import huggingface_hub.constants

    monkeypatch.setenv("DISABLE_MULTIPROC", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def prompts(demo):
    return [passkey_prompt(demo[1], length=LENGTH, depth=trial / TRIALS, seed=trial) for trial in range(TRIALS)]


@pytest.fixture
def folder(tmp_path, prompts):
    """Task files over a local table of pass-key prompts that are more than twice L long."""
    folder = tmp_path / "tasks"
    folder.mkdir()
    rows = [json.dumps({"text": prompt.text, "answer": prompt.answer}) for prompt in prompts]
    (folder / "keys.jsonl").write_text("\n".join(rows), encoding="utf-8")
    for name, rest in (("key_said", SAID), ("key_foretold", FORETOLD), ("keys_read", READ)):
        text = "" if name == "keys_read" else "{{text}}"
        data = f'dataset_path: json\ndataset_kwargs: {{data_files: {{test: "{folder / "keys.jsonl"}"}}}}\n'
        head = f'task: {name}\n{data}test_split: test\ndoc_to_text: "{text}"\ntarget_delimiter: " "'
        (folder / f"{name}.yaml").write_text(head + rest, encoding="utf-8")
    return folder


def test_self_extend_solves_what_stock_fails(demo, folder):
    model, tokenizer = demo
    side = tokenizer.padding_side
    asked = {"include_path": folder, "conditions": ["stock", METHOD], "batch_size": 2}
    rows = list(evaluate(model, tokenizer, ["key_*"], **asked))
    values = {(row.condition, row.task): row.value for row in rows}
    assert values == {
        ("stock", "key_said"): 0.0,
        ("stock", "key_foretold"): 0.0,
        (str(METHOD), "key_said"): 1.0,
        (str(METHOD), "key_foretold"): 1.0,
    }
    assert {(row.samples, row.max_length, row.cut, row.error) for row in rows} == {
        (TRIALS, METHOD.capacity(320), False, 0.0)
    }
    assert {row.metric for row in rows} == {"exact_match", "acc"}
    assert not is_extended(model) and tokenizer.padding_side == side and tokenizer.model_max_length == 320


def test_intervals_are_wilsons_where_right_answers_are_counted():
    assert interval("acc", 1.0, 0.0, 2) == wilson_interval(2, 2)
    assert interval("exact_match", 0.375, 0.2, 4) == pytest.approx((0.375 - 0.392, 0.375 + 0.392))  # parts of answers
    assert interval("qa_f1_score", 0.5, 0.1, 4) == pytest.approx((0.304, 0.696))
    assert all(math.isnan(end) for end in interval("rouge_score", 0.5, math.nan, 4))


def test_log_likelihoods_are_the_extended_models_own(demo, prompts):
    from lm_eval.api.instance import Instance

    model, tokenizer = demo
    lent = harness_model(model, tokenizer, METHOD, batch_size=TRIALS)
    requests = [
        Instance(request_type="loglikelihood", doc={}, arguments=(prompt.text, f" {prompt.answer}"), idx=0)
        for prompt in prompts
    ]
    found = lent.loglikelihood(requests, disable_tqdm=True)
    for prompt, (value, greedy) in zip(prompts, found, strict=True):
        ids = torch.tensor([prompt.ids + prompt.answer_ids])
        with torch.no_grad(), extended(model, METHOD):
            logits = model(ids[:, :-1]).logits[0, -len(prompt.answer_ids) :]
        wanted = logits.log_softmax(-1).gather(1, torch.tensor(prompt.answer_ids)[:, None]).sum()
        assert value == pytest.approx(float(wanted), abs=1e-4)
        assert greedy == (tuple(logits.argmax(-1).tolist()) == prompt.answer_ids)


def test_every_token_of_a_long_text_is_scored(demo, folder, prompts):
    """The harness cuts whole texts into windows of max_length; within the reach there is one, with nothing left out."""
    model, tokenizer = demo
    (row,) = evaluate(model, tokenizer, ["keys_read"], include_path=folder, conditions=[METHOD])
    start = tokenizer.encode("\n")
    total = 0.0
    for prompt in prompts:
        ids = torch.tensor([[*start, *tokenizer.encode(prompt.text)]])
        with torch.no_grad(), extended(model, METHOD):
            losses = model(ids[:, :-1]).logits[0].log_softmax(-1).gather(1, ids[0, 1:, None])
        total -= float(losses.sum())
    assert row.value == pytest.approx(math.exp(total / (TRIALS * LENGTH)), rel=1e-5)


@pytest.mark.parametrize("task", ["key_said", "key_foretold"])
def test_a_text_past_the_reach_is_refused(demo, folder, task):
    model, tokenizer = demo
    near = SelfExtend(group_size=2, neighbor_window=80)  # reaches 560
    needs = LENGTH + 6 if task == "key_said" else LENGTH + 5
    with pytest.raises(ValueError, match=rf"has {needs} tokens with its answer, but under .* at most 560; take"):
        list(evaluate(model, tokenizer, [task], include_path=folder, conditions=[near]))
    with pytest.raises(ValueError, match=rf"has {needs} tokens with its answer, but under stock .* at most 320; take"):
        list(evaluate(model, tokenizer, [task], include_path=folder))


def test_what_is_cut_is_said_in_the_row(demo, folder):
    model, tokenizer = demo
    options = {"include_path": folder, "limit": 1, "conditions": ["truncate", METHOD]}
    rows = list(evaluate(model, tokenizer, ["key_foretold"], **options))
    assert [(row.condition, row.max_length, row.cut, row.samples) for row in rows] == [
        ("truncate", 320, True, 1),
        (str(METHOD), METHOD.capacity(320), False, 1),
    ]
    lent = harness_model(model, tokenizer, "stock", cut=True)
    assert (lent.max_length, lent.cut) == (320, True)


def test_bad_input_is_refused_at_once(demo, folder, tmp_path, monkeypatch):
    model, tokenizer = demo
    with pytest.raises(FileNotFoundError, match="is not a folder; give the folder of your task files"):
        evaluate(model, tokenizer, ["key_said"], include_path=tmp_path / "none")
    with pytest.raises(TypeError, match="tasks must be a list, not 'key_said' alone"):
        evaluate(model, tokenizer, "key_said", include_path=folder)
    with pytest.raises(ValueError, match="limit is 0"):
        evaluate(model, tokenizer, ["key_said"], include_path=folder, limit=0)
    with pytest.raises(ValueError, match=r"YaRN.* does not say how far it reaches; give max_length.* L is 320"):
        harness_model(model, tokenizer, YaRN(factor=2.0))
    monkeypatch.setitem(sys.modules, "lm_eval", None)
    monkeypatch.delitem(sys.modules, "selfextend_viz.evaluation.harness")
    monkeypatch.delattr("selfextend_viz.evaluation.harness")
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'selfextend-viz\[lm-eval\]'"):
        evaluate(model, tokenizer, ["key_said"], include_path=folder)


def test_documented_commands_have_the_options_they_are_given():
    commands = typer.main.get_command(app).commands
    for name, *words in documented_commands():
        known = {option for parameter in commands[name].params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, name


@pytest.mark.slow
def test_documented_tasks_are_the_harnesss_own():
    """Slow, since the harness reads all of its own task files."""
    from lm_eval.tasks import TaskManager

    known = set(TaskManager().all_tasks)
    asked = {task for words in documented_commands() for task in after("--tasks", words).split(",")} - {
        "",
        "where_is_it",
    }
    written = re.findall(r"`((?:longbench|niah|ruler)[\w-]*)`", DOCUMENT)
    assert len(asked | set(written)) > 30
    assert asked | set(written) <= known


@pytest.mark.slow
def test_a_task_of_the_harness_itself_is_found_by_its_name(demo):
    model, tokenizer = demo
    with pytest.raises(ValueError, match="the harness has no task, tag or group 'longbench_none'"):
        evaluate(model, tokenizer, ["longbench_none"])
    with pytest.raises(OSError, match="Hub"):
        list(evaluate(model, tokenizer, ["arc_easy"], cut=True, limit=1))


class TestCommand:
    @pytest.fixture
    def run(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        return lambda *arguments: CliRunner().invoke(app, ["eval", *map(str, arguments)])

    def test_a_table_and_the_rows(self, run, folder, tmp_path):
        asked = ("--tasks", "key_foretold", "--include-path", folder, "-G", 4, "-w", 80, "--limit", 2)
        result = run("demo", *asked, "--json", tmp_path / "rows.json")
        assert result.exit_code == 0, result.stderr
        written = json.loads((tmp_path / "rows.json").read_text())
        values = [(row["condition"], row["value"], row["samples"]) for row in written["rows"]]
        assert values == [("stock", 0.0, 2), (str(METHOD), 1.0, 2)]
        assert written["settings"]["method"] == str(METHOD)
        (line,) = [line for line in result.stdout.splitlines() if "key_foretold" in line]
        assert line.split() == ["key_foretold", "acc", "2", "0.000", "0.00-0.66", "1.000", "0.34-1.00"]

    def test_bad_json_is_said(self, run):
        result = run("demo", "--tasks", "any", "--metadata", "{4096")
        assert result.exit_code == 2
        assert "--metadata is no JSON at character 1: '{4096'; give an object" in result.stderr
