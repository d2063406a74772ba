"""Sweeps on a real Ray cluster of two workers on this machine; slow, for it starts five processes."""

import gc
import os
import random
import sys
import time
import warnings

import psutil
import pytest
from test_sweep_runs import command, count, finish, told

from selfextend_viz.demo import load_demo
from selfextend_viz.sweeps import Grid, Store, cluster
from selfextend_viz.sweeps.sweep import sweep

GRID = Grid(group_sizes=(4, 8), neighbor_windows=(32,), lengths=(128, 640), depths=(0.5, 1), trials=2, texts=2)
ON_CLUSTER = (
    *("sweep", "--group-sizes", "4,8", "--neighbor-windows", "32", "--lengths", "128,640", "--depths", "0.5,1"),
    *("--trials", "2", "--texts", "2", "--conditions", "stock", "--cluster", "local", "--workers", "2"),
)
MEMORY = 100 * 2**20


def test_without_ray_the_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "selfextend-viz\[ray\]"'):
        sweep("demo", None, GRID, store=tmp_path / "sweep.db", cluster="local")
    assert not (tmp_path / "sweep.db").exists()


@pytest.fixture(scope="module")
def whole():
    """The rows of a sweep in this process."""
    return list(sweep(*load_demo(), GRID))


@pytest.fixture(scope="module")
def ray():
    """A cluster of two workers, gone with its processes at the end."""
    ray = pytest.importorskip("ray")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    before = set(psutil.Process().children(recursive=True))  # a browser, where its tests ran first
    ray.init(address="local", num_cpus=2, include_dashboard=False, object_store_memory=MEMORY, log_to_driver=False)
    processes = set(psutil.Process().children(recursive=True)) - before
    yield ray
    ray.shutdown()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # Ray drops its processes without waiting for them
        gc.collect()
    _, left = psutil.wait_procs(processes, timeout=20)
    assert left == []


def workers():
    """The processes that hold a model."""
    return [each for each in psutil.process_iter(["cmdline"]) if "ray::_Worker" in " ".join(each.info["cmdline"] or [])]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("named", [True, False], ids=["by name", "the model itself"])
def test_a_cluster_gives_the_rows_of_one_process(ray, whole, tmp_path, named):
    model, tokenizer = ("demo", None) if named else load_demo()
    rows = list(sweep(model, tokenizer, GRID, store=tmp_path / "sweep.db", cluster="local", workers=2))
    assert told(rows) == told(whole) == told(Store(tmp_path / "sweep.db").rows())
    assert ray.is_initialized()  # it was there before, so it stays


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_killed_worker_costs_no_cell_and_doubles_none(ray, whole, tmp_path):
    rows, killed = [], None
    for row in sweep("demo", None, GRID, store=tmp_path / "sweep.db", cluster="local", workers=2):
        rows.append(row)
        if len(rows) == 3:
            killed = random.choice(workers())
            killed.kill()
    assert killed is not None
    assert len(rows) == len({row.cell for row in rows})
    assert told(rows) == told(whole) == told(Store(tmp_path / "sweep.db").rows())


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_what_a_worker_refuses_reads_as_if_it_were_refused_here(ray, tmp_path):
    with pytest.raises(ValueError, match="cannot be cut need 97 tokens") as refused:
        sweep("demo", None, {"lengths": [60]}, store=tmp_path / "sweep.db", cluster="local", workers=1)
    assert type(refused.value) is ValueError
    with pytest.raises(FileNotFoundError, match="is not a folder"):
        sweep("./nowhere", None, GRID, cluster="local", workers=1)
    with pytest.raises(cluster.ClusterError, match="the cluster has 2 CPUs, but 3 workers need one each"):
        sweep("demo", None, GRID, cluster="local", workers=3)
    assert not (tmp_path / "sweep.db").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_driver_goes_on_with_every_cell_once(whole, tmp_path):
    path = tmp_path / "sweep.db"
    process = command(path, *ON_CLUSTER)
    while count(path) < 3:
        assert process.poll() is None
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    process.communicate()
    assert 3 <= count(path) <= len(whole)
    finish(path, ON_CLUSTER)
    rows = Store(path).rows()
    assert len(rows) == len({row.cell for row in rows})
    assert told(rows) == told(whole)
    _, left = psutil.wait_procs(family, timeout=120)
    assert left == []  # the workers of the dead are gone
