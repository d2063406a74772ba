"""lm-evaluation-harness over a model under Self-Extend: its tasks, its metrics, our conditions.

The harness is in the extra ``lm-eval``; it is imported when a task is run, and not before.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfextend_viz.evaluation.rows import TaskRow
    from selfextend_viz.evaluation.running import evaluate, harness_model

__all__ = ["TaskRow", "evaluate", "harness_model"]

_HOME_OF = {"TaskRow": "rows", "evaluate": "running", "harness_model": "running"}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
