"""What the doctor looks at around the lab: widgets, kernel, browser, ports, and the demo model's weights."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sys
import webbrowser
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from selfextend_viz.cli.finding import Finding
from selfextend_viz.cli.machine_checks import check_libraries

INSTALL = 'pip install "selfextend-viz[lab]"'
REINSTALL = 'pip install --force-reinstall "selfextend-viz[lab]"'
EXTENSIONS = ("@jupyter-widgets/jupyterlab-manager", "anywidget")
TEXT_BROWSERS = ("elinks", "links", "lynx", "w3m", "www-browser")
CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
KERNEL = "python3"
PORT = 8888


def check_widgets(**facts: Any) -> Finding:
    """Whether what draws the lab in JupyterLab is installed."""
    return check_libraries(("ipywidgets", "anywidget", "jupyterlab"), name="widgets", extra="[lab]", **facts)


def lab_extensions() -> tuple[dict[str, str], set[str]]:
    """The extensions that JupyterLab finds, with their versions, and the names of those switched off."""
    from jupyter_core.paths import jupyter_path
    from jupyterlab_server.config import get_federated_extensions, get_page_config

    paths = jupyter_path("labextensions")
    found = {name: str(about.get("version", "")) for name, about in get_federated_extensions(paths).items()}
    return found, set(get_page_config(paths)["disabledExtensions"])


def check_extensions(listed: Callable[[], tuple[dict[str, str], set[str]]] = lab_extensions) -> Finding:
    """Whether JupyterLab finds the browser's half of the widgets."""
    name = "lab extensions"
    try:
        found, disabled = listed()
    except ImportError as error:
        return Finding(name, "problem", f"JupyterLab is missing: {error}", INSTALL)
    missing = [each for each in EXTENSIONS if each not in found]
    if missing:
        remedy = f"JupyterLab would show no widgets; {REINSTALL}, in the environment that JupyterLab runs in"
        return Finding(name, "problem", f"not found: {', '.join(missing)}", remedy)
    off = [each for each in EXTENSIONS if each in disabled]
    if off:
        remedy = "; ".join(f"jupyter labextension enable {each}" for each in off)
        return Finding(name, "problem", f"switched off: {', '.join(off)}", remedy)
    return Finding(name, "ok", ", ".join(f"{each} {found[each]}" for each in EXTENSIONS))


def kernel_command() -> Sequence[str]:
    """The command line of the kernel that the lab's notebook asks for."""
    from jupyter_client.kernelspec import KernelSpecManager

    return list(KernelSpecManager().get_kernel_spec(KERNEL).argv)


def check_kernel(command: Callable[[], Sequence[str]] = kernel_command, executable: str = sys.executable) -> Finding:
    """Whether the notebook's kernel is this Python, in which the package is installed."""
    try:
        program = command()[0]
    except ImportError as error:
        return Finding("kernel", "problem", f"Jupyter is missing: {error}", INSTALL)
    except Exception as error:
        return Finding(
            "kernel", "problem", f"no kernel {KERNEL}: {error}", f"{executable} -m ipykernel install --sys-prefix"
        )
    versions = {"python", f"python{sys.version_info[0]}", f"python{sys.version_info[0]}.{sys.version_info[1]}"}
    if program in versions or _same_program(program, executable):
        return Finding("kernel", "ok", f"{KERNEL} runs {executable}")
    remedy = f"Notebooks would run another Python; {executable} -m ipykernel install --sys-prefix"
    return Finding("kernel", "problem", f"{KERNEL} runs {program}, not {executable}", remedy)


def _same_program(one: str, other: str) -> bool:
    """Whether two paths are one program; links are not followed, for an environment's Python is a link to another."""
    return os.path.normcase(os.path.abspath(one)) == os.path.normcase(os.path.abspath(other))


def check_browser(get: Callable[[], Any] = webbrowser.get) -> Finding:
    """Which browser would open."""
    by_hand = "selfextend-viz lab --no-browser prints an address; open it in a browser, from elsewhere through "
    by_hand += f"ssh -L {PORT}:127.0.0.1:{PORT}"
    try:
        browser = get()
    except webbrowser.Error:
        return Finding("browser", "note", "none that this program can open", by_hand)
    name = str(getattr(browser, "name", "") or "the system's own")
    if Path(name).name in TEXT_BROWSERS:
        return Finding("browser", "note", f"{name}, which shows text alone", by_hand)
    return Finding("browser", "ok", name)


def check_chromium(
    which: Callable[[str], str | None] = shutil.which, chosen: str | None = os.environ.get("CHROMIUM")
) -> Finding:
    """Whether the browser tests could run."""
    path = chosen or next((found for name in CHROMIUMS if (found := which(name))), None)
    if path is None:
        remedy = "Only make test-browser needs one: apt-get install chromium, or CHROMIUM=its path"
        return Finding("Chromium", "note", "none, so the browser tests are left out", remedy)
    return Finding("Chromium", "ok", f"{path}, for the browser tests")


def try_port(port: int) -> OSError | None:
    """Listen on a port of the loopback address for a moment; why not, if it cannot be."""
    with socket.socket() as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port just left is free, as for Jupyter
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as error:
            return error
    return None


def check_ports(attempt: Callable[[int], OSError | None] = try_port) -> Finding:
    """Whether Jupyter can listen on this machine."""
    refused = attempt(0)
    if refused is not None:
        remedy = "Let programs listen on 127.0.0.1: a sandbox, a container or a firewall forbids it"
        return Finding("ports", "problem", f"cannot listen on 127.0.0.1: {refused}", remedy)
    taken = attempt(PORT)
    if taken is None:
        return Finding("ports", "ok", f"127.0.0.1:{PORT} is free")
    why = "in use" if taken.errno == errno.EADDRINUSE else str(taken)
    remedy = "Jupyter takes the next free one by itself; or name one: selfextend-viz lab --port 8890"
    return Finding("ports", "note", f"127.0.0.1:{PORT} is not free ({why})", remedy)


def load_demo() -> Any:
    """The demo model."""
    from selfextend_viz.demo import load_demo

    return load_demo()[0]


def shipped_fingerprint() -> str:
    """The fingerprint of the weights that the package's stored results were made with."""
    stored = files("selfextend_viz").joinpath("widgets/stored/demo.json")  # without the widgets themselves
    return str(json.loads(stored.read_text(encoding="utf-8"))["fingerprint"])


def check_demo(load: Callable[[], Any] = load_demo, stored: Callable[[], str] = shipped_fingerprint) -> Finding:
    """Whether the demo model's weights load, and are those that were shipped."""
    try:
        model = load()
    except Exception as error:
        reinstall = "The file is damaged or gone; pip install --force-reinstall selfextend-viz"
        return Finding("demo model", "problem", f"does not load: {error}", reinstall)
    from selfextend_viz.sweeps.fingerprint import weights_fingerprint

    here, shipped = weights_fingerprint(model), stored()
    if here == shipped:
        return Finding("demo model", "ok", f"whole, fingerprint {here}")
    remedy = "Stored results are computed anew; for the shipped weights: pip install --force-reinstall selfextend-viz"
    return Finding("demo model", "note", f"fingerprint {here}, but shipped was {shipped}", remedy)
