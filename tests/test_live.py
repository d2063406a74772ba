"""The lab's worker: the newest job wins, nothing is lost, and it can always be stopped."""

import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from selfextend_viz.widgets.live import Progress, Worker


@pytest.fixture
def worker():
    made = Worker(debounce=0.05)
    yield made
    made.close()


def counting_job(seen, label, steps=5, pause=0.0):
    def job():
        for step in range(steps):
            time.sleep(pause)
            yield Progress(step + 1, steps, str(label), show=lambda step=step: seen.append((label, step)))

    return job


def test_a_job_runs_to_its_end_and_reports_each_step():
    reports = []
    worker = Worker(reports.append, debounce=0)
    seen = []
    worker.submit(counting_job(seen, "a", steps=3))
    assert worker.wait(5)
    worker.close()
    assert seen == [("a", 0), ("a", 1), ("a", 2)]
    assert [report.state for report in reports] == ["waiting", "running", "running", "running", "running", "finished"]
    assert [report.progress.done for report in reports[1:]] == [0, 1, 2, 3, 3]


def test_of_twelve_fast_changes_only_the_last_runs(worker):
    seen = []
    for label in range(12):
        worker.submit(counting_job(seen, label))
        time.sleep(0.005)
    assert worker.wait(5)
    assert {label for label, _ in seen} == {11}
    assert (worker.started, worker.finished, worker.dropped) == (1, 1, 11)


def test_a_newer_job_ends_the_running_one_within_one_step(worker):
    seen, begun, go_on = [], threading.Event(), threading.Event()

    def slow():
        for step in range(100):
            begun.set()
            go_on.wait(5)
            yield Progress(step + 1, 100, "slow", show=lambda step=step: seen.append(("slow", step)))

    worker.submit(slow)
    assert begun.wait(5)
    worker.submit(counting_job(seen, "new", steps=2))
    go_on.set()
    assert worker.wait(5)
    assert seen == [("new", 0), ("new", 1)], "the step under way is not shown, and no further one is begun"
    assert worker.finished == 1
    assert worker.dropped == 1


def test_stop_keeps_what_was_shown_and_begins_nothing_more(worker):
    seen, halfway = [], threading.Event()

    def job():
        for step in range(1000):
            if step == 3:
                halfway.set()
            time.sleep(0.002)
            yield Progress(step + 1, 1000, "job", show=lambda step=step: seen.append(step))

    worker.submit(job)
    assert halfway.wait(5)
    worker.stop()
    assert worker.wait(5)
    assert 0 < len(seen) < 1000
    assert worker.report.state == "stopped"


def test_stop_before_the_debounce_is_over_begins_nothing(worker):
    seen = []
    worker.submit(counting_job(seen, "a"))
    worker.stop()
    assert worker.wait(5)
    assert seen == []
    assert worker.started == 0
    assert worker.dropped == 1


def test_an_exception_is_reported_and_the_next_job_still_runs():
    reports = []
    worker = Worker(reports.append, debounce=0)

    def broken():
        yield Progress(1, 2, "fine")
        raise ZeroDivisionError("a head has no keys")

    worker.submit(broken)
    assert worker.wait(5)
    assert worker.report.state == "failed"
    assert isinstance(worker.error, ZeroDivisionError)
    assert reports[-1].error is worker.error
    seen = []
    worker.submit(counting_job(seen, "next", steps=1))
    assert worker.wait(5)
    worker.close()
    assert seen == [("next", 0)]
    assert worker.error is None
    assert worker.failed == 1


def test_an_exception_while_showing_is_reported_too(worker):
    def job():
        yield Progress(1, 1, "x", show=lambda: [][0])

    worker.submit(job)
    assert worker.wait(5)
    assert isinstance(worker.error, IndexError)


def test_each_job_runs_inside_the_context_on_the_workers_thread():
    inside = []

    @contextmanager
    def context():
        inside.append(threading.current_thread().name)
        yield
        inside.append("left")

    worker = Worker(debounce=0, context=context)
    worker.submit(counting_job([], "a"))
    assert worker.wait(5)
    worker.close()
    assert inside[0].startswith("selfextend-lab")
    assert inside[1] == "left"


def test_a_closed_worker_takes_no_job_and_its_thread_ends():
    worker = Worker(debounce=0)
    worker.submit(counting_job([], "a"))
    assert worker.wait(5)
    worker.close()
    deadline = time.monotonic() + 5
    while worker._executor._threads and any(thread.is_alive() for thread in worker._executor._threads):
        assert time.monotonic() < deadline, "the worker's thread is still alive"
        time.sleep(0.01)
    with pytest.raises(RuntimeError, match="closed"):
        worker.submit(counting_job([], "b"))


def test_the_interpreter_ends_while_a_job_runs():
    script = """
import threading, time
from selfextend_viz.widgets.live import Progress, Worker
begun = threading.Event()
def job():
    for step in range(600):
        begun.set()
        time.sleep(0.1)
        yield Progress(step, 600, "long")
worker = Worker(debounce=0)
worker.submit(job)
begun.wait(20)
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=40)
