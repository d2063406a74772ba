"""The table of all methods in docs/methods.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from markdown_tables import markdown_table

from selfextend_viz.experiments.comparison_rows import Comparison, Found, TableRow
from selfextend_viz.experiments.rows import NO_NEEDLE

WORDS = {
    "stock": "the model as it is",
    "truncate": "the last L tokens alone",
    "blindfold": "keys at L or more hidden",
    NO_NEEDLE: "a prompt without the key",
}
Report = dict[str, Any]


def comparison(report: Report) -> str:
    """Two tables, one of keys and one of losses, with all that is needed to measure them again."""
    settings = report["settings"]
    trained, trials = settings["context_length"], settings["trials"]
    table = Comparison.from_rows(report["rows"], context_length=trained).table()
    known = {method["label"]: method for method in settings["methods"].values()}
    counts = ", ".join(f"{count} at {times} L" for times, count in trials.items())
    said = (
        f"L = {trained}, settings for {settings['target_length']} tokens. Keys found of all asked for over five depths "
        f"({counts}) with Wilson's 95 % interval, in {settings['task']} text. Near and far: those at 2 L that stand "
        f"in the last L tokens, and before them. {_middle_words(table)}"
    )
    losses = _one_loss(table)
    measured = (
        f"Loss in nats a token minus that of the truncated stock on the same {losses.targets} tokens of "
        f"{losses.texts} held-out texts, with 95 % of the paired difference. Outside: attention on distances that no "
        "training taught, and what uniform attention would put there."
    )
    made = (
        f"torch {report['torch']}, transformers {report['transformers']}, float32 on one CPU core: "
        f"`{report['command']}`, then `python benchmarks/readme_tables.py`."
    )
    return "\n\n".join((_keys(table, known), said, _losses(table), measured, made))


def _keys(table: Iterable[TableRow], known: dict[str, dict[str, Any]]) -> str:
    rows = list(table)
    lengths = list(rows[0].passkey)
    columns = ("", "mechanism", "training-free?", "runs", *(f"keys at {n}" for n in lengths), "near", "far")
    lines = []
    for row in rows:
        about = known.get(row.condition)
        what = WORDS[row.condition] if about is None else about["mechanism"]
        free = "" if about is None else "yes" if about["training_free"] else "no"
        runs = "" if about is None else "eager only" if about["eager_only"] else "eager, flash"
        cells = [_counted(row.passkey[length]) for length in lengths]
        lines.append((row.condition, what, free, runs, *cells, str(row.near), str(row.far), _keeps(row.middle)))
    return markdown_table((*columns, "keeps the middle?"), lines)


def _counted(found: Found) -> str:
    return f"{found} ({found.low:.2f}-{found.high:.2f})"


def _keeps(found: Found | None) -> str:
    """Yes where at least half are found, and no where less, each beyond chance."""
    if found is None:
        return ""
    word = "yes" if found.low > 0.5 else "no" if found.high < 0.5 else "partly"
    return f"{word}, {found}"


def _middle_words(table: Iterable[TableRow]) -> str:
    trials = next(row.middle.trials for row in table if row.middle is not None)
    return (
        f"The middle: depths from a quarter to three quarters at 4 L, {trials} keys; yes where the interval lies above "
        "a half, no where it lies below, partly else."
    )


def _one_loss(table: Iterable[TableRow]) -> Any:
    return next(losses for row in table for losses in row.perplexity.values())


def _losses(table: Iterable[TableRow]) -> str:
    rows = [row for row in table if row.perplexity]
    contexts, lengths = list(rows[0].perplexity), list(rows[0].mass)
    columns = (
        "",
        *(f"perplexity at {n}" for n in contexts),
        *(f"nats at {n}" for n in contexts),
        *(f"outside at {n}" for n in lengths),
    )
    lines = []
    for row in rows:
        losses = [row.perplexity[context] for context in contexts]
        cells = [
            *(f"{math.exp(loss.nll):.2f}" for loss in losses),
            *(f"{loss.difference:+.3f} ± {1.96 * loss.difference_error:.3f}" for loss in losses),
            *(f"{mass.outside:.3f} ({mass.uniform:.3f})" for mass in (row.mass[length] for length in lengths)),
        ]
        lines.append((row.condition, *cells))
    return markdown_table(columns, lines)
