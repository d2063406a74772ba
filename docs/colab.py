"""Let every lesson open in Google Colab, from wherever the repository lies on GitHub.

python docs/colab.py OWNER/NAME [--branch main]   badges in the notebooks and the README, and a cell that sets Colab up
python docs/colab.py --remove                     takes all of it out again

Run again it changes nothing, and another address takes the first one's place. Badges are a picture of this repository,
so that a page with one asks no other machine for anything.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TAG = "colab"
"""Of the cell that sets Colab up; such cells are no part of what a notebook ran."""
PICTURE = "images/colab.svg"
"""In `notebooks/`."""
ADDRESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}/[A-Za-z0-9_.-]*[A-Za-z0-9_-]")
BRANCH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]*")
BADGE = re.compile(r"\[!\[Open in Colab\]\([^()\s]*\)\]\([^()\s]*\)")
LESSON = re.compile(r"^- \w+ \[.*?\]\(notebooks/(?P<name>[^()/]+\.ipynb)\): .*$", flags=re.MULTILINE)
"""A line of the README's index."""
SETUP = """# In Colab this fetches the course and installs it, which takes minutes. Anywhere else it does nothing.
import sys

if "google.colab" in sys.modules:
    import importlib
    import os
    import subprocess
    from pathlib import Path

    from google.colab import output

    course, pip = Path("/content/{name}"), [sys.executable, "-m", "pip"]
    if not course.exists():
        address, branch = "https://github.com/{owner}/{name}", "{branch}"
        subprocess.run(["git", "clone", "--depth", "1", "--branch", branch, address, str(course)], check=True)
    os.chdir(course / "notebooks")
    # Colab's torch stays if it is 2.13; else pip takes PyPI's 2.13, which is a CUDA build, too. torchvision and
    # torchaudio fit one torch only, and transformers fails on ones that do not fit; the course needs neither.
    subprocess.run([*pip, "uninstall", "--quiet", "--yes", "torchvision", "torchaudio"], check=True)
    # Only what decides numbers and pictures is pinned: all of constraints.txt would also replace the running kernel.
    pinned = ("anywidget==", "plotly==", "safetensors==", "tokenizers==", "transformers==")
    pins = [line for line in (course / "constraints.txt").read_text().splitlines() if line.startswith(pinned)]
    subprocess.run([*pip, "install", "--quiet", f"{{course}}[lab,sweep]", *pins], check=True)
    importlib.invalidate_caches()
    output.enable_custom_widget_manager()"""
"""Code of the cell that sets Colab up."""

Cell = dict[str, Any]


def badge(notebook: str, picture: str, repository: str, branch: str) -> str:
    """The badge that opens a notebook, in Markdown."""
    target = f"https://colab.research.google.com/github/{repository}/blob/{branch}/notebooks/{notebook}"
    return f"[![Open in Colab]({picture})]({target})"


def setup_cell(repository: str, branch: str) -> Cell:
    """The cell that fetches and installs the repository in Colab; folded in JupyterLab, and not on the web site."""
    owner, name = repository.split("/")
    source = SETUP.format(owner=owner, name=name, branch=branch)
    return {
        "cell_type": "code",
        "execution_count": None,
        "id": "colab-setup",
        "metadata": {"jupyter": {"source_hidden": True}, "tags": [TAG, "remove-cell"]},
        "outputs": [],
        "source": source.splitlines(keepends=True),
    }


def notebook_text(text: str, name: str, repository: str | None, branch: str) -> str:
    """A notebook with its badge and its cell for `repository`, or with none.

    Raises
    ------
    ValueError
        If it has no title, or is laid out otherwise than notebooks are saved, which could not be given back.
    """
    notebook = json.loads(text)
    if written(notebook) != text:
        raise ValueError(f"{name} is not laid out as Jupyter saves notebooks; open and save it there first")
    cells = [cell for cell in notebook["cells"] if TAG not in cell["metadata"].get("tags", ())]
    opening = re.sub(r"\n\n" + BADGE.pattern, "", "".join(cells[0]["source"]))
    title = re.match(r"# .+", opening)
    if title is None:
        raise ValueError(f"{name} must open with a title, '# ...'")
    if repository is not None:
        mark = badge(name, PICTURE, repository, branch)
        opening = f"{title[0]}\n\n{mark}{opening[title.end() :]}"
        cells.insert(1, setup_cell(repository, branch))
    cells[0]["source"] = opening.splitlines(keepends=True)
    return written({**notebook, "cells": cells})


def written(notebook: dict[str, Any]) -> str:
    """The text of a notebook's file, as Jupyter saves it."""
    return json.dumps(notebook, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def readme_text(text: str, repository: str | None, branch: str) -> str:
    """The README with a badge at the end of each lesson's line, or with none."""

    def line(found: re.Match[str]) -> str:
        mark = badge(found["name"], f"notebooks/{PICTURE}", str(repository), branch)
        return f"{found[0]} {mark}"

    bare = re.sub(" " + BADGE.pattern, "", text)
    return bare if repository is None else LESSON.sub(line, bare)


def rewrite(root: Path, repository: str | None, branch: str = "main") -> None:
    """Put badges and cells for `repository` into all notebooks and the README, or take them out of all."""
    texts = {
        path: notebook_text(path.read_bytes().decode(), path.name, repository, branch)
        for path in sorted((root / "notebooks").glob("*.ipynb"))
    }
    readme = root / "README.md"
    texts[readme] = readme_text(readme.read_bytes().decode(), repository, branch)
    for path, text in texts.items():
        path.write_bytes(text.encode())


def refusal(repository: str | None, branch: str, remove: bool) -> str | None:
    """What is wrong with a command, in one sentence, if anything is."""
    if remove:
        return None if repository is None else f"give either --remove or an address, not both (got {repository!r})"
    if repository is None or not ADDRESS.fullmatch(repository):
        got = "nothing" if repository is None else repr(repository)
        return f"the repository's address on GitHub must read OWNER/NAME, as in someone/selfextend_viz, but got {got}"
    if not BRANCH.fullmatch(branch):
        return f"a branch's name has letters, digits and _ . / - only, but got {branch!r}"
    return None


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> int:
    """Rewrite the notebooks and the README; 2 if that cannot be."""
    parser = argparse.ArgumentParser(description="Let every lesson open in Google Colab.")
    parser.add_argument("repository", nargs="?", metavar="OWNER/NAME", help="the repository's address on GitHub")
    parser.add_argument("--branch", default="main", help="the branch whose notebooks open (main)")
    parser.add_argument("--remove", action="store_true", help="take badges and cells out again")
    asked = parser.parse_args(arguments)
    wrong = refusal(asked.repository, asked.branch, asked.remove)
    try:
        if wrong is None:
            rewrite(root, asked.repository, asked.branch)
    except ValueError as error:
        wrong = str(error)
    if wrong is not None:
        sys.stderr.write(f"colab: {wrong}\n")
    return 0 if wrong is None else 2


if __name__ == "__main__":
    sys.exit(main())
