"""The course: guesses are kept and shown beside measurements, and checks know right from wrong answers."""

import json
import math
import re
import runpy
from importlib.resources import files
from pathlib import Path

import nbformat
import numpy as np
import pytest

from selfextend_viz import check, predict, reveal
from selfextend_viz.course import exercises, facts, found_card, found_in, questions, stored_rows
from selfextend_viz.course.answers import same
from selfextend_viz.course.guesses import guesses_path, last_guess

EXERCISES = list(exercises().values())
SLIPS = [(exercise, wrong) for exercise in EXERCISES for wrong in exercise.wrong]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty folder for guesses."""
    monkeypatch.setenv("SELFEXTEND_VIZ_HOME", str(tmp_path / "guesses"))
    return tmp_path / "guesses"


def checked(exercise, function):
    """What the exercise's check says."""
    return getattr(check, exercise.name)(function)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_truth_is_right(exercise):
    assert checked(exercise, exercise.truth).kind == "right"


@pytest.mark.parametrize(("exercise", "wrong"), SLIPS, ids=lambda each: getattr(each, "name", None))
def test_a_wrong_answer_is_known_by_its_name(exercise, wrong):
    said = checked(exercise, wrong.function)
    assert said.kind == "other"
    assert f"{wrong.name}: {wrong.sentence}" in str(said)


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_an_exercise_says_what_it_wants(exercise):
    assert "eturn " in exercise.prompt and len(exercise.wrong) >= 2
    assert exercise.name in dir(check) and getattr(check, exercise.name).__doc__ == exercise.prompt


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_an_unknown_wrong_answer_is_shown_where_it_differs(exercise):
    wanted = exercise.answer.read(exercise.truth(*next(exercise.cases())))
    off = [9999] if isinstance(wanted, list) else (not wanted) if isinstance(wanted, bool) else wanted + 9999
    said = checked(exercise, lambda *case: off)
    assert said.kind == "other" and "usual slip" not in str(said)
    assert dict(said.pairs)["your function says"] == str(off)


def stops(i, j, G, w):
    raise KeyError("gone")


def ends(i, j, G, w):
    raise SystemExit


def later(i, j, G, w):
    raise NotImplementedError


class Odd:
    """Does not even show itself."""

    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((7,), "takes the function itself, and 7 is none"),
        ((), "takes the function itself"),
        ((Odd(),), "an object of type Odd is none"),
        ((lambda i, j: 0,), "must take 4 arguments, (i, j, G, w)"),
        ((lambda i, j, G, w: 0, 3), "takes one thing, your function"),
        ((stops,), "Your function stopped for i="),
        ((ends,), "with SystemExit()"),
        ((later,), "Write the function first"),
        ((lambda i, j, G, w: None,), "it returns nothing; is return missing?"),
        ((lambda i, j, G, w: ...,), "its body is still to come"),
        ((lambda i, j, G, w: "6",), "should return a number; for i="),
        ((lambda i, j, G, w: True,), "returns True (bool)"),
        ((lambda i, j, G, w: np.zeros(3),), "(ndarray)"),
        ((lambda i, j, G, w: Odd(),), "an object of type Odd"),
    ],
)
def test_a_check_answers_anything_with_a_sentence(given, sentence):
    said = check.ex_04_1(*given)
    assert said.kind == "note" and sentence in str(said)


def test_a_check_takes_numbers_of_numpy_and_functions_with_defaults():
    truth = exercises()["ex_04_1"].truth
    assert check.ex_04_1(lambda i, j, G=1, w=0, more=None: np.int64(truth(i, j, G, w))).kind == "right"
    rows = exercises()["ex_04_3"].truth
    assert check.ex_04_3(lambda d, G: np.array(rows(d, G))).kind == "right"
    assert check.ex_04_3(lambda d, G: iter(int, 1)).kind == "other"


def test_a_check_that_is_not_there_is_answered_with_those_that_are():
    assert "There is no exercise ex_99_1" in str(check.ex_99_1(print))
    assert "ex_04_1" in str(check(print))
    with pytest.raises(AttributeError, match="check has no 'nothing'"):
        _ = check.nothing


def test_answers_are_equal_but_for_rounding():
    assert same(3, 3.0) and same(1 / 3, 0.33333333333) and same([1, 2.0], [1.0, 2]) and same(True, True)
    assert not same(3, 3.1) and not same(True, 1) and not same([1], [1, 1]) and not same([1], 1)
    assert not same(math.nan, 0)


@pytest.mark.parametrize("question", questions().values(), ids=lambda question: question.id)
def test_a_question_is_whole(question):
    assert question.text.endswith("?") and question.misconception.endswith(".") and question.explanation.endswith(".")
    if question.kind == "choice":
        assert question.tempting in question.choices and len(question.choices) >= 2
        assert list(question.choices) == [chr(ord("a") + place) for place in range(len(question.choices))]
    assert question.example in str(predict(question.id))


BELIEFS = (
    "needle is far",
    "exactly at L",
    "exactly at the reach",
    "pooled, or scrambled",
    "fast-rotating pairs",
    "far tokens cannot matter",
    "harmless below L",
    "sliding window",
    "saves memory or time",
    "Flat perplexity means far text is used",
    "bigger G is always safer",
    "two softmaxes added",
    "large logit difference is damage",
)


@pytest.mark.parametrize("belief", BELIEFS)
def test_a_belief_has_one_question(belief):
    assert len([one for one in questions().values() if belief in one.misconception]) == 1


