"""Choosing and searching on the demo model: within its time, from its store, and no setting past its cliff."""

import re

import pytest

from selfextend_viz import Grid, Store, choose, load_demo, recommend, search, sweep
from selfextend_viz.experiments.budget import Plan
from selfextend_viz.positions import SelfExtend
from selfextend_viz.sweeps.choose import Cost, shortlist
from selfextend_viz.sweeps.recommendation import COLUMNS

L = 320


@pytest.fixture(scope="module")
def demo():
    return load_demo()


@pytest.mark.parametrize(("trained", "target"), [(320, 1000), (4096, 16384), (128, 131), (2048, 100_000)])
def test_the_shortlist_reaches_and_has_the_smallest_groups_that_do(trained, target):
    found = shortlist(trained, target)
    assert len(set(found)) == len(found)
    assert all(each.capacity(trained) >= target for each in found)
    for window in {each.neighbor_window for each in found}:
        smallest = min(each.group_size for each in found if each.neighbor_window == window)
        assert SelfExtend(smallest - 1, window).capacity(trained) < target


def a_plan(**changes):
    numbers = dict(weight_bytes=1, cache_bytes=1, beside_bytes=0, prefill_bytes=2**30, free_bytes=2**31, seconds=1.5)
    return Plan("M", "cpu", "stock", "flash", 1000, 1, L, "", 2000, **numbers | changes, measured=((64, 0.1),))


def test_the_cost_is_said_and_checked_beforehand():
    cost = Cost(a_plan(), settings=6, prompts=20)
    assert cost.minutes == 3.0
    said = cost.sentence(10)
    assert "a round is 120 prefills, about 3.0 minutes and 1.00 GiB beside the weights" in said
    assert "pay for 3 of at most 8 rounds" in said
    cost.check(3.0)
    with pytest.raises(ValueError, match=r"about 3.0 minutes, more than budget_minutes = 2; give 5 minutes"):
        cost.check(2)
    with pytest.raises(ValueError, match=r"only 0.50 GiB are free"):
        Cost(a_plan(free_bytes=2**29), 6, 20).check(10)


@pytest.fixture(scope="module")
def chosen(demo, tmp_path_factory):
    """What is chosen at twice L from one setting that reaches and one that does not, with all that was said."""
    said, heard, path = [], [], tmp_path_factory.mktemp("chosen") / "store.db"
    options = {
        "settings": [SelfExtend(2, 160), SelfExtend(4, 80)],
        "depths": (0.0, 1.0),
        "budget_minutes": 2,
        "store": path,
    }
    return choose(*demo, 640, tell=said.append, heard=heard.append, **options), said, heard, path, options


def test_it_chooses_what_reads_and_says_the_cost_first(chosen):
    found, said, heard, path, _ = chosen
    assert found.setting == SelfExtend(4, 80)
    assert found.decided
    assert str(found).splitlines()[-1] == "SelfExtend(group_size=4, neighbor_window=80)"
    assert re.match(r"2 settings at N = 640: a round is 16 prefills", said[0])
    assert said[1].startswith("Round 1: At N = 640")
    assert {row.task for row in heard} == {"passkey:natural", "divergence"}
    assert all(standing.price is not None for standing in found.standings)
    assert [row.measured for row in Store(path).rows()] == [row.measured for row in heard]


def test_a_second_call_asks_the_store_alone(chosen, demo, monkeypatch):
    found, _, heard, _, options = chosen
    monkeypatch.setattr("selfextend_viz.sweeps.measure.Measurer.measure", lambda *given: pytest.fail("measured again"))
    again = []
    assert choose(*demo, 640, tell=lambda line: None, heard=again.append, **options).setting == found.setting
    assert [row.measured for row in again] == [row.measured for row in heard]


