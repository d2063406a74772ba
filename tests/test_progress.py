"""The bar of the Python API: it comes when asked for, tells the remaining time, and ends where the work ends."""

from __future__ import annotations

import re

import pytest
import tqdm.auto
from experiment_doubles import TEXT, TEXTS, Oracle, bytes_tokenizer, tiny_llama

from selfextend_viz.experiments.divergence import divergence
from selfextend_viz.experiments.passkey import passkey
from selfextend_viz.experiments.perplexity import perplexity
from selfextend_viz.methods.masking import SlidingWindow
from selfextend_viz.positions import PlainRoPE, SelfExtend

IDS = list((TEXT * 3).encode()[:150])
METHOD = SelfExtend(4, 16)
CONDITIONS = ("stock", "blindfold", "truncate", METHOD)


def pass_keys(**options):
    return passkey(
        Oracle(), bytes_tokenizer(), lengths=[100, 128], depths=[0.0, 1.0], filler=TEXTS, trials=2, **options
    )


def losses(**options):
    defaults = {"context_lengths": [32, 64, 128], "conditions": CONDITIONS, "targets": 64}
    return perplexity(tiny_llama(), bytes_tokenizer(), TEXTS, **{**defaults, **options})


def logits(method=METHOD, **options):
    return divergence(tiny_llama(), IDS, method, queries=16, bins=8, **options)


EXPERIMENTS = {
    "pass keys": pass_keys,
    "perplexity": losses,
    "perplexity in batches": lambda **options: losses(batch_size=3, **options),
    "perplexity without stock": lambda **options: losses(conditions=(METHOD,), context_lengths=[128], **options),
    "attention logits": logits,
    "attention logits, stock's stream": lambda **options: logits(stream="stock", **options),
    "attention logits with a needle": lambda **options: logits(needle=(20, 30), answer_rows=[149], **options),
    "attention logits, plain": lambda **options: logits(PlainRoPE(), **options),
    "attention logits, sliding window": lambda **options: logits(SlidingWindow(16), **options),
}


@pytest.fixture
def bars(monkeypatch):
    """The bars that were made, each with the places it passed."""
    made = []

    class Remembered(tqdm.auto.tqdm):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.passed = [0.0]
            made.append(self)

        def update(self, n=1):
            self.passed.append(self.passed[-1] + n)
            return super().update(n)

    monkeypatch.setattr(tqdm.auto, "tqdm", Remembered)
    return made


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_the_bar_ends_exactly_where_the_work_ends(bars, experiment):
    assert list(experiment(progress=True))
    (bar,) = bars
    assert bar.passed[-1] == pytest.approx(bar.total)
    assert bar.passed == sorted(bar.passed) and len(bar.passed) >= 3
    assert bar.disable, "the bar is closed"


@pytest.mark.parametrize("experiment", EXPERIMENTS.values(), ids=EXPERIMENTS)
def test_there_is_none_unless_asked_for(bars, capsys, experiment):
    list(experiment())
    assert bars == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("experiment", [pass_keys, losses, logits])
def test_rows_are_the_same_with_a_bar(experiment):
    assert list(map(repr, experiment(progress=True))) == list(map(repr, experiment()))


def test_it_tells_the_time_on_stderr(capsys):
    list(pass_keys(progress=True))
    said = capsys.readouterr()
    assert said.out == ""
    first, last = said.err.split("\r")[1], said.err.split("\r")[-1]
    assert re.search(r"Pass keys: +0%.*00:00<\?", first)
    assert re.search(r"Pass keys: 100%.*\d\d:\d\d<00:00", last)


def test_an_experiment_left_halfway_closes_its_bar(bars):
    iterator = pass_keys(progress=True)
    next(iterator)
    (bar,) = bars
    assert 0 < bar.n < bar.total and not bar.disable
    iterator.close()
    assert bar.disable


def test_a_bad_argument_is_refused_before_there_is_a_bar(bars):
    with pytest.raises(ValueError, match="unknown scoring"):
        pass_keys(progress=True, scoring="magic")
    assert bars == []