def test_a_guess_is_kept_and_shown_beside_the_measurement(home):
    assert "none was made" in str(reveal("04.2", "b"))
    assert predict("04.2", " B ").pairs == (("Your guess", "b) " + questions()["04.2"].choices["b"]),)
    assert json.loads((home / "guesses.json").read_text()) == {"04.2": ["b"]}
    assert "Your guess so far: b)" in str(predict("04.2"))
    said = reveal("04.2", "b", details="7 of 7 keys")
    assert said.kind == "right" and "(7 of 7 keys)" in str(said) and questions()["04.2"].explanation in str(said)
    predict("04.2", "a")
    said = reveal("04.2", "b")
    assert said.kind == "other" and questions()["04.2"].misconception in str(said)
    assert json.loads((home / "guesses.json").read_text()) == {"04.2": ["b", "a"]}
    assert [path.name for path in home.iterdir()] == ["guesses.json"]


def test_a_card_is_escaped():
    said = predict("04.2", "<img src=x onerror=alert(1)>")
    assert "<img" in str(said)
    assert "<img" not in said._repr_html_() and "&lt;img" in said._repr_html_()


@pytest.mark.parametrize(
    ("question", "guess", "sentence"),
    [
        ("04.2", "c", 'takes one of "a", "b", and \'c\' is none'),
        ("04.2", 1, "and 1 is none of them"),
        ("04.2", ["a"], "['a'] is none of them"),
        ("04.2", Odd(), "an object of type Odd"),
        ("04.9", "a", '"04.1", "04.2", "04.3", in quotes'),
        (4.2, "a", "There is no question 4.2"),
        ("", "a", "There is no question"),
    ],
)
def test_a_guess_that_does_not_fit_is_answered_with_a_sentence(home, question, guess, sentence):
    for said in (predict(question, guess), reveal(question, guess)):
        assert said.kind == "note" and sentence in str(said)
    assert not home.exists()


@pytest.mark.parametrize("text", ["{", "[]", '{"04.2": "b"}', '{"04.2": []}', '{"04.2": [true]}', b"\xff\xfe"])
def test_a_damaged_file_is_set_aside_and_kept(home, text):
    home.mkdir()
    damaged = text if isinstance(text, bytes) else text.encode()
    for number in (1, 2):
        guesses_path().write_bytes(damaged)
        assert f"kept as {home / f'guesses.damaged-{number}.json'}" in str(predict("04.2", "b"))
        assert (home / f"guesses.damaged-{number}.json").read_bytes() == damaged
        assert last_guess("04.2") == ("b", "")


def test_a_guess_is_kept_for_the_session_where_nothing_can_be_written(home, monkeypatch):
    home.write_text("a file where the folder should be")
    said = str(predict("04.2", "b"))
    assert "until this session ends" in said
    assert reveal("04.2", "b").kind == "right"
    home.unlink()
    predict("04.1", "c")
    assert json.loads(guesses_path().read_text()) == {"04.1": ["c"], "04.2": ["b"]}


def test_a_guess_of_another_edition_is_not_shown(home):
    home.mkdir()
    guesses_path().write_text('{"04.2": ["z"], "99.1": [3]}')
    assert "none was made" in str(reveal("04.2", "b"))
    predict("04.2", "a")
    assert json.loads(guesses_path().read_text()) == {"04.2": ["z", "a"], "99.1": [3]}


NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SOLUTIONS = {
    name: function
    for path in sorted((NOTEBOOKS / "solutions").glob("*.py"))
    for name, function in runpy.run_path(str(path)).items()
    if name.startswith("ex_")
}


@pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.name)
def test_the_solution_is_right(exercise):
    assert checked(exercise, SOLUTIONS[exercise.name]).kind == "right"


def sources(kind):
    """The text of all notebooks' cells of a kind."""
    cells = [cell for path in NOTEBOOKS.glob("*.ipynb") for cell in nbformat.read(path, as_version=4).cells]
    return "\n".join(cell.source for cell in cells if cell.cell_type == kind)


def test_every_question_and_exercise_is_asked_in_a_notebook():
    code = sources("code")
    for name in questions():
        assert code.count(f'predict("{name}")') == 1
        assert len(re.findall(rf'reveal\(\s*"{name}"', code)) == 1
    for name in exercises():
        assert code.count(f"check.{name}(") == 1


def test_links_between_notebooks_lead_to_lessons_of_the_course():
    for link in re.findall(r"\]\((?!https://)([^)]+)\)", sources("markdown")):
        assert re.fullmatch(r"(0[0-9]|1[0-3]|A1)_\w+\.ipynb|solutions/lesson_\w+\.py|images/colab\.svg", link)


def test_stored_tables_are_read_and_summed():
    rows = stored_rows("near")
    found, asked = found_in(rows, condition="blindfold", length=640)
    assert f"blindfold, N = 640: {found} of {asked} found" in str(found_card(rows, "The near key"))
    with pytest.raises(ValueError, match="no table 'far'; it has cliff, near, reach"):
        stored_rows("far")
    with pytest.raises(ValueError, match="0 rows have length=7"):
        found_in(rows, length=7)


def test_facts_are_a_card():
    assert str(facts("Two numbers", {"a": 1.23456, 2: [3]})) == "Two numbers\na: 1.23\n2: [3]"


def test_the_teacher_is_told_every_belief():
    told = (NOTEBOOKS / "TEACHING.md").read_text(encoding="utf-8")
    missing = [each.id for each in questions().values() if f"| {each.misconception} | {each.id} |" not in told]
    assert missing == []


def test_what_was_measured_is_of_the_demo_model_that_ships():
    measured = json.loads((files("selfextend_viz.course") / "measured.json").read_text(encoding="utf-8"))
    config = json.loads((files("selfextend_viz.demo") / "weights" / "config.json").read_text(encoding="utf-8"))
    assert measured["context_length"] == config["max_position_embeddings"] == 320  # as the questions say
