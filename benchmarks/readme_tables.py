"""Write the README's and the model card's tables from the committed results, so that no number is typed by hand.

python benchmarks/readme_tables.py           rewrites the marked blocks
python benchmarks/readme_tables.py --check   says whether they are up to date
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison_tables import comparison
from markdown_tables import markdown_table
from speed_tables import speed

from selfextend_viz.experiments.rows import wilson_interval
from selfextend_viz.experiments.verdict import Verification, VerifyRow

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
README = ROOT / "README.md"
CARD = ROOT / "selfextend_viz" / "demo" / "weights" / "README.md"
METHODS = ROOT / "docs" / "methods.md"
RETRIEVAL = {"paper": "paper's grass", "natural": "natural text", "distractor": "other numbers"}

Row = dict[str, Any]


def models(report: Row) -> str:
    """Each architecture's largest error of every check, in logits, beside that of the stock model's own attention."""

    def cell(found: Row) -> str:
        text = f"{found['error']:.0e}"
        return text if found["passed"] else f"**{text} missed**"

    def left(row: Row) -> str:
        reasons = row["layers"]["left"].values()
        return ", ".join(dict.fromkeys(re.split("[:,]", why)[0] for why in reasons)) or "-"

    checks = list(report["rows"][0]["checks"])
    lines = []
    for row in report["rows"]:
        looped = " (loop)" if "blockwise loop" in row["flash"] else ""
        cells = [cell(row["checks"][check]) + (looped if check == "flash" else "") for check in checks]
        lines.append((f"{row['architecture']}", *cells, f"{row['stock_error']:.0e}", left(row)))
    failed = sum(not found["passed"] for row in report["rows"] for found in row["checks"].values())
    verdict = "All hold." if not failed else f"{failed} do not hold, in bold."
    return (
        f"{markdown_table(('', *checks, 'stock', 'left alone'), lines)}\n\n"
        f"{verdict} {report['method']}, N = {report['length']}, float32 on CPU, torch {report['torch']}, "
        f"transformers {report['transformers']}: `{report['command']}`."
    )


@dataclass
class Count:
    """Right answers of one cell, all depths together, and what was wanted."""

    right: int = 0
    trials: int = 0
    wanted: tuple[str, float] | None = None

    def add(self, row: Row) -> None:
        """Take in one depth's row."""
        self.right, self.trials = self.right + row["exact"], self.trials + row["trials"]
        self.wanted = tuple(row["wanted"]) if row["wanted"] else None  # type: ignore[assignment]

    @property
    def missed(self) -> bool:
        """Whether the share of right answers is not what was wanted."""
        if self.wanted is None:
            return False
        share, (sign, bound) = self.right / self.trials, self.wanted
        return share < bound if sign == ">=" else share > bound

    def __str__(self) -> str:
        low, high = wilson_interval(self.right, self.trials)
        text = f"{self.right}/{self.trials} ({low:.2f}-{high:.2f})"
        return f"**{text} missed**" if self.missed else text


def retrieval(report: Row) -> str:
    """Pass keys in three fillers, at and past the reach of each setting."""
    lines: dict[tuple[str, int], dict[str, Count]] = {}
    shares: dict[tuple[str, int], float] = {}
    for row in report["rows"]:
        if row["task"] in RETRIEVAL and (row["phrasing"], row["digits"]) == ("paper", 5) and row["wanted"]:
            at = (row["condition"], row["length"])
            lines.setdefault(at, {}).setdefault(row["task"], Count()).add(row)
            shares[at] = row["share"]
    table = []
    for (condition, length), counts in lines.items():
        first = next(iter(counts.values()))
        unit = "L" if condition == "stock" else "reach"
        wanted = f"{first.wanted[0]} {first.wanted[1]:.2f}" if first.wanted else ""
        shown = [str(counts[task]) for task in RETRIEVAL]
        table.append((condition, f"{length} = {shares[condition, length]:g} {unit}", wanted, *shown))
    return markdown_table(("", "N", "wanted", *RETRIEVAL.values()), table)


def others(report: Row) -> str:
    """Named keys, prompts without a key, controls and other wordings."""
    lines: dict[tuple[str, str, int], Count] = {}
    for row in report["rows"]:
        plain = (row["phrasing"], row["digits"]) == ("paper", 5)
        if row["task"] in RETRIEVAL and plain and row["wanted"]:
            continue
        what = row["task"] if plain else f"{row['task']}, phrasing {row['phrasing']!r}, {row['digits']} digits"
        lines.setdefault((what, row["condition"], row["length"]), Count()).add(row)
    table = [
        (what, condition, str(length), f"{count.wanted[0]} {count.wanted[1]:.2f}" if count.wanted else "", str(count))
        for (what, condition, length), count in lines.items()
    ]
    return markdown_table(("task", "condition", "N", "wanted", "right (95 % interval)"), table)