def test_it_stops_before_the_cell_that_no_longer_fits(demo, monkeypatch):
    clock = iter([*[0.0] * 12, *[600.0] * 100])
    monkeypatch.setattr("selfextend_viz.sweeps.choose.time.monotonic", lambda: next(clock))
    monkeypatch.setattr("selfextend_viz.sweeps.choose.plan", lambda *given, **named: a_plan(seconds=0.01))
    said, heard = [], []
    settings = [SelfExtend(4, 80), SelfExtend(8, 80)]
    found = choose(*demo, 640, settings=settings, depths=(0.0, 1.0), trials=1, tell=said.append, heard=heard.append)
    assert len(heard) == 11 - 2  # the start and the end of the prices take a look at the clock too
    assert not found.decided
    assert "The time is spent" in said[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target_length": 320}, "fits in L = 320"),
        ({"budget_minutes": 0}, "budget_minutes is 0"),
        ({"trials": 0}, "trials is 0"),
        ({"settings": []}, "settings has 0 entries"),
    ],
)
def test_bad_numbers_are_refused_in_a_sentence(demo, change, words):
    with pytest.raises(ValueError, match=words):
        choose(*demo, **{"target_length": 640, **change})


def test_the_recommendation_agrees_with_the_measured_cliff(demo):
    """benchmarks/results/demo_table.json: every answer right at 0.9 of the exact reach, next to none at 1.6."""
    grid = Grid(lengths=(504, 900), depths=(0.0, 1.0), methods=[SelfExtend(2, 80), SelfExtend(4, 80)], trials=4)
    rows = list(sweep(*demo, grid, tasks=("passkey:natural",)))
    near = recommend(rows, 504, context_length=L)  # 0.9 of 560, and 0.48 of 1,040
    assert near.choice.worst.exact == 4
    assert {each.setting for each in near.standings if each.worst.exact == 4} == {SelfExtend(2, 80), SelfExtend(4, 80)}
    far = recommend(rows, 900, context_length=L)  # 1.6 of 560, and 0.87 of 1,040
    assert far.setting == SelfExtend(4, 80)
    (against,) = far.comparisons
    assert against.standing.setting == SelfExtend(2, 80)
    assert against.standing.exact <= 0.4 * against.standing.trials
    assert against.verdict == "better"
    assert [line[-1].partition(",")[0] for line in far.lines()] == ["choice", "worse"]
    assert len(far.lines()[0]) == len(COLUMNS)


def test_a_search_is_answered_by_its_store_and_keeps_what_none_beats(demo, tmp_path, monkeypatch):
    pytest.importorskip("optuna")
    options = {"store": tmp_path / "search.db", "depths": (1.0,), "prompts": 1, "trials": 3, "seed": 3}
    found = search(*demo, 400, **options)
    assert len(found) <= 3
    assert len({str(each.method) for each in found}) == len(found)
    assert all(each.trials == 1 and each.price >= 0 for each in found)
    for each in found:
        beaten = any(
            (other.low, other.price, other.group_size) != (each.low, each.price, each.group_size)
            and other.low >= each.low
            and other.price <= each.price
            and other.group_size <= each.group_size
            for other in found
        )
        assert each.best == (not beaten)
    monkeypatch.setattr("selfextend_viz.sweeps.measure.Measurer.measure", lambda *given: pytest.fail("measured again"))
    assert search(*demo, 400, **options) == found


@pytest.mark.slow
def test_a_search_by_layer_lends_from_a_layer_on(demo, tmp_path):
    pytest.importorskip("optuna")
    options = {"store": tmp_path / "search.db", "depths": (1.0,), "prompts": 1, "trials": 8, "layers": True}
    found = search(*demo, 330, **options)
    layered = [each.method for each in found if not isinstance(each.method, SelfExtend)]
    assert layered
    layers = len(demo[0].model.layers)
    assert all(list(method) == list(range(min(method), layers)) for method in layered)


def test_without_optuna_a_sentence_names_the_extra(demo, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(ImportError, match=r"selfextend-viz\[optuna\]"):
        search(*demo, 640, store=tmp_path / "search.db")
