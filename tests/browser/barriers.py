"""What axe-core finds on a page that would keep somebody out."""

import sys
from pathlib import Path

AXE = Path(sys.prefix, "share", "bytes-to-reasoning", "tests", "axe", "axe.min.js")
SERIOUS = """async where => (await axe.run(where ?? document, {resultTypes: ['violations']}))
    .violations.filter(fault => ['critical', 'serious'].includes(fault.impact))
    .map(fault => [fault.id, ...fault.nodes.map(node => node.html.slice(0, 200))])"""


def serious_barriers(page, where: str | None = None) -> list:
    """Name what is critical or serious on the page, or in the part that a selector names."""
    if not page.evaluate("Boolean(window.axe)"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    return page.evaluate(SERIOUS, where)
