"""Write the picture that opens without a kernel: ``python -m selfextend_viz.widgets.first_picture [--html-only]``.

Run it after the demo model's weights change, and with ``--html-only`` after a script, a style sheet or a word of the
page changes: that rebuilds ``show.html`` from the answers in ``grid.json``. Both are shipped; `selfextend-viz show`
opens the page.
"""

from __future__ import annotations

import argparse
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any

from selfextend_viz.plots import map_state
from selfextend_viz.positions import Method, PlainRoPE, pair_positions
from selfextend_viz.widgets.answer_grid import GRID, AnswerGrid, asked_grid
from selfextend_viz.widgets.instant_explorers import NUMBERS
from selfextend_viz.widgets.lab import inference_mode
from selfextend_viz.widgets.page import WORDS, Page, PageControl, PageView, frame_keys, write_page
from selfextend_viz.widgets.page_frames import LABELS, numbers_of
from selfextend_viz.widgets.results import Setting
from selfextend_viz.widgets.strip_state import State, happened_words, right
from selfextend_viz.widgets.strip_view import HEIGHT
from selfextend_viz.widgets.work import LabWork, Subject

SHOW = "stored/show.html"
LIMIT = 3_000_000
TOO_FEW = 2
"""With so few exact neighbors this model seldom reads the digits in their order; with 16 it does."""
DEPTHS = (10, 50, 90)
CONTROLS = (
    PageControl("length", LABELS["length"], (256, 640, 1280, 2560), 1280),
    PageControl("group_size", LABELS["group_size"], (1, 2, 4, 8, 16, 32), 8),
    PageControl("neighbor_window", LABELS["neighbor_window"], (TOO_FEW, 16, 80, 160), 80),
    PageControl("depth", "where the key stands, % of the text", DEPTHS, 50),
)
"""N from inside L to eight times L; settings that break, that mend, and that break again."""
MASS_DECIMALS = 3
"""The page says shares of attention in tenths of a percent; the grid keeps more."""
TITLE = "Why a language model breaks past its trained length, and how Self-Extend mends it"
INTRO = (
    "A number is hidden in a text and asked for at its end. The model is small and real, and was trained on at most "
    "L = {limit:,} tokens; these are its answers. Self-Extend changes no weight: far tokens share positions in groups "
    "of G, the nearest wₙ stay exact. Try G = 1, the stock model; raise G; raise N."
)
MAP_HEIGHT = 360


def first_page(grid: AnswerGrid) -> Page:
    """The page of a grid: the strip, and under it the position map."""
    keys = list(frame_keys(CONTROLS))
    layer, head = grid.strips[keys[0][0]]["head"]
    views = (
        PageView("strip", f"What the model answers, and where layer {layer}, head {head} looks", "strip", HEIGHT),
        PageView("map", "The distances it is told", "map", MAP_HEIGHT),
    )
    frames = {key: frame(grid, values, grid.strips[key]) for key, values in keys}
    return Page(TITLE, INTRO.format(limit=grid.context_length), CONTROLS, frames, views)


def frame(grid: AnswerGrid, values: dict[str, Any], strip: State) -> dict[str, Any]:
    """Both pictures at one setting, and what they show in words; the map points at the answer and the key."""
    length, group_size, window = numbers_of(values, *NUMBERS)
    setting = Setting(length, group_size, window, grid.context_length)
    query, key = length - 1, strip["needle"][0]
    pointed = map_state(setting.method, length, context_length=grid.context_length, row=query, column=key)
    where = f"The key {strip['answer']} stands {length - key:,} tokens before the end of {length:,}."
    said = f"{where} <b>{happened_words(strip)}</b> {why_words(setting, strip)}"
    return {"strip": page_strip(strip), "map": pointed, WORDS: {"strip": said, "map": map_words(setting, query, key)}}


