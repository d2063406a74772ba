"""JupyterLab in a headless Chromium, for browser tests: a server of its own, and a page that reads figures."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
VIEWPORT = {"width": 1440, "height": 900}


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome, if any."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def jupyter_server(folder: Path, home: Path, *, dark: bool = False) -> Iterator[str]:
    """A JupyterLab on `folder` with its own settings under `home`; yields its address, token included."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    theme = "JupyterLab Dark" if dark else "JupyterLab Light"
    (settings / "themes.jupyterlab-settings").write_text(json.dumps({"theme": theme}))
    port, token = free_port(), secrets.token_hex(16)
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "JUPYTERLAB_SETTINGS_DIR": str(home / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces"),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_server(f"http://127.0.0.1:{port}/api/status?token={token}", server)
            yield f"http://127.0.0.1:{port}/lab/tree/{{notebook}}?token={token}"
        finally:
            server.terminate()
            try:
                server.wait(15)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait(5)


def wait_for_server(address: str, server: subprocess.Popen, seconds: float = 60) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise RuntimeError(f"jupyter lab ended at once with code {server.returncode}")
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"jupyter lab did not answer within {seconds} s")


@contextmanager
def browser_page(profile: Path, viewport: dict[str, int] | None = None) -> Iterator[Any]:
    """A page of a fresh Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            str(profile), executable_path=chromium(), args=FLAGS, viewport=viewport or VIEWPORT
        )
        try:
            yield context.pages[0] if context.pages else context.new_page()
        finally:
            context.close()


def run_all(page: Any, address: str) -> None:
    """Open a notebook, wait for its kernel, and run all its cells."""
    page.goto(address)
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.wait_for_function(
        """() => { const panel = window.jupyterapp.shell.currentWidget;
        const kernel = panel?.sessionContext?.session?.kernel; return kernel?.status === 'idle'; }""",
        timeout=90_000,
    )
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")


FIGURES = """() => {
    const plain = (value) =>
        Array.isArray(value) || ArrayBuffer.isView(value) ? Array.from(value, plain) : (value ?? null);
    return [...document.querySelectorAll('.sv-card .js-plotly-plot')].map((plot) => ({
        card: plot.closest('.sv-card').querySelector('.sv-name').textContent,
        data: (plot.data ?? []).map((trace) => ({
            name: trace.name, type: trace.type, x: plain(trace.x), y: plain(trace.y), z: plain(trace.z),
            text: plain(trace.text),
        })),
    }));
}"""


def figures(page: Any) -> dict[str, list[Any]]:
    """The traces on screen, by card; a card with two figures has the traces of both."""
    found: dict[str, list[Any]] = {}
    for figure in page.evaluate(FIGURES):
        found.setdefault(figure["card"], []).extend(figure["data"])
    return found


def stamps(page: Any) -> dict[str, str]:
    """The stamp of each card."""
    pairs = page.evaluate(
        """() => [...document.querySelectorAll('.sv-card')].map(card =>
        [card.querySelector('.sv-name').textContent, card.querySelector('.sv-stamp')?.textContent ?? ''])"""
    )
    return dict(pairs)
