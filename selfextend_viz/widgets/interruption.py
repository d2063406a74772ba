"""Leave a model's forward between two of its layers, so that a slider need not wait for work nobody wants any more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any


class Superseded(Exception):
    """The work under way is no longer wanted."""


@contextmanager
def interruptible(model: Any, wanted: Callable[[], bool]) -> Iterator[None]:
    """Raise `Superseded` at the next layer of any forward in the block once ``wanted()`` is false.

    Parameters
    ----------
    model
        A transformers causal language model.
    wanted
        Asked before each layer.
    """

    def look(module: Any, arguments: Any) -> None:
        if not wanted():
            raise Superseded

    with ExitStack() as hooks:
        for layer in model.get_decoder().layers:
            hooks.callback(layer.register_forward_pre_hook(look).remove)
        yield
