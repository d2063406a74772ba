"""A page without a kernel: one HTML file whose sliders choose among pictures that were computed before."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape
from itertools import product
from pathlib import Path
from typing import Any

from selfextend_viz.widgets.look import script, sentence, style
from selfextend_viz.widgets.map_view import MAP_SCRIPTS
from selfextend_viz.widgets.pool import Pool
from selfextend_viz.widgets.strip_view import STRIP_SCRIPTS

LIMIT = 6_000_000
"""Bytes; a larger page is refused."""
DRAWN_BY: dict[str, tuple[str, tuple[str, ...]]] = {
    "map": ("mapView", MAP_SCRIPTS),
    "strip": ("stripView", STRIP_SCRIPTS),
}
"""The function that draws each kind of view, and the scripts that define it; plotly is drawn by itself."""
PLOTLY = "plotly"
KINDS = (PLOTLY, *DRAWN_BY)
WORDS = "words"
POLICY = (
    "default-src 'none'; script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
    "worker-src blob:"
)
"""The browser itself refuses what the page might ask of a network."""

Stop = int | str


@dataclass(frozen=True)
class PageControl:
    """A slider over the stops, or a menu where the stops are words.

    Attributes
    ----------
    name
        How views refer to it.
    label
        What stands beside it.
    values
        Its stops.
    value
        The stop it opens on.
    """

    name: str
    label: str
    values: tuple[Stop, ...]
    value: Stop

    def __post_init__(self) -> None:
        if not self.values:
            raise ValueError(f"control {self.name!r} has 0 stops; give at least one")
        if len(set(self.values)) != len(self.values):
            raise ValueError(f"control {self.name!r} has a stop twice among {list(self.values)}; give each once")
        if self.value not in self.values:
            raise ValueError(f"control {self.name!r} opens on {self.value!r}, which is none of {list(self.values)}")


@dataclass(frozen=True)
class PageView:
    """A picture of the page.

    Attributes
    ----------
    name
        Its key in every frame.
    title
        Its heading.
    kind
        ``"plotly"`` (states are figures as JSON), ``"map"`` or ``"strip"``.
    height
        In pixels.
    depends
        Names of the controls that move it; all where left out. Its states are stored once for each of their stops.
    """

    name: str
    title: str
    kind: str
    height: int
    depends: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind {self.kind!r} of view {self.name!r}; choose one of {', '.join(KINDS)}")


@dataclass(frozen=True)
class Page:
    """What stands on a page.

    Attributes
    ----------
    title, intro
        The heading, and a sentence or two under it.
    controls
        The sliders, in order.
    frames
        By `frame_key` of the controls' stops: ``{view name: state, "words": {view name: sentence}}``.
    views
        The pictures, in order.
    """

    title: str
    intro: str
    controls: tuple[PageControl, ...]
    frames: dict[str, Any] = field(repr=False)
    views: tuple[PageView, ...]

    def __post_init__(self) -> None:
        names = [control.name for control in self.controls]
        for view in self.views:
            for name in view.depends or ():
                if name not in names:
                    raise ValueError(f"view {view.name!r} depends on {name!r}, which is no control; there are {names}")
        for key, _ in frame_keys(self.controls):
            missing = [view.name for view in self.views if view.name not in self.frames.get(key, {})]
            if missing:
                raise ValueError(f"frame {key!r} has no state for {', '.join(missing)}; every combination needs one")


def frame_key(*stops: int) -> str:
    """The key of a frame: the numbers of the controls' stops, counted from 0."""
    return "|".join(str(stop) for stop in stops)


def frame_keys(controls: tuple[PageControl, ...]) -> Iterator[tuple[str, dict[str, Stop]]]:
    """The keys of all frames, each with the values that its controls have there."""
    for stops in product(*(range(len(control.values)) for control in controls)):
        yield (
            frame_key(*stops),
            {control.name: control.values[stop] for control, stop in zip(controls, stops, strict=True)},
        )


