"""The lab's look: one style sheet on JupyterLab's own colours, and a small script that keeps figures in shape."""

from __future__ import annotations

from html import escape
from importlib.resources import files

import anywidget
import ipywidgets
import traitlets

WEB = files("selfextend_viz.widgets") / "web"
"""Where the scripts and style sheets are, one idea a file."""
PLOTLY = files("plotly").joinpath("package_data", "widgetbundle.js")
TAGS = ("b", "i", "sub", "sup")


def script(*names: str) -> str:
    """Files of `WEB` joined into one module: a widget's script may import no file beside it.

    Only the last one exports; those before it give it functions.
    """
    return "\n".join(WEB.joinpath(name).read_text(encoding="utf-8") for name in names)


def style() -> str:
    """All style sheets as one."""
    sheets = sorted(sheet.name for sheet in WEB.iterdir() if sheet.name.endswith(".css"))
    return script(*sheets)


class Companion(anywidget.AnyWidget):
    """Loads plotly once for all figures, fits them to their cards, and labels figures and sliders; takes no room.

    Every plotly `FigureWidget` brings its own 5 MB copy of plotly, and five of them can take a slow machine longer than
    the 2 s that anywidget allows. JupyterLab tells a figure neither its first width nor that a side bar moved.
    """

    _esm = script("tools.js", "companion.js")
    _plotly = traitlets.Unicode(PLOTLY.read_text(encoding="utf-8")).tag(sync=True)
    _css = style()


def companion() -> Companion:
    """The script and the style sheet, as a widget without extent."""
    return Companion(layout=ipywidgets.Layout(height="0", margin="0", overflow="hidden"))


def card_head(name: str, stamp: str) -> str:
    """A panel's name, with the stamp that says whose results it shows."""
    return f'<div class="sv-head"><span class="sv-name">{escape(name)}</span>{chip(stamp)}</div>'


def chip(stamp: str) -> str:
    """A small label; its first word ("live", "stored", "stale") picks the look."""
    kind = stamp.partition(" ")[0].strip(":")
    return f'<span class="sv-stamp sv-{escape(kind)}">{escape(stamp)}</span>' if stamp else ""


def sentence(text: str) -> str:
    """A panel's sentence; emphasis is kept, line breaks become spaces, all else is escaped."""
    safe = escape(text, quote=False).replace("&lt;br&gt;", " ")
    for tag in TAGS:
        safe = safe.replace(f"&lt;{tag}&gt;", f"<{tag}>").replace(f"&lt;/{tag}&gt;", f"</{tag}>")
    return f'<div class="sv-say">{capitalized(safe)}</div>'


def capitalized(text: str) -> str:
    """`text` with a capital first letter."""
    return text[:1].upper() + text[1:]
