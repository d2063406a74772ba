"""One command lets the lessons open in Colab, wherever the repository lies, and takes all of it out again."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import nbformat
import pytest
from nbclient import NotebookClient
from test_notebooks import executing, script

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))
SOMEONE = "someone/selfextend_viz"
colab = script("colab")


@pytest.fixture
def copy(tmp_path):
    """The README, the notebooks and one of the solutions' folder, as they are without any badge."""
    (tmp_path / "notebooks" / "solutions").mkdir(parents=True)
    shutil.copy(ROOT / "README.md", tmp_path)
    shutil.copy(ROOT / "constraints.txt", tmp_path)
    for name in NAMES:
        shutil.copy(ROOT / "notebooks" / name, tmp_path / "notebooks")
    shutil.copy(ROOT / "notebooks" / NAMES[0], tmp_path / "notebooks" / "solutions" / "lesson.ipynb")
    assert colab.main(["--remove"], tmp_path) == 0
    return tmp_path


def bytes_of(folder):
    """Every file with what is in it."""
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def opened(folder, name):
    return nbformat.read(folder / "notebooks" / name, as_version=4)


def link(name, repository=SOMEONE, branch="main"):
    return f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{name}"


def setup_code(folder):
    return opened(folder, NAMES[0]).cells[1].source


def test_every_notebook_gets_its_badge_and_one_cell(copy):
    before = {name: opened(copy, name) for name in NAMES}
    assert colab.main([SOMEONE], copy) == 0
    for name in NAMES:
        notebook = opened(copy, name)
        nbformat.validate(notebook)
        title, empty, badge, *_ = notebook.cells[0].source.split("\n")
        assert title == before[name].cells[0].source.split("\n")[0] and empty == ""
        assert badge == f"[![Open in Colab](images/colab.svg)]({link(name)})"
        tagged = [cell for cell in notebook.cells if "colab" in cell.metadata.get("tags", ())]
        assert tagged == [cell for cell in notebook.cells if cell.cell_type == "code"][:1]
        assert [cell for cell in notebook.cells[1:] if cell not in tagged] == before[name].cells[1:]
    assert (ROOT / "notebooks" / "images" / "colab.svg").is_file()


def test_the_readme_has_a_badge_beside_each_lesson(copy, monkeypatch):
    colab.main([SOMEONE], copy)
    lines = (copy / "README.md").read_text(encoding="utf-8").splitlines()
    for name in NAMES:
        (line,) = [line for line in lines if f"](notebooks/{name})" in line]
        assert line.endswith(f" [![Open in Colab](notebooks/images/colab.svg)]({link(name)})")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    tables = importlib.import_module("readme_tables")
    monkeypatch.setattr(tables, "ROOT", copy)
    assert tables.course({}) in (copy / "README.md").read_text(encoding="utf-8")


def test_twice_is_once_another_address_takes_the_place_and_remove_gives_all_back(copy):
    before = bytes_of(copy)
    colab.main([SOMEONE], copy)
    once = bytes_of(copy)
    changed = {path.relative_to(copy).as_posix() for path in before if before[path] != once[path]}
    assert changed == {"README.md", *(f"notebooks/{name}" for name in NAMES)}
    colab.main([SOMEONE], copy)
    assert bytes_of(copy) == once
    colab.main(["another/fork", "--branch", "spring/2027"], copy)
    text = (copy / "notebooks" / NAMES[3]).read_text(encoding="utf-8")
    assert text.count(link(NAMES[3], "another/fork", "spring/2027")) == text.count("colab.research") == 1
    assert '\\"https://github.com/another/fork\\", \\"spring/2027\\"' in text and SOMEONE not in text
    assert SOMEONE not in (copy / "README.md").read_text(encoding="utf-8")
    colab.main(["--remove"], copy)
    assert bytes_of(copy) == before


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_ran_with_the_same_code(copy, name):
    colab.main([SOMEONE], copy)
    notebook = opened(copy, name)
    assert notebook.metadata["ran"] == executing.code_digest(notebook)


def test_what_runs_notebooks_leaves_the_cell_alone(tmp_path):
    cells = [nbformat.v4.new_markdown_cell("# One"), nbformat.v4.new_code_cell("1 + 1")]
    (tmp_path / "notebooks").mkdir()
    path = tmp_path / "notebooks" / "one.ipynb"
    path.write_text(nbformat.writes(nbformat.v4.new_notebook(cells=cells)) + "\n", encoding="utf-8")
    (tmp_path / "README.md").write_text("", encoding="utf-8")
    assert colab.main([SOMEONE], tmp_path) == 0
    executing.write(executing.execute(path), path)
    _, ours, theirs = nbformat.read(path, as_version=4).cells
    assert (ours.execution_count, ours.outputs, ours.metadata["tags"][0]) == (None, [], "colab")
    assert theirs.execution_count == 1 and theirs.outputs[0].data["text/plain"] == "2"
    colab.main(["--remove"], tmp_path)
    assert executing.code_digest(nbformat.read(path, as_version=4)) == nbformat.read(path, as_version=4).metadata["ran"]


