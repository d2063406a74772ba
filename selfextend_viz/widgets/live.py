"""One worker thread for slow work: the newest job supersedes the ones before it."""

from __future__ import annotations

import gc
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from selfextend_viz.widgets.pace import Pace, time_in_words

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a job is: `done` of `total` steps, and what it is doing, in words.

    ``show`` puts the step's result on screen; the worker calls it unless the job was superseded meanwhile.
    ``work_left`` tells how much is still to be done, in any unit, where steps are unlike; left out, steps are counted.
    """

    done: int
    total: int
    message: str
    show: Callable[[], None] | None = field(default=None, repr=False)
    work_left: float | None = None

    @property
    def left(self) -> float:
        """What is still to be done, in the job's own unit."""
        return self.total - self.done if self.work_left is None else self.work_left


@dataclass(frozen=True)
class Report:
    """What the worker tells its listener.

    Attributes
    ----------
    state
        ``"waiting"``, ``"running"``, ``"finished"``, ``"stopped"`` or ``"failed"``.
    progress
        Where the job is, if it has begun.
    error
        The exception of a failed job.
    remaining
        Seconds that a running job still takes, by the steps it has done; None before the first that took time.
    """

    state: str
    progress: Progress | None = None
    error: BaseException | None = None
    remaining: float | None = None

    @property
    def busy(self) -> bool:
        """Whether work is waiting or under way."""
        return self.state in ("waiting", "running")

    @property
    def time_left(self) -> str:
        """``remaining`` in words, such as "about 40 s left"; "" where it is not known."""
        return "" if self.remaining is None else time_in_words(self.remaining)


Job = Callable[[], Iterable[Progress]]


class Worker:
    """Runs jobs one at a time on one thread; a new job ends the one before it at its next step.

    A job is a function that returns an iterator; after each step it yields a `Progress`. Between two
    steps the worker looks whether it was superseded, so a job is left within one step.

    While work is under way, what was in memory before is left out of the garbage collector's rounds: with torch and a
    model loaded, one round over everything takes a quarter of a second. All of it is back in once the worker rests.

    Parameters
    ----------
    listener
        Called with a `Report` whenever something changes, from either thread.
    debounce
        Seconds a job waits for a newer one before it begins.
    context
        Makes the context manager that each job runs in, on the worker's thread (``torch.inference_mode``:
        grad mode is thread-local).

    Attributes
    ----------
    started, finished, dropped, failed
        Jobs counted by what became of them. A dropped job was superseded or stopped, before or after it began.
    error
        The last exception of a job, until a later job finishes.
    """

    def __init__(
        self,
        listener: Callable[[Report], None] | None = None,
        *,
        debounce: float = 0.1,
        context: Callable[[], AbstractContextManager] = nullcontext,
    ) -> None:
        self._listener = listener or (lambda report: None)
        self._debounce = debounce
        self._context = context
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="selfextend-lab")
        self._changed = threading.Condition()
        self._generation = self._running = 0
        self._closed = False
        self._due = 0.0
        self._last: Future | None = None
        self.started = self.finished = self.dropped = self.failed = 0
        self.error: BaseException | None = None
        self.report = Report("finished")
        close_before_exit(self)

    @property
    def generation(self) -> int:
        """The number of the newest job or stop."""
        return self._generation

    def wanted(self) -> bool:
        """Whether the job that is running is still the newest; a long step may ask, and leave by an exception."""
        return not self._superseded(self._running)

    def submit(self, job: Job, *, patience: float = 0.0) -> int:
        """Put `job` in the place of whatever was asked before; returns its generation.

        With `patience` it waits that many seconds for `begin`, if they are more than the debounce.
        """
        with self._changed:
            if self._closed:
                raise RuntimeError("this lab is closed; make a new one with lab()")
            generation = self._advance()
            self._tell(generation, Report("waiting"))
            self._due = time.monotonic() + max(self._debounce, patience)
            self._last = self._executor.submit(self._run, generation, job)
        return generation

    def begin(self) -> None:
        """Let the job that waits begin now."""
        with self._changed:
            self._due = time.monotonic()
            self._changed.notify_all()

    def stop(self) -> None:
        """Leave the work under way at its next step; the results so far stay."""
        with self._changed:
            generation = self._advance()
            self._tell(generation, Report("stopped", self.report.progress))

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job is left; False if `timeout` seconds pass before."""
        last = self._last
        if last is None:
            return True
        try:
            last.result(timeout)
        except TimeoutError:
            return False
        except CancelledError:
            return True
        return True

    def close(self) -> None:
        """Stop, and end the thread at the next step."""
        with self._changed:
            self._closed = True
            self._advance()
            gc.unfreeze()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _advance(self) -> int:
        with self._changed:
            self._generation += 1
            self._changed.notify_all()
            return self._generation

    def _superseded(self, generation: int) -> bool:
        return generation != self._generation

    def _tell(self, generation: int, report: Report) -> None:
        with self._changed:
            if not self._superseded(generation):
                self.report = report
                if report.state == "waiting":
                    gc.freeze()
                elif not report.busy:
                    gc.unfreeze()
                self._listener(report)

    def _run(self, generation: int, job: Job) -> None:
        with self._changed:
            while not self._superseded(generation) and (left := self._due - time.monotonic()) > 0:
                self._changed.wait(left)
        if self._superseded(generation):
            self.dropped += 1
            return
        self.started += 1
        self._running = generation
        try:
            with self._context():
                self._follow(generation, iter(job()))
        except Exception as error:  # the worker has no caller: every failure is shown, none is lost
            if self._superseded(generation):
                self.dropped += 1
                return
            level = logging.INFO if isinstance(error, ValueError) else logging.WARNING  # a refusal is no fault
            logger.log(level, "a job of the lab failed", exc_info=error)
            self.failed += 1
            self.error = error
            self._tell(generation, Report("failed", self.report.progress, error))

    def _follow(self, generation: int, steps: Iterator[Progress]) -> None:
        self._tell(generation, Report("running", Progress(0, 1, "")))
        pace = Pace()
        for progress in steps:
            pace.step(progress.left)
            if self._superseded(generation):
                self.dropped += 1
                close = getattr(steps, "close", None)
                if close is not None:
                    close()
                return
            if progress.show is not None:
                progress.show()
                pace.shown()
            self._tell(generation, Report("running", progress, remaining=pace.remaining))
            pace.go_on()
        self.finished += 1
        self.error = None
        self._tell(generation, Report("finished", self.report.progress))


def close_before_exit(worker: Worker) -> None:
    """Let the interpreter end while a job runs: it waits for executor threads, and would sit the whole job out."""
    reference = weakref.ref(worker)

    def close() -> None:
        alive = reference()
        if alive is not None:
            alive.close()

    # The only hook that runs before those threads are joined; `concurrent.futures` registers its own there.
    threading._register_atexit(close)  # type: ignore[attr-defined]