def write_page(path: str | os.PathLike[str], page: Page, *, limit: int = LIMIT) -> Path:
    """Write a page as one file that needs no kernel and no network.

    Parameters
    ----------
    path
        Where to; a file there is replaced once the new one is whole.
    page
        What stands on it.
    limit
        The largest size, in bytes.

    Returns
    -------
    Path
        Where it is.

    Raises
    ------
    ValueError
        If the page is larger than `limit`, or a view's state changes with a control it does not depend on.
    """
    target = Path(path)
    content = page_html(page).encode("utf-8")
    if len(content) > limit:
        stops = ", ".join(f"{len(control.values)} of {control.name}" for control in page.controls)
        raise ValueError(
            f"the page has {len(content):,} bytes, more than the {limit:,} allowed; "
            f"give fewer stops (there are {stops})"
        )
    unfinished = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        unfinished.write_bytes(content)
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)
    return target


def page_html(page: Page) -> str:
    """The page as HTML text."""
    kinds = {view.kind for view in page.views}
    drawing = "".join(in_own_scope(*DRAWN_BY[kind]) for kind in DRAWN_BY if kind in kinds)
    data = page_data(page).replace("<", "\\u003c")
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(page.title)}</title>\n<style>\n{style()}\n</style>\n"
        f"{plotly_script() if PLOTLY in kinds else ''}</head>\n"
        f'<body class="sv-page">\n<main class="sv-lab">\n<h1>{escape(page.title)}</h1>\n'
        f'<p class="sv-intro">{escape(page.intro)}</p>\n'
        '<form class="sv-controls" aria-label="settings"></form>\n<div class="sv-views"></div>\n'
        "<noscript>The sliders of this page need JavaScript.</noscript>\n"
        '<p class="sv-foot">Computed beforehand by selfextend_viz. The sliders work without a kernel and offline.</p>\n'
        f'</main>\n<script type="application/json" id="sv-data">{data}</script>\n'
        f'<script type="module">\n{drawing}{script("page.js")}\n</script>\n</body>\n</html>\n'
    )


def in_own_scope(name: str, files: tuple[str, ...]) -> str:
    """Scripts that leave one function behind, so that those of other views may use the same names."""
    return f"const {name} = (() => {{\n{script(*files)}\nreturn {name};\n}})();\n"


def page_data(page: Page) -> str:
    """What the page's script reads: controls, views with their states, and the parts that states share."""
    pool = Pool()
    views = [view_data(page, view, pool) for view in page.views]
    controls = [
        {
            "name": control.name,
            "label": control.label,
            "values": list(control.values),
            "stop": control.values.index(control.value),
        }
        for control in page.controls
    ]
    return f'{{"controls":{json.dumps(controls)},"views":[{",".join(views)}],"pool":{pool.items()}}}'


def view_data(page: Page, view: PageView, pool: Pool) -> str:
    """One view as JSON text, with a state and a sentence for each combination of the stops it depends on."""
    wanted = [place for place, control in enumerate(page.controls) if moves(view, control)]
    states: dict[str, str] = {}
    known: dict[tuple[int, str], str] = {}
    for key, _ in frame_keys(page.controls):
        stops = key.split("|")
        part = "|".join(stops[place] for place in wanted)
        frame = page.frames[key]
        said = frame.get(WORDS, {}).get(view.name, "")
        same = (id(frame[view.name]), said)  # one state given in many frames is written once
        state = known.get(same) or f"[{pool.text(frame[view.name])},{json.dumps(sentence(said) if said else '')}]"
        known[same] = state
        if states.setdefault(part, state) != state:
            raise ValueError(f"view {view.name!r} changes with controls it does not depend on, at frame {key!r}")
    head = json.dumps({"title": view.title, "kind": view.kind, "height": view.height, "controls": wanted})
    frames = ",".join(f"{json.dumps(part)}:{state}" for part, state in states.items())
    return f'{head[:-1]},"frames":{{{frames}}}}}'


def moves(view: PageView, control: PageControl) -> bool:
    """Whether a control changes a view."""
    return view.depends is None or control.name in view.depends


def plotly_script() -> str:
    """Plotly itself, for pages that have plotly figures."""
    from plotly.offline import get_plotlyjs

    return f"<script>\n{get_plotlyjs()}\n</script>\n"
