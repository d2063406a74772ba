"""The strip on its own, where an answer looks as a plain figure, and one pair's logit at any distance."""

import math
import time
from threading import Thread

import pytest
import torch
from experiment_doubles import bytes_tokenizer
from tiny_models import tiny_llama

from selfextend_viz import PlainRoPE, plot_answer, strip_explorer
from selfextend_viz.experiments.pair_logits import pair_logits
from selfextend_viz.experiments.rows import AttentionRow, DigitRow, PairLogitRow
from selfextend_viz.patch import observe
from selfextend_viz.plots import answer_tracks, plot_pair_logits
from selfextend_viz.widgets.steps import Step
from selfextend_viz.widgets.work import LabWork, Subject

CONTEXT_LENGTH = 96


@pytest.fixture(scope="module")
def model():
    return tiny_llama(vocab_size=257, max_position_embeddings=CONTEXT_LENGTH)


@pytest.fixture(scope="module")
def explorer(model):
    made = strip_explorer(model, bytes_tokenizer(), length=2 * CONTEXT_LENGTH, group_size=4, neighbor_window=24)
    assert made.worker.wait(60)
    yield made
    made.close()


def test_the_strip_is_answered_and_follows_the_numbers(explorer):
    assert explorer.worker.error is None
    assert [row["label"] for row in explorer.strip.state["rows"]] == ["stock", "SelfExtend(G=4, w_n=24)"]
    explorer.state.set(group_size=8)
    assert explorer.worker.wait(60) and explorer.strip.stamp == "live"
    assert explorer.strip.state["rows"][1]["label"] == "SelfExtend(G=8, w_n=24)"
    explorer.strip.question.set(key="77")
    assert explorer.worker.wait(60) and explorer.strip.state["answer"] == "77"


def test_a_snapshot_has_both_tracks(explorer):
    figure = explorer.snapshot()
    assert [trace.name for trace in figure.data[1::2]] == [row["label"] for row in explorer.strip.state["rows"]]
    assert len(figure.data[0].x) == 1 and len(figure.data[2].x) == 0  # only stock is told untrained distances


def test_only_one_thread_at_a_time_asks_the_model(model):
    """A snapshot asks while the worker may still be asking; a model is lent to one of them."""
    work, inside, most = LabWork(Subject(model, bytes_tokenizer())), [], []

    def compute():
        inside.append(1)
        most.append(len(inside))
        time.sleep(0.05)
        inside.pop()

    threads = [Thread(target=work.run, args=(Step("strip", "stock", "asking", key, compute, 1),)) for key in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert most == [1, 1, 1, 1]


def rows_of(condition, masses, told, said="7"):
    yield DigitRow(condition, 0, "7", said, 0.5, 0.5)
    for place, (mass, far) in enumerate(zip(masses, told, strict=True)):
        yield AttentionRow(condition, 1, 0, 10 * place, 10 * place + 10, mass, far)


def test_tracks_are_the_rows_given():
    rows = [*rows_of("stock", [0.1, 0.6, 0.3], [25, 15, 5], said="1"), *rows_of("mine", [0.0, 1.0, 0.0], [12, 9, 5])]
    first, second = answer_tracks(rows, needle=(10, 20), context_length=15)
    assert (first.masses, first.never, first.on_needle) == ((0.1, 0.6, 0.3), (0, 20), 0.6)
    assert first.words == "stock: 60% of its attention on the key, says 1 (wrong, it is 7)"
    assert second.never is None and second.words.endswith("says 7 (right)")
    figure = plot_answer(rows, needle=(10, 20), context_length=15)
    assert figure.data[1].y == (0.1, 0.6, 0.3) and figure.data[3].y == (1.0,)
    with pytest.raises(ValueError, match="0 attention rows"):
        plot_answer([], needle=(10, 20), context_length=15)


def test_a_pair_at_its_own_distance_has_its_own_logit(model):
    ids = torch.randint(0, 256, (40,)).tolist()
    seen = []
    with torch.inference_mode(), observe(model, [30], lambda view: seen.append(view.logits(PlainRoPE()))):
        model(torch.tensor([ids]))
    rows = pair_logits(model, ids, query=30, key=12, layer=1, head=2, distances=[0, 18, 500])
    assert [row.distance for row in rows] == [0, 18, 500]
    assert math.isclose(rows[1].logit, float(seen[1][0, 2, 0, 12]), abs_tol=1e-4)
    assert abs(rows[2].logit - rows[1].logit) > 1e-3


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"key": 31}, "key 31 and query 30"),
        ({"query": 40}, "query 40 must be"),
        ({"head": 99}, "no head 99 in layer 1"),
        ({"distances": [-1]}, "distances is -1"),
        ({"distances": []}, "distances has 0 entries"),
    ],
)
def test_a_pair_that_is_not_there_is_refused(model, changes, sentence):
    given = {"query": 30, "key": 12, "layer": 1, "head": 2, "distances": [3], **changes}
    with pytest.raises(ValueError, match=sentence):
        pair_logits(model, list(range(40)), **given)


def test_a_pairs_logits_are_drawn_as_given():
    rows = [PairLogitRow(1, 2, distance, logit) for distance, logit in ((8, 2.0), (0, 1.0), (4, 3.0))]
    figure = plot_pair_logits(rows, context_length=6)
    assert figure.data[0].x == (0, 4, 8) and figure.data[0].y == (1.0, 3.0, 2.0)
    assert figure.layout.shapes[0].x0 == 6 and not plot_pair_logits(rows, context_length=9).layout.shapes
    with pytest.raises(ValueError, match="0 logits"):
        plot_pair_logits([], context_length=6)


def test_a_setting_past_sixteen_times_the_trained_length_is_not_asked(explorer):
    before = explorer.state.values()
    explorer.state.set(length=17 * CONTEXT_LENGTH, group_size=64)
    assert explorer.worker.wait(60) and "too long to ask" in str(explorer.worker.error)
    explorer.state.set(**before)
    assert explorer.worker.wait(60) and explorer.worker.error is None
