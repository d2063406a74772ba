"""The commands that start something: the lab, and the training of the demo model."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from selfextend_viz.cli.options import SeedOption
from selfextend_viz.cli.output import print_text, progress_bar

REPOSITORY_NOTEBOOK = Path("notebooks/00_lab.ipynb")
NEW_NOTEBOOK = Path("selfextend_lab.ipynb")
TITLE_CELL = """# The Self-Extend lab

Run the cell below (*Run, Run All Cells*), then drag **G** and **w_n**. For your own model:
`model, tokenizer = selfextend_viz.load_model("a folder or a hub id")`, and `lab(model, tokenizer)`."""
LAB_CELL = "from selfextend_viz import lab\n\napp = lab()\napp"
SNAPSHOT_CELL = """The lab needs a running kernel. For print, or to keep in a saved notebook, `app.snapshot()` in a new
cell gives what it shows now as a plain plotly figure."""


def lab(
    notebook: Annotated[
        Path | None, typer.Argument(help="Absent: notebooks/00_lab.ipynb, or a new selfextend_lab.ipynb here.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="Jupyter picks a free one when absent.")] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser; without one, the address is printed.")] = True,
) -> None:
    """Open the lab in JupyterLab, on this machine's loopback address, with Jupyter's own token.

    Without a notebook here, a small one is written into the current folder;
    none is ever overwritten.

    \b
    [bold]Examples[/bold]
      selfextend-viz lab
      selfextend-viz lab --no-browser --port 8890
    """
    if find_spec("jupyterlab") is None:
        raise ValueError('JupyterLab is not installed; say: pip install "selfextend-viz[lab]"')
    chosen = find_notebook(notebook)
    raise typer.Exit(serve(jupyter_command(chosen, port=port, browser=browser)))


def serve(command: list[str]) -> int:
    """Run the server until it ends; Ctrl-C is its own to answer, for it asks before it stops the kernels."""
    server = subprocess.Popen(command)
    while True:
        try:
            return server.wait()
        except KeyboardInterrupt:
            continue


def find_notebook(asked: Path | None) -> Path:
    """The notebook to open: the one asked for, the repository's, or a new one in the current folder."""
    if asked is not None:
        if not asked.is_file():
            raise FileNotFoundError(f"there is no notebook {asked}; leave it out to have one written here")
        return asked
    if REPOSITORY_NOTEBOOK.is_file():
        return REPOSITORY_NOTEBOOK
    if not NEW_NOTEBOOK.exists():
        NEW_NOTEBOOK.write_text(json.dumps(new_notebook(), indent=1) + "\n", encoding="utf-8")
    return NEW_NOTEBOOK


def jupyter_command(notebook: Path, *, port: int | None, browser: bool) -> list[str]:
    """The command line that serves one notebook on the loopback address; Jupyter makes the token."""
    here, path = Path.cwd(), notebook.resolve()
    root = here if path.is_relative_to(here) else path.parent
    opened = quote(path.relative_to(root).as_posix())
    command = [sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{opened}"]
    if port is not None:
        command.append(f"--ServerApp.port={port}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container there is often no other user
    return command


def new_notebook() -> dict[str, Any]:
    """Three cells, as in the repository's notebook: what it is, the lab, and how to keep what it shows."""
    code: dict[str, Any] = {"cell_type": "code", "execution_count": None, "outputs": []}
    cells = [
        cell_of("title", TITLE_CELL, {"cell_type": "markdown"}),
        cell_of("lab", LAB_CELL, code),
        cell_of("snapshot", SNAPSHOT_CELL, {"cell_type": "markdown"}),
    ]
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


def cell_of(name: str, source: str, kind: dict[str, Any]) -> dict[str, Any]:
    """A cell of a notebook file."""
    return {**kind, "id": name, "metadata": {}, "source": source.splitlines(keepends=True)}


def train_demo(
    output: Annotated[Path, typer.Argument(help="The folder that the model is written to.")] = Path("demo-model"),
    seed: SeedOption = 0,
    resume: Annotated[bool, typer.Option(help="Go on from the folder's last checkpoint.")] = True,
) -> None:
    """Train the demo model again from the standard library's text and a seed.

    It may be stopped at any time; the same command goes on from there.

    \b
    [bold]Examples[/bold]
      selfextend-viz train-demo
      selfextend-viz train-demo my-demo --seed 7 --no-resume
    """
    if output.is_file():
        raise FileExistsError(f"{output} is a file; give a folder")
    from selfextend_viz.demo.train import train

    with progress_bar() as bar:
        task = bar.add_task("Training", total=None)

        def on_step(step: int, total: int, loss: float, stage: str) -> None:
            bar.update(task, completed=step, total=total, description=f"{stage}, loss {loss:.3f}")

        written = train(output, seed=seed, resume=resume, on_step=on_step)
    print_text(f"The model is in {written}; try: selfextend-viz passkey --model {written}")
