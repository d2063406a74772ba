"""Labels of figures keep clear of one another where their places are close."""

import pytest

from selfextend_viz.experiments.rows import HeadRow, LogitRow, PasskeyRow
from selfextend_viz.plots import plot_divergence, plot_passkey
from selfextend_viz.plots.curve_names import part_names
from selfextend_viz.positions import SelfExtend

LENGTHS = (256, 320, 384, 512, 560, 640)
NAME = "SelfExtend(G=2, w_n=80)"


def limits_over(context_length, reach):
    """Words, place and anchor of what stands over the method's map."""
    rows = [PasskeyRow("paper", NAME, length, 0.5, 4, 2, 0.1, 0.9, -1.0, 0) for length in LENGTHS]
    figure = plot_passkey(rows, context_length=context_length, reach={NAME: reach})
    notes = figure.layout.annotations[1:]
    return [(note.text, note.x, note.xanchor) for note in notes if note.visible]


@pytest.mark.parametrize(
    ("context_length", "reach", "expected"),
    [
        (320, 560, [("L = 320", 1.5, "center"), ("reach 560", 4.5, "right")]),
        (320, 384, [("L = 320, reach 384", 2.0, "center")]),
        (320, 330, [("L = 320, reach 330", 1.5, "center")]),
        (320, 320, [("L = reach = 320", 1.5, "center")]),
        (200, 2000, [("L = 200", -0.5, "left"), ("reach 2,000", 5.5, "right")]),
        (600, 700, [("L = 600, reach 700", 5.0, "right")]),
        (200, 400, [("L = 200, reach 400", 2.5, "center")]),
    ],
)
def test_labels_of_close_limits_are_joined(context_length, reach, expected):
    assert limits_over(context_length, reach) == expected


def test_names_of_close_curves_grow_apart_and_others_stay():
    close, far = [{"y": 3.0}, {"y": 2.5}], [{"y": 9.0}, {"y": 2.5}]
    part_names(close, 10.0)
    part_names(far, 10.0)
    assert [name.get("yanchor") for name in close] == ["bottom", "top"]
    assert far == [{"y": 9.0}, {"y": 2.5}]
    same = [{"y": 1.0}, {"y": 1.0}]
    part_names(same, 10.0)
    assert {name["yanchor"] for name in same} == {"bottom", "top"}


def names_of(method, length):
    rows = [
        LogitRow(0, 0, condition, low, low + 50, -1.0, -3.0, 2.0, 9)
        for condition in ("reference", "stock", str(method))
        for low in range(0, 100 if condition == "reference" else length, 50)
    ]
    rows.append(HeadRow(0, 0, length, *[0.1] * 9))
    figure = plot_divergence(rows, layer=0, head=0, context_length=100, method=method)
    return [note for note in figure.layout.annotations if note.visible]


def test_one_number_told_by_both_is_said_once():
    texts = [note.text for note in names_of(SelfExtend(1, 10), 200)]
    assert "both told 199" in texts
    assert sum("told" in text for text in texts) == 1
    texts = [note.text for note in names_of(SelfExtend(4, 20), 200)]
    assert {"told 199", "told 64"} <= set(texts)


def test_nothing_is_called_hatched_where_no_text_is_past_l():
    assert any("hatched" in note.text for note in names_of(SelfExtend(4, 20), 200))
    assert not any("hatched" in note.text for note in names_of(SelfExtend(4, 20), 100))
