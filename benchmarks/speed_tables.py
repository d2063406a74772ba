"""The README's speed tables: what was measured, beside it what is wanted, and a word where it was missed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markdown_tables import markdown_table

from selfextend_viz.bench.resuming import rows_of
from selfextend_viz.bench.rows import DECODE, EAGER, MEMORY, PLAIN, PREFILL, STOCK, Summary, over_runs

PREFILL_AT_MOST = {1024: 1.5, 4096: 1.25, 8192: 1.15, 16384: 1.10}
DECODE_AT_LEAST = 0.85
MEMORY_AT_MOST = 1.5
COMMAND = "selfextend-viz bench --device cpu --json benchmarks/results/bench_cpu.json"


def speed(report: dict[str, Any]) -> str:
    """Prefill, decoding and memory beside plain attention, and what was measured on."""
    found, settings = over_runs(rows_of(report)), report["settings"]
    where = f"{settings['device']}, {settings['threads']} threads, torch {settings['torch']}, {settings['date'][:10]}"
    decode, memory = ([row for row in found if row.kind == kind] for kind in (DECODE, MEMORY))
    parts = [
        "Prefill, RoPE included, in units of plain causal attention's time:",
        _prefill([row for row in found if row.kind in (PREFILL, EAGER)]),
        *(["A generated token behind 8,192 cached ones:", _decode(decode)] if decode else []),
        *(["The peak of memory in prefill, its inputs included:", _memory(memory)] if memory else []),
        f"Medians over {_runs(settings)} on {where}; in brackets the lowest and the highest run. Contestants\n"
        f"take turns, and a ratio is to the plain one of the same round: `{COMMAND}`.",
    ]
    return "\n\n".join(parts)


def _runs(settings: dict[str, Any]) -> str:
    """How many runs; what was cut short says so."""
    runs = f"{settings['runs']} runs"
    return runs if settings["complete"] else f"what has been measured so far of {runs}"


def _prefill(rows: Sequence[Summary]) -> str:
    """One line for each shape and length; eager is beside the widest window, which it was timed with."""
    windows = sorted({row.neighbor_window for row in rows if row.kind == PREFILL and row.neighbor_window})
    lines = []
    for shape in dict.fromkeys(row.shape for row in rows):
        for length, most in PREFILL_AT_MOST.items():
            members = [row for row in rows if (row.shape, row.length) == (shape, length)]
            here = {(row.contestant, row.neighbor_window): row for row in members if row.kind == PREFILL}
            eager = next((row for row in members if row.contestant == "eager"), None)
            plain = here.get((PLAIN, None))
            if plain is None:
                continue
            ratios = [_ratio(row, row.ratio <= most) for window in windows for row in [here["flash", window]]]
            beside = f"{eager.value / here['flash', windows[-1]].value:.0f}x" if eager else "-"
            lines.append((shape, f"{length:,}", f"{1000 * plain.value:.0f} ms", *ratios, f"<= {most:.2f}", beside))
    names = [f"flash, w_n = {window:,}" for window in windows]
    return markdown_table(("heads", "N", "plain", *names, "wanted", f"eager / flash, w_n = {windows[-1]:,}"), lines)


def _decode(rows: Sequence[Summary]) -> str:
    lines = []
    for row in rows:
        if row.contestant != STOCK:
            stock = next(one for one in rows if one.contestant == STOCK and one.shape == row.shape)
            ratio = _ratio(row, row.ratio >= DECODE_AT_LEAST)
            lines.append((row.shape, f"{stock.value:.0f}", f"{row.value:.0f}", ratio, f">= {DECODE_AT_LEAST:.2f}"))
    return markdown_table(("model", "stock, tokens/s", "Self-Extend, tokens/s", "ratio", "wanted"), lines)


def _memory(rows: Sequence[Summary]) -> str:
    lines = []
    for row in rows:
        if row.contestant != PLAIN:
            plain = next(one for one in rows if one.contestant == PLAIN and one.shape == row.shape)
            shown = (f"{one.value / 2**20:.0f} MiB" for one in (plain, row))
            ratio = _ratio(row, row.ratio <= MEMORY_AT_MOST)
            case = (row.shape, f"{row.length:,}", str(row.neighbor_window))
            lines.append((*case, *shown, ratio, f"<= {MEMORY_AT_MOST:.2f}"))
    return markdown_table(("heads", "N", "w_n", "plain", "flash", "ratio", "wanted"), lines)


def _ratio(row: Summary, met: bool) -> str:
    spread = f" ({row.lowest:.2f}-{row.highest:.2f})" if row.runs > 1 else ""
    return f"{row.ratio:.2f}x{spread}" if met else f"**{row.ratio:.2f}x{spread} missed**"
