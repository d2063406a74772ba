"""``selfextend-viz lab`` as a real server: on the loopback address, and closed without Jupyter's token."""

import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from selfextend_viz.cli.start import NEW_NOTEBOOK

ADDRESS = re.compile(r"(http://127\.0\.0\.1:\d+)/lab/tree/(\S+?)\?token=(\w+)")


@pytest.fixture
def served(tmp_path):
    """The address, the notebook and the token that a server in an empty folder announces."""
    homes = {f"JUPYTER_{kind}_DIR": str(tmp_path / kind.lower()) for kind in ("CONFIG", "DATA", "RUNTIME")}
    folder = tmp_path / "work"
    folder.mkdir()
    server = subprocess.Popen(
        [sys.executable, "-m", "selfextend_viz", "lab", "--no-browser"],
        cwd=folder,
        env={**os.environ, **homes},
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        yield next(found for found in map(ADDRESS.search, server.stderr) if found).groups()
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.stderr.close()
        server.wait(20)


def status(address, *, patience=20.0):
    """The HTTP status of an address; the server announces itself a moment before it listens."""
    begin = time.monotonic()
    while True:
        try:
            with urllib.request.urlopen(address, timeout=20) as response:
                return response.status
        except urllib.error.HTTPError as error:
            error.close()
            return error.code
        except urllib.error.URLError:
            if time.monotonic() - begin > patience:
                raise
            time.sleep(0.1)


def test_the_lab_opens_for_its_token_alone(served):
    address, notebook, token = served
    assert notebook == NEW_NOTEBOOK.name
    assert len(token) >= 32
    assert status(f"{address}/api/contents/{notebook}?token={token}") == 200
    assert status(f"{address}/api/contents/{notebook}") == 403
