"""Run notebooks from top to bottom and keep what they show, so that it is seen where no kernel runs.

python docs/execute_notebooks.py                       all of notebooks/
python docs/execute_notebooks.py notebooks/06*.ipynb   some of them

Plotly figures keep their data, which JupyterLab draws live, and get a PNG beside it, which is what GitHub shows. An
explorer is kept as its snapshot. Every picture has its title and its finding as alternative text, in the output's
metadata, where nbconvert and JupyterLab look for it. The PNGs are drawn by an installed Chromium.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import os
import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = ROOT / "notebooks"
LARGEST = 1_000_000
"""Bytes of a notebook."""
LARGEST_FIGURE = 60_000
"""Bytes of a figure's data that are kept beside its PNG; where there are more, the PNG stands alone."""
WIDTH, HEIGHT = 900, 440
WIDEST = 780
"""Pixels of a PNG; GitHub shows a notebook no wider."""
SECONDS = 180
PLOTLY, PNG, WIDGET = "application/vnd.plotly.v1+json", "image/png", "application/vnd.jupyter.widget-view+json"
COLAB = "colab"
"""Tag of the cell that `colab.py` writes: it does nothing here, is not run, and is no part of what ran."""
RAN = "ran"
"""Key of the notebook's metadata that tells which code its outputs come from."""
SNAPSHOTS = """
from IPython import get_ipython
from ipywidgets import DOMWidget

def _kept(shown, **_):
    if not hasattr(shown, "snapshot"):
        return None
    if hasattr(shown, "worker"):
        shown.worker.wait(120)
    return shown.snapshot()._repr_mimebundle_()

get_ipython().display_formatter.mimebundle_formatter.for_type(DOMWidget, _kept)
"""
"""Runs before a notebook's own cells: widgets need a kernel, so the snapshots that they can make are kept instead,
with the answers of the model that are on their way."""


def execute(path: Path) -> NotebookNode:
    """The notebook, run, its outputs fit to be kept.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails.
    ValueError
        If what it shows may not be kept: warnings, paths of this machine, or too much.
    """
    notebook = nbformat.read(path, as_version=4)
    hidden = nbformat.v4.new_code_cell(SNAPSHOTS)
    notebook.cells.insert(0, hidden)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        record_timing=False,
        store_widget_state=False,
        skip_cells_with_tag=COLAB,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    notebook.cells.remove(hidden)
    for cell in code_cells(notebook):
        cell.execution_count -= 1
        cell.metadata = NotebookNode({key: cell.metadata[key] for key in ("tags",) if key in cell.metadata})
        cell.outputs = [kept(output, cell.execution_count, path) for output in joined(cell.outputs)]
    notebook.metadata = NotebookNode(
        {
            "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
            RAN: code_digest(notebook),
        }
    )
    return notebook


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """The cells that run here."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [cell for cell in cells if COLAB not in cell.metadata.get("tags", ())]


def code_digest(notebook: NotebookNode) -> str:
    """A short name of the code of all cells; a notebook whose outputs are older than its code has another."""
    sources = json.dumps([cell.source for cell in code_cells(notebook)])
    return hashlib.sha256(sources.encode()).hexdigest()[:16]


def joined(outputs: Sequence[NotebookNode]) -> Iterator[NotebookNode]:
    """The outputs, printed text that came in pieces put together."""
    last: NotebookNode | None = None
    for output in outputs:
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
            continue
        last = output
        yield output


def kept(output: NotebookNode, count: int, path: Path) -> NotebookNode:
    """An output as it is committed: pictures as PNG with their words, and nothing of this machine."""
    if output.output_type == "stream":
        if output.name == "stderr":
            raise ValueError(f"{path.name} wrote to stderr in cell {count}: {output.text.strip()[:300]}")
        return output
    if output.output_type == "execute_result":
        output.execution_count = count
    output.data.pop(WIDGET, None)
    if PLOTLY in output.data:
        figure = output.data[PLOTLY]
        output.data = NotebookNode({PNG: png(figure)})
        if len(json.dumps(figure)) <= LARGEST_FIGURE:
            output.data[PLOTLY] = NotebookNode({"data": figure["data"], "layout": figure["layout"]})
        output.metadata = NotebookNode({PNG: {"alt": words(figure)}})
    return output


def words(figure: dict[str, Any]) -> str:
    """What a figure shows, in words: its title and what stands under it.

    Raises
    ------
    ValueError
        If it has no title.
    """
    title = figure["layout"].get("title", {})
    parts = [title.get("text", ""), title.get("subtitle", {}).get("text", "")]
    plain = [html.unescape(re.sub(r"<[^>]*>", " ", part)) for part in parts if part]
    if not plain:
        raise ValueError("a figure has no title, so nobody who cannot see it would know what it shows")
    return " ".join(" ".join(plain).split())


def png(figure: dict[str, Any]) -> str:
    """The figure drawn, in base64 as notebooks keep it."""
    import kaleido

    layout = figure["layout"]
    size = {"width": layout.get("width") or WIDTH, "height": layout.get("height") or HEIGHT}
    options = {"format": "png", "scale": min(1, WIDEST / size["width"]), **size}
    return base64.b64encode(kaleido.calc_fig_sync(figure, opts=options)).decode()


def write(notebook: NotebookNode, path: Path) -> int:
    """Write it, and say how many bytes it takes.

    Raises
    ------
    ValueError
        If it is larger than `LARGEST`, or names a folder of this machine.
    """
    drawn = [
        output.data for cell in code_cells(notebook) for output in cell.outputs if PLOTLY in output.get("data", {})
    ]
    drawn.sort(key=lambda data: len(json.dumps(data[PLOTLY])))
    text = nbformat.writes(notebook) + "\n"
    while len(text) > LARGEST and drawn:  # the figures with the most data are left as pictures
        del drawn.pop()[PLOTLY]
        text = nbformat.writes(notebook) + "\n"
    if len(text) > LARGEST:
        raise ValueError(f"{path.name} takes {len(text):,} bytes; a notebook may have {LARGEST:,}")
    for folder in {str(ROOT), str(Path.home()), sys.prefix} - {"/"}:
        if f"{folder}/" in text:
            raise ValueError(f"{path.name} shows the folder {folder} of this machine")
    path.write_text(text, encoding="utf-8")
    return len(text)


def browser_found() -> str | None:
    """Path of an installed Chromium or Chrome, if any."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("BROWSER_PATH") or next((path for name in names if (path := shutil.which(name))), None)


def ready_browser() -> None:
    """Point kaleido to an installed browser, and start it once for all pictures.

    Raises
    ------
    SystemExit
        If there is none.
    """
    found = browser_found()
    if found is None:
        raise SystemExit("no Chromium or Chrome is installed, which draws the PNGs; install one, or set BROWSER_PATH")
    os.environ["BROWSER_PATH"] = found
    import kaleido

    kaleido.start_sync_server(silence_warnings=True)


def main() -> None:
    """Run the notebooks named, or all, as one who has not guessed anything yet."""
    parser = argparse.ArgumentParser(description="Run notebooks in place and keep what they show.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="which; all of notebooks/ if left out")
    paths = parser.parse_args().notebooks or sorted(NOTEBOOKS.glob("*.ipynb"))
    ready_browser()
    with TemporaryDirectory() as nobody:
        os.environ["SELFEXTEND_VIZ_HOME"] = nobody
        for path in paths:
            start = time.monotonic()
            size = write(execute(path), path)
            sys.stdout.write(f"{path.name}: {time.monotonic() - start:.0f} s, {size / 1000:,.0f} kB\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
