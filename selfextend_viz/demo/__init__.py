"""The embedded demo model: its weights, its byte tokenizer, and the recipe that trained it."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfextend_viz.demo.corpus import held_out_texts as held_out_texts
    from selfextend_viz.demo.load import load_demo as load_demo

_HOMES = {"held_out_texts": "corpus", "load_demo": "load"}

__all__ = ["held_out_texts", "load_demo"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
