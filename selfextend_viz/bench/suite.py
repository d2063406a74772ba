"""The whole benchmark as stages that yield rows, run after run."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch

from selfextend_viz.bench.contestants import Contestant, check_alike, inputs_of, ours, plain_contestants
from selfextend_viz.bench.limit import measured_rates, work_of
from selfextend_viz.bench.memory import memory_rows
from selfextend_viz.bench.models import built, decode_rows, first_token_rows
from selfextend_viz.bench.peers import peers
from selfextend_viz.bench.plan import Heads, ModelShape, Plan
from selfextend_viz.bench.rounds import in_turns
from selfextend_viz.bench.rows import EAGER, LIMIT, PLAIN, PREFILL, BenchRow, RateRow, Row, SkippedRow, settings_of
from selfextend_viz.positions import SelfExtend

__all__ = ["Stage", "Suite"]

OURS = {"cpu": ("flash",), "cuda": ("flash", "fused")}


@dataclass(frozen=True)
class Stage:
    """One step of the benchmark."""

    title: str
    measure: Callable[[], list[Row]] = field(repr=False)


class Suite:
    """Everything that a plan asks for.

    Parameters
    ----------
    plan
        What is measured.
    longlm
        A checkout of the authors' repository, whose code takes part.
    known
        Rows of stages that were measured before.
    """

    def __init__(self, plan: Plan, *, longlm: Path | None = None, known: Iterable[Row] = ()) -> None:
        self._plan, self._longlm = plan, longlm
        self._rates: dict[tuple[str, int], dict[str, float]] = {}
        self._said: set[Row] = set()
        self._remember(known)

    def stages(self) -> list[Stage]:
        """What is to be done, in order; each run of the whole follows the one before. Peaks of memory need one run."""
        plan = self._plan
        stages = []
        for run in range(plan.runs):
            stages += list(self._of_run(run))
            if run == 0 and plan.memory_length is not None:
                stages.append(Stage(f"memory at {plan.memory_length:,}", self._memory))
        return stages

    def measure(self, stage: Stage) -> list[Row]:
        """The rows of one stage; what is skipped for one reason at many stages is said once.

        A stage that asks for more memory than there is becomes a skipped row.
        """
        try:
            with torch.no_grad():
                found = stage.measure()
        except torch.OutOfMemoryError as error:
            found = [SkippedRow(stage.title, str(error).splitlines()[0])]
        _let_go()
        fresh = [row for row in found if row not in self._said]
        self._remember(fresh)
        return fresh

    def _remember(self, rows: Iterable[Row]) -> None:
        for row in rows:
            if isinstance(row, SkippedRow):
                self._said.add(row)
            elif isinstance(row, RateRow):
                self._rates.setdefault((row.shape, row.run), {})[row.name] = row.value

    def _of_run(self, run: int) -> Iterator[Stage]:
        plan = self._plan

        def stage(title: str, measure: Callable[..., list[Row]], *of: object) -> Stage:
            return Stage(f"{title}, run {run + 1}", partial(measure, *of, run))

        for shape in plan.shapes:
            yield stage(f"what the device can do, {shape}", self._measure_rates, shape)
            for length in plan.lengths:
                yield stage(f"prefill {length:,}, {shape}", self._prefill, shape, length)
        for length in plan.eager_lengths:
            yield stage(f"eager {length:,}, {plan.shapes[0]}", self._eager, plan.shapes[0], length)
        for which, cached in plan.decoded:
            name = which.name if isinstance(which, ModelShape) else which
            yield stage(f"decoding at {cached:,}, {name}", self._decode, which, cached)
        for model, length in plan.end_to_end:
            yield stage(f"{model.name} at {length:,}", self._end_to_end, model, length)

    def _threads(self) -> int:
        return max(self._plan.threads)

    def _measure_rates(self, shape: Heads, run: int) -> list[Row]:
        return list[Row](measured_rates(shape, device=self._plan.device, threads=self._threads(), run=run))

    def _prefill(self, shape: Heads, length: int, run: int) -> list[Row]:
        plan = self._plan
        inputs = inputs_of(shape, length, device=plan.device)
        entered = list(plain_contestants(inputs))
        for window in plan.windows:
            method = SelfExtend(plan.group_size, window)
            own = [ours(inputs, method, name) for name in OURS[plan.device]]
            entered += own
            judge = next((found for found in own if isinstance(found, Contestant)), None)
            if length in plan.peer_lengths and judge is not None and window == plan.windows[-1]:
                expected = judge.call()
                found = peers(inputs, method, longlm=self._longlm)
                entered += [check_alike(peer, expected) if isinstance(peer, Contestant) else peer for peer in found]
        rows = self._timed(PREFILL, entered, shape, length, run)
        base = next(row.value for row in rows if isinstance(row, BenchRow) and row.contestant == PLAIN)
        return [*rows, self._limit(shape, length, run, base)]

    def _timed(
        self, kind: str, entered: list[Contestant | SkippedRow], shape: Heads, length: int, run: int
    ) -> list[Row]:
        plan = self._plan
        present = {found.key: found for found in entered if isinstance(found, Contestant)}
        calls = {key: found.call for key, found in present.items()}
        measured = in_turns(calls, baseline=PLAIN, threads=self._threads(), seconds=plan.seconds)
        rows: list[Row] = [found for found in entered if isinstance(found, SkippedRow)]
        for key, found in present.items():
            method, times = found.method, measured[key]
            told = {**settings_of(method), "rounds": times.rounds, "run": run, "detail": found.detail}
            figures: dict[str, Any] = {"value": times.seconds, "unit": "s", "ratio": times.ratio}
            rows.append(BenchRow(kind, found.name, str(shape), length, **figures, **told))
        return rows

    def _limit(self, shape: Heads, length: int, run: int, base: float) -> BenchRow:
        rates = self._rates[str(shape), run]
        work = work_of(shape, length)
        seconds = work.seconds(flops_rate=rates["products"], bytes_rate=rates["memory"])
        detail = (
            f"{work.flops:.4g} FLOP at {rates['products']:.3g}/s, {work.bytes:.4g} bytes at {rates['memory']:.3g}/s"
        )
        return BenchRow(PREFILL, LIMIT, str(shape), length, None, None, seconds, "s", seconds / base, 0, run, detail)

    def _eager(self, shape: Heads, length: int, run: int) -> list[Row]:
        """Apart from the others: its gigabytes of logits would leave them cold memory to start from."""
        inputs = inputs_of(shape, length, device=self._plan.device)
        method = SelfExtend(self._plan.group_size, self._plan.windows[-1])
        entered = [*plain_contestants(inputs), ours(inputs, method, "eager")]
        return self._timed(EAGER, entered, shape, length, run)

    def _decode(self, which: ModelShape | str, cached: int, run: int) -> list[Row]:
        name, model = built(which, device=self._plan.device)
        rows: list[Row] = []
        for threads in self._plan.threads:
            given: dict[str, Any] = {"threads": threads, "seconds": self._plan.seconds, "run": run}
            rows += decode_rows(name, model, cached=cached, tokens=self._plan.tokens, **given)
        return rows

    def _end_to_end(self, which: ModelShape, length: int, run: int) -> list[Row]:
        name, model = built(which, device=self._plan.device)
        given: dict[str, Any] = {"threads": self._threads(), "seconds": self._plan.seconds, "run": run}
        rows: list[Row] = [*first_token_rows(name, model, length=length, **given)]
        _let_go()
        return [*rows, *decode_rows(name, model, cached=length, tokens=self._plan.tokens, **given)]

    def _memory(self) -> list[Row]:
        plan = self._plan
        assert plan.memory_length is not None
        rows: list[Row] = []
        for shape in plan.shapes:
            for window in plan.windows:
                method = SelfExtend(plan.group_size, window)
                given: dict[str, Any] = {"method": method, "device": plan.device, "threads": self._threads()}
                found = memory_rows(shape, plan.memory_length, **given)
                rows += found if window == plan.windows[0] else [row for row in found if not _is_plain(row)]
        return rows


def _is_plain(row: Row) -> bool:
    return isinstance(row, BenchRow) and row.contestant == PLAIN


def _let_go() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
