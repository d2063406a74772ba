"""Rows are plain, and importing them costs no torch."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys

import pytest

from selfextend_viz import experiments
from selfextend_viz.experiments.rows import CONDITIONS, PasskeyRow, PerplexityRow, wilson_interval

ROW = {
    "task": "paper",
    "condition": "stock",
    "length": 9,
    "depth": 0.5,
    "trials": 4,
    "exact": 3,
    "low": 0.3,
    "high": 0.95,
    "log_probability": -0.1,
    "seed": 0,
}


@pytest.mark.parametrize("trials", [1, 5, 40, 1000])
def test_wilson_bounds_are_where_the_score_test_just_rejects(trials):
    z = 1.959964
    for successes in range(0, trials + 1, max(1, trials // 7)):
        rate = successes / trials
        low, high = wilson_interval(successes, trials)
        assert 0 <= low <= rate <= high <= 1
        for bound in {low, high} - {0.0, 1.0}:
            assert abs(rate - bound) == pytest.approx(z * math.sqrt(bound * (1 - bound) / trials), rel=1e-6)
        assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_wilson_is_sure_of_neither_none_nor_all():
    assert wilson_interval(0, 20) == (0.0, pytest.approx(0.1611, abs=1e-4))
    assert wilson_interval(20, 20) == (pytest.approx(0.8389, abs=1e-4), 1.0)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 5), (6, 5), (0, 0)])
def test_wilson_refuses_what_is_no_proportion(successes, trials):
    with pytest.raises(ValueError, match=f"{successes} successes in {trials} trials is no proportion"):
        wilson_interval(successes, trials)


def test_derived_numbers():
    assert PasskeyRow(**ROW).accuracy == 0.75
    row = PerplexityRow("stock", 64, 8, 100, nll=math.log(5), nll_error=0, difference=0, difference_error=0)
    assert row.perplexity == pytest.approx(5)


def test_rows_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        PasskeyRow(**ROW).exact = 4
    assert CONDITIONS == ("stock", "blindfold", "truncate", "sinks")


def test_every_public_name_is_where_it_is_said_to_be():
    for name in experiments.__all__:
        assert getattr(experiments, name).__name__ == name
    assert set(experiments.__all__) <= set(dir(experiments))
    with pytest.raises(AttributeError, match="no attribute 'passkeys'"):
        experiments.passkeys  # noqa: B018


def test_rows_load_no_torch():
    code = "import sys, selfextend_viz.experiments.rows; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
