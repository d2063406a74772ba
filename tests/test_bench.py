"""The benchmark measures what it says it measures; no test here looks at how long anything took."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from selfextend_viz.bench import contestants, limit, memory, models, peers, plan, rounds, rows, suite
from selfextend_viz.bench.rows import BenchRow, RateRow, SkippedRow
from selfextend_viz.cli import app
from selfextend_viz.plots import plot_ratios
from selfextend_viz.positions import SelfExtend

ROOT = Path(__file__).parents[1]
HEADS = plan.Heads(2, 1, 16, "float32")
TINY = plan.ModelShape("tiny", 1, 32, 2, 1, 48, 64, 64)
METHOD = SelfExtend(4, 8)
PLAN = plan.Plan(
    device="cpu",
    shapes=(HEADS,),
    lengths=(40, 64),
    windows=(8, 16),
    eager_lengths=(40,),
    peer_lengths=(64,),
    decoded=((TINY, 80),),
    end_to_end=((TINY, 80),),
    memory_length=None,
    threads=(1,),
    runs=2,
    seconds=0.0,
    tokens=2,
)


@pytest.fixture(autouse=True)
def _little_work(monkeypatch):
    monkeypatch.setattr(rounds, "BLOCK_SECONDS", 0.0)
    monkeypatch.setattr(limit, "SIDE", {"cpu": 16})
    monkeypatch.setattr(limit, "COPIED", {"cpu": 1024})


@pytest.fixture(scope="module")
def measured():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rounds, "BLOCK_SECONDS", 0.0)
        patch.setattr(limit, "SIDE", {"cpu": 16})
        patch.setattr(limit, "COPIED", {"cpu": 1024})
        whole = suite.Suite(PLAN)
        return [row for stage in whole.stages() for row in whole.measure(stage)]


def row(**changes):
    like = BenchRow("prefill", "flash", "2 x 16", 1024, 8, 4, 2.0, "s", 1.1, 3, 0)
    return replace(like, **changes)


def test_every_contestant_is_measured_in_every_run(measured):
    found = {
        (one.kind, one.contestant, one.length, one.neighbor_window, one.run)
        for one in measured
        if type(one) is BenchRow
    }
    wanted = {
        (kind, *who, run)
        for run in (0, 1)
        for kind, contestants in {
            "prefill": [
                *[("plain", n, None) for n in (40, 64)],
                *[("limit", n, None) for n in (40, 64)],
                *[("flash", n, w) for n in (40, 64) for w in (8, 16)],
            ],
            "eager prefill": [("plain", 40, None), ("eager", 40, 16)],
        }.items()
        for who in contestants
    }
    assert wanted <= found
    assert {one[:3] for one in found - wanted} == {
        (kind, who, 80) for kind in ("decode", "first token") for who in ("stock", "auto")
    }
    assert all(one.value > 0 and one.ratio > 0 for one in measured if type(one) is BenchRow)
    assert all(one.ratio == 1 for one in measured if getattr(one, "contestant", "") in ("plain", "stock"))


def test_what_cannot_run_is_said_once_with_its_reason(measured):
    skipped = {one.what: one.reason for one in measured if isinstance(one, SkippedRow)}
    assert len(skipped) == sum(isinstance(one, SkippedRow) for one in measured)
    assert skipped["plain, cuDNN"] == "needs a CUDA device"
    assert "log-sum-exp" in skipped["FlexAttention, two bands"]
    assert "--longlm" in skipped["authors' flash"] and "--longlm" in skipped["authors' Triton"]


def test_contestants_take_turns_and_each_round_begins_with_another():
    called = []
    runs = {name: lambda name=name: called.append(name) for name in "abc"}
    found = rounds.in_turns(runs, baseline="a", threads=1, seconds=0.0)
    assert list(found) == ["a", "b", "c"]
    assert {one.rounds for one in found.values()} == {rounds.LEAST_ROUNDS}
    turns = [name for place, name in enumerate(called) if place == 0 or called[place - 1] != name]
    assert rounds.LEAST_ROUNDS == 5
    assert "".join(turns[-15:]) == "abcbcacababcbca"


def test_medians_over_runs():
    ratios = {0: 1.3, 1: 1.1, 2: 1.2}
    found = rows.over_runs([*(row(run=run, ratio=ratio) for run, ratio in ratios.items()), row(neighbor_window=16)])
    assert [(one.ratio, one.lowest, one.highest, one.runs) for one in found] == [(1.2, 1.1, 1.3, 3), (1.1, 1.1, 1.1, 1)]
    assert [one.label for one in found] == ["flash, w_n = 8", "flash, w_n = 16"]


@pytest.mark.parametrize("shape", [HEADS, plan.Heads(8, 2, 128, "bfloat16")])
def test_the_work_of_attention_is_what_a_loop_counts(shape):
    length = 9
    products = sum(2 * 2 * shape.head_dim for _ in range(shape.heads) for i in range(length) for _ in range(i + 1))
    numbers = {"query": shape.heads, "key": shape.key_heads, "value": shape.key_heads, "output": shape.heads}
    size = {"float32": 4, "bfloat16": 2}[shape.dtype]
    work = limit.work_of(shape, length)
    assert work.flops == products + sum(3 * numbers[name] * length * shape.head_dim for name in ("query", "key"))
    assert work.bytes == size * sum(numbers.values()) * length * shape.head_dim
    assert work.seconds(flops_rate=work.flops / 2, bytes_rate=work.bytes) == 2
    assert work.seconds(flops_rate=work.flops, bytes_rate=work.bytes / 3) == pytest.approx(3)


def test_rates_are_of_the_work_done():
    found = limit.measured_rates(HEADS, device="cpu", threads=1, run=4)
    assert [(one.name, one.unit, one.run) for one in found] == [
        ("products", "FLOP/s", 4),
        ("memory", "bytes/s", 4),
    ]
    assert all(one.value > 0 for one in found)


def test_plain_is_causal_attention_with_rope():
    from selfextend_viz import PlainRoPE, attend

    inputs = contestants.inputs_of(HEADS, 50, device="cpu")
    expected = attend(inputs.query, inputs.key, inputs.value, PlainRoPE(), implementation="eager")
    torch.testing.assert_close(contestants.plain(inputs), expected)


def test_a_wrong_answer_is_not_timed():
    inputs = contestants.inputs_of(HEADS, 50, device="cpu")
    right = contestants.ours(inputs, METHOD, "flash")
    wrong = contestants.Contestant("wrong", lambda: contestants.plain(inputs), METHOD)
    assert contestants.check_alike(right, contestants.ours(inputs, METHOD, "eager").call()) is right
    assert "its result is off by" in contestants.check_alike(wrong, right.call()).reason


def test_what_raises_is_skipped_with_its_first_line():
    def make():
        raise RuntimeError("no such kernel\nat line 3")

    assert contestants.tried("theirs", make) == SkippedRow("theirs", "RuntimeError: no such kernel")


def test_the_two_turned_pairs_that_peers_get_make_self_extend():
    inputs = contestants.inputs_of(plan.Heads(2, 2, 16, "float32"), 50, device="cpu")
    near, far = contestants.banded(inputs, METHOD)
    distance = torch.arange(50)[:, None] - torch.arange(50)
    logits = torch.where(distance < 8, near[0] @ near[1].mT, far[0] @ far[1].mT) / 4
    found = logits.masked_fill(distance < 0, -torch.inf).softmax(-1) @ inputs.value
    torch.testing.assert_close(found, contestants.ours(inputs, METHOD, "eager").call())


class TestAuthors:
    """Their code is called as their own modules call it; a double of the same signature computes the truth."""

    FILE = """
