"""Time the lab in a real browser: from a key press on a slider to the picture having been painted.

    python benchmarks/latency.py --json benchmarks/results/latency.json

JupyterLab runs in a headless Chromium, without a GPU. A picture counts as painted two animation frames after it was
last drawn. The worker is idle before every key press; what the step itself sets going runs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from attention import device_name
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the server and the page are those of the browser tests

from jupyter_browser import Jupyter, browser, browser_page, jupyter_server  # noqa: E402
from lab_page import LabPage, open_lab  # noqa: E402

PACKAGES = ("torch", "jupyterlab", "ipywidgets", "anywidget", "plotly", "playwright")
DRAWINGS = {
    "position map": (".sv-lab .sv-map", "sv-map-drawn"),
    "reach": (".sv-lab .sv-card:nth-child(2) .js-plotly-plot", "plotly_afterplot"),
}
"""Where each instant panel draws, and what it fires once it has."""
QUIET = 700
"""Milliseconds without a drawing, after which a step is over."""

WATCH_TASKS = """
window.svTasks = [];
new PerformanceObserver((list) => window.svTasks.push(...list.getEntries())).observe({ type: 'longtask' });
"""
LONGEST_TASK = """() => {
    const [{ startTime: since }] = performance.getEntriesByName('run all');
    const tasks = window.svTasks.splice(0).filter((task) => task.startTime > since);
    return Math.max(0, ...tasks.map((task) => task.duration));
}"""

ARM = """(drawings) => {
    const step = (window.svStep = { start: null, painted: {}, last: performance.now() });
    document.addEventListener('keydown', (event) => (step.start = event.timeStamp), { capture: true, once: true });
    const twoFrames = (then) => requestAnimationFrame(() => requestAnimationFrame(then));
    step.undo = Object.entries(drawings).map(([name, [place, kind]]) => {
        const node = document.querySelector(place);
        const drawn = () => {
            step.last = performance.now();
            twoFrames(() => (step.painted[name] = performance.now() - step.start));
        };
        const plotly = kind.startsWith('plotly');
        plotly ? node.on(kind, drawn) : node.addEventListener(kind, drawn);
        return () => (plotly ? node.removeListener(kind, drawn) : node.removeEventListener(kind, drawn));
    });
}"""
PAINTED = """([names, quiet]) => {
    const step = window.svStep;
    if (names.some((name) => !(name in step.painted)) || performance.now() - step.last < quiet) return null;
    step.undo.forEach((undo) => undo());
    return step.painted;
}"""

ARM_ANSWERS = """() => {
    const step = (window.svStep = { start: null, seen: {} });
    document.addEventListener('keydown', (event) => (step.start = event.timeStamp), { capture: true, once: true });
    const label = () => {
        const [size, window] = ['group-size', 'neighbor-window']
            .map((name) => document.querySelector(`.sv-box-${name} input`).value);
        return [`G=${size}, w_n=${window}`, window];
    };
    const before = label()[1];
    const tests = {
        strip() {
            const said = document.querySelectorAll('.sv-strip-digits.sv-strip-row-1:not(.sv-strip-old) .sv-strip-said');
            const note = document.querySelector('.sv-strip-who.sv-strip-row-1 .sv-strip-note').textContent;
            return said.length > 0 && note === label()[0] && !document.querySelector('.sv-strip-drawn.sv-dim');
        },
        'first pass-key cell'() {
            return [...document.querySelectorAll('.sv-lab .js-plotly-plot')].some((plot) => plot.data.some((trace) =>
                trace.name === `SelfExtend(${label()[0]})` && Array.from(trace.z ?? []).some((row) =>
                    Array.from(row).some((value) => value !== null && value !== undefined))));
        },
    };
    const look = () => {
        if (step.start !== null && label()[1] !== before) {
            for (const [name, holds] of Object.entries(tests)) {
                if (name in step.seen || !holds()) continue;
                step.seen[name] = null;
                requestAnimationFrame(() => requestAnimationFrame(() => {
                    step.seen[name] = performance.now() - step.start;
                }));
            }
        }
        const times = Object.values(step.seen);
        if (times.length < 2 || times.includes(null)) requestAnimationFrame(look);
    };
    look();
}"""
ANSWERED = """() => {
    const times = Object.values(window.svStep.seen);
    return times.length === 2 && !times.includes(null) ? window.svStep.seen : null;
}"""


def rest(lab: LabPage) -> None:
    """Stop the worker, and wait until nothing moves."""
    lab.page.wait_for_timeout(600)
    lab.ask("app.worker.stop()")
    lab.until(lambda: not lab.ask("app.worker.report.busy"))
    lab.ask("app.worker.wait(30)")
    lab.page.wait_for_timeout(400)


def instant_steps(lab: LabPage, *, length: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds of each step of the G slider, for both instant panels."""
    lab.put(length=length, group_size=8, neighbor_window=80)
    seconds: dict[str, list[float]] = {name: [] for name in DRAWINGS}
    for number in range(steps):
        rest(lab)
        lab.handle("group_size").focus()
        lab.page.evaluate(ARM, DRAWINGS)
        lab.page.keyboard.press("ArrowRight" if number % 2 else "ArrowLeft")
        painted = lab.page.wait_for_function(PAINTED, arg=[list(DRAWINGS), QUIET], timeout=20_000).json_value()
        for name, value in painted.items():
            seconds[name].append(value)
    return seconds


