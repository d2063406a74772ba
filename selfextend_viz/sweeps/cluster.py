"""Measure cells on the workers of a Ray cluster: each holds the model, and takes the next cell when it is free.

Workers only measure; the process that draws the rows is the one writer of the store. A worker that dies is started
again, and its cell is asked again, on another machine if its own is gone.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from selfextend_viz.positions import whole_number
from selfextend_viz.sweeps.cells import Planned
from selfextend_viz.sweeps.measure import Asking, Measurer, Subject
from selfextend_viz.sweeps.rows import CellRow
from selfextend_viz.sweeps.source import Source

__all__ = ["ClusterError", "ray_crew"]

LOCAL = "local"
STARTS_AGAIN = 4
"""How often a worker that died is started again, and its cell asked again."""
SHARED_BYTES = 128 * 2**20
"""Room for shared objects on a local cluster beside the model itself; rows and cells are small."""


class ClusterError(ConnectionError):
    """A cluster is not there, or its workers die; says why in one sentence. Rows that were finished are kept."""


class _Worker:
    """What runs on the cluster: a model, loaded for the first question, and what measures it."""

    def __init__(self, shared: Sequence[Any], asking: Asking) -> None:
        self._shared, self._asking = shared, asking

    @cached_property
    def _measurer(self) -> Measurer:
        import ray

        (found,) = self._shared
        source: Source = found if isinstance(found, Source) else ray.get(found)
        return Measurer(*source.load(), self._asking)

    def subject(self) -> Subject:
        return self._measurer.subject()

    def check(self, planned: Sequence[Planned]) -> None:
        self._measurer.check(planned)

    def measure(self, planned: Planned) -> CellRow:
        return self._measurer.measure(planned)


@contextmanager
def ray_crew(source: Source, asking: Asking, *, cluster: str, workers: int | None) -> Iterator[RayCrew]:
    """Workers on a cluster, for one block; afterwards they are gone, and a cluster that was started here too.

    Parameters
    ----------
    source
        A model that is there travels to the cluster once; a name is loaded by each worker.
    cluster
        ``"local"``, or an address such as ``"auto"`` or ``"ray://head:10001"``. Where this process is connected to a
        cluster already, that one is taken.
    workers
        How many; one for each GPU, or each processor core where there is none, if left out.

    Raises
    ------
    ImportError
        If Ray is missing; the extra ``ray`` brings it.
    ClusterError
        If there is no cluster at the address, or it has no room for a worker.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            'a cluster needs Ray, which is not installed; say pip install "selfextend-viz[ray]"'
        ) from error
    if workers is not None:
        whole_number("workers", workers)
    with ExitStack() as stack:
        link = None
        if not ray.is_initialized():
            stack.callback(ray.shutdown)
            link = _connected(ray, cluster, workers, source)
        # A model travels once. In a list Ray leaves it to the worker to ask for it, which one started again does anew.
        shared = [source if source.name is not None else ray.put(source)]
        crew = RayCrew(ray, _members(ray, shared, asking, workers), shared, link)
        stack.callback(crew.dismiss)
        yield crew


@dataclass
class RayCrew:
    """Workers, what they share as long as this is held, and the link to the cluster's dashboard, if it has one."""

    ray: Any
    members: list[Any]
    shared: list[Any]
    dashboard: str | None

    def subject(self) -> Subject:
        """L and the fingerprint of the model that the first worker holds."""
        try:
            found: Subject = self._answer(self.members[0].subject.remote())
        except self.ray.exceptions.RayActorError as error:
            raise ClusterError(self._died("before the first cell")) from error
        return found

    def check(self, planned: Sequence[Planned]) -> None:
        """Refuse what some cell would refuse, with the first worker's words."""
        self._answer(self.members[0].check.remote(list(planned)))

    def rows(self, planned: Sequence[Planned]) -> Iterator[CellRow]:
        """One row a cell, as they are finished: each worker has one cell at a time, the cheapest that is left."""
        waiting, idle = deque(planned), list(self.members)
        asked: dict[Any, tuple[Any, Planned]] = {}
        while waiting or asked:
            while waiting and idle:
                member, cell = idle.pop(), waiting.popleft()
                asked[member.measure.remote(cell)] = member, cell
            if not asked:
                raise ClusterError(self._died(f"with {len(waiting)} cells left"))
            (done,), _ = self.ray.wait(list(asked), num_returns=1)
            member, cell = asked.pop(done)
            row = self._row(done)
            if row is None:  # this worker is not started again: another takes its cell
                waiting.appendleft(cell)
            else:
                idle.append(member)
                yield row

    def dismiss(self) -> None:
        """End the workers, also in the middle of a cell."""
        for member in self.members:
            self.ray.kill(member)

    def _died(self, when: str) -> str:
        return (
            f"the workers died {STARTS_AGAIN + 1} times {when}; each needs memory for the model, so look at the "
            "cluster's logs, and run the same sweep again"
        )

    def _row(self, answer: Any) -> CellRow | None:
        """The row of an answer; ``None`` if its worker is gone for good."""
        try:
            row: CellRow = self._answer(answer)
        except self.ray.exceptions.RayActorError:
            return None
        return row

    def _answer(self, asked: Any) -> Any:
        try:
            return self.ray.get(asked)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from error  # what the worker raised, as this process would have


def _connected(ray: Any, cluster: str, workers: int | None, source: Source) -> str | None:
    """Connect to a cluster, or start one here; the link to its dashboard, where it has one."""
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    try:
        if cluster != LOCAL:
            context = ray.init(address=cluster, **quiet)
        else:
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of this machine tells no one outside
            shared = SHARED_BYTES + _bytes_of(source.model)
            context = ray.init(address=LOCAL, num_cpus=workers, object_store_memory=shared, **quiet)
    except Exception as error:  # Ray raises plain ones too
        said = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ClusterError(
            f"Ray did not start here: {said}; a busy machine may have to be asked again"
            if cluster == LOCAL
            else f'no Ray cluster answers at {cluster}: {said}; start one with "ray start --head", or say local'
        ) from error
    return f"http://{context.dashboard_url}" if context.dashboard_url else None


def _bytes_of(model: Any) -> int:
    """What a model takes that is shared as one object, twice over; 0 for one that each worker loads."""
    return 0 if model is None else 2 * sum(weight.nbytes for weight in model.state_dict().values())


def _members(ray: Any, shared: Sequence[Any], asking: Asking, workers: int | None) -> list[Any]:
    room = ray.cluster_resources()
    unit = "GPU" if room.get("GPU", 0) >= 1 else "CPU"
    most = int(room.get(unit, 0))
    if most < (workers or 1):
        raise ClusterError(
            f"the cluster has {most} {unit}s, but {workers or 1} workers need one each; take fewer workers"
        )
    made = ray.remote(_Worker).options(
        num_gpus=int(unit == "GPU"), num_cpus=1, max_restarts=STARTS_AGAIN, max_task_retries=STARTS_AGAIN
    )
    return [made.remote(shared, asking) for _ in range(workers or most)]
