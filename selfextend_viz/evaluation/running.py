"""Run the harness's tasks on a model, condition by condition."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfextend_viz.evaluation.rows import TaskRow, interval
from selfextend_viz.experiments.conditions import Condition, Wanted, listed, resolve, resolve_all
from selfextend_viz.patch import context_length
from selfextend_viz.positions import whole_number

if TYPE_CHECKING:
    from selfextend_viz.evaluation.harness import HarnessModel

BOOTSTRAPS = 1000
"""Resamples for the errors of metrics that are no means: they give an error to 2 %, and the harness's 100,000 take
seconds."""


def harness_model(
    model: Any,
    tokenizer: Any,
    method: Wanted,
    *,
    max_length: int | None = None,
    cut: bool = False,
    implementation: str = "auto",
    batch_size: int = 1,
) -> HarnessModel:
    """A model under a method, for lm-evaluation-harness's own functions: ``lm_eval.simple_evaluate(model=...)``.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer. Neither is changed: the method is
        lent for each call.
    method
        A method, or one of the conditions of `passkey` by its name.
    max_length
        The longest text in tokens, what is generated included; left out, the exact reach of the method, or L for the
        stock model. The harness would take L from the configuration and cut all that is longer.
    cut
        Cut longer texts from the left, as the harness does, instead of refusing them.
    implementation
        Attention implementation for methods.
    batch_size
        Texts in one forward.

    Returns
    -------
    HarnessModel
        A subclass of ``lm_eval.models.huggingface.HFLM``.

    Raises
    ------
    ModuleNotFoundError
        If lm-evaluation-harness is not installed.
    TypeError, ValueError
        If a number is out of range, the method does not fit the model, or its reach is not known and `max_length` is
        left out.
    """
    condition = resolve(method, model)
    condition.check(model, implementation)
    length = whole_number("max_length", _reach([condition], model) if max_length is None else max_length, at_least=2)
    whole_number("batch_size", batch_size)
    return _harness().HarnessModel(
        model,
        tokenizer,
        condition,
        max_length=length if condition.last is None else min(length, condition.last),
        cut=cut or condition.last is not None,
        implementation=implementation,
        batch_size=batch_size,
    )


def evaluate(
    model: Any,
    tokenizer: Any,
    tasks: Sequence[str],
    *,
    conditions: Sequence[Wanted] = ("stock",),
    max_length: int | None = None,
    cut: bool = False,
    limit: int | None = None,
    num_fewshot: int | None = None,
    batch_size: int = 1,
    chat_template: bool = False,
    include_path: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
    implementation: str = "auto",
    seed: int = 0,
) -> Iterator[TaskRow]:
    """Scores on tasks of lm-evaluation-harness; every condition is asked the same.

    Parameters
    ----------
    model, tokenizer
        A transformers causal language model in evaluation mode, and its tokenizer.
    tasks
        Names of tasks, tags or groups of the harness, such as ``"longbench_hotpotqa"``, patterns of them, or paths of
        task files.
    conditions
        As for `passkey`: ``"stock"``, ``"blindfold"``, ``"sinks"``, ``"truncate"`` (the last L tokens, answer
        included) and methods.
    max_length
        The longest text in tokens, answer included; left out, the farthest exact reach of the methods, or L where
        there is none. It is the same for all conditions but ``"truncate"``, so that the stock model reads what
        Self-Extend reads.
    cut
        Cut longer texts from the left instead of refusing them.
    limit
        Documents of each task, from its start; all of them if left out.
    num_fewshot
        Worked examples before each question, where the task lets them be chosen.
    batch_size
        Texts in one forward.
    chat_template
        Put each prompt into the tokenizer's chat template.
    include_path
        A folder of task files, whose tasks can then be named.
    metadata
        What tasks are told when they are made, for instance the lengths of RULER's:
        ``{"max_seq_lengths": [4096, 8192]}``. They are told the tokenizer's name without it.
    implementation
        Attention implementation for methods.
    seed
        Of the harness, which seeds Python's, NumPy's and torch's global generators with it.

    Yields
    ------
    TaskRow
        One for each metric of each task, all tasks of a condition before the next condition.

    Raises
    ------
    ModuleNotFoundError
        If lm-evaluation-harness, or what a task of it needs, is not installed.
    OSError
        If a task's data set is on the hub, and the hub cannot be reached.
    TypeError, ValueError
        At once, if an argument is out of range or a task is unknown; later, if a text is too long.
    """
    wanted = resolve_all(conditions, model)
    for condition in wanted:
        condition.check(model, implementation)
    length = whole_number("max_length", _reach(wanted, model) if max_length is None else max_length, at_least=2)
    if limit is not None:
        whole_number("limit", limit)
    told = {"tokenizer": tokenizer.name_or_path} | dict(metadata or {})  # some tasks make texts of a length in tokens
    names, manager = _tasks(listed("tasks", tasks), include_path, told)
    options = {
        "limit": limit,
        "num_fewshot": num_fewshot,
        "apply_chat_template": chat_template,
        "log_samples": False,
        "bootstrap_iters": BOOTSTRAPS,
    }
    seeds = dict.fromkeys(("random_seed", "numpy_random_seed", "torch_random_seed", "fewshot_random_seed"), seed)

    def rows() -> Iterator[TaskRow]:
        for asked, condition in zip(conditions, wanted, strict=True):
            lent = harness_model(
                model,
                tokenizer,
                asked,
                max_length=length,
                cut=cut,
                implementation=implementation,
                batch_size=batch_size,
            )
            results = _harness().simple_evaluate(model=lent, tasks=names, task_manager=manager, **options, **seeds)
            yield from _rows(results, condition, lent)

    return rows()


def _reach(conditions: Sequence[Condition], model: Any) -> int:
    """The longest text that all of the conditions' positions are trained for, under the one that reaches farthest."""
    trained = context_length(model)
    capacities = [getattr(condition.method, "capacity", None) for condition in conditions]
    reaches = [int(capacity(trained)) for capacity in capacities if capacity is not None]
    unknown = [
        condition.label
        for condition, capacity in zip(conditions, capacities, strict=True)
        if condition.method is not None and capacity is None
    ]
    if unknown and not reaches:
        raise ValueError(
            f"{unknown[0]} does not say how far it reaches; give max_length, the longest text in tokens; L is {trained}"
        )
    return max(reaches, default=trained)


