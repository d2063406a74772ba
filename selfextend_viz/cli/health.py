"""``selfextend-viz doctor``: what the lab needs on this machine, what was found, and what to do about it."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from selfextend_viz.cli import lab_checks, machine_checks
from selfextend_viz.cli.finding import Finding, looked_at
from selfextend_viz.cli.options import JsonOption
from selfextend_viz.cli.output import Destination, print_text, say

CHECKS: dict[str, Callable[[], Finding]] = {
    "selfextend-viz": machine_checks.check_package,
    "Python": machine_checks.check_python,
    "libraries": machine_checks.check_libraries,
    "torch": machine_checks.check_torch,
    "GPU": machine_checks.check_gpu,
    "attention": machine_checks.check_attention,
    "memory": machine_checks.check_memory,
    "disk": machine_checks.check_disk,
    "demo model": lab_checks.check_demo,
    "widgets": lab_checks.check_widgets,
    "lab extensions": lab_checks.check_extensions,
    "kernel": lab_checks.check_kernel,
    "browser": lab_checks.check_browser,
    "Chromium": lab_checks.check_chromium,
    "ports": lab_checks.check_ports,
}
STYLES = {"ok": "green", "note": "yellow", "problem": "bold red"}


def doctor(json: JsonOption = None) -> None:
    """What the lab needs on this machine, what was found, and what to do about it.

    A note leaves the lab running, with less than it could have; a problem
    stops it. The exit code is 1 where there is a problem, else 0.

    \b
    [bold]Examples[/bold]
      selfextend-viz doctor
      selfextend-viz doctor --json doctor.json
    """
    destination = Destination(json, None)
    say("Looking at this machine; the demo model is loaded on the way")
    findings = examine()
    _print(findings)
    destination.write_rows("doctor", {"platform": platform.platform()}, findings)
    if any(finding.state == "problem" for finding in findings):
        raise typer.Exit(1)


def examine(checks: dict[str, Callable[[], Finding]] | None = None) -> list[Finding]:
    """All findings, in the order of the checks."""
    return [looked_at(name, check) for name, check in (CHECKS if checks is None else checks).items()]


def summary(findings: Iterable[Finding]) -> str:
    """One sentence: whether the lab can open."""
    problems = [finding.name for finding in findings if finding.state == "problem"]
    if not problems:
        return "Nothing stops the lab: selfextend-viz lab"
    return f"The lab will not run as it should; mend first: {', '.join(problems)}."


def _print(findings: Sequence[Finding]) -> None:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        words = Text(finding.found)
        if finding.remedy:
            words.append(f"\n{finding.remedy}", style="italic")
        table.add_row(Text(finding.state, style=STYLES[finding.state]), Text(finding.name, style="bold"), words)
    Console().print(table)
    print_text(summary(findings))
