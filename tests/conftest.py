"""What every test starts from: one torch thread, a fixed seed, no network; and the browser that tests share."""

import os
import shutil
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import pytest

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
RESULTS = NOTEBOOKS.parent / "benchmarks" / "results"
BROWSER_SECONDS = 400


def pytest_collection_modifyitems(items):
    """Browser tests take longer than others, and are skipped where there is no browser."""
    from jupyter_browser import chromium

    missing = chromium() is None
    for item in items:
        if item.get_closest_marker("browser"):
            item.add_marker(pytest.mark.timeout(BROWSER_SECONDS))
            if missing:
                item.add_marker(pytest.mark.skip(reason="no Chromium or Chrome on this machine"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """All files with browser tests go to one process, which has one browser; other tests go wherever there is time.

    pytest-xdist's own groups rest on a part of pytest that version 9.2 no longer has.
    """
    from xdist.scheduler import LoadScopeScheduling

    files = [path.name for path in Path(__file__).parent.glob("test_*.py") if "mark.browser" in path.read_text("utf-8")]

    class OneBrowser(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return "browser" if Path(nodeid.partition("::")[0]).name in files else nodeid

    return OneBrowser(config, log)


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded():
    import torch

    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def poisoned_empty(monkeypatch):
    """Fill every freshly allocated tensor with NaN, so that a cell that is read but never written shows."""
    import torch

    def poison(allocate):
        def allocated(*args, **kwargs):
            tensor = allocate(*args, **kwargs)
            return tensor.fill_(float("nan")) if tensor.is_floating_point() else tensor

        return allocated

    for name in ("empty", "empty_like", "empty_strided"):
        monkeypatch.setattr(torch, name, poison(getattr(torch, name)))
    monkeypatch.setattr(torch.Tensor, "new_empty", poison(torch.Tensor.new_empty))


@pytest.fixture(scope="session")
def jupyter(tmp_path_factory):
    """A JupyterLab on a copy of the notebooks and of the rows they read, since it saves what it runs."""
    from jupyter_browser import jupyter_server

    home = tmp_path_factory.mktemp("jupyter")
    shutil.copytree(RESULTS, home / RESULTS.relative_to(NOTEBOOKS.parent))
    with jupyter_server(shutil.copytree(NOTEBOOKS, home / "notebooks"), home) as server:
        yield server


@pytest.fixture(scope="session")
def opened_lab(jupyter):
    """The lab's notebook, run; tests take it as `lab`, which puts it back and looks for faults."""
    from jupyter_browser import Faults, browser_page
    from lab_page import open_lab
    from screen_contrast import SHARP

    faults = Faults()
    with browser_page(faults=faults, device_scale_factor=SHARP) as page:
        yield open_lab(page, jupyter), faults


@pytest.fixture
def lab(opened_lab):
    """The lab at `START`, all results there; afterwards nothing may have gone wrong on the page."""
    from lab_page import START

    page, faults = opened_lab
    page.put(**START)
    yield page
    assert page.cell_errors() == 0
    assert faults.found == []