def page_strip(strip: State) -> State:
    """The strip as the page keeps it: short numbers, and how far the key moves at a time."""
    first, last = strip["needle_range"]
    step = (last - first) * (DEPTHS[1] - DEPTHS[0]) // 100
    rows = [{**row, "arcs": [page_arc(arc, strip["needle"]) for arc in row["arcs"]]} for row in strip["rows"]]
    return {**strip, "rows": rows, "needle_step": step}


def page_arc(arc: State, needle: list[int]) -> State:
    """An arc with its share as exact as it can be seen; the key's is said in words, and stays as it is."""
    on_key = [arc["start"], arc["stop"]] == needle
    return arc if on_key else {**arc, "mass": round(arc["mass"], MASS_DECIMALS)}


def map_words(setting: Setting, query: int, key: int) -> str:
    """The pair of the answer and the key, as both methods tell it."""
    told = partial(told_words, query=query, key=key, limit=setting.context_length)
    return (
        f"At the ring the answer (token {query:,}) sees the key (token {key:,}): "
        f"<b>plain RoPE</b> {told(PlainRoPE())}; <b>{setting.method}</b> {told(setting.method)}."
    )


def told_words(method: Method, *, query: int, key: int, limit: int) -> str:
    """How far away a method says that a pair is."""
    told = pair_positions(method, query, key).item()
    return f"says {told:,} away, {'trained' if told < limit else 'never trained'}"


def why_words(setting: Setting, strip: State) -> str:
    """Why Self-Extend's row came out as it did, as far as the formula says."""
    words = inside_words if setting.length <= setting.context_length else beyond_words
    return words(setting, found=right(strip["rows"][1]))


def inside_words(setting: Setting, *, found: bool) -> str:
    """A text that the stock model can read."""
    shorter = f"The text is shorter than L = {setting.context_length:,}"
    if setting.group_size == 1:
        return f"{shorter}, so every distance was trained; with G = 1 Self-Extend changes nothing."
    if found:
        return f"{shorter}: stock needs no help, and Self-Extend does no harm."
    return f"{shorter}, but {few_words(setting)}."


def beyond_words(setting: Setting, *, found: bool) -> str:
    """A text that the stock model cannot read."""
    length, limit, reach = setting.length, setting.context_length, setting.method.capacity(setting.context_length)
    if setting.group_size == 1:
        return "G = 1 is the stock model: far tokens stand at distances that training never showed."
    if length > reach:
        short = f"This setting reaches {reach:,} of the {length:,} tokens: the first are told L or more away"
        few = f", and {few_words(setting)}" if setting.neighbor_window == TOO_FEW else ""
        return f"{short}, but the key stands nearer." if found else f"{short}{few}."
    farthest = pair_positions(setting.method, length - 1, 0).item()
    if found:
        return f"The farthest token is told {farthest:,} away, less than L = {limit:,}: the same weights find the key."
    if setting.neighbor_window == TOO_FEW:
        return f"The farthest token is told {farthest:,} away, less than L = {limit:,}, but {few_words(setting)}."
    return f"The farthest token is told {farthest:,} away, just below L = {limit:,}, which training showed least."


def few_words(setting: Setting) -> str:
    """What is wrong with a small window."""
    return f"only the nearest {setting.neighbor_window} stay exact, too few to read digits by"


def build(home: Path, *, ask: bool) -> None:
    """Write the page into a folder like that of the widgets, from the answers there, or from those asked now."""
    if ask:
        with inference_mode():
            grid = asked_grid(LabWork(Subject()), CONTROLS)
        (home / GRID).write_text(grid.to_json(), encoding="utf-8", newline="\n")
    grid = AnswerGrid.from_json((home / GRID).read_text(encoding="utf-8"))
    write_page(home / SHOW, first_page(grid), limit=LIMIT)


def main(arguments: list[str] | None = None) -> None:
    """Write what the package ships."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--html-only", action="store_true", help="keep the answers that are in grid.json")
    asked = parser.parse_args(arguments)
    build(Path(str(files("selfextend_viz.widgets"))), ask=not asked.html_only)


if __name__ == "__main__":
    main()
