"""Look the pinned packages up among known vulnerabilities with pip-audit, in an environment of its own.

Where pip-audit cannot be had, or reaches no advisories, one line says so and nothing fails: that is no finding.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOME = ROOT / ".venv-audit"
WANTED = "pip-audit>=2.9,<3"
OPTIONS = ("--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json", "--timeout", "15")
SECONDS = 300


def tool() -> Path | None:
    """pip-audit's path, installed where it is not yet; ``None`` where it cannot be had."""
    program = HOME / "bin" / "pip-audit"
    if not program.exists():
        pip = [HOME / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", WANTED]
        for command in ([sys.executable, "-m", "venv", "--clear", HOME], pip):
            if subprocess.run(command, capture_output=True, timeout=SECONDS, check=False).returncode:
                shutil.rmtree(HOME, ignore_errors=True)
                return None
    return program


def verdict(report: str, complaint: str) -> tuple[int, str]:
    """The exit status and the words for what pip-audit printed as JSON, and on its standard error."""
    try:
        packages = json.loads(report)["dependencies"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return 0, f"not done, no advisories were reached: {(complaint.strip().splitlines() or ['no reason given'])[-1]}"
    found = [f"{p['name']} {p['version']}: {v['id']}" for p in packages for v in p.get("vulns", ())]
    if found:
        return 1, f"{len(found)} known vulnerabilities\n  " + "\n  ".join(found)
    asked = sum("skip_reason" not in package for package in packages)
    if asked == 0:
        return 0, f"not done, the advisories reached know none of the {len(packages)} pinned packages"
    rest = f"; {len(packages) - asked} others are not listed there" if asked < len(packages) else ""
    return 0, f"no known vulnerability in {asked} pinned packages{rest}"


def main() -> int:
    """Audit ``constraints.txt``."""
    program = tool()
    if program is None:
        status, words = 0, f"not done, {WANTED} could not be installed from here"
    else:
        command = [program, *OPTIONS, "-r", ROOT / "constraints.txt"]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
            status, words = verdict(ran.stdout, ran.stderr)
        except subprocess.TimeoutExpired:
            status, words = 0, f"not done, the advisories did not answer within {SECONDS} s"
    sys.stdout.write(f"audit: {words}\n")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