def test_outside_colab_the_cell_does_nothing(copy, tmp_path_factory):
    colab.main([SOMEONE], copy)
    empty = tmp_path_factory.mktemp("empty")
    watched = (
        f"import os, sys\nseen = []\nsys.addaudithook(lambda event, _: seen.append(event))\n{setup_code(copy)}\n"
        "wrong = [event for event in seen if event.startswith(('subprocess', 'os.', 'socket', 'import', 'open'))]\n"
        f"assert not wrong and os.getcwd() == {str(empty)!r}, wrong"
    )
    ran = subprocess.run([sys.executable, "-c", watched], cwd=empty, capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    assert not list(empty.iterdir())


@pytest.fixture
def inside_colab(copy, monkeypatch):
    """What the cell does in Colab, in order: commands, the folder, the widgets; `fetched` says what git brings."""
    done, fetched = [], copy / "content" / "selfextend_viz"

    def command(arguments, *, check):
        assert check
        done.append(list(arguments))
        if arguments[0] == "git":
            (fetched / "notebooks").mkdir(parents=True)
            shutil.copy(ROOT / "constraints.txt", fetched)

    google, fake, output = ModuleType("google"), ModuleType("google.colab"), ModuleType("google.colab.output")
    output.enable_custom_widget_manager = lambda: done.append("widgets")
    google.colab, fake.output = fake, output
    for module in (google, fake, output):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(subprocess, "run", command)
    monkeypatch.setattr(os, "chdir", lambda folder: done.append(("cd", Path(folder))))
    return done, fetched


def test_inside_colab_it_fetches_installs_and_moves_in_order(copy, inside_colab):
    colab.main([SOMEONE, "--branch", "spring"], copy)
    done, fetched = inside_colab
    code = setup_code(copy)
    assert code.count("/content/selfextend_viz") == 1
    code = code.replace("/content/selfextend_viz", str(fetched))
    exec(code, {})
    git, moved, removed, installed, widgets = done
    clone = ["git", "clone", "--depth", "1", "--branch", "spring", f"https://github.com/{SOMEONE}", str(fetched)]
    assert git == clone
    assert moved == ("cd", fetched / "notebooks") and widgets == "widgets"
    assert removed[:4] == [sys.executable, "-m", "pip", "uninstall"] and removed[-2:] == ["torchvision", "torchaudio"]
    assert installed[:4] == [sys.executable, "-m", "pip", "install"] and f"{fetched}[lab,sweep]" in installed
    pins = [part for part in installed if "==" in part]
    assert set(pins) <= set((ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines())
    assert [pin.split("==")[0] for pin in pins] == ["anywidget", "plotly", "safetensors", "tokenizers", "transformers"]
    done.clear()
    exec(code, {})  # a second time nothing is fetched again
    assert "git" not in {step[0] for step in done} and len(done) == 4


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "must read OWNER/NAME, as in someone/selfextend_viz, but got nothing"),
        (["selfextend_viz"], "must read OWNER/NAME"),
        (["https://github.com/someone/selfextend_viz"], "but got 'https://github.com/someone/selfextend_viz'"),
        (["some one/name"], "must read OWNER/NAME"),
        (['someone/na"me'], "must read OWNER/NAME"),
        (["someone/.."], "must read OWNER/NAME"),
        ([SOMEONE, "--branch", "a branch"], "a branch's name has letters, digits and _ . / - only"),
        ([SOMEONE, "--remove"], "give either --remove or an address"),
    ],
)
def test_a_wrong_command_is_one_sentence_and_changes_nothing(copy, capsys, arguments, words):
    before = bytes_of(copy)
    assert colab.main(arguments, copy) == 2
    said = capsys.readouterr().err
    assert words in said and said.startswith("colab: ") and said.count("\n") == 1
    assert bytes_of(copy) == before


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"cells": []}', "is not laid out as Jupyter saves notebooks"),
        (
            nbformat.writes(nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("No title")])) + "\n",
            "must open with a title",
        ),
    ],
)
def test_a_notebook_that_could_not_be_given_back_is_refused_before_any_is_written(copy, capsys, text, words):
    (copy / "notebooks" / "Z9_mine.ipynb").write_text(text, encoding="utf-8")
    before = bytes_of(copy)
    assert colab.main([SOMEONE], copy) == 2
    assert "Z9_mine.ipynb" in (said := capsys.readouterr().err) and words in said
    assert bytes_of(copy) == before


def test_the_cell_passes_the_checks_of_code_and_runs_with_the_notebook(copy):
    colab.main([SOMEONE], copy)
    shutil.copy(ROOT / "pyproject.toml", copy)
    whose = f"src = [{str(ROOT)!r}]"  # the package whose imports stand apart
    for check in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *check, "--config", whose, "notebooks"]
        ran = subprocess.run(command, cwd=copy, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stdout
    notebook = opened(copy, "A1_flash_and_the_merge.ipynb")
    notebook.cells = notebook.cells[:2]
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    assert notebook.cells[1].execution_count == 1 and notebook.cells[1].outputs == []