from math import sqrt
import torch
def FUNCTION(model_self, query_position, window, nq, nk, gq, gk, v, mask, batch, q_len, kv_len, dropout):
    assert (mask, batch, dropout) == (None, 1, 0.0) and q_len == kv_len == len(query_position)
    if LAST:
        nq, nk, gq, gk, v = (tensor.transpose(1, 2) for tensor in (nq, nk, gq, gk, v))
    distance = query_position[:, None] - query_position
    logits = torch.where(distance < window, nq @ nk.mT, gq @ gk.mT) / sqrt(nq.shape[-1])
    return (logits.masked_fill(distance < 0, -torch.inf).softmax(-1) @ v).transpose(1, 2)
"""

    @pytest.mark.parametrize("name", peers.AUTHORS)
    def test_call(self, name, tmp_path):
        file, function = peers.AUTHORS[name]
        last = str("triton" not in file)
        (tmp_path / file).write_text(self.FILE.replace("FUNCTION", function).replace("LAST", last))
        inputs = contestants.inputs_of(HEADS, 50, device="cpu")
        theirs = peers._authors(name, tmp_path / file, function, inputs, METHOD)
        torch.testing.assert_close(theirs.call(), contestants.ours(inputs, METHOD, "eager").call())

    def test_a_folder_without_their_code(self, tmp_path):
        assert "no folder self_extend_patch" in contestants.missing_checkout(tmp_path)


def test_the_twin_shares_weights_and_nothing_else():
    _, model = models.built(TINY, device="cpu")
    other = models.twin(model)
    assert all(a is b for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert {id(module) for module in model.modules()}.isdisjoint(id(module) for module in other.modules())


def test_decoding_leaves_the_cache_as_long_as_it_was():
    _, model = models.built(TINY, device="cpu")
    with torch.no_grad():
        decoder = models.Decoder(model, cached=20, tokens=3)
        decoder()
        decoder()
    assert decoder._cache.get_seq_length() == 20


@pytest.mark.slow
@pytest.mark.skipif(not memory.STATUS.exists(), reason="peaks are read from Linux's /proc")
def test_memory_counts_what_goes_in_and_what_comes_out():
    length = 16384
    shape = plan.Heads(2, 2, 32, "float32")
    found = memory.memory_rows(shape, length, method=SelfExtend(4, 512), device="cpu", threads=1)
    assert [(one.contestant, one.unit) for one in found] == [("plain", "bytes"), ("flash", "bytes")]
    tensor = 4 * 2 * 32 * length
    # Three inputs, two of them turned, one result; never a matrix of N x N.
    assert all(5 * tensor < one.value < 4 * length**2 / 10 for one in found)


def test_the_figure_holds_the_medians_and_the_limit():
    told = [row(run=run, ratio=1 + run / 10) for run in range(3)]
    told += [row(contestant="plain", neighbor_window=None, ratio=1.0), row(length=4096, ratio=1.0)]
    told += [row(contestant="limit", neighbor_window=None, ratio=0.5), row(kind="decode", ratio=9.0)]
    figure = plot_ratios([*told, RateRow("memory", "2 x 16", 1.0, "bytes/s", 0), SkippedRow("a", "b")], limit=True)
    curves = {trace.name: trace for trace in figure.data}
    assert list(curves) == ["flash, w_n = 8", "plain", "limit"]
    assert list(curves["flash, w_n = 8"].x) == [1024, 4096] and list(curves["flash, w_n = 8"].y) == [1.1, 1.0]
    assert curves["flash, w_n = 8"].error_y.array[0] == pytest.approx(0.1)
    assert list(curves["limit"].y) == [0.5]
    assert "At 4,096 tokens Self-Extend takes 1.00 x plain attention" in figure.layout.title.text
    assert "limit" not in {trace.name for trace in plot_ratios(told).data}
    with pytest.raises(ValueError, match="no prefill row"):
        plot_ratios([row(kind="decode")])


def test_shapes_have_panels_of_their_own():
    figure = plot_ratios([row(), row(shape="8 x 128", ratio=1.4)])
    assert [(trace.xaxis, trace.y[0], trace.showlegend) for trace in figure.data] == [
        ("x", 1.1, True),
        ("x2", 1.4, False),
    ]


def test_plans():
    with pytest.raises(ValueError, match="'mps'"):
        plan.plan_for("mps")
    for device in ("cpu", "cuda"):
        full, quick = plan.plan_for(device), plan.plan_for(device, quick=True)
        assert full.runs == 3 and quick.runs == 1
        assert set(quick.lengths) < set(full.lengths) and set(full.peer_lengths) <= set(full.lengths)
    cpu = plan.plan_for("cpu")
    assert [(shape.heads, shape.head_dim) for shape in cpu.shapes] == [(4, 64), (8, 128)]
    assert (cpu.lengths, cpu.windows) == ((1024, 4096, 8192, 16384), (256, 512, 1024))


class TestCommand:
    def test_rows_figure_and_tables(self, monkeypatch, tmp_path):
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setattr(plan, "plan_for", lambda device, *, quick: replace(PLAN, lengths=(64,), runs=1))
        written, page = tmp_path / "rows.json", tmp_path / "page.html"
        result = CliRunner().invoke(app, ["bench", "--device", "cpu", "--json", str(written), "--html", str(page)])
        assert result.exit_code == 0, result.stderr
        found = json.loads(written.read_text())
        assert found["settings"]["complete"] is True and found["settings"]["torch"] == torch.__version__
        assert {one["row"] for one in found["rows"]} == {"BenchRow", "RateRow", "SkippedRow"}
        assert "Prefill" in result.stdout and "Decode" in result.stdout and "First token" in result.stdout
        assert "skipped plain, cuDNN: needs a CUDA device" in result.stderr
        assert "<html>" in page.read_text()[:100]

    def test_what_was_measured_is_kept_when_it_breaks_off(self, monkeypatch, tmp_path):
        def break_off(*_, **__):
            raise ValueError("broken off")

        monkeypatch.setattr(plan, "plan_for", lambda device, *, quick: replace(PLAN, lengths=(64,), runs=1))
        monkeypatch.setattr(suite, "decode_rows", break_off)
        result = CliRunner().invoke(app, ["bench", "--device", "cpu", "--json", str(tmp_path / "rows.json")])
        assert result.exit_code == 2
        found = json.loads((tmp_path / "rows.json").read_text())
        assert found["settings"]["complete"] is False
        assert "prefill" in {one.get("kind") for one in found["rows"]}

    def test_what_is_cut_short_goes_on_and_measures_nothing_twice(self, monkeypatch, tmp_path):
        monkeypatch.setattr(plan, "plan_for", lambda device, *, quick: replace(PLAN, lengths=(64,), runs=1))
        written = tmp_path / "rows.json"
        call = ["bench", "--device", "cpu", "--json", str(written), "--resume"]
        result = CliRunner().invoke(app, [*call, "--minutes", "0"])
        assert result.exit_code == 0 and "5 stages are left" in result.stderr
        assert json.loads(written.read_text())["rows"] == []
        measured, whole = [], suite.Suite.measure
        monkeypatch.setattr(suite.Suite, "measure", lambda self, stage: measured.append(stage) or whole(self, stage))
        clock = iter((0.0, 0.0, 0.0, 60.0, 0.0, 0.0, 0.0, 0.0))
        monkeypatch.setattr(sys.modules["selfextend_viz.cli.bench"], "monotonic", lambda: next(clock))
        for minutes, left in (("1", 3), ("1", 0)):
            result = CliRunner().invoke(app, [*call, "--minutes", minutes])
            assert result.exit_code == 0, result.stderr
            assert (f"{left} stages are left" in result.stderr) is (left > 0)
            assert json.loads(written.read_text())["settings"]["complete"] is (left == 0)
        titles = [stage.title for stage in measured]
        assert len(titles) == len(set(titles)) == 5
        found = json.loads(written.read_text())
        assert found["settings"]["stages"] == titles
        assert {one["contestant"] for one in found["rows"] if one["row"] == "BenchRow"} >= {"plain", "limit", "auto"}
        assert len({one["what"] for one in found["rows"] if one["row"] == "SkippedRow"}) == sum(
            one["row"] == "SkippedRow" for one in found["rows"]
        )

    def test_resuming_what_was_measured_otherwise(self, monkeypatch, tmp_path):
        monkeypatch.setattr(plan, "plan_for", lambda device, *, quick: replace(PLAN, lengths=(64,), runs=1))
        written = tmp_path / "rows.json"
        call = ["bench", "--device", "cpu", "--resume", "--minutes", "0", "--json", str(written)]
        assert CliRunner().invoke(app, call).exit_code == 0
        result = CliRunner().invoke(app, [*call, "--quick"])
        assert result.exit_code == 2 and "has quick False and this benchmark True" in result.stderr
        written.write_text("{}")
        result = CliRunner().invoke(app, call)
        assert result.exit_code == 2 and "was not written by bench" in result.stderr
        result = CliRunner().invoke(app, ["bench", "--resume"])
        assert result.exit_code == 2 and "give one" in result.stderr


class TestGpuCheck:
    def ran(self, *arguments, **environment):
        command = ["bash", str(ROOT / "benchmarks" / "gpu_check.sh"), *map(str, arguments)]
        given = {**os.environ, "PYTHON": sys.executable, "CUDA_VISIBLE_DEVICES": "", **environment}
        return subprocess.run(command, capture_output=True, text=True, env=given, timeout=60)

    def test_without_a_gpu_it_says_so_and_runs_nothing(self, tmp_path):
        found = self.ran(tmp_path / "results")
        assert found.returncode == 2
        assert "sees no CUDA device; run this on a machine with a GPU" in found.stderr
        assert list((tmp_path / "results").iterdir()) == []

    def test_it_needs_a_folder(self):
        assert "give the folder for the results" in self.ran().stderr
        assert "unknown arguments" in self.ran("/tmp", "--other").stderr
