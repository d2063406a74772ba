"""Sweeps of the demo model: rows that experiments agree with, nothing measured twice, nothing lost to a kill."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selfextend_viz.cli import app
from selfextend_viz.demo import held_out_texts, load_demo
from selfextend_viz.experiments.output_kl import output_divergence
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.perplexity import perplexity
from selfextend_viz.positions import SelfExtend
from selfextend_viz.sweeps import Grid, Store, StoreError
from selfextend_viz.sweeps.measure import Asking, Measurer
from selfextend_viz.sweeps.sweep import sweep

ROOT = Path(__file__).parents[1]
GRID = Grid(group_sizes=(4,), neighbor_windows=(32,), lengths=(352, 128), depths=(0.5, 1), trials=2, texts=2)


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.fixture(scope="module")
def whole(demo):
    """The rows of an uninterrupted sweep."""
    return list(sweep(*demo, GRID, tasks=("passkey", "perplexity", "divergence")))


def told(rows):
    """What rows say, whenever they were measured and in whatever order."""
    return sorted((row.measured for row in rows), key=str)


def test_a_cell_says_what_the_experiment_says(demo, whole):
    for row in (row for row in whole if row.task == "passkey"):
        condition = row.method if row.group_size is None else SelfExtend(row.group_size, row.neighbor_window)
        (wanted,) = passkey(
            *demo, lengths=[row.length], depths=[row.depth], conditions=[condition], trials=row.trials, seed=row.seed
        )
        assert (row.exact, row.log_probability) == (wanted.exact, pytest.approx(wanted.log_probability, abs=1e-12))
        assert len(row.outcomes) == row.trials and sum(row.outcomes) == row.exact
        assert (row.nll, row.kl) == (None, None)


def test_a_perplexity_cell_is_paired_with_stock_on_the_last_l(demo, whole):
    method = SelfExtend(4, 32)
    rows = [row for row in whole if row.task == "perplexity" and row.length == 352]
    found = {row.method: row for row in rows}
    assert set(found) == {"stock", str(method)}
    assert all(row.trials == 2 and row.nll_error is not None for row in rows)
    difference = found[str(method)].nll - found["stock"].nll
    assert difference == pytest.approx(found[str(method)].difference - found["stock"].difference, abs=1e-9)
    assert found["stock"].expected_failure and found["stock"].difference != 0
    in_range = [row for row in whole if row.task == "perplexity" and row.length == 128 and row.method == "stock"]
    assert [row.expected_failure for row in in_range] == [False]
    texts = [list(held_out_texts())[window.text] for window in Measurer(*demo, Asking())._windows(352, 0, 2)]
    (alone,) = perplexity(*demo, texts, context_lengths=[352], conditions=[method], targets=160, stride=80)
    row = found[str(method)]
    assert (row.nll, row.difference, row.nll_error) == (alone.nll, alone.difference, alone.nll_error)


def test_the_output_is_compared_at_n_and_at_l(demo):
    model, tokenizer = demo
    ids = tokenizer.encode(max(held_out_texts(), key=len))[:640]
    method = SelfExtend(4, 64)
    stock, truncated, extended = (output_divergence(model, ids, wanted) for wanted in (None, "truncate", method))
    assert stock.kl > 5 * extended.kl > 0 and stock.kl_in_range == 0
    assert (truncated.kl, truncated.kl_in_range) == (0, 0)
    short = output_divergence(model, ids[-320:], method)
    assert short.kl == short.kl_in_range == pytest.approx(extended.kl_in_range, abs=1e-12)


def test_other_seeds_ask_otherwise_and_the_same_seed_the_same(demo, whole):
    again = list(sweep(*demo, {**vars(GRID), "seeds": (0, 1), "lengths": (128,)}, tasks=("passkey", "perplexity")))
    first, second = ([row for row in again if row.seed == seed] for seed in (0, 1))
    assert told(first) == told(row for row in whole if row.length == 128 and row.task != "divergence")
    both = list(zip(first, second, strict=True))
    assert all((a.log_probability, a.nll) != (b.log_probability, b.nll) for a, b in both)


def test_a_finished_cell_is_never_measured_again(demo, whole, tmp_path, monkeypatch):
    measured = []
    honest = Measurer.measure
    monkeypatch.setattr(Measurer, "measure", lambda self, each: measured.append(each.cell) or honest(self, each))
    path = tmp_path / "sweep.db"
    started = sweep(*demo, GRID, store=path)
    for _ in range(5):
        row = next(started)
        assert Store(path).rows()[-1] == row  # in the store before it is here
    with pytest.raises(StoreError, match="being written"):
        sweep(*demo, GRID, store=path)
    started.close()
    starts = []
    rows = list(sweep(*demo, GRID, store=path, started=starts.append))
    assert starts[0].found == 5 and len(starts[0].missing) == len(whole) - 5
    assert told(rows) == told(whole) == told(Store(path).rows())
    assert len(measured) == len(set(measured)) == len(whole)
    more = {**vars(GRID), "depths": (0.25, 0.5, 1)}
    grown = list(sweep(*demo, more, store=path))
    assert len(measured) == len(set(measured)) == len(grown) == len(whole) + 4


def test_ctrl_c_in_a_cell_loses_that_cell_alone(demo, whole, tmp_path, monkeypatch):
    honest, asked = Measurer._perplexity, []

    def interrupted(self, cell, lent):
        asked.append(cell)
        if len(asked) == 2:
            raise KeyboardInterrupt
        return honest(self, cell, lent)

    with monkeypatch.context() as patched:
        patched.setattr(Measurer, "_perplexity", interrupted)
        path, rows = tmp_path / "sweep.db", []
        with pytest.raises(KeyboardInterrupt):
            rows.extend(sweep(*demo, GRID, store=path))
    kept = Store(path).rows()
    assert 0 < len(kept) < len(whole) and asked[1] not in {row.cell for row in kept}
    assert told(sweep(*demo, GRID, store=path)) == told(whole)


@pytest.mark.parametrize(
    ("grid", "options", "sentence"),
    [
        ({"lengths": [60]}, {}, "cannot be cut need 97 tokens, but its length is 60"),
        ({"lengths": [640], "group_sizes": [4], "neighbor_windows": [320]}, {}, "at most 319"),
        ({"lengths": [30_000]}, {"tasks": ["perplexity"]}, "the longest text has 20620 tokens, but a context needs"),
        ({"lengths": [20_000], "texts": 9}, {"tasks": ["divergence"]}, "the texts hold 8 windows of 20000 tokens"),
        ({"lengths": [128]}, {"scoring": "guess"}, "unknown scoring 'guess'"),
        ({"lengths": [128]}, {"workers": 2}, "only a cluster has workers"),
        ({"lengths": [128]}, {"implementation": "flesh"}, "flesh"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_any_cell(demo, tmp_path, grid, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        sweep(*demo, grid, store=tmp_path / "sweep.db", **options)
    assert not (tmp_path / "sweep.db").exists()


def test_a_model_comes_with_its_tokenizer_and_a_name_alone(demo):
    for model, tokenizer in ((demo[0], None), ("demo", demo[1])):
        with pytest.raises(TypeError, match="the tokenizer must be"):
            sweep(model, tokenizer, GRID)


def test_the_fingerprint_tells_models_apart(demo, whole, tmp_path):
    from experiment_doubles import bytes_tokenizer, tiny_llama

    path = tmp_path / "sweep.db"
    with Store(path) as store:
        store.add(whole[0])
    with pytest.raises(StoreError, match="rows of another model"):
        sweep(tiny_llama(context_length=128), bytes_tokenizer(), {"lengths": [128]}, tasks=["passkey"], store=path)


COMMAND = (
    *("sweep", "--group-sizes", "4", "--neighbor-windows", "32", "--lengths", "352,128", "--depths", "0.5,1"),
    *("--trials", "2", "--texts", "2", "--conditions", "stock"),
)
LARGE = (
    *("sweep", "--group-sizes", "2,4,8", "--neighbor-windows", "32,64,96", "--lengths", "320,640", "--trials", "2"),
    *("--conditions", "stock", "--tasks", "passkey:natural,order"),
)


def command(path, *arguments):
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", "selfextend_viz", *arguments, "--store", str(path)]
    return subprocess.Popen(line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def count(path):
    return len(Store(path)) if path.exists() and path.stat().st_size else 0


def killed(path, arguments, *, rows, seconds=100):
    """Run the command, and kill it without warning some while after the store has so many rows more."""
    process, wanted, latest = command(path, *arguments), count(path) + rows, time.monotonic() + seconds
    while count(path) < wanted and process.poll() is None:
        assert time.monotonic() < latest, f"{count(path)} rows of {wanted} in {seconds} s"
        time.sleep(0.05)
    time.sleep(random.random() / 5)
    process.send_signal(signal.SIGKILL)
    process.communicate()


def finish(path, arguments):
    process = command(path, *arguments)
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


@pytest.mark.slow
def test_a_killed_command_ends_with_the_rows_of_an_uninterrupted_one(whole, tmp_path):
    path = tmp_path / "sweep.db"
    killed(path, COMMAND, rows=3)
    before = count(path)
    assert 3 <= before <= len(whole)
    assert f"{before} of {len(whole)} cells are in" in finish(path, COMMAND).replace("\n", " ")
    assert told(Store(path).rows()) == told(whole)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_hundred_cells_killed_three_times(demo, tmp_path):
    path, reference = tmp_path / "sweep.db", tmp_path / "whole.db"
    for _ in range(3):
        killed(path, LARGE, rows=random.randint(5, 60))
    finish(path, LARGE)
    finish(reference, LARGE)
    rows = Store(path).rows()
    assert len(rows) == len({row.cell for row in rows}) == 200
    assert told(rows) == told(Store(reference).rows())


class TestCommand:
    @pytest.fixture
    def run(self, monkeypatch):
        monkeypatch.setenv("COLUMNS", "200")
        return lambda *arguments: CliRunner().invoke(app, [str(argument) for argument in arguments])

    def test_it_writes_the_store_and_shows_what_is_in_it(self, run, whole, tmp_path):
        path, table = tmp_path / "sweep.db", tmp_path / "sweep.parquet"
        result = run(*COMMAND, "--store", path, "--parquet", table)
        assert result.exit_code == 0, result.stderr
        assert told(Store(path).rows()) == told(whole)
        assert table.read_bytes()[:4] == b"PAR1"
        worst = min(row.exact for row in whole if (row.task, row.method, row.length) == ("passkey", "stock", 352))
        assert "SelfExtend(G=4, w_n=32)" in result.stdout and f"~{worst}/2" in result.stdout
        assert f"{len(whole)}/{len(whole)} cells" in result.stderr

    def test_ctrl_c_says_how_to_go_on(self, run, tmp_path, monkeypatch):
        def interrupted(self, planned):
            raise KeyboardInterrupt

        monkeypatch.setattr(Measurer, "measure", interrupted)
        result = run(*COMMAND, "--store", tmp_path / "sweep.db")
        assert result.exit_code == 130
        assert "stopped with 0 cells" in result.stderr and "the same command goes on" in result.stderr

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--store", "/nowhere/sweep.db"), "there is no folder /nowhere"),
            (("--cluster", "local"), "--lengths is missing"),
            (("--conditions", "self-extend"), "takes Self-Extend from --group-sizes"),
            (("--lengths", "12,x"), "--lengths has 'x'"),
            (("--tasks", "guess", "--lengths", "128"), "unknown task 'guess'"),
        ],
    )
    def test_bad_input_is_one_sentence(self, run, tmp_path, monkeypatch, arguments, sentence):
        monkeypatch.chdir(tmp_path)
        result = run("sweep", *arguments)
        assert result.exit_code == 2
        (line,) = [line for line in result.stderr.splitlines() if line.startswith("selfextend-viz: ")]
        assert sentence in line
        assert list(tmp_path.iterdir()) == []
