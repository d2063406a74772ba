"""Questions about a model, answered in plain rows: pass keys, perplexity, divergence, and methods compared.

Nothing here draws. Importing the rows alone costs no torch: names are loaded when they are first used. The
functions ``passkey``, ``perplexity``, ``divergence`` and ``compare`` have the names of their modules, so they are to be
had from those, or from the top of the package.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selfextend_viz.experiments.comparison_rows import Comparison, Found, MassRow, TableRow
    from selfextend_viz.experiments.passkey import answer_digits
    from selfextend_viz.experiments.perplexity import token_losses
    from selfextend_viz.experiments.prompts import Prompt, document, named, passkey_prompt, ruler
    from selfextend_viz.experiments.random_heads import random_divergence
    from selfextend_viz.experiments.rows import DigitRow, HeadRow, LogitRow, OutputRow, PasskeyRow, PerplexityRow

__all__ = [
    "Comparison",
    "DigitRow",
    "Found",
    "HeadRow",
    "LogitRow",
    "MassRow",
    "OutputRow",
    "PasskeyRow",
    "PerplexityRow",
    "Prompt",
    "TableRow",
    "answer_digits",
    "document",
    "named",
    "passkey_prompt",
    "random_divergence",
    "ruler",
    "token_losses",
]

_HOMES = {
    "comparison_rows": ("Comparison", "Found", "MassRow", "TableRow"),
    "passkey": ("answer_digits",),
    "perplexity": ("token_losses",),
    "prompts": ("Prompt", "document", "named", "passkey_prompt", "ruler"),
    "random_heads": ("random_divergence",),
    "rows": ("DigitRow", "HeadRow", "LogitRow", "OutputRow", "PasskeyRow", "PerplexityRow"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
