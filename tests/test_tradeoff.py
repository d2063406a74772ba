"""The trade-off explorer without a browser: it follows a store, and shows what the library computes of its rows."""

import json
import re
import threading
import time
from dataclasses import replace

import plotly.graph_objects as go
import pytest
from test_tradeoff_plots import A, B, C, L, keys, named, row

from selfextend_viz import recommend, tradeoff_explorer
from selfextend_viz.plots import plot_frontier, plot_worst_depth
from selfextend_viz.sweeps.store import Store
from selfextend_viz.widgets import Explorer
from selfextend_viz.widgets.controls import BadSetting
from selfextend_viz.widgets.page_frames import figure_state

SHORT = [*keys(A, 64, 8, 8), *keys(C, 64, 8, 7), row(A, "divergence", 64, kl=0.01, kl_in_range=0.01)]
LONG = [
    *keys(A, 128, 0, 1),
    *keys(B, 128, 5, 5),
    *keys(C, 128, 8, 8),
    row(C, "divergence", 128, kl=0.1, kl_in_range=0.2),
]
STRANGER = {"fingerprint": "m", "finished": "2026-01-02T03:04:05Z"}


def fill(store, rows):
    store.claim("m", {"context_length": L})
    for each in rows:
        outcomes = (1,) * each.exact + (0,) * (each.trials - each.exact) if each.exact is not None else None
        store.add(replace(each, outcomes=outcomes, **STRANGER))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "sweep.db"


@pytest.fixture
def opened(path):
    """An explorer that follows a store that has the short length; closed when the test ends."""
    with Store(path) as store:
        fill(store, SHORT)
    explorer = tradeoff_explorer(path, seconds=0.02)
    yield explorer
    explorer.close()


def until(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.01)


def shown(explorer, card, name):
    (trace,) = [trace for trace in explorer.panels[card].figure.widget.data if trace.name == name]
    return trace


def test_it_shows_what_the_library_computes(opened, path):
    assert isinstance(opened, Explorer)
    rows = Store(path).rows()
    assert opened.state.length == 64
    found = recommend(rows, 64, context_length=L)
    assert opened.recommendation == found
    assert opened.panels["worst"].text == f"<b>{found.sentence}</b>"
    drawn = named(plot_worst_depth(rows, 64, context_length=L, choice=found.setting), "worst depth")
    assert shown(opened, "worst", "worst depth").z.tolist() == drawn.z.tolist()
    frontier = named(plot_frontier(rows, 64, context_length=L), "settings")
    assert list(shown(opened, "frontier", "settings").x) == list(frontier.x)
    assert f"{len(SHORT)} cells in sweep.db, the last one at 03:04:05 UTC" in opened.words.value


def test_it_follows_what_a_sweep_adds(opened, path):
    with Store(path) as store:
        fill(store, LONG)
    until(lambda: f"{len(SHORT + LONG)} cells in" in opened.words.value)
    assert opened.state.length == 64  # who reads is not taken elsewhere
    assert tuple(opened.number.slider.options) == (64, 128)
    opened.number.box.value = 128
    assert opened.recommendation.setting == C
    assert str(C) in opened.panels["worst"].text
    assert shown(opened, "cells", "cells in").z.shape == (3, 2)


def test_a_length_without_cells_is_refused_in_a_sentence(opened):
    opened.number.box.value = 100
    assert "N must be a length that has cells (64); 100 has none" in opened.words.value
    assert opened.number.box.value == 64
    with pytest.raises(BadSetting):
        opened.state.length = 100
    opened.number.box.value = 64


def test_a_store_that_is_not_there_yet_is_waited_for(path):
    explorer = tradeoff_explorer(path, seconds=0.02)
    try:
        assert "is not there yet; a sweep makes it" in explorer.words.value
        assert "No cell yet" in explorer.panels["worst"].text
        with Store(path) as store:
            fill(store, SHORT)
        until(lambda: "cells in sweep.db" in explorer.words.value)
        assert explorer.recommendation.setting == A
        assert "alert" not in explorer.words.value
    finally:
        explorer.close()


def test_a_file_that_is_no_store_is_said_to_be_none(path):
    path.write_text("no database at all, but long enough to be read as one" * 10)
    explorer = tradeoff_explorer(path, seconds=0.02)
    assert "is no SQLite file" in explorer.words.value
    explorer.close()


def test_closing_it_ends_its_thread(path):
    with Store(path) as store:
        fill(store, SHORT)
    explorer = tradeoff_explorer(path, seconds=0.01)
    assert explorer.follower.following
    explorer.close()
    until(lambda: not explorer.follower._thread.is_alive())
    names = [thread.name for thread in threading.enumerate()]
    assert names.count("selfextend-follower") == 0


def test_a_snapshot_is_a_plain_figure_of_all_cards(opened):
    figure = opened.snapshot()
    assert type(figure) is go.Figure
    assert "L=64, N=64" in figure.layout.title.text
    names = {trace.name for trace in figure.data}
    assert {"worst depth", "settings", "cells in"} <= names


def test_the_page_holds_every_length(opened, path, tmp_path):
    with Store(path) as store:
        fill(store, LONG)
    until(lambda: len(opened.state.rows) == len(SHORT + LONG))
    written = opened.to_html(tmp_path / "page.html")
    assert written.stat().st_size < 6_000_000
    data = json.loads(re.search(r'id="sv-data">(.*?)</script>', written.read_text("utf-8"), re.DOTALL).group(1))
    assert data["controls"][0]["values"] == [64, 128]
    assert [view["title"] for view in data["views"]][:2] == ["Worst depth", "KL against price"]
    state, words = data["views"][0]["frames"]["1"]
    assert str(C) in words
    assert "8/8" in json.dumps(data["pool"]) + json.dumps(state)
    assert figure_state(opened.panels["worst"].plain())["data"]


def test_the_table_is_the_ranking(opened):
    opened.tables_button.value = True
    (table,) = [table for table in opened.tables if table.card is opened.panels["worst"]]
    assert "verdict" in table.value
    assert "choice" in table.value


@pytest.mark.parametrize(
    ("options", "words"),
    [({"context_length": 1}, "context_length is 1"), ({"seconds": 0}, "seconds is 0")],
)
def test_bad_numbers_are_refused(path, options, words):
    with pytest.raises(ValueError, match=words):
        tradeoff_explorer(path, **options)


def test_an_empty_explorer_writes_no_page(path, tmp_path):
    explorer = tradeoff_explorer(path)
    with pytest.raises(ValueError, match="0 cells"):
        explorer.to_html(tmp_path / "never.html")
    explorer.close()
