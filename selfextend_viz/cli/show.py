"""``selfextend-viz show``: the first picture, in a browser, without a kernel."""

from __future__ import annotations

import os
import shutil
import webbrowser
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from selfextend_viz.cli.output import say

PAGE = "widgets/stored/show.html"


def show(
    path: Annotated[
        Path | None, typer.Argument(help="Absent: the page in the package. Else a copy is written here and opened.")
    ] = None,
    browser: Annotated[bool, typer.Option(help="Open a browser; without one, the page's place is printed.")] = True,
) -> None:
    """See the demo model break past its length and mend, in one page that needs no kernel and no network.

    Its answers were computed before, for every stop of the sliders. The lab
    takes your own numbers and your own model.

    \b
    [bold]Examples[/bold]
      selfextend-viz show
      selfextend-viz show first.html --no-browser
    """
    page = shipped_page() if path is None else copied_page(path)
    typer.echo(page)
    if not browser:
        return
    if not webbrowser.open(page.as_uri()):
        say("no browser was found to open; the file above opens in any, on this machine or another")
    elif path is None:
        say("a browser that may not read it there can read a copy: selfextend-viz show first.html")


def shipped_page() -> Path:
    """Where the package's page is; looked up without importing the widgets, which need Jupyter."""
    return Path(str(files("selfextend_viz") / PAGE))


def copied_page(path: Path) -> Path:
    """A copy of the package's page; no other file is ever overwritten.

    Raises
    ------
    OSError
        If it cannot be written there.
    """
    shipped, target = shipped_page(), path.absolute()
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder; give a file name, such as {path / 'first.html'}")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.parent}; make it first")
    if not path.exists():
        unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            shutil.copyfile(shipped, unfinished)
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)
    elif path.read_bytes() != shipped.read_bytes():
        raise FileExistsError(f"{path} holds something else, and nothing is overwritten; choose another name")
    return target