def perplexities(report: Row) -> str:
    """Loss on the same target tokens at each context length, and what the paired difference says."""
    rows = report["perplexity"]
    lines = [
        (
            row["condition"],
            str(row["context_length"]),
            f"{math.exp(row['nll']):.2f}",
            f"{row['difference']:+.3f} ± {1.96 * row['difference_error']:.3f}",
        )
        for row in rows
    ]
    table = markdown_table(("condition", "context", "perplexity", "nats against stock on the last L (95 %)"), lines)
    return f"{table}\n\n{rows[0]['targets']} targets in {rows[0]['texts']} held-out texts. {_far_text(rows)}"


def _far_text(rows: Sequence[Row]) -> str:
    """Whether Self-Extend at the longest context does better than stock on the last L, in a sentence."""
    row = max((row for row in rows if row["condition"].startswith("SelfExtend")), key=lambda row: row["context_length"])
    reading = f"{row['condition']} at {row['context_length']} tokens"
    margin = 1.96 * row["difference_error"]
    if row["difference"] + margin < 0:
        return f"{reading} does better than stock on the last L: it uses some of the far text."
    if row["difference"] - margin > 0:
        return (
            f"{reading} does worse than stock on the last L: it reads far without breaking, and gains nothing from it."
        )
    return f"{reading} cannot be told from stock on the last L: nothing here shows that it uses far text."


def demo(report: Row) -> str:
    """The README's share of the demo model's table."""
    return f"{retrieval(report)}\n\n{perplexities(report)}\n\nReproduce it: `{report['command']}`."


def verified(report: Row) -> str:
    """What ``selfextend-viz verify`` printed."""
    rows = [VerifyRow(**{name: value for name, value in row.items() if name != "row"}) for row in report["rows"]]
    asked = report["settings"]
    found = Verification(asked["model_class"], asked["method"], asked["dtype"], asked["device"], tuple(rows))
    return f"```text\n{found}\n```"


def card(report: Row) -> str:
    """The whole of the demo model's table."""
    missed = [
        f"{row['task']}, {row['condition']}, N = {row['length']}" for row in report["rows"] if _cell(report, row).missed
    ]
    names = list(dict.fromkeys(missed))
    failures = f"Missed: {'; '.join(names)}." if names else "No cell missed what was wanted."
    parts = (retrieval(report), others(report), failures, perplexities(report), f"Command: `{report['command']}`.")
    return "\n\n".join(parts)


def _cell(report: Row, like: Row) -> Count:
    count = Count()
    for row in report["rows"]:
        if all(row[name] == like[name] for name in ("task", "condition", "length", "phrasing", "digits")):
            count.add(row)
    return count


def course(_: Row) -> str:
    """Every notebook with the question that it opens with, in one line."""
    lines = []
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        opening = "".join(cells[0]["source"])
        title = re.search(r"^# (?:\w+\. )?(.*)$", opening, flags=re.MULTILINE)  # the file's name has the number
        question = re.search(r"\*\*The question: (.*?)\*\*", opening, flags=re.DOTALL)
        if title is None or question is None:
            raise ValueError(f"{path.name} must open with a title and **The question: ...?**")
        asked = " ".join(question[1].split())
        badge = re.search(r"\[!\[Open in Colab\]\(.*?\)\]\(.*?\)", opening)  # docs/colab.py put it there
        shown = badge[0].replace("(images/", "(notebooks/images/") if badge else ""
        line = f"- {path.name[:2]} [{title[1]}](notebooks/{path.name}): {asked[:1].upper()}{asked[1:]} {shown}"
        lines.append(line.rstrip())
    return "\n".join(lines)


@dataclass(frozen=True)
class Block:
    """A marked block of a document, and the file of results that it is made from, if it is made from one."""

    document: Path
    name: str
    results: str
    render: Callable[[Row], str]

    def filled(self, text: str) -> str:
        """The document's text with this block made anew."""
        opening, closing = f"<!-- table:{self.name} -->", f"<!-- /table:{self.name} -->"
        block = re.compile(f"{re.escape(opening)}.*?{re.escape(closing)}", flags=re.DOTALL)
        if len(block.findall(text)) != 1:
            raise ValueError(f"{self.document.name} must hold the block {opening} ... {closing} exactly once")
        report = json.loads((RESULTS / self.results).read_text(encoding="utf-8")) if self.results else {}
        content = self.render(report)
        return block.sub(lambda _: f"{opening}\n{content}\n{closing}", text)


BLOCKS = (
    Block(README, "course", "", course),
    Block(README, "demo", "demo_table.json", demo),
    Block(README, "verify", "verify_demo.json", verified),
    Block(README, "speed", "bench_cpu.json", speed),
    Block(README, "models", "models.json", models),
    Block(METHODS, "methods", "methods.json", comparison),
    Block(CARD, "demo", "demo_table.json", card),
)


def main() -> int:
    """Rewrite the documents, or with ``--check`` compare only."""
    stale = False
    for block in BLOCKS:
        before = block.document.read_text(encoding="utf-8")
        after = block.filled(before)
        stale |= before != after
        if "--check" not in sys.argv[1:]:
            block.document.write_text(after, encoding="utf-8")
    return int(stale and "--check" in sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