def answer_steps(lab: LabPage, *, length: int, steps: int) -> dict[str, list[float]]:
    """Milliseconds of each step of the w_n slider to a setting not asked before, until the model's answers show."""
    lab.ask(f"app.state.set(length={length}, group_size=16, neighbor_window=96)")
    seconds: dict[str, list[float]] = {"strip": [], "first pass-key cell": []}
    lab.page.wait_for_timeout(8000)  # stock's answers at this length are remembered from here on
    for _ in range(steps):
        rest(lab)
        lab.handle("neighbor_window").focus()
        lab.page.evaluate(ARM_ANSWERS)
        lab.page.keyboard.press("ArrowLeft")
        seen = lab.page.wait_for_function(ANSWERED, timeout=60_000).json_value()
        for name, value in seen.items():
            seconds[name].append(value)
    return seconds


def row(name: str, length: int, milliseconds: list[float]) -> dict[str, Any]:
    """One row of the report."""
    return {
        "what": name,
        "length": length,
        "steps": len(milliseconds),
        "median_ms": round(median(milliseconds), 1),
        "worst_ms": round(max(milliseconds), 1),
        "all_ms": [round(value, 1) for value in milliseconds],
    }


def opening_task(server: Jupyter, notebook: str) -> float:
    """The longest main-thread task between running a notebook's cells and all results being there."""
    with browser_page() as page:
        page.add_init_script(WATCH_TASKS)
        open_lab(page, server, notebook).settle()
        longest: float = page.evaluate(LONGEST_TASK)
    server.end_kernel(notebook)
    return longest


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Open the lab and take all steps."""
    folder = shutil.copytree(ROOT / "notebooks", home / "notebooks")
    with jupyter_server(folder, home) as server:
        alone = server.write("lab.ipynb", "from selfextend_viz import lab", "app = lab()\napp")
        tasks = {
            "opening the lab": opening_task(server, alone),
            "opening notebooks/00_lab.ipynb, which ends on a snapshot": opening_task(server, "00_lab.ipynb"),
        }
        with browser_page() as page:
            page.add_init_script(WATCH_TASKS)
            lab = open_lab(page, server, alone)
            lab.settle()
            page.evaluate(LONGEST_TASK)
            instant = instant_steps(lab, length=options.instant_length, steps=options.steps)
            tasks["steps of the instant panels"] = page.evaluate(LONGEST_TASK)
            answers = answer_steps(lab, length=options.answer_length, steps=options.answer_steps)
            tasks["steps of the model panels"] = page.evaluate(LONGEST_TASK)
            threads = lab.ask("__import__('torch').get_num_threads()")
    rows = [row(name, options.instant_length, values) for name, values in instant.items()]
    rows += [row(name, options.answer_length, values) for name, values in answers.items()]
    return {"threads": threads, "rows": rows, "longest_main_thread_task_ms": tasks}


def report(measured: dict[str, Any]) -> dict[str, Any]:
    """Everything needed to judge the figures."""
    return {
        "command": "python benchmarks/latency.py --json benchmarks/results/latency.json",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": device_name("cpu"),
        "python": platform.python_version(),
        "browser": f"Chromium {browser().version}, headless, without a GPU",
        **{package: version(package) for package in PACKAGES},
        **measured,
    }


def as_table(rows: list[dict[str, Any]]) -> Table:
    """The figures, to look at."""
    table = Table("what", "N", "steps", "median, ms", "worst, ms")
    for one in rows:
        table.add_row(*(str(one[key]) for key in ("what", "length", "steps", "median_ms", "worst_ms")))
    return table


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instant-length", type=int, default=256, help="N for the instant panels")
    parser.add_argument("--answer-length", type=int, default=1024, help="N for the model's answers")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--answer-steps", type=int, default=11)
    parser.add_argument("--threads", type=int, default=2, help="threads of the model")
    parser.add_argument("--json", type=Path, default=None, help="where to write the report")
    return parser.parse_args()


def main() -> None:
    """Measure, write, show."""
    options = parse()
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    with tempfile.TemporaryDirectory() as home:
        found = report(measure(options, Path(home)))
    if options.json is not None:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    console = Console()
    console.print(as_table(found["rows"]))
    console.print("longest main-thread task, ms:", found["longest_main_thread_task_ms"])


if __name__ == "__main__":
    main()
