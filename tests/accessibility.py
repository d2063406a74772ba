"""What axe-core finds on a page."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

GRAVE = ("serious", "critical")


def serious_faults(page: Any, root: str) -> list[str]:
    """Violations of serious or critical impact inside the elements that `root` selects, each with its element."""
    violations = Axe().run(page, root).response["violations"]
    return [
        f"{one['id']}: {node['html'][:200]}" for one in violations if one["impact"] in GRAVE for node in one["nodes"]
    ]
