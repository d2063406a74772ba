"""Every notebook runs from top to bottom, and is committed as it ran: pictures with words, and nothing of a machine."""

import base64
import importlib.util
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from warm_kernel import warm_kernel

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PNG, PLOTLY = "image/png", "application/vnd.plotly.v1+json"


def script(name):
    """A script of docs/ as a module."""
    found = importlib.util.spec_from_file_location(name, ROOT / "docs" / f"{name}.py")
    loaded = importlib.util.module_from_spec(found)
    found.loader.exec_module(loaded)
    return loaded


executing = script("execute_notebooks")
FIGURE = {"data": [], "layout": {"title": {"text": "<b>A &amp; B</b>", "subtitle": {"text": "w<sub>n</sub><br>= 4"}}}}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_top_to_bottom(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    with warm_kernel(path.parent, SELFEXTEND_VIZ_HOME=str(tmp_path)) as manager:
        NotebookClient(notebook, timeout=180, km=manager).execute(cleanup_kc=True)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert outputs
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_committed_as_it_ran(path):
    """`make notebooks NOTEBOOKS=...` mends what fails here."""
    notebook = nbformat.read(path, as_version=4)
    cells = executing.code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert notebook.metadata["ran"] == executing.code_digest(notebook), "the code was changed after it ran"
    outputs = [output for cell in cells for output in cell.outputs]
    shown = [output for output in outputs if output.output_type != "stream"]
    assert not [output for output in outputs if output.output_type == "error"]
    assert all(output.metadata[PNG]["alt"] for output in shown if PNG in output.data)
    assert all(PNG in output.data for output in shown if PLOTLY in output.data)
    assert not [output for output in shown if executing.WIDGET in output.data]
    assert path.stat().st_size < executing.LARGEST


def test_pictures_are_told_in_words():
    assert executing.words(FIGURE) == "A & B w n = 4"
    with pytest.raises(ValueError, match="has no title"):
        executing.words({"data": [], "layout": {}})


@pytest.mark.parametrize(
    ("text", "refusal"),
    [
        ("x" * executing.LARGEST, "a notebook may have 1,000,000"),
        (f"{sys.prefix}/lib/module.py:3: UserWarning", "shows the folder"),
    ],
)
def test_what_may_not_be_committed_is_refused(tmp_path, text, refusal):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])
    with pytest.raises(ValueError, match=refusal):
        executing.write(notebook, tmp_path / "one.ipynb")
    assert not list(tmp_path.iterdir())


def test_a_warning_may_not_be_committed():
    output = nbformat.v4.new_output("stream", name="stderr", text="a warning")
    with pytest.raises(ValueError, match="wrote to stderr in cell 3: a warning"):
        executing.kept(output, 3, Path("one.ipynb"))


ASKING = """
from ipywidgets import DOMWidget

class Shown:
    def _repr_mimebundle_(self):
        return {"text/plain": Asking.words}

class Asking(DOMWidget):
    words = "empty"
    @property
    def worker(self):
        return self
    def wait(self, seconds):
        Asking.words = "answered"
        return True
    def snapshot(self):
        return Shown()

Asking()"""


def test_an_explorer_is_kept_with_the_answers_that_it_was_waiting_for(tmp_path):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(ASKING)])
    nbformat.write(notebook, tmp_path / "one.ipynb")
    (cell,) = executing.execute(tmp_path / "one.ipynb").cells
    assert [output.data for output in cell.outputs] == [{"text/plain": "answered"}]


def test_a_figure_gets_a_picture_and_words_beside_its_data():
    pytest.importorskip("kaleido")
    if not executing.browser_found():
        pytest.skip("no Chromium or Chrome on this machine")
    executing.ready_browser()
    output = nbformat.v4.new_output("display_data", data={PLOTLY: FIGURE, executing.WIDGET: {}})
    found = executing.kept(output, 1, Path("one.ipynb"))
    assert set(found.data) == {PNG, PLOTLY}
    assert base64.b64decode(found.data[PNG]).startswith(b"\x89PNG")
    assert found.metadata == {PNG: {"alt": "A & B w n = 4"}}


def test_the_lab_notebook_shows_the_lab_and_tells_of_the_plain_figure():
    (path,) = [path for path in NOTEBOOKS if path.stem == "00_lab"]
    cells = nbformat.read(path, as_version=4).cells
    title, opened, kept = [cell for cell in cells if "colab" not in cell.metadata.get("tags", ())]
    assert title.cell_type == kept.cell_type == "markdown"
    assert opened.cell_type == "code"
    assert "app = lab()" in opened.source
    assert "app.snapshot()" in kept.source
