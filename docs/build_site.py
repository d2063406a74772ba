"""Build the web site: the course, live explorers, the README and the documented names.

python docs/build_site.py build/site    then open build/site/index.html; it needs no server and no network

Sources are gathered in build/site-source first, laid out as in the repository, so that links hold in both.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
from sphinx.cmd.build import build_main

import selfextend_viz as sv

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "build" / "site-source"
DOCUMENTS = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "docs/images", "notebooks/images"),
    *(f"docs/{name}.md" for name in ("methods", "evaluation", "large-models", "cluster", "corner-cases")),
)
SHOW = "selfextend_viz/widgets/stored/show.html"
HEADINGS = {
    "positions": "Positions",
    "attention": "Attention",
    "methods": "Methods",
    "patch": "Lending a method to a model",
    "demo": "Models",
    "checkpoints": "Models",
    "experiments": "Experiments",
    "plots": "Figures",
    "widgets": "The lab and its explorers",
    "course": "The course",
}
"""Of the page of names, by room; a room that is not here gets its own name."""


def gather(source: Path) -> None:
    """Put everything that the site is made of into an empty folder."""
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir(parents=True)
    for name in DOCUMENTS:
        copied = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copied(ROOT / name, source / name)
    for path in (ROOT / "docs" / "pages").glob("*.md"):
        shutil.copy(path, source)
    (source / SHOW).parent.mkdir(parents=True)
    shutil.copy(ROOT / SHOW, source / SHOW)
    for path in (ROOT / "notebooks").rglob("*.ipynb"):
        if ".ipynb_checkpoints" not in path.parts:
            put_notebook(path, source / path.relative_to(ROOT))
    for path in (ROOT / "notebooks").glob("*.md"):
        shutil.copy(path, source / "notebooks")
    shutil.copytree(ROOT / "notebooks" / "solutions", source / "notebooks" / "solutions", dirs_exist_ok=True)
    (source / "names.rst").write_text("\n".join(names()), encoding="utf-8")
    write_explorers(source / "pages" / "explorers")


def put_notebook(path: Path, target: Path) -> None:
    """Copy a notebook: figures as pictures, their words where MyST looks for them."""
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        told = [output.get("metadata", {}).get("image/png", {}).get("alt") for output in outputs]
        for output in outputs:
            output.get("data", {}).pop("application/vnd.plotly.v1+json", None)
        if any(told):
            cell.metadata["mystnb"] = {"image": {"alt": " ".join(filter(None, told))}}
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def names() -> Iterator[str]:
    """A page of every public name, as reStructuredText, by the room it lives in."""
    yield from ("All names", "=========", "", "Each is had from the top: ``from selfextend_viz import attend``.", "")
    rooms: dict[str, list[str]] = {}
    for name in sv.__all__:
        room = sv._HOME_OF[name].partition(".")[0]
        rooms.setdefault(HEADINGS.get(room, room.capitalize()), []).append(name)
    order = list(dict.fromkeys(HEADINGS.values()))
    for heading in sorted(rooms, key=lambda one: (order.index(one) if one in order else len(order), one)):
        yield from (heading, "-" * len(heading), "")
        for name in rooms[heading]:
            yield from entry(name, getattr(sv, name))


def entry(name: str, value: object) -> tuple[str, ...]:
    """What documents one name: a class with its own methods, a function, or a value in a sentence."""
    if isinstance(value, type):
        return f".. autoclass:: selfextend_viz.{name}", "   :members:", ""
    if isinstance(value, dict):
        listed = ", ".join(f"``{key}``" for key in value)
        return f".. py:data:: selfextend_viz.{name}", "", f"   A mapping with the keys {listed}.", ""
    kind = "autofunction" if hasattr(value, "__code__") else "autodata"
    return f".. {kind}:: selfextend_viz.{name}", *(("   :no-value:",) if kind == "autodata" else ()), ""


def write_explorers(folder: Path) -> None:
    """The explorers of the formula as pages of their own, and the page that `show` opens."""
    folder.mkdir(parents=True)
    sv.position_explorer().to_html(folder / "position.html")
    sv.reach_explorer().to_html(folder / "reach.html")
    sv.rope_explorer().to_html(folder / "rope.html")
    shutil.copy(ROOT / SHOW, folder / "show.html")


def main() -> None:
    """Gather and build; a warning is an error."""
    parser = argparse.ArgumentParser(description="Build the web site.")
    parser.add_argument("target", nargs="?", type=Path, default=ROOT / "build" / "site")
    target = parser.parse_args().target
    gather(SOURCE)
    shutil.rmtree(target, ignore_errors=True)
    options = ["-b", "html", "-q", "-W", "--keep-going", "-c", str(ROOT / "docs")]
    options += ["-D", f"html_extra_path={SOURCE / 'pages'}"]
    sys.exit(build_main([*options, str(SOURCE), str(target)]))


if __name__ == "__main__":
    main()
