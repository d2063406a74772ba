"""JupyterLab in a headless Chromium, for browser tests: one server and one browser, and what went wrong on a page."""

from __future__ import annotations

import atexit
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
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import nbformat

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
HOME = "127.0.0.1"
LIGHT, DARK = "JupyterLab Light", "JupyterLab Dark"


def chromium() -> str | None:
    """Path of an installed Chromium or Chrome, if any."""
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return os.environ.get("CHROMIUM") or next((path for name in names if (path := shutil.which(name))), None)


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind((HOME, 0))
        return probe.getsockname()[1]


@dataclass(frozen=True)
class Jupyter:
    """A running JupyterLab: the folder it serves, and where it answers."""

    folder: Path
    port: int
    token: str

    def address(self, notebook: str) -> str:
        """Where a notebook opens, in a workspace of its own: a shared one would bring back what others left open."""
        space = secrets.token_hex(4)
        return f"http://{HOME}:{self.port}/lab/workspaces/{space}/tree/{notebook}?token={self.token}"

    def write(self, name: str, *cells: str) -> str:
        """Put a notebook of these code cells into the folder; returns its name."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
        notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.folder / name)
        return name

    def end_kernel(self, notebook: str) -> None:
        """End a notebook's kernel, which holds a model and a thread."""
        for session in json.loads(self._ask("sessions")):
            if session["path"] == notebook:
                self._ask(f"sessions/{session['id']}", method="DELETE")

    def _ask(self, what: str, method: str = "GET") -> bytes:
        address = f"http://{HOME}:{self.port}/api/{what}?token={self.token}"
        with urllib.request.urlopen(urllib.request.Request(address, method=method), timeout=30) as answer:
            return answer.read()


@contextmanager
def jupyter_server(folder: Path, home: Path) -> Iterator[Jupyter]:
    """A JupyterLab on `folder` with its own settings under `home`."""
    settings = home / "settings" / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    (settings / "notification.jupyterlab-settings").write_text('{"fetchNews": "false", "checkForUpdates": false}')
    port, token = free_port(), secrets.token_hex(16)
    rooms = {f"JUPYTER_{name.upper()}_DIR": str(home / name) for name in ("config", "data", "runtime")}
    rooms |= {f"JUPYTERLAB_{name.upper()}_DIR": str(home / name) for name in ("settings", "workspaces")}
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **rooms}
    command = [sys.executable, "-m", "jupyter", "lab", "--no-browser", "--allow-root", f"--ip={HOME}"]
    command += [f"--port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    command += ["--LabApp.expose_app_in_browser=True", "--LabApp.news_url=None"]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            wait_for_server(f"http://{HOME}:{port}/api/status?token={token}", server)
            yield Jupyter(folder, port, token)
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


@cache
def browser() -> Any:
    """The one Chromium of this process, which ends with it: Playwright's simple interface can start only once."""
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    launched = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
    atexit.register(playwright.stop)
    atexit.register(launched.close)
    return launched


@dataclass
class Faults:
    """What went wrong on a page, in words: errors, messages of level error, and requests that left this machine."""

    found: list[str] = field(default_factory=list)

    def watch(self, page: Any) -> None:
        """Listen to everything that `page` reports from now on."""
        page.on("pageerror", lambda error: self.found.append(f"page error: {error}"))
        page.on("console", self._said)
        page.on("request", lambda request: self._leaving(request.url))
        page.on("websocket", lambda socket: self._leaving(socket.url))

    def _said(self, message: Any) -> None:
        if message.type == "error":
            self.found.append(f"console: {message.text}")

    def _leaving(self, address: str) -> None:
        parts = urlsplit(address)
        if parts.scheme not in ("data", "blob", "about", "file") and parts.hostname != HOME:
            self.found.append(f"request: {address}")


@contextmanager
def browser_page(*, faults: Faults | None = None, **options: Any) -> Iterator[Any]:
    """A page with no history, watched by `faults`; `options` are those of Playwright's `new_context`."""
    context = browser().new_context(**{"viewport": VIEWPORT, **options})
    try:
        page = context.new_page()
        (faults or Faults()).watch(page)
        yield page
    finally:
        context.close()


def await_kernel(page: Any, address: str) -> None:
    """Open a notebook and wait for its kernel."""
    page.goto(address)
    page.wait_for_function("window.jupyterapp !== undefined", timeout=60_000)
    page.locator(".jp-Notebook .jp-Cell").first.wait_for(timeout=60_000)
    page.wait_for_function(
        """() => { const panel = window.jupyterapp.shell.currentWidget;
        const kernel = panel?.sessionContext?.session?.kernel; return kernel?.status === 'idle'; }""",
        timeout=90_000,
    )


def run_all(page: Any, address: str) -> None:
    """Open a notebook, wait for its kernel, and run all its cells."""
    await_kernel(page, address)
    page.evaluate("window.jupyterapp.commands.execute('notebook:run-all-cells')")


def wear(page: Any, theme: str) -> None:
    """Put JupyterLab into a theme, as its menu does."""
    page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", theme)
    light = "true" if theme == LIGHT else "false"
    page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light, timeout=30_000)
    page.locator("#jupyterlab-splash").wait_for(state="detached")
