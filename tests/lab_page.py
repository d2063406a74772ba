"""The lab on a browser's page: read its figures, move its sliders, and ask the kernel behind it."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Callable
from typing import Any

from jupyter_browser import Jupyter, run_all
from plotly.utils import PlotlyJSONEncoder

from selfextend_viz.plots.map_bands import drawn_tokens
from selfextend_viz.positions import Method, pair_positions
from selfextend_viz.widgets.instant_panels import MAX_CELLS

START = {"length": 512, "group_size": 4, "neighbor_window": 80}
"""Where tests find the lab."""

NUMBERS = ("name", "x", "y", "z")
"""What is compared of a trace."""

ASK_KERNEL = """async (expression) => {
    const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
    const asked = kernel.requestExecute({
        code: '', store_history: false, silent: false, user_expressions: { value: expression },
    });
    const answer = (await asked.done).content.user_expressions.value;
    if (answer.status !== 'ok') throw new Error(`${expression}: ${answer.ename}: ${answer.evalue}`);
    return answer.data['text/plain'];
}"""

SHAPES = """(plot) => {
    const { shapes = [], xaxis, yaxis } = plot._fullLayout ?? {};
    return shapes.filter((shape) => shape.visible).map((shape) => {
        const drawn = plot.querySelector(`.shapelayer .shape-group[data-index="${shape._index}"]`);
        const box = drawn.querySelector('path').getBBox();
        return {
            name: shape.name, xanchor: shape.xanchor, yanchor: shape.yanchor,
            text: drawn.querySelector('text')?.textContent ?? '',
            right: box.x + box.width / 2 - xaxis._offset - xaxis.d2p(shape.xanchor),
            up: yaxis._offset + yaxis.d2p(shape.yanchor) - box.y - box.height / 2,
        };
    });
}"""
"""Each visible shape as it is drawn, and how many pixels its middle lies to the right of its anchor and above it."""

FIGURES = """() => {
    const shapesOn = SHAPES;
    const plain = (value) =>
        Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value, plain) : (value ?? null);
    return [...document.querySelectorAll('.sv-card .js-plotly-plot')].map((plot) => ({
        card: plot.closest('.sv-card').querySelector('.sv-name').textContent,
        data: (plot.data ?? []).map((trace) => ({
            name: trace.name, type: trace.type, x: plain(trace.x), y: plain(trace.y), z: plain(trace.z),
            text: plain(trace.text),
        })),
        shapes: shapesOn(plot),
    }));
}""".replace("SHAPES", SHAPES)

CARDS = """(part) => Object.fromEntries([...document.querySelectorAll('.sv-card')].map((card) =>
    [card.querySelector('.sv-name').textContent, card.querySelector(part)?.textContent ?? '']))"""


ERROR = ".jp-Notebook [data-mime-type='application/vnd.jupyter.error']"

DRAWN = """() => [...document.querySelectorAll('.sv-lab .sv-card')].every((card) =>
    card.querySelector('.sv-map, .js-plotly-plot .main-svg'))"""

TOLD = """([query, keys]) => {
    const map = document.querySelector('.sv-lab .sv-map').mapView;
    return keys.map((key) => map.told(1, query, key));
}"""


class LabPage:
    """One lab, whose notebook calls it `app`.

    Parameters
    ----------
    page
        Playwright's page, with the lab on it.
    """

    def __init__(self, page: Any) -> None:
        self.page = page

    def ask(self, expression: str) -> Any:
        """The value of a Python expression in the notebook's kernel."""
        return ast.literal_eval(self.page.evaluate(ASK_KERNEL, expression))

    def put(self, **numbers: int) -> None:
        """Set numbers of the lab's state in the kernel, and wait until the model's answers are all there."""
        self.ask(f"app.state.set(**{numbers!r})")
        self.settle()
        self.page.locator(".sv-lab").evaluate("lab => lab.scrollIntoView()")

    def settle(self, seconds: float = 180) -> None:
        """Wait until the worker rests and every card shows what it found."""
        self.until(lambda: not self.ask("app.worker.report.busy"), seconds)
        assert self.ask("repr(app.worker.error)") == "None"
        self.until(lambda: not any("stale" in stamp for stamp in self.stamps().values()))

    def rest(self, seconds: float = 180) -> None:
        """Wait until the page stands still: no progress is shown and nothing is dimmed as stale."""
        moving = self.page.locator(".sv-lab :is(.sv-progress, .sv-dim)").filter(visible=True)
        self.until(lambda: not moving.count(), seconds)

    def until(self, condition: Callable[[], Any], seconds: float = 30) -> None:
        """Wait for `condition`, looking ten times a second."""
        for _ in range(int(seconds * 10)):
            if condition():
                return
            self.page.wait_for_timeout(100)
        raise AssertionError(f"not so within {seconds} s; the stamps are {self.stamps()}")

    def traces(self, card: str) -> list[Any]:
        """The traces on screen in one card; those of both figures where it has two."""
        return self.drawn(card, "data")

    def shapes(self, card: str) -> list[Any]:
        """The shapes on screen in one card: where each is said to be, and how far from there it is drawn."""
        return self.drawn(card, "shapes")

    def drawn(self, card: str, what: str) -> list[Any]:
        """The traces or the shapes of a card's figures."""
        shown = self.page.evaluate(FIGURES)
        return [one for figure in shown if figure["card"] == card for one in figure[what]]

    def trace(self, card: str, name: str) -> Any:
        """One trace of a card, by its name; None if it is not there."""
        return next((trace for trace in self.traces(card) if trace["name"] == name), None)

    def shows(self, card: str, figure: Any) -> bool:
        """Whether a card shows every trace and every shape of a plain figure, number for number."""
        drawn = [{key: one[key] for key in NUMBERS} for one in self.traces(card)]
        traces = all(any(alike(one, numbers_of(trace)) for one in drawn) for trace in figure.data)
        return traces and self.marks(card, figure)

    def marks(self, card: str, figure: Any) -> bool:
        """Whether a card draws every shape of a plain figure: by its anchor, to the pixel, and with its words."""
        drawn = {one.pop("name"): one for one in self.shapes(card)}
        return all(same_mark(drawn.get(shape.name), shape_of(shape)) for shape in figure.layout.shapes)

    def told(self, query: int, keys: list[int]) -> list[int | None]:
        """What the method's position map draws for a query and some keys; None where it draws nothing."""
        return self.page.evaluate(TOLD, [query, keys])

    def tells(self, method: Method, length: int) -> bool:
        """Whether the position map tells the last query what the library computes."""
        tokens = drawn_tokens(length, MAX_CELLS)
        wanted = pair_positions(method, tokens[-1], tokens)
        return self.told(int(tokens[-1]), tokens.tolist()) == wanted.tolist()

    def stamps(self) -> dict[str, str]:
        """Whose results each card shows."""
        return self.page.evaluate(CARDS, ".sv-stamp")

    def sentences(self) -> dict[str, str]:
        """What each card says."""
        return self.page.evaluate(CARDS, ".sv-say")

    def handle(self, name: str) -> Any:
        """The handle of a slider, as `group_size` or `length`."""
        return self.page.locator(f".sv-slider-{name.replace('_', '-')} .noUi-handle")

    def box(self, name: str) -> Any:
        """The number box of a slider."""
        return self.page.locator(f".sv-box-{name.replace('_', '-')} input")

    def tool(self, name: str) -> Any:
        """A button of the lab, by what it says."""
        return self.page.locator(".sv-lab button").filter(has_text=re.compile(rf"^\s*{name}\s*$"))

    def press(self, name: str, key: str) -> int:
        """Press a key on a slider; returns the number it then stands at."""
        before = self.box(name).input_value()
        self.handle(name).focus()
        self.page.keyboard.press(key)
        self.until(lambda: self.box(name).input_value() != before)
        return int(self.box(name).input_value())

    def drag(self, name: str, share: float | None = None) -> int:
        """Drag a slider's handle to a share of its track, or into its other half; returns the number it stands at."""
        before = self.box(name).input_value()
        track = self.page.locator(f".sv-slider-{name.replace('_', '-')} .noUi-base").bounding_box()
        start = self.handle(name).bounding_box()
        middle = start["x"] + start["width"] / 2
        if share is None:
            share = 0.3 if middle > track["x"] + track["width"] / 2 else 0.7
        self.page.mouse.move(middle, start["y"] + start["height"] / 2)
        self.page.mouse.down()
        self.page.mouse.move(track["x"] + share * track["width"], track["y"] + track["height"] / 2, steps=8)
        self.page.mouse.up()
        self.until(lambda: self.box(name).input_value() != before)
        self.page.wait_for_timeout(500)  # the last of the values passed on the way
        return int(self.box(name).input_value())

    def cell_errors(self) -> int:
        """How many cells of the notebook ended in an error or wrote a warning."""
        kinds = [f"[data-mime-type='application/vnd.jupyter.{kind}']" for kind in ("error", "stderr")]
        return sum(self.page.locator(f".jp-Notebook {kind}").count() for kind in kinds)


