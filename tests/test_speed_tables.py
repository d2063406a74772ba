"""The README's speed tables hold the medians, and say what was missed and what was not finished."""

import importlib
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def row(kind, contestant, ratio, *, shape="4 x 64, float32", length=1024, window=None, value=1.0, unit="s", run=0):
    numbers = {"neighbor_window": window, "group_size": 8, "value": value, "unit": unit, "ratio": ratio, "rounds": 3}
    return {
        "row": "BenchRow",
        "kind": kind,
        "contestant": contestant,
        "shape": shape,
        "length": length,
        "run": run,
    } | numbers


def report(ratio, *, decode=0.9, memory=1.2, complete=True):
    rows = []
    for run in range(3):
        rows += [row("prefill", "plain", 1.0, value=0.010, run=run), row("eager prefill", "plain", 1.0, run=run)]
        rows += [row("prefill", "flash", ratio + run / 100, window=256, value=0.012, run=run)]
        rows += [row("eager prefill", "eager", 5.0, window=256, value=0.060, run=run)]
        for name, share, value in (("stock", 1.0, 900.0), ("auto", decode, 810.0)):
            rows.append(row("decode", name, share, shape="demo", length=8192, value=value, unit="tokens/s", run=run))
    for name, share, window in (("plain", 1.0, None), ("flash", memory, 256)):
        rows.append(row("memory", name, share, length=32768, window=window, value=share * 2**20, unit="bytes"))
    settings = {"device": "a CPU", "threads": 2, "torch": "2", "date": "2026-01-02T", "runs": 3, "complete": complete}
    return {"settings": settings, "rows": rows}


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("speed_tables").speed


def test_medians_and_what_is_wanted(speed):
    lines = speed(report(1.30)).splitlines()
    assert "| 4 x 64, float32 | 1,024 | 10 ms | 1.31x (1.30-1.32) | <= 1.50 | 5x |" in lines
    assert "| demo | 900 | 810 | 0.90x (0.90-0.90) | >= 0.85 |" in lines
    assert "| 4 x 64, float32 | 32,768 | 256 | 1 MiB | 1 MiB | 1.20x | <= 1.50 |" in lines
    assert any("3 runs on a CPU, 2 threads, torch 2, 2026-01-02" in line for line in lines)


def test_what_was_missed_is_said_where_it_was(speed):
    assert "missed" not in speed(report(1.49))
    assert speed(report(1.50)).count("**1.51x (1.50-1.52) missed**") == 1
    assert "**0.80x (0.80-0.80) missed**" in speed(report(1.3, decode=0.80))
    assert "**1.60x missed**" in speed(report(1.3, memory=1.60))


def test_what_was_cut_short_says_so(speed):
    cut = report(1.3, complete=False)
    cut["rows"] = [one for one in cut["rows"] if one["kind"] == "prefill"]
    assert "Medians over what has been measured so far of 3 runs" in speed(cut)
    assert "cached" not in speed(cut) and "memory" not in speed(cut)
    assert "so far" not in speed(report(1.3))
