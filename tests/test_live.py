"""The lab's worker: the newest job wins, nothing is lost, and it can always be stopped."""

import gc
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest

from selfextend_viz.widgets import live
from selfextend_viz.widgets.live import Progress, Report, Worker
from selfextend_viz.widgets.pace import Pace, time_in_words


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


def test_a_patient_job_waits_until_it_is_let_go(worker):
    seen = []
    worker.submit(counting_job(seen, "patient", steps=1), patience=60)
    assert not worker.wait(0.3)
    assert not seen
    worker.begin()
    assert worker.wait(5)
    assert seen == [("patient", 0)]


def test_patience_ends_by_itself_and_a_newer_job_has_none(worker):
    seen = []
    worker.submit(counting_job(seen, "short", steps=1), patience=0.2)
    assert worker.wait(5)
    worker.submit(counting_job(seen, "long", steps=1), patience=60)
    worker.submit(counting_job(seen, "newer", steps=1))
    assert worker.wait(5)
    assert seen == [("short", 0), ("newer", 0)]
    assert worker.dropped == 1


@pytest.mark.parametrize("end", ["finish", "stop", "fail", "close"])
def test_what_was_there_before_is_not_collected_while_work_is_under_way(worker, end):
    begun, go_on = threading.Event(), threading.Event()

    def job():
        begun.set()
        go_on.wait(5)
        if end == "fail":
            raise ValueError("no")
        yield Progress(1, 1, "done")

    worker.submit(job)
    begun.wait(5)
    assert gc.get_freeze_count() > 1000
    if end in ("stop", "close"):
        getattr(worker, end)()
    go_on.set()
    worker.wait(5)
    assert gc.get_freeze_count() == 0


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


def test_a_long_step_may_leave_once_it_is_no_longer_wanted(worker):
    seen, begun = [], threading.Event()

    def endless():
        yield Progress(0, 1, "endless")
        begun.set()
        deadline = time.monotonic() + 5
        while worker.wanted():
            assert time.monotonic() < deadline
            time.sleep(0.001)
        raise KeyError("left in the middle")

    worker.submit(endless)
    assert begun.wait(5)
    worker.submit(counting_job(seen, "new", steps=1))
    assert worker.wait(5)
    assert seen == [("new", 0)]
    assert (worker.finished, worker.dropped, worker.failed) == (1, 1, 0)
    assert worker.error is None


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
from selfextend_viz.widgets import live
from selfextend_viz.widgets.live import Progress, Report, Worker
from selfextend_viz.widgets.pace import Pace, time_in_words
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


class Clock:
    """Seconds that pass only when told."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


class TestPace:
    def follow(self, clock, steps):
        """The remaining time after each `(seconds, work left)`."""
        pace, told = Pace(clock), []
        for seconds, left in steps:
            clock.now += seconds
            pace.step(left)
            told.append(pace.remaining)
            pace.go_on()
        return told

    def test_steps_alike(self, clock):
        assert self.follow(clock, [(0, 4), (2, 3), (2, 2), (2, 1), (2, 0)]) == [None, 6, 4, 2, 0]

    def test_remembered_steps_say_nothing_about_those_to_come(self, clock):
        told = self.follow(clock, [(0, 30), (0.001, 10), (3, 9), (0.0005, 8), (0, 7), (3, 6)])
        assert told == [None, None, 27, 24, 21, 18]

    def test_nor_do_they_where_the_machine_was_held_up_for_a_moment(self, clock):
        assert self.follow(clock, [(0, 30), (0.02, 10), (3, 9)])[-1] == 27

    def test_an_announcement_is_no_step_and_the_time_before_it_no_work(self, clock):
        assert self.follow(clock, [(0, 1), (9, 1), (0, 4), (0, 4), (2, 3), (0, 3), (2, 2)])[-1] == 4

    def test_time_to_show_a_result_counts_where_the_step_does(self, clock):
        pace = Pace(clock)
        for seconds, left in ((0, 10), (1, 8), (0.001, 4)):
            clock.now += seconds
            pace.step(left)
            clock.now += 3
            pace.shown()
            clock.now += 50
            pace.go_on()
        assert pace.remaining == 4 * (1 + 3) / 2

    def test_only_the_last_steps_count(self, clock):
        steps = [(0, 30), *((10, left) for left in range(29, 19, -1)), *((1, left) for left in range(19, 9, -1))]
        assert self.follow(clock, steps)[-1] == 10

    def test_one_long_step_does_not_count_for_many(self, clock):
        assert self.follow(clock, [(0, 9), (2, 8), (2, 7), (30, 6), (2, 5)])[-1] == 10

    def test_work_in_a_unit_of_its_own(self, clock):
        assert self.follow(clock, [(0, 1000), (4, 600), (2, 400)])[-1] == pytest.approx(4)

    def test_a_clock_is_not_needed(self):
        pace = Pace()
        pace.step(3)
        assert pace.remaining is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than 1 s left"),
        (2.4, "about 2 s left"),
        (12.6, "about 15 s left"),
        (57, "about 55 s left"),
        (59, "about 1 min left"),
        (200, "about 3 min left"),
    ],
)
def test_time_as_one_would_say_it(seconds, words):
    assert time_in_words(seconds) == words
    assert Report("running", remaining=seconds).time_left == words


def test_a_running_job_says_how_long_it_still_takes(monkeypatch, clock):
    monkeypatch.setattr(live, "Pace", lambda: Pace(clock))
    reports = []

    def job():
        yield Progress(0, 4, "load")
        for step in range(4):
            clock.now += 5
            yield Progress(step + 1, 4, "step", show=lambda: setattr(clock, "now", clock.now + 20))

    worker = Worker(reports.append, debounce=0)
    worker.submit(job)
    assert worker.wait(5)
    worker.close()
    assert [(report.state, report.remaining) for report in reports[2:]] == [
        ("running", None),
        ("running", 3 * 25),
        ("running", 2 * 25),
        ("running", 25),
        ("running", 0),
        ("finished", None),
    ]
    assert reports[2].time_left == ""


def test_a_job_may_count_its_work_in_a_unit_of_its_own(monkeypatch, clock):
    monkeypatch.setattr(live, "Pace", lambda: Pace(clock))
    reports = []

    def job():
        for done, (seconds, tokens_left) in enumerate([(0, 1000), (4, 200), (1, 0)]):
            clock.now += seconds
            yield Progress(done, 2, "step", work_left=tokens_left)

    worker = Worker(reports.append, debounce=0)
    worker.submit(job)
    assert worker.wait(5)
    worker.close()
    assert [report.remaining for report in reports if report.state == "running"] == [None, None, 1, 0]