def _harness() -> Any:
    try:
        from selfextend_viz.evaluation import harness
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "lm-evaluation-harness is not installed; it is in the extra lm-eval: pip install 'selfextend-viz[lm-eval]'"
        ) from error
    return harness


def _tasks(tasks: Sequence[str], include_path: str | Path | None, metadata: Mapping[str, Any]) -> tuple[list[str], Any]:
    """The tasks' names, patterns filled in, and the harness's manager that knows them.

    Reading the harness's own thousands of task files takes ten seconds, so they are left alone where the caller's
    folder has all that is asked for.
    """
    make = partial(_harness().TaskManager, metadata=dict(metadata))
    if include_path is not None:
        if not Path(include_path).is_dir():
            raise FileNotFoundError(f"include_path {include_path} is not a folder; give the folder of your task files")
        make = partial(make, include_path=str(include_path))
        own = make(include_defaults=False)
        if all(_named(name, own) for name in tasks):
            return [found for name in tasks for found in _named(name, own)], own
    manager = make()
    unknown = next((name for name in tasks if not _named(name, manager)), None)
    if unknown is not None:
        raise ValueError(
            f"the harness has no task, tag or group {unknown!r}; lm_eval ls tasks lists them, and a task file of your "
            "own needs include_path"
        )
    return [found for name in tasks for found in _named(name, manager)], manager


def _named(name: str, manager: Any) -> list[str]:
    """What a name stands for: a task file, or the tasks, tags and groups that it or its pattern fits."""
    if Path(name).suffix == ".yaml" and Path(name).is_file():
        return [name]
    found: list[str] = manager.match_tasks([name])
    return found


def _rows(results: Mapping[str, Any], condition: Condition, lent: HarnessModel) -> Iterator[TaskRow]:
    """The harness's results of one condition; its keys are ``metric,filter`` and ``metric_stderr,filter``."""
    parts, sizes = results.get("group_subtasks", {}), results["n-samples"]
    for task, found in results["results"].items():
        samples = sum(sizes[name]["effective"] for name in (parts.get(task) or [task]) if name in sizes)
        for key, value in found.items():
            metric, comma, name = key.rpartition(",")
            if not comma or metric.endswith("_stderr") or not isinstance(value, int | float):
                continue
            error = found.get(f"{metric}_stderr,{name}")
            error = float(error) if isinstance(error, int | float) else math.nan
            low, high = interval(metric, float(value), error, samples)
            yield TaskRow(
                task=task,
                condition=condition.label,
                metric=metric,
                filter=name,
                value=float(value),
                error=error,
                low=low,
                high=high,
                samples=samples,
                max_length=lent.max_length,
                cut=lent.cut,
            )
