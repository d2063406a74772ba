"""Find the course's data: every module here whose name begins with a word."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def modules_named(beginning: str) -> list[ModuleType]:
    """The modules of this package whose names begin so, in the order of their names."""
    home = __name__.rpartition(".")[0]
    names = sorted(found.name for found in iter_modules(import_module(home).__path__))
    return [import_module(f"{home}.{name}") for name in names if name.startswith(beginning)]
