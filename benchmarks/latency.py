"""Time the lab in a real browser: from a key press on a slider to the picture having been painted.

    python benchmarks/latency.py --json benchmarks/results/latency.json

JupyterLab runs in a headless Chromium, without a GPU. A picture counts as painted two animation frames after it was
last drawn. The worker is idle before each key press, but where the row says that it is busy; what the step itself
sets going runs meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from selfextend_viz.bench.environment import device_name

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the server and the page are those of the browser tests

from jupyter_browser import (  # noqa: E402
    FLAGS,
    HOME,
    Jupyter,
    await_kernel,
    browser,
    browser_page,
    chromium,
    free_port,
    jupyter_server,
)
from lab_page import LabPage, open_lab  # noqa: E402

PACKAGES = ("torch", "jupyterlab", "ipywidgets", "anywidget", "plotly", "playwright")
DRAWINGS = {
    "position map": (".sv-lab .sv-map", "sv-map-drawn"),
    "reach": (".sv-lab .sv-card:nth-child(2) .js-plotly-plot", "plotly_relayout"),
}
"""Where each instant panel draws, and what it fires once it has."""
QUIET = 700
"""Milliseconds without a drawing, after which a step is over."""

POLL = 100
"""Milliseconds between two looks of the script; a look with every frame would make frames."""

WATCH_TASKS = """
window.svTasks = [];
new PerformanceObserver((list) => window.svTasks.push(...list.getEntries())).observe({ type: 'longtask' });
"""
LONGEST_TASK = "() => Math.max(0, ...window.svTasks.splice(0).map((task) => task.duration))"
OPEN_UNWATCHED = """([delay, span]) => {
    setTimeout(() => {
        window.svTasks = [];
        window.jupyterapp.commands.execute('notebook:run-all-cells');
        setTimeout(() => (window.svLongest = Math.max(0, ...window.svTasks.map((task) => task.duration))), span);
    }, delay);
}"""
ALONE = 3000
"""Milliseconds that the debugger has to leave a page before the page runs its cells."""
OPENING = 40_000
"""Milliseconds in which the lab opens and asks the model everything."""
OPENINGS = 3

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
        if (step.start === null || label()[1] === before) return;
        for (const [name, holds] of Object.entries(tests)) {
            if (name in step.seen || !holds()) continue;
            step.seen[name] = null;
            requestAnimationFrame(() => requestAnimationFrame(() => {
                step.seen[name] = performance.now() - step.start;
            }));
        }
        if (Object.keys(step.seen).length === Object.keys(tests).length) watch.disconnect();
    };
    const watch = new MutationObserver(look);
    const what = { subtree: true, childList: true, characterData: true, attributeFilter: ['class'] };
    watch.observe(document.querySelector('.sv-lab'), what);
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
        painted = lab.page.wait_for_function(
            PAINTED, arg=[list(DRAWINGS), QUIET], polling=POLL, timeout=20_000
        ).json_value()
        for name, value in painted.items():
            seconds[name].append(value)
    return seconds


def answer_steps(lab: LabPage, *, length: int, group_size: int, steps: int, busy: bool) -> dict[str, list[float]]:
    """Milliseconds of each step of the w_n slider to a setting not asked before, until the model's answers show.

    The worker rests before each step, or is busy with the grid of a step before; the slider has stops enough for half
    as many of those.
    """
    lab.ask(f"app.state.set(length={length}, group_size={group_size}, neighbor_window=96)")
    names = ("strip", "first pass-key cell")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    lab.page.wait_for_timeout(8000)  # stock's answers at this length are remembered from here on
    for _ in range(steps // 2 if busy else steps):
        rest(lab)
        if busy:
            lab.press("neighbor_window", "ArrowLeft")
            lab.page.wait_for_timeout(1500)
        lab.handle("neighbor_window").focus()
        lab.page.evaluate(ARM_ANSWERS)
        assert lab.ask("app.worker.report.busy") == busy
        lab.page.keyboard.press("ArrowLeft")
        seen = lab.page.wait_for_function(ANSWERED, polling=POLL, timeout=60_000).json_value()
        for name in names:
            seconds[name].append(seen[name])
    return {f"{name}, worker busy" if busy else name: values for name, values in seconds.items()}


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


@contextmanager
def own_chromium(home: Path) -> Iterator[str]:
    """A Chromium that a debugger may leave and come back to; yields its address."""
    port = free_port()
    command = [chromium(), *FLAGS, f"--remote-debugging-port={port}", f"--user-data-dir={home}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            yield f"http://{HOME}:{port}"
        finally:
            process.terminate()


def opening_task(server: Jupyter, notebook: str, home: Path) -> float:
    """The longest main-thread task while a notebook runs and its lab fills, as its user has it: with no debugger.

    An attached one makes Chromium keep the source position of each function, which doubles the time that plotly's
    module takes.
    """
    kind = browser().browser_type
    with own_chromium(home) as address:
        time.sleep(2)
        attached = kind.connect_over_cdp(address)
        page = attached.contexts[0].pages[0]
        page.add_init_script(WATCH_TASKS)
        await_kernel(page, server.address(notebook))
        page.evaluate(OPEN_UNWATCHED, [ALONE, OPENING])
        attached.close()
        time.sleep((ALONE + OPENING) / 1000 + 3)
        page = kind.connect_over_cdp(address).contexts[0].pages[0]
        lab = LabPage(page)
        assert set(lab.stamps().values()) == {"live"}, lab.stamps()
        longest: float = page.evaluate("window.svLongest")
    server.end_kernel(notebook)
    return longest


def measure(options: argparse.Namespace, home: Path) -> dict[str, Any]:
    """Open the lab and take all steps."""
    folder = shutil.copytree(ROOT / "notebooks", home / "notebooks")
    with jupyter_server(folder, home) as server:
        openings = [opening_task(server, "00_lab.ipynb", home / f"chromium-{number}") for number in range(OPENINGS)]
        tasks = {"opening notebooks/00_lab.ipynb": max(openings)}
        with browser_page() as page:
            page.add_init_script(WATCH_TASKS)
            lab = open_lab(page, server)
            lab.settle()
            page.evaluate(LONGEST_TASK)
            instant = instant_steps(lab, length=options.instant_length, steps=options.steps)
            tasks["steps of the instant panels"] = page.evaluate(LONGEST_TASK)
            answers = {}
            for busy, group_size in ((False, 16), (True, 8)):
                numbers = {"length": options.answer_length, "group_size": group_size}
                answers |= answer_steps(lab, **numbers, steps=options.answer_steps, busy=busy)
            tasks["steps of the model panels"] = page.evaluate(LONGEST_TASK)
            threads = lab.ask("__import__('torch').get_num_threads()")
    rows = [row(name, options.instant_length, values) for name, values in instant.items()]
    rows += [row(name, options.answer_length, values) for name, values in answers.items()]
    return {"threads": threads, "rows": rows, "longest_main_thread_task_ms": tasks, "openings_ms": openings}


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