def numbers_of(trace: Any) -> dict[str, Any]:
    """The name and the numbers of a plotly trace, as a page has them."""
    held = dict.fromkeys(NUMBERS) | {key: trace[key] for key in NUMBERS if key in trace}
    return json.loads(json.dumps(held, cls=PlotlyJSONEncoder))


def sides_of(shape: Any) -> tuple[tuple[float, float], tuple[float, float]]:
    """Left and right, and bottom and top, of a path in pixels."""
    across, up = zip(*re.findall(r"(-?[\d.]+),(-?[\d.]+)", shape.path), strict=True)
    return (min(map(float, across)), max(map(float, across))), (min(map(float, up)), max(map(float, up)))


def shape_of(shape: Any) -> dict[str, Any]:
    """What `LabPage.shapes` is to find of a shape whose sizes are pixels."""
    across, up = sides_of(shape)
    right, up = sum(across) / 2, sum(up) / 2
    words = re.sub("<.*?>", "", shape.label.text or "")
    return {"xanchor": shape.xanchor, "yanchor": shape.yanchor, "text": words, "right": right, "up": up}


def same_mark(one: dict[str, Any] | None, wanted: dict[str, Any]) -> bool:
    """Whether a shape is drawn as wanted, to the pixel."""
    pixels = ("right", "up")
    return one is not None and all(
        abs(one[key] - wanted[key]) < 1 if key in pixels else alike(one[key], wanted[key]) for key in wanted
    )


def alike(one: Any, other: Any) -> bool:
    """Equality to five digits: an exported page keeps six."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, (int, float)) and isinstance(other, (int, float)):
        return math.isclose(one, other, rel_tol=1e-5, abs_tol=1e-6)
    return bool(one == other)


def open_lab(page: Any, jupyter: Jupyter, notebook: str = "00_lab.ipynb") -> LabPage:
    """Run a notebook on a page, and bring its lab, or its explorer, into view once every card shows a figure."""
    run_all(page, jupyter.address(notebook))
    page.locator(f".sv-lab .sv-card .sv-figure, {ERROR}").first.wait_for(timeout=90_000)
    assert page.locator(ERROR).all_text_contents() == []
    page.wait_for_function(DRAWN, timeout=60_000)
    page.locator(".sv-lab").evaluate("lab => lab.scrollIntoView()")
    return LabPage(page)
